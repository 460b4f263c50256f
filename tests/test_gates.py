"""What the package and its gates ship."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sklearn_provenance

PACKAGE = Path(sklearn_provenance.__file__).parent
ROOT = PACKAGE.parent
FAULTS = ROOT / "benchmarks" / "faults.toml"


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").exists()
    if (ROOT / "pyproject.toml").exists():  # not where the package is installed
        assert "py.typed" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="the package alone is installed")
class TestGates:
    makefile = (ROOT / "Makefile").read_text() if (ROOT / "Makefile").exists() else ""

    def targets(self):
        return set(re.findall(r"^([\w-]+):", self.makefile, flags=re.MULTILINE))

    def test_the_workflow_makes_what_there_is(self):
        workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text()
        made = set(re.findall(r"target: ([\w-]+)", workflow))
        assert made == {"test-all", "coverage", "test-minimum", "docs"}
        assert made <= self.targets()
        assert re.search(r"^test:.* lint\b", self.makefile, flags=re.MULTILINE)
        assert "make ${{ matrix.target }}" in workflow

    def test_hooks_are_those_of_lint(self):
        hooks = (ROOT / ".pre-commit-config.yaml").read_text()
        lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", self.makefile, flags=re.MULTILINE)[1]
        for command in re.findall(r"\$\(BIN\)/(ruff .*?) \.$", lint, flags=re.MULTILINE):
            assert f"entry: .venv/bin/{command} " in hooks


@pytest.mark.skipif(not FAULTS.exists(), reason="the package alone is installed")
def test_faults_that_are_put_in_follow_the_code():
    """Code that moves takes its faults along: benchmarks/put_in_faults.py --check says which."""
    faults = tomllib.loads(FAULTS.read_text())["fault"]
    sources = {file: (ROOT / file).read_text() for file in {fault["file"] for fault in faults}}
    assert [f for f in faults if sources[f["file"]].count(f["old"]) != 1] == []
    assert [f for f in faults for test in f.get("tests", []) if not (ROOT / test).exists()] == []


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the package alone is installed")
class TestVersions:
    @pytest.fixture
    def project(self):
        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    @staticmethod
    def requirements(project, extras):
        """Requirements of the package with extras, also those that extras name."""
        found = []
        texts = list(project["dependencies"])
        for extra in extras:
            texts += project["optional-dependencies"][extra]
        for requirement in map(Requirement, texts):
            if requirement.name == project["name"]:
                found += TestVersions.requirements(project, requirement.extras)
            else:
                found.append(requirement)
        return found

    @staticmethod
    def lowest(requirements):
        """Lowest version of each package, which every requirement for it must state alike."""
        found = {}
        for requirement in requirements:
            (bound,) = requirement.specifier
            assert bound.operator == ">=", requirement
            name = canonicalize_name(requirement.name)
            assert found.setdefault(name, Version(bound.version)) == Version(bound.version), name
        return found

    @staticmethod
    def pinned(file):
        lines = (ROOT / file).read_text().splitlines()
        pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
        found = {canonicalize_name(pin.name): str(pin.specifier) for pin in pins}
        assert len(found) == len(pins), file
        assert all(specifier.startswith("==") for specifier in found.values()), file
        return {name: Version(specifier[2:]) for name, specifier in found.items()}

    def test_the_lowest_versions_are_those_that_are_tested(self, project):
        lowest = self.lowest(self.requirements(project, ["test"]))
        pins = self.pinned("constraints-minimum.txt")
        assert pins.pop("pyparsing") == Version("3.1")  # for the oldest matplotlib
        assert pins.pop("pyarrow") == Version("16")  # for LanceDB beside NumPy 1.26
        assert pins == lowest

    def test_versions_of_every_day_are_allowed(self, project):
        extras = project["optional-dependencies"]
        lowest = self.lowest(self.requirements(project, extras))
        assert lowest["xgboost"] == lowest["xgboost-cpu"]
        pins = self.pinned("constraints.txt")
        assert {name for name in lowest if name in pins and pins[name] < lowest[name]} == set()
