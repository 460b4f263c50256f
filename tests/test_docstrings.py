"""Every public docstring follows numpydoc."""

import importlib
import inspect
from itertools import chain

import pytest
from numpydoc.validate import validate

MODULES = [
    "sklearn_provenance",
    *(
        f"sklearn_provenance.{layer}"
        for layer in (
            "attribution",
            "datasets",
            "evaluation",
            "explanation",
            "information",
            "inspection",
            "provenance",
            "retraining",
            "retrieval",
            "tangent",
        )
    ),
]
# Summaries stand on the first line; extended summaries, examples and "see also" where they help;
# return values may be named; descriptions may start with a symbol.
ALLOWED = {"GL01", "ES01", "EX01", "SA01", "RT02", "PR08", "RT04"}


def public_objects():
    """Paths of public names, and those of the methods of each."""
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            path = f"{module}.{name}"
            obj = getattr(importlib.import_module(module), name)
            if not callable(obj):
                continue  # a constant has no docstring of its own
            paths = {path}
            if inspect.isclass(obj):
                own = [c for c in obj.__mro__ if c.__module__.startswith("sklearn_provenance.")]
                for attribute, value in chain.from_iterable(vars(c).items() for c in own):
                    documented = callable(value) or isinstance(value, property | classmethod)
                    if not attribute.startswith("_") and documented:
                        paths.add(f"{path}.{attribute}")
            yield pytest.param(sorted(paths), id=path)


@pytest.mark.parametrize("paths", list(public_objects()))
def test_docstrings(paths):
    errors = [
        f"{path}: {code} {text}"
        for path in paths
        for code, text in validate(path)["errors"]
        if code not in ALLOWED
    ]
    assert errors == []
