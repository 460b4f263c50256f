"""Networks that predict numbers: φ is the gradient of the output, whatever the target."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetRegressor
from torch import nn

from sklearn_provenance import (
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    ProvenanceRegressor,
    TangentFeatures,
    explain,
)
from sklearn_provenance.attribution import (
    EKFACAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

from ..checks import thorough

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
X, Y = load_diabetes(return_X_y=True)
X, Y = (X[:80] * 20).astype(np.float32), (Y[:80] / 50).astype(np.float32)
QUERIES = X[::20]


def mlp(**params):
    params = {"hidden_layer_sizes": (4,), "max_iter": 50, "random_state": 0} | params
    return MLPRegressor(**params).fit(X.astype(np.float64), Y)


def skorch(**params):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 1))
    params = {"max_epochs": 3, "verbose": 0, "train_split": None} | params
    return NeuralNetRegressor(module, **params).fit(X, Y[:, None])


def backbone():
    return nn.Sequential(nn.Linear(10, 3), nn.Tanh())


def provenance(**params):
    params = {"backbone": backbone, "max_epochs": 3, "random_state": 0} | params
    # Targets far from those that the network standardises.
    return ProvenanceRegressor(**params).fit(X, 100 + 10 * Y)


MODELS = {
    "MLPRegressor": mlp,
    "pipeline": lambda: make_pipeline(StandardScaler(), mlp()).fit(X, Y),
    "skorch": skorch,
    "provenance": provenance,
}


def gradients(model, rows):
    """Derivatives (n, P) of predictions by central differences, one parameter at a time."""
    if isinstance(model, ProvenanceRegressor):
        named = model.net_.module_.named_parameters()
        parameters = [p.detach().numpy() for name, p in named if "index" not in name]
    elif isinstance(model, NeuralNetRegressor):
        parameters = [p.detach().numpy() for p in model.module_.parameters()]
    else:
        parameters = [p for pair in zip(model.coefs_, model.intercepts_, strict=True) for p in pair]
    columns, step = [], 1e-3
    for parameter in parameters:
        flat = parameter.reshape(-1)
        for place in range(flat.size):
            value, predictions = flat[place], []
            for sign in (1, -1):
                flat[place] = value + sign * step
                predictions.append(np.ravel(model.predict(rows)).astype(np.float64))
            flat[place] = value
            columns.append((predictions[0] - predictions[1]) / (2 * step))
    return np.stack(columns, 1)


@pytest.mark.parametrize("make", [mlp, lambda: mlp(activation="tanh"), skorch, provenance])
def test_features_are_the_gradients_of_predictions(make):
    model = make()
    attributor = InfoGainAttributor(model).fit(X, Y)
    expected = gradients(model, QUERIES)
    found = attributor.transform(QUERIES)
    tolerance = 1e-6 if isinstance(model, MLPRegressor) else 2e-3  # single precision
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1), rtol=tolerance
    )
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=tolerance)


def test_a_provenance_network_is_explained_by_a_method_that_is_asked_for():
    model = provenance()
    found = explain(model, QUERIES, k=3, training=(X, Y), method="info_gain")
    expected = InfoGainAttributor(model).fit(X, Y).explain(QUERIES, k=3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    assert explain(model, QUERIES, k=3).method == "regression network"


@pytest.mark.skipif("loss" not in MLPRegressor().get_params(), reason="scikit-learn is too old")
def test_counts_are_measured_after_the_inverse_link():
    model = mlp(loss="poisson")
    found = InfoGainAttributor(model).fit(X, Y).transform(QUERIES)
    expected = gradients(model, QUERIES)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-5)


@pytest.mark.parametrize(
    "cls", [InfoGainAttributor, RelatIFAttributor, *thorough(InfoLossAttributor)]
)
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_rows_of_ones_own(name, cls):
    model = MODELS[name]()
    found = cls(model).fit(X, Y)
    expected = cls(model, features=found.transform).fit(X, Y)
    a, b = found.explain(QUERIES, k=4), expected.explain(QUERIES, k=4)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.scores, b.scores, rtol=1e-4)
    np.testing.assert_allclose(a.query_labels, np.ravel(model.predict(QUERIES)))
    np.testing.assert_array_equal(a.exemplar_labels, Y[a.indices])
    assert a.targets == "numbers"
    np.testing.assert_allclose(
        found.attribute(QUERIES), expected.attribute(QUERIES), rtol=1e-3, atol=1e-6
    )
    np.testing.assert_allclose(
        found.score(QUERIES, Y[::20]), expected.score(QUERIES, Y[::20]), rtol=1e-4
    )
    again = pickle.loads(pickle.dumps(found)).explain(QUERIES, k=4)
    np.testing.assert_array_equal(again.indices, a.indices)
    loo = found.explain(k=2)
    assert not (loo.indices == np.arange(len(X))[:, None]).any()


@pytest.mark.parametrize("name", MODELS)
def test_sketched_features(name):
    sketch = TangentFeatures(n_components=2048, random_state=0)
    model = MODELS[name]()
    found = InfoGainAttributor(model, features=sketch).fit(X, Y).transform(QUERIES)
    exact = InfoGainAttributor(model).fit(X, Y).transform(QUERIES)
    np.testing.assert_allclose(
        found @ found.T, exact @ exact.T, rtol=0.2, atol=0.05 * (exact**2).sum(1).max()
    )


def test_a_measurement_of_ones_own():
    model = skorch()
    loss = lambda outputs, targets: (outputs[:, 0] - targets).square()  # noqa: E731
    attributor = InfoGainAttributor(model, measurement=loss).fit(X, Y)
    found = attributor._queries(QUERIES, Y[::20]).matrix().numpy()
    residual = np.ravel(model.predict(QUERIES)) - Y[::20]
    expected = 2 * residual[:, None] * InfoGainAttributor(model).fit(X, Y).transform(QUERIES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="y must be given"):
        attributor.explain(QUERIES)


def test_weights_that_change_are_refused():
    model = skorch()
    attributor = InfoGainAttributor(model).fit(X, Y)
    attributor.explain(QUERIES)
    model.partial_fit(X, Y[:, None])
    with pytest.raises(ValueError, match="have changed since"):
        attributor.explain(QUERIES)


def linear_network():
    """A network whose tangent features are [x; 1], its rows with a 1, and its residuals."""
    torch.manual_seed(0)
    module = nn.Linear(10, 1, dtype=torch.float64)
    rows, targets = X.astype(np.float64), Y.astype(np.float64)
    settings = {"max_epochs": 3, "verbose": 0, "train_split": None}
    model = NeuralNetRegressor(module, **settings).fit(rows, targets[:, None])
    return (
        model,
        np.hstack([rows, np.ones((len(rows), 1))]),
        targets - np.ravel(model.predict(rows)),
    )


@pytest.mark.parametrize(
    "cls", [GradDotAttributor, TRAKAttributor, EKFACAttributor, LastLayerAttributor]
)
def test_baselines_by_their_definitions_on_a_linear_network(cls):
    model, phi, residual = linear_network()
    moment = phi.T @ phi
    settings = {}
    if cls is GradDotAttributor:
        solved = phi
    elif cls is TRAKAttributor:
        settings = {"n_components": "exact", "ridge": 2.0}
        solved = np.linalg.solve(moment + 2 * np.eye(11), phi.T).T
    elif cls is EKFACAttributor:
        settings = {"damping": 0.3}
        solved = np.linalg.solve(moment / len(phi) + 0.3 * np.eye(11), phi.T).T
    else:
        damping = 0.1 * np.diag(moment).mean()
        solved = np.linalg.solve(moment + damping * np.eye(11), phi.T).T
    attributor = cls(model, **settings).fit(phi[:, :10], Y)
    found = attributor.attribute(phi[::20, :10])
    np.testing.assert_allclose(found, phi[::20] @ (solved * residual[:, None]).T, rtol=1e-6)
    explained = attributor.explain(phi[:3, :10], k=4)
    np.testing.assert_allclose(explained.query_labels, np.ravel(model.predict(phi[:3, :10])))
    assert explained.targets == "numbers"


def test_the_empirical_fisher_matrix_of_a_regressor():
    model, phi, residual = linear_network()
    fisher = (phi * residual[:, None] ** 2).T @ phi / len(phi)
    solved = np.linalg.solve(fisher + 0.3 * np.eye(11), phi.T).T
    attributor = EKFACAttributor(model, damping=0.3, fisher="empirical").fit(phi[:, :10], Y)
    expected = phi[::20] @ (solved * residual[:, None]).T
    np.testing.assert_allclose(attributor.attribute(phi[::20, :10]), expected, rtol=1e-6)


def test_representer_values_are_shares_of_the_output():
    model, phi, residual = linear_network()
    attributor = LastLayerAttributor(model, kind="representer").fit(phi[:, :10], Y)
    found = attributor.attribute(phi[::20, :10])
    np.testing.assert_allclose(found, phi[::20, :10] @ (phi[:, :10] * residual[:, None]).T)


def test_training_rows_without_their_own_curvature():
    model, phi, residual = linear_network()
    moment = phi.T @ phi
    damping = 0.1 * np.diag(moment).mean()
    attributor = LastLayerAttributor(model).fit(phi[:, :10], Y)
    found = attributor.explain(k=1)
    for row in range(0, len(phi), 9):
        rest = moment + damping * np.eye(11) - np.outer(phi[row], phi[row])
        scores = phi[row] @ np.linalg.solve(rest, (phi * residual[:, None]).T)
        scores[row] = -np.inf
        assert found.indices[row, 0] == scores.argmax()
        np.testing.assert_allclose(found.scores[row, 0], scores.max(), rtol=1e-6)


BASELINES = [
    *(EKFACAttributor, GradDotAttributor, LastLayerAttributor, RandomAttributor),
    *(RepSimAttributor, TRAKAttributor),
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cls", [*BASELINES[:3], *thorough(*BASELINES[3:])])
def test_baselines_explain_numbers(name, cls):
    model = MODELS[name]()
    targets = np.ravel(model.predict(X)) + np.linspace(-1, 1, len(X))
    attributor = cls(model).fit(X, targets)
    found = attributor.explain(QUERIES, k=3)
    np.testing.assert_allclose(found.query_labels, np.ravel(model.predict(QUERIES)), rtol=1e-6)
    assert found.targets == "numbers"
    assert np.isfinite(attributor.attribute(QUERIES)).all()
    loo = attributor.explain(k=2)
    assert not (loo.indices == np.arange(len(X))[:, None]).any()
    again = pickle.loads(pickle.dumps(attributor)).explain(QUERIES, k=3)
    np.testing.assert_array_equal(again.indices, found.indices)


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_gives_the_output_in_its_units(name):
    """A step on a row through the last layer moves the output as the score says."""
    model = MODELS[name]()
    attributor = LastLayerAttributor(model, kind="representer").fit(X, Y)
    rule = attributor._rule_at(None, everything=True)
    logits = rule._logits(rule.points).numpy()[:, 0]
    np.testing.assert_allclose(logits, np.ravel(model.predict(X)), rtol=1e-4)


def test_several_models_of_a_regression():
    models = [mlp(random_state=seed) for seed in range(3)]
    attributor = TRAKAttributor(models, n_components=16).fit(X, Y)
    found = attributor.explain(QUERIES, k=3)
    expected = np.mean([model.predict(QUERIES) for model in models], 0)
    np.testing.assert_allclose(found.query_labels, expected)


@pytest.mark.parametrize("cls", [EKFACAttributor, GradDotAttributor, TRAKAttributor])
def test_baselines_refuse_regressors_without_a_network(cls):
    with pytest.raises(TypeError, match=r"estimator must be|must have gradients"):
        cls(Ridge().fit(X, Y)).fit(X, Y)


@pytest.mark.parametrize(
    "attributor",
    [
        RandomAttributor(mlp),
        InfoGainAttributor(mlp, features=lambda rows: rows),
        InfoGainAttributor(mlp),
    ],
    ids=["random", "own rows", "gradients"],
)
def test_predictions_that_are_not_finite_are_named(attributor):
    model = mlp()
    model.coefs_[0][0, 0] = np.nan
    attributor = clone(attributor).set_params(estimator=model)
    with pytest.raises(
        ValueError, match=r"(predictions|outputs) must be finite; those of rows .* are not"
    ):
        attributor.fit(X, Y).explain(QUERIES)


def test_several_outputs_are_refused():
    model = MLPRegressor(hidden_layer_sizes=(4,), max_iter=5).fit(X, np.stack([Y, Y], 1))
    with pytest.raises(ValueError, match=r"must have one output; got 2.*single_output"):
        InfoGainAttributor(model).fit(X, Y)
    wide = NeuralNetRegressor(nn.Linear(10, 2), max_epochs=1, verbose=0, train_split=None)
    wide.fit(X, np.stack([Y, Y], 1))
    with pytest.raises(ValueError, match="a regressor must have one output; got 2"):
        InfoGainAttributor(wide).fit(X, Y)


@pytest.mark.parametrize("cls", [InfoGainAttributor, GradDotAttributor, InfluenceAttributor])
@pytest.mark.parametrize("is_inside", [False, True])
def test_networks_of_skorch_are_fitted_on_targets_as_they_are_given(cls, is_inside):
    """A column; flat, torch would compare each output with the targets of all rows."""

    def unfitted():
        torch.manual_seed(0)
        network = NeuralNetRegressor(
            nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)),
            max_epochs=3,
            verbose=0,
            train_split=None,
        )
        return make_pipeline(StandardScaler(), network) if is_inside else network

    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 1))
    targets = targets.astype(np.float32)
    estimator = unfitted()
    expected = unfitted().fit(rows, targets).predict(rows)
    torch.manual_seed(0)
    attributor = cls(estimator).fit(rows, targets)
    np.testing.assert_array_equal(attributor.estimator_.predict(rows), expected)
    assert attributor.training_.y.shape == (20,)


def test_a_regressor_has_no_margin():
    with pytest.raises(TypeError, match='measurement="margin" compares classes, but MLPRegressor'):
        InfoGainAttributor(mlp(), measurement="margin").fit(X, Y)


class Exponential(nn.Module):
    """No multiple of what the last layer gives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(10, 1)

    def forward(self, x):
        return self.layer(x).exp()


def test_outputs_that_are_not_those_of_the_last_layer_are_refused():
    model = NeuralNetRegressor(Exponential(), max_epochs=0, verbose=0, train_split=None)
    model.fit(X, Y[:, None])
    with pytest.raises(ValueError, match=r"must be that of the last layer, W z \+ b"):
        LastLayerAttributor(model).fit(X, Y)
