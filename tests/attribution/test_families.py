"""Families of estimators are imported with the first of theirs, and are found from then on."""

import sys
import types

import pytest
from sklearn.base import BaseEstimator

from sklearn_provenance.attribution import ensembles, models, objectives
from sklearn_provenance.attribution.ensembles._base import ensemble
from sklearn_provenance.attribution.models._base import adapt
from sklearn_provenance.attribution.models._single_output import output_of
from sklearn_provenance.attribution.objectives._base import objective

DISPATCHERS = {
    "adapt": (adapt, models, "_base", 0),
    "output_of": (output_of, models, "_single_output", 1),
    "objective": (objective, objectives, "_base", 2),
    "ensemble": (ensemble, ensembles, "_base", 2),
}
REGISTERED = """
import late_package

from {package}.{file} import {name}


@{name}.register(late_package.Late)
def _(estimator, *arguments):
    return "known now"
"""


@pytest.mark.parametrize("name", DISPATCHERS)
def test_a_package_is_imported_when_an_estimator_of_it_is_seen(name, monkeypatch, tmp_path):
    dispatcher, package, file, n_arguments = DISPATCHERS[name]
    late = types.ModuleType("late_package")
    late.Late = type("Late", (BaseEstimator,), {"__module__": "late_package"})
    monkeypatch.setitem(sys.modules, "late_package", late)
    code = REGISTERED.format(package=package.__name__, file=file, name=name)
    (tmp_path / "_late.py").write_text(code)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    families = sys.modules[f"{package.__name__}.{file}"]._FAMILIES
    arguments = [None] * n_arguments
    with pytest.raises(TypeError, match="estimator must be"):
        dispatcher(late.Late(), *arguments)
    monkeypatch.setitem(families, "late_package", ("_late",))
    monkeypatch.delitem(sys.modules, f"{package.__name__}._late", raising=False)
    assert dispatcher(late.Late(), *arguments) == "known now"
