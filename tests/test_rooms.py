"""Rooms know each other by what is public: no private attributes, no names of architectures."""

import ast
from pathlib import Path

import sklearn_provenance

from .checks import syntax_tree

PACKAGE = Path(sklearn_provenance.__file__).parent
# What is above estimators and attributors, and sees them as any user does.
READERS = ["evaluation", "inspection"]
ARCHITECTURES = {"class_conditional", "class_independent", "single_branch"}
# Whoever is asked for an attribute by its name.
BY_NAME = {"getattr", "hasattr", "setattr", "delattr", "attrgetter"}


def files(*rooms):
    paths = [path for room in rooms for path in sorted((PACKAGE / room).rglob("*.py"))]
    assert paths
    return paths


# Methods that an Explanation has under the names that named tuples give them.
OF_TUPLES = {"_replace", "_asdict", "_fields"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in OF_TUPLES


def modules_of_the_package(tree):
    """Names that relative imports of modules bind, as ``from . import _roc``."""
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
    return {alias.asname or alias.name for n in nodes if n.module is None for alias in n.names}


def private_reads(source):
    """Private attributes that code asks others for, and private names that it imports."""
    tree = ast.parse(source)
    own = {"self", "cls"} | modules_of_the_package(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            by = node.value
            is_super = isinstance(by, ast.Call) and getattr(by.func, "id", "") == "super"
            if not is_super and getattr(by, "id", "") not in own:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if function in BY_NAME and any(isinstance(n, str) and is_private(n) for n in names):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.level > 1 and node.module:
            found += [ast.unparse(node) for alias in node.names if is_private(alias.name)]
    return found


def compared_architectures(source):
    """Comparisons that tell one architecture of a provenance network from another."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare | ast.Match):
            continue
        for part in ast.walk(node):
            names = getattr(part, "attr", getattr(part, "id", None))
            value = getattr(part, "value", None)
            if names == "architecture" or (isinstance(value, str) and value in ARCHITECTURES):
                found.append(ast.unparse(node))
                break
    return found


def in_files(find, paths):
    """What is found in the source of each file where anything is."""
    found = {str(path.relative_to(PACKAGE)): find(path.read_text()) for path in paths}
    return {path: what for path, what in found.items() if what}


def test_readers_ask_for_nothing_private():
    assert in_files(private_reads, files(*READERS)) == {}


def test_networks_answer_for_their_architecture():
    others = [p for p in files(".") if "provenance" not in p.relative_to(PACKAGE).parts]
    assert in_files(compared_architectures, others) == {}


def test_what_is_private_is_seen():
    assert private_reads("clf._fit_X[0]") == ["clf._fit_X"]
    assert private_reads("self.estimator_._rows(X)") == ["self.estimator_._rows"]
    assert private_reads("self.fit(X)._fit_X") == ["self.fit(X)._fit_X"]
    assert private_reads("x = getattr(inner, '_sample_id', None)") != []
    assert private_reads("from ..explanation._plot import _brightness, canvas") != []
    for allowed in (
        "self._x + cls._y + super()._z",
        "from . import _roc\n_roc._share_below(1, 2)",
        "from ._roc import _share_below",
        "a.__class__.__name__",
        "getattr(inner, 'classes_', None)",
    ):
        assert private_reads(allowed) == [], allowed


def test_architectures_are_seen():
    for code in (
        "if clf.architecture == 'single_branch': pass",
        "a = architecture != name",
        "b = kind in ('single_branch', 'other')",
        "match clf.architecture:\n    case 'x': pass",
    ):
        assert compared_architectures(code) != [], code
    assert compared_architectures("clf = C(architecture='single_branch')") == []


def test_figures_have_few_classes():
    """A new figure is one of these with other options, or it replaces one of them."""
    trees = [syntax_tree(path) for path in files(".")]
    classes = [n.name for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    assert sorted(name for name in classes if name.endswith("Display")) == [
        "ClustersDisplay",
        "ConvergenceDisplay",
        "ExplanationDisplay",
        "HistogramsDisplay",
        "LinesDisplay",
        "PointsDisplay",
        "RowsDisplay",
    ]
