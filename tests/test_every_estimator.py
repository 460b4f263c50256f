"""explain takes every classifier and regressor of scikit-learn, or says why not and what to do."""

import inspect

import numpy as np
import pytest
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import all_estimators

from sklearn_provenance import explain

pytestmark = pytest.mark.filterwarnings("ignore")
IRIS, LABELS = (part[::3] for part in load_iris(return_X_y=True))
DIABETES, TARGETS = (part[:60] for part in load_diabetes(return_X_y=True))
DIABETES = np.abs(DIABETES) * 10  # some take no negative numbers
ESTIMATORS = dict(all_estimators(type_filter=["classifier", "regressor"]))

NO_OBJECTIVE = "any other estimator needs features="
KINKS = "(minimises a loss with kinks|must have)"
# Whose estimator inside has no default, although some versions of scikit-learn write one.
NO_DEFAULT = ["SelfTrainingClassifier", "ClassifierChain", "RegressorChain"]
# Message of each refusal; doc/user_guide/which_method.rst says the same in words.
REFUSED = {
    "AdaBoostRegressor": NO_OBJECTIVE,
    "BernoulliNB": NO_OBJECTIVE,
    "CCA": NO_OBJECTIVE,
    "CategoricalNB": NO_OBJECTIVE,
    "ClassifierChain": "Explain its estimators_ one by one",
    "ComplementNB": NO_OBJECTIVE,
    "DummyClassifier": NO_OBJECTIVE,
    "DummyRegressor": NO_OBJECTIVE,
    "GaussianNB": NO_OBJECTIVE,
    "IsotonicRegression": NO_OBJECTIVE,
    "LabelPropagation": NO_OBJECTIVE,
    "LabelSpreading": NO_OBJECTIVE,
    "LinearSVR": 'loss="squared_epsilon_insensitive"',
    "MultinomialNB": NO_OBJECTIVE,
    "NearestCentroid": NO_OBJECTIVE,
    "NuSVC": KINKS,
    "NuSVR": KINKS,
    "OutputCodeClassifier": NO_OBJECTIVE,
    "PLSCanonical": NO_OBJECTIVE,
    "PLSRegression": NO_OBJECTIVE,
    "PassiveAggressiveRegressor": NO_OBJECTIVE,
    "QuadraticDiscriminantAnalysis": NO_OBJECTIVE,
    "RegressorChain": "Explain its estimators_ one by one",
    "SGDClassifier": "one of the losses",
    "SVC": KINKS,
    "SVR": KINKS,
    "VotingClassifier": "Fit it with voting='soft'",
}
WAYS_OUT = ("features=", "Explain its estimators_", "Fit it with", "info_gain", "output=")


def instance(cls):
    """An estimator that fits small data fast."""
    known = inspect.signature(cls).parameters
    inner = LogisticRegression() if issubclass(cls, ClassifierMixin) else Ridge()
    params = {}
    for name in ("estimator", "base_estimator"):
        if name in known and known[name].default is inspect.Parameter.empty:
            params[name] = inner
    if cls.__name__ in NO_DEFAULT:
        params["estimator"] = inner
    if cls.__name__ == "GaussianProcessRegressor":  # without noise no row can be left out
        params["alpha"] = 0.1
    if "estimators" in known:
        params["estimators"] = [("a", inner), ("b", type(inner)())]
    if "random_state" in known:
        params["random_state"] = 0
    if "n_estimators" in known:
        params["n_estimators"] = 3
    if cls.__name__.startswith("MLP"):
        params["max_iter"] = 30
    if cls.__name__ in ("CCA", "PLSCanonical"):
        params["n_components"] = 1
    return cls(**params)


def data_for(estimator):
    """Rows, targets, and the output to explain where there are several."""
    name = type(estimator).__name__
    rows, targets = (IRIS, LABELS) if is_classifier(estimator) else (DIABETES, TARGETS)
    if "Threshold" in name:
        rows, targets = rows[targets > 0], targets[targets > 0]
    if name == "IsotonicRegression":
        rows = rows[:, :1]
    if name.endswith("Chain") or name.startswith(("MultiOutput", "MultiTask")):
        return rows, np.stack([targets, targets[::-1]], 1), 0
    return rows, targets, None


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator(name):
    estimator = instance(ESTIMATORS[name])
    rows, targets, output = data_for(estimator)
    estimator.fit(rows, targets)
    queries = rows[:4]
    arguments = {"k": 3, "training": (rows, targets), "output": output}
    if name in REFUSED:
        with pytest.raises((ValueError, TypeError), match=REFUSED[name]) as caught:
            explain(estimator, queries, **arguments)
        said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
        assert name in said
        assert any(way in said for way in WAYS_OUT)
        return
    found = explain(estimator, queries, **arguments)
    named = found.indices >= 0
    assert named[:, 0].all()
    assert (found.indices < len(rows)).all()
    assert np.isfinite(found.scores[named]).all()
    assert np.isnan(found.scores[~named]).all()
    predicted = np.asarray(estimator.predict(queries))
    if output is not None:
        predicted, targets = predicted[:, output], targets[:, output]
    np.testing.assert_allclose(found.query_labels, predicted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.exemplar_labels[named], targets[found.indices[named]])
    assert found.reason


def test_the_guide_names_those_that_are_refused():
    from pathlib import Path

    guide = Path(__file__).parents[1] / "doc" / "user_guide" / "which_method.rst"
    text = guide.read_text()
    assert [name for name in REFUSED if f"``{name}``" not in text] == []
