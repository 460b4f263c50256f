"""Annotations of the public signatures, and what the package and its gates ship."""

import inspect
import re
import typing
from pathlib import Path

import pytest

import sklearn_provenance
from sklearn_provenance import (
    ProvenanceClassifier,
    ProvenanceRegressor,
    ProvenanceVAE,
    TrainingData,
)

PACKAGE = Path(sklearn_provenance.__file__).parent
ROOT = PACKAGE.parent
# Classes whose public methods are annotated; the others follow.
ANNOTATED = [ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE, TrainingData]


def methods(cls):
    """Constructor and public methods of the package's own."""
    for name, member in inspect.getmembers_static(cls):
        function = getattr(member, "__func__", getattr(member, "fget", None) or member)
        function = inspect.unwrap(function)  # of checks of parameters and of set_output
        is_own = (getattr(function, "__module__", None) or "").startswith("sklearn_provenance")
        is_public = name == "__init__" or not name.startswith("_")
        if is_own and is_public and inspect.isfunction(function):
            yield pytest.param(function, id=f"{cls.__name__}.{name}")


@pytest.mark.parametrize("function", [m for cls in ANNOTATED for m in methods(cls)])
def test_every_argument_has_a_type(function):
    hints = typing.get_type_hints(function)  # raises for a name that does not exist
    arguments = set(inspect.signature(function).parameters) - {"self", "cls"}
    assert arguments | {"return"} == set(hints)


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
        assert made == {"test", "test-minimum", "docs"}
        assert made <= self.targets()
        assert "make ${{ matrix.target }}" in workflow

    def test_hooks_are_those_of_lint(self):
        hooks = (ROOT / ".pre-commit-config.yaml").read_text()
        lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", self.makefile, flags=re.MULTILINE)[1]
        for command in re.findall(r"\$\(BIN\)/(ruff .*?) \.$", lint, flags=re.MULTILINE):
            assert f"entry: .venv/bin/{command} " in hooks
