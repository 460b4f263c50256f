"""What the package and its gates ship."""

import re
from pathlib import Path

import pytest

import sklearn_provenance

PACKAGE = Path(sklearn_provenance.__file__).parent
ROOT = PACKAGE.parent


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
        assert made == {"test", "coverage", "test-minimum", "docs"}
        assert made <= self.targets()
        assert "make ${{ matrix.target }}" in workflow

    def test_hooks_are_those_of_lint(self):
        hooks = (ROOT / ".pre-commit-config.yaml").read_text()
        lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", self.makefile, flags=re.MULTILINE)[1]
        for command in re.findall(r"\$\(BIN\)/(ruff .*?) \.$", lint, flags=re.MULTILINE):
            assert f"entry: .venv/bin/{command} " in hooks
