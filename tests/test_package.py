"""What is said of the package in several places is the same everywhere."""

import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import sklearn_provenance

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = (ROOT / "CITATION.cff").read_text()
CONDA = (ROOT / "conda" / "meta.yaml").read_text()
ADDRESS = re.compile(r"https?://[^\s<>\"`]+")
WITH_PAPERS = {"README.rst", "index.rst", "CITATION.cff"}
NEWS = (ROOT / "doc" / "whats_new.rst").read_text()


def test_one_version():
    said = {
        "pyproject.toml": PROJECT["version"],
        "CITATION.cff": re.search(r"^version: (\S+)$", CITATION, re.M)[1],
        "conda/meta.yaml": re.search(r'version: "(\S+)"', CONDA)[1],
        "whats_new.rst": re.search(r"^(\d\S*) ", NEWS, re.M)[1],
    }
    assert said == dict.fromkeys(said, sklearn_provenance.__version__)


def test_conda_asks_for_what_the_project_asks_for():
    run = re.search(r"  run:\n((?:    - .*\n)+)", CONDA)[1]
    needed = dict(line.split(" ") for line in re.findall(r"- (.+)", run))
    assert needed.pop("python") == PROJECT["requires-python"]
    needed["torch"] = needed.pop("pytorch")
    assert sorted(name + bound for name, bound in needed.items()) == PROJECT["dependencies"]


def test_one_home():
    """Papers are named with the same addresses everywhere, and no address is a placeholder."""
    papers = set(PROJECT["urls"].values())
    pages = [*ROOT.glob("*.rst"), ROOT / "doc" / "index.rst", ROOT / "CITATION.cff"]
    pages += [ROOT / "conda" / "meta.yaml", *(ROOT / ".github").rglob("*.yml")]
    named = {page.name: set(ADDRESS.findall(page.read_text())) for page in pages}
    assert {name for name, addresses in named.items() if addresses} == WITH_PAPERS
    assert all(named[name] == papers for name in WITH_PAPERS)
    assert all(len(label) <= 32 for label in PROJECT["urls"])  # as core metadata has it


def test_the_archive_holds_all_files():
    """What is tracked is in the archive, or made without it, as what only git needs."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no repository: this is the archive")
    tracked = subprocess.check_output([git, "-C", ROOT, "ls-files"], text=True).split("\n")[:-1]
    names, patterns = set(), []
    for line in (ROOT / "MANIFEST.in").read_text().split("\n"):
        command, *words = line.split() or [""]
        if command == "include":
            names.update(words)
        elif command == "recursive-include":
            patterns += [f"{words[0]}/{pattern}" for pattern in words[1:]]
    missing = [
        name
        for name in tracked
        if name not in names and not any(fnmatch(name, pattern) for pattern in patterns)
    ]
    made = ("sklearn_provenance/", ".ci/")  # the wheel has the package
    by_itself = {"LICENSE", "MANIFEST.in", "README.rst", "pyproject.toml", "setup.py"}
    assert {name for name in missing if not name.startswith(made)} == by_itself | {".gitignore"}


def test_the_archive_names_files_that_there_are():
    lines = (ROOT / "MANIFEST.in").read_text().split("\n")
    for line in lines:
        command, *names = line.split() or [""]
        if command == "include":
            assert [name for name in names if not (ROOT / name).exists()] == []
        elif command == "recursive-include":
            assert (ROOT / names[0]).is_dir()
