"""Copies that predict numbers: clones of regressors and networks, against direct fits."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetRegressor
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.retraining import Recipe, iter_retrain, retrain

from ..checks import thorough
from .conftest import random_masks, reference


def rows(n=40, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)).astype(dtype)
    y = (10 + X @ rng.normal(size=5) + 0.3 * rng.normal(size=n)).astype(dtype)
    return X, y, rng.normal(size=(7, 5)).astype(dtype)


def regressor_network(outputs=1):
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


class Flat(nn.Module):
    """Gives one number for each row without a second axis."""

    def __init__(self):
        super().__init__()
        self.inner = regressor_network()

    def forward(self, x):
        return self.inner(x)[:, 0]


@pytest.mark.parametrize(
    "model",
    [
        Ridge(),
        make_pipeline(StandardScaler(), LinearRegression()),
        RandomForestRegressor(5, random_state=7),
        MLPRegressor(max_iter=30, random_state=1),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("n_jobs", [None, *thorough(2)])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_predictions_are_those_of_direct_fits(model, n_jobs):
    X, y, X_eval = rows()
    masks = random_masks(3, 40)
    result = retrain(model, X, y, masks, X_eval=X_eval, n_jobs=n_jobs)
    assert result.classes is None
    expected = [clone(model).fit(X[m], y[m]).predict(X_eval) for m in masks]
    np.testing.assert_allclose(result.outputs, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="copies predict numbers"):
        result.margins()


def test_seeds_reach_estimators_with_and_without_a_random_state():
    X, y, X_eval = rows(dtype=np.float32)
    masks = np.ones((3, 40), bool)
    net = NeuralNetRegressor(
        nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.2), nn.ReLU(), nn.Linear(4, 1)),
        max_epochs=3, train_split=None, verbose=0, iterator_train__shuffle=True,
    )  # fmt: skip
    targets = {RandomForestRegressor: y, NeuralNetRegressor: y[:, None]}
    for model in (RandomForestRegressor(5), net):
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        outputs = retrain(
            model, X, targets[type(model)], masks, X_eval=X_eval, seeds=[3, 5, 3]
        ).outputs
        assert outputs.shape == (3, 7)
        np.testing.assert_array_equal(outputs[0], outputs[2])
        assert (outputs[0] != outputs[1]).any()
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_targets_that_torch_would_broadcast_are_refused():
    X, y, X_eval = rows(dtype=np.float32)
    net = NeuralNetRegressor(nn.Linear(5, 1), max_epochs=1, train_split=None, verbose=0)
    masks = np.ones((1, 40), bool)
    with (
        pytest.warns(UserWarning, match="different to the input size"),
        pytest.raises(ValueError, match=r"as many dimensions as the outputs .*reshape"),
    ):
        retrain(net, X, y, masks, X_eval=X_eval)


@pytest.mark.parametrize("make", [regressor_network, Flat])
@pytest.mark.parametrize("group_size", [1, 4])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("squared_error", nn.MSELoss()),
        ("absolute_error", nn.L1Loss()),
        ("huber", nn.HuberLoss()),
    ],
)
def test_networks_are_those_that_pytorch_trains(name, loss, group_size, make):
    X, y, X_eval = (torch.from_numpy(a) for a in rows())
    recipe = Recipe(loss=name, lr=0.02, max_epochs=3, batch_size=8)
    masks = random_masks(4, 40)
    options = {"recipe": recipe, "group_size": group_size, "device": "cpu"}
    result = retrain(make(), X, y.numpy()[:, None], masks, X_eval=X_eval, **options)
    assert result.outputs.shape == (4, 7)
    assert result.classes is None

    def column_loss(outputs, targets):
        return loss(outputs[:, 0], targets)

    module = regressor_network()
    expected = [reference(module, X, y, m, X_eval, recipe, loss=column_loss)[:, 0] for m in masks]
    np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)


def test_copies_that_diverge_are_nan():
    X, y, X_eval = rows()
    recipe = Recipe(loss="squared_error", lr=1e6, max_epochs=10, batch_size=4)
    masks = np.ones((2, 40), bool)
    with pytest.warns(UserWarning, match=r"copies \[0, 1\] diverged"):
        outputs = retrain(
            nn.Linear(5, 1).double(), X, y, masks, X_eval=X_eval, recipe=recipe
        ).outputs
    assert np.isnan(outputs).all()


class CountsRows:
    """Knows on how many rows it was trained."""

    def fit(self, X, y):
        self.few_ = len(X) < 40
        return super().fit(X, y)


class Overflows(CountsRows, Ridge):
    def predict(self, X):
        return super().predict(X) + (np.inf if self.few_ else 0)


class Undecided(CountsRows, LogisticRegression):
    def decision_function(self, X):
        return super().decision_function(X) * (np.nan if self.few_ else 1)


@pytest.mark.parametrize("cls", [Overflows, Undecided])
def test_clones_whose_outputs_are_not_finite_are_nan_and_named(cls):
    X, y, X_eval = rows()
    y = y if cls is Overflows else y > np.median(y)
    masks = np.ones((3, 40), bool)
    masks[1, :5] = False
    with pytest.warns(UserWarning, match=r"copies \[1\] diverged"):
        outputs = retrain(cls(), X, y, masks, X_eval=X_eval).outputs
    assert np.isnan(outputs[1]).all()
    assert np.isfinite(outputs[[0, 2]]).all()


def test_targets_may_be_a_tensor():
    X, y, X_eval = rows()
    masks = random_masks(2, 40)
    expected = retrain(Ridge(), X, y, masks, X_eval=X_eval).outputs
    found = retrain(Ridge(), X, torch.tensor(y, requires_grad=True), masks, X_eval=X_eval)
    np.testing.assert_array_equal(found.outputs, expected)


class Pairs(Ridge):
    """Predicts two numbers for each row."""

    def predict(self, X):
        return np.stack([super().predict(X)] * 2, 1)


def test_a_store_resumes_and_knows_the_loss(tmp_path):
    X, y, X_eval = rows()
    masks = random_masks(4, 40)
    options = {"X_eval": X_eval, "recipe": Recipe(loss="squared_error"), "store": tmp_path}
    options |= {"group_size": 2, "device": "cpu"}
    copies = iter_retrain(regressor_network(), X, y, masks, **options)
    next(copies)
    copies.close()
    stored = retrain(regressor_network(), X, y, masks, **options)
    fresh = retrain(regressor_network(), X, y, masks, **options | {"store": None})
    np.testing.assert_array_equal(stored.outputs, fresh.outputs)
    with pytest.raises(ValueError, match=r"another call.*recipe"):
        retrain(regressor_network(), X, y, masks, **options | {"recipe": Recipe(loss="huber")})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.ones((40, 2))}, ValueError, r"one number for each row of X, got shape \(40, 2\)"),
        ({"y": np.full(40, np.inf)}, ValueError, "finite numbers"),
        ({"y": ["a"] * 40}, ValueError, "must be numbers"),
        ({"evaluate": "margin"}, ValueError, "needs classes, but the copies predict numbers"),
    ],
)
@pytest.mark.parametrize("model", [Ridge(), "network"])
def test_targets_that_do_not_fit_are_refused(model, change, error, message):
    X, y, X_eval = rows()
    arguments = {"X": X, "y": y, "X_eval": X_eval, "masks": np.ones((2, 40), bool)} | change
    if model == "network":
        model = regressor_network()
        arguments["recipe"] = Recipe(loss="squared_error")
    with pytest.raises(error, match=message):
        retrain(model, **arguments)


def test_models_that_do_not_fit_are_refused():
    X, y, X_eval = rows()
    arguments = {"X": X, "y": y, "masks": np.ones((2, 40), bool), "X_eval": X_eval}
    with pytest.raises(ValueError, match=r"one number for each row .*got shape \(2, 3\)"):
        retrain(regressor_network(3), recipe=Recipe(loss="squared_error"), **arguments)
    with pytest.raises(ValueError, match=r"Pairs must predict one number .* of shape \(7, 2\)"):
        retrain(Pairs(), **arguments)
    squared = Recipe(loss="squared_error")
    for outputs in (lambda m, x: {"mean": m(x)}, lambda m, x: m(x)[..., None]):
        with pytest.raises((TypeError, ValueError), match="The network must give"):
            retrain(regressor_network(), recipe=squared, forward=outputs, **arguments)
    with pytest.raises(TypeError, match=r"an attributor, InfluenceAttributor\. Pass"):
        retrain(InfluenceAttributor(Ridge()).fit(X, y), **arguments)
    with pytest.raises(TypeError, match="an attributor"):
        retrain(InfluenceAttributor(LogisticRegression()).fit(X, y > 10), **arguments)
    with pytest.raises(ValueError, match="recipe concern networks"):
        retrain(Ridge(), recipe=Recipe(loss="squared_error"), **arguments)
    with pytest.raises(ValueError, match="'loss' parameter of Recipe"):
        Recipe(loss="poisson")
