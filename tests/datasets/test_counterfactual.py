"""The shipped truth is what the models do."""

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_provenance.datasets import load_counterfactual_truth


def margin(decision, labels):
    """log(p / (1 - p)) of labels, from a decision function."""
    if decision.ndim == 1:
        return np.where(labels == 1, decision, -decision)
    own = decision[np.arange(len(labels)), labels]
    others = np.where(np.arange(decision.shape[1]) == labels[:, None], -np.inf, decision)
    return own - np.logaddexp.reduce(others, axis=1)


@pytest.mark.parametrize("data", ["digits", "breast_cancer"])
def test_margins_are_those_of_the_model_fitted_on_a_half(data):
    truth = load_counterfactual_truth(data)
    for i in (0, 57):
        model = clone(truth.estimator).fit(truth.data[truth.masks[i]], truth.target[truth.masks[i]])
        expected = margin(model.decision_function(truth.queries), truth.query_target)
        np.testing.assert_allclose(truth.margins[i, 0], expected, rtol=0.02, atol=0.02)


def test_outputs_are_those_of_the_regressor_fitted_on_a_half():
    truth = load_counterfactual_truth("diabetes", "ridge")
    model = clone(truth.estimator).fit(truth.data[truth.masks[57]], truth.target[truth.masks[57]])
    np.testing.assert_allclose(truth.margins[57, 0], model.predict(truth.queries), atol=1e-5)
    assert abs(truth.target.mean()) < 1e-9
    assert truth.target.std() == pytest.approx(1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_initialisations_of_a_network_are_its_random_states():
    truth = load_counterfactual_truth("breast_cancer", "mlp")
    mask = truth.masks[3]
    for repeat in (0, 4):
        model = clone(truth.estimator).set_params(random_state=repeat)
        p = model.fit(truth.data[mask], truth.target[mask]).predict_proba(truth.queries)
        own = p[np.arange(len(p)), truth.query_target]
        expected = np.log(own / (1 - own))
        # Training amplifies how a machine rounds; another initialisation differs by more.
        error = np.median(np.abs(truth.margins[3, repeat] - expected))
        spread = np.median(np.abs(truth.margins[3, 1] - expected))
        assert error < 0.05 < spread


@pytest.mark.parametrize(
    ("data", "model"),
    [
        ("digits", "logistic_regression"),
        ("digits", "mlp"),
        ("breast_cancer", "logistic_regression"),
        ("breast_cancer", "mlp"),
        ("diabetes", "ridge"),
    ],
)
def test_shapes_and_halves(data, model):
    truth = load_counterfactual_truth(data, model)
    n, repeats = len(truth.data), 5 if model == "mlp" else 1
    assert truth.masks.shape == (100, n)
    assert truth.margins.shape == (100, repeats, 100)
    assert truth.target.shape == (n,)
    assert truth.queries.shape == (100, truth.data.shape[1])
    assert truth.query_target.shape == (100,)
    assert (truth.masks.sum(1) == n // 2).all()
    assert np.isfinite(truth.margins).all()
    assert "benchmarks/counterfactual_truth.py" in truth.DESCR


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="data must be"):
        load_counterfactual_truth("iris")
    with pytest.raises(ValueError, match="model must be"):
        load_counterfactual_truth("digits", "forest")
    with pytest.raises(ValueError, match=r"one of \['ridge'\] for 'diabetes'"):
        load_counterfactual_truth("diabetes")
