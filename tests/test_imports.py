"""Imports run downwards only, and optional packages stay optional."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_provenance

from .checks import syntax_tree

PACKAGE = Path(sklearn_provenance.__file__).parent
# From the lowest layer to the highest: each may import what stands before it. Attribution explains
# provenance networks among others, so it stands above them. Retraining knows models and rows only:
# attribution, too, may train again.
LAYERS = [
    *("_utils", "datasets", "information", "retrieval", "tangent", "retraining"),
    *("explanation", "provenance", "attribution", "text", "_explain", "evaluation"),
    *("inspection", "_command_line", "__main__"),
]


def layer(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_layers(path):
    """Layers that a file of the package imports."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.ImportFrom):
            parts = path.relative_to(PACKAGE).parts[: -node.level] if node.level else ()
            target = [*parts, *(node.module or "").split(".")]
            if not node.level:
                if target[0] != "sklearn_provenance":
                    continue
                target = target[1:]
            yield target[0] if target and target[0] else node.names[0].name


def test_nothing_lower_knows_anything_higher():
    for path in sorted(PACKAGE.rglob("*.py")):
        own = layer(path)
        if own == "__init__":
            continue
        assert own in LAYERS
        for name in imported_layers(path):
            assert LAYERS.index(name) <= LAYERS.index(own), f"{path} imports {name}"


# Rooms inside attribution: each may import what stands before it, but no rule knows features.
ROOMS = ["models", "objectives", "ensembles", "features", "stores", "rules", "estimators"]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_attribution_import_downwards(room):
    attribution = PACKAGE / "attribution"
    allowed = {"rules"} if room == "rules" else {*ROOMS[: ROOMS.index(room) + 1]}
    for path in (attribution / room).rglob("*.py"):
        for node in ast.walk(syntax_tree(path)):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            target = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            if attribution in target.parents:
                other = target.relative_to(attribution).parts[0]
                assert other in allowed or other not in ROOMS, f"{path.name} imports {other}"


# A search holds an estimator of any family, and a family is found through what holds it.
ALLOWED_CIRCLE = {"attribution.models._base", "attribution.models._containers"}


def imported_files(path):
    """Files of the package that a file imports, also inside of functions."""
    found = set()
    for node in ast.walk(syntax_tree(path)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path.parents[node.level - 1]
        target = folder.joinpath(*node.module.split(".")) if node.module else folder
        for name in [target, *(target / alias.name for alias in node.names)]:
            if name.with_suffix(".py").exists():
                found.add(name.with_suffix(".py"))
    return found


def test_files_import_in_no_circle():
    done = set()
    files = {path: imported_files(path) for path in PACKAGE.rglob("*.py")}

    def visit(path, stack):
        if path in stack:
            circle = [str(p.relative_to(PACKAGE).with_suffix("")) for p in stack]
            circle = [name.replace("/", ".") for name in circle[stack.index(path) :]]
            assert set(circle) == ALLOWED_CIRCLE, " imports ".join(circle)
        elif path not in done:
            for other in files[path]:
                visit(other, [*stack, path])
            done.add(path)

    for path in files:
        visit(path, [])


# What takes long to import, or need not be installed, and is of no use before a first call.
HEAVY = [
    *("catboost", "dask", "distributed", "faiss", "jinja2", "lancedb", "lightgbm", "matplotlib"),
    *("pandas", "PIL", "polars"),
    *("scipy.stats", "skorch", "transformers", "xgboost"),
    *("sklearn.cluster", "sklearn.decomposition", "sklearn.ensemble", "sklearn.feature_selection"),
    *("sklearn.linear_model", "sklearn.manifold", "sklearn.metrics", "sklearn.model_selection"),
    *("sklearn.neighbors", "sklearn.neural_network", "sklearn.svm", "sklearn.tree"),
]


def test_optional_packages_stay_optional_and_the_package_adds_little():
    """In one new interpreter, where matplotlib and pandas are not found."""
    # Some versions of torch and scikit-learn import some of the heavy ones by themselves.
    script = """
import sys
from importlib.machinery import PathFinder
find, missed = PathFinder.find_spec, []
def find_others(name, *args):
    if name.split(".")[0] in ("matplotlib", "pandas"):
        missed.append(name)
        return None
    return find(name, *args)
PathFinder.find_spec = find_others
import numpy as np
import sklearn.pipeline, torch
before = set(sys.modules)
missed.clear()
import sklearn_provenance
print(*sorted(set(sys.modules) - before), *missed)
from sklearn_provenance import Explanation, ProvenanceClassifier
X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
explanation = ProvenanceClassifier(width="small", max_epochs=1, device="cpu").fit(X, y).explain(X)
repr(explanation)
for needs_more in (explanation.plot, explanation.to_frame):
    try:
        needs_more()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    added, figure, table = done.stdout.splitlines()
    added = added.split()
    assert "sklearn_provenance.provenance" in added
    assert [name for name in HEAVY if name in added] == []
    assert "sklearn-provenance[plot]" in figure
    assert "sklearn-provenance[frame]" in table
