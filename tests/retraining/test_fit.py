"""A model that is handed over is the copy that the engine trains."""

import copy

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_provenance.retraining import Recipe, retrain
from sklearn_provenance.retraining._fit import fit_model

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
EVERY_ROW = np.ones((1, 40), bool)


def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2))


@pytest.mark.parametrize("is_function", [False, True])
def test_a_network_is_the_copy_of_its_seed(is_function):
    torch.manual_seed(0)
    model = network if is_function else network()
    before = None if is_function else copy.deepcopy(model.state_dict())
    options = {"recipe": Recipe(max_epochs=3), "device": "cpu"}
    module = fit_model(model, X, y, seed=7, **options)
    copies = retrain(model, X, y, EVERY_ROW, X_eval=X, seeds=[7], **options)
    assert not module.training
    with torch.no_grad():
        np.testing.assert_array_equal(module(torch.from_numpy(X)).numpy(), copies.outputs[0])
    if before is not None:
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_estimator_is_the_copy_of_its_seed():
    forest = RandomForestClassifier(5, random_state=0)
    fitted = fit_model(forest, X, y, seed=3)
    copies = retrain(forest, X, y, EVERY_ROW, X_eval=X, seeds=[3])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(np.log(fitted.predict_proba(X)), copies.outputs[0])
    assert fitted.random_state == 3
    assert not hasattr(forest, "estimators_")


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="must not diverge"):
        fit_model(network(), X, y, recipe=Recipe(lr=1e30), device="cpu")
    with pytest.raises(TypeError, match="model must be a classifier"):
        fit_model(StandardScaler(), X, y)
