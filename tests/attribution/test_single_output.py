"""Estimators with several outputs are explained one at a time, as if it were the only one."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_linnerud
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    Lars,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from skorch import NeuralNetRegressor
from torch import nn

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, ProvenanceRegressor, explain
from sklearn_provenance.attribution import ForestAttributor, RandomAttributor, single_output

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
X, Y = load_linnerud(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
QUERIES = X[::7] + 0.1

ALONE = {
    "least squares": LinearRegression(),
    "ridge": Ridge(np.array([0.5, 1.0, 20.0])),
    "ridge CV": RidgeCV([0.1, 1.0, 10.0], alpha_per_target=True),
    "elastic net": ElasticNet(0.5),
    "kernel ridge": KernelRidge(alpha=[0.5, 1.0, 2.0], kernel="rbf"),
    "process": GaussianProcessRegressor(
        ConstantKernel(1.0, "fixed") * RBF(1.0, "fixed"), alpha=0.1, normalize_y=True
    ),
    "several": MultiOutputRegressor(Ridge()),
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
    "search": GridSearchCV(Ridge(), {"alpha": [1, 10]}),
}


def alone(model, output):
    """The same estimator, fitted on one target."""
    if isinstance(model, MultiOutputRegressor):
        model = model.estimator
    if isinstance(model, GridSearchCV):
        model = model.best_estimator_
    for name in ("alpha", "alpha_"):
        penalties = getattr(model, name, None)
        if np.ndim(penalties) == 1 and not isinstance(penalties, str):
            single = Ridge if isinstance(model, RidgeCV) else type(model)
            params = {} if isinstance(model, RidgeCV) else model.get_params()
            return single(**params | {"alpha": penalties[output]}).fit(X, Y[:, output])
    return clone(model).fit(X, Y[:, output])


@pytest.mark.parametrize("name", ALONE)
def test_influence_is_that_of_a_fit_on_the_target_alone(name):
    model = clone(ALONE[name]).fit(X, Y)
    for output in range(3):
        found = single_output(model, output)
        expected = alone(model, output)
        np.testing.assert_allclose(found.predict(QUERIES), model.predict(QUERIES)[:, output])
        np.testing.assert_allclose(found.predict(QUERIES), expected.predict(QUERIES), rtol=1e-3)
        np.testing.assert_allclose(
            InfluenceAttributor(found).fit(X, Y[:, output]).attribute(QUERIES),
            InfluenceAttributor(expected).fit(X, Y[:, output]).attribute(QUERIES),
            rtol=1e-3,
            atol=1e-3,
        )
    assert model.predict(QUERIES).shape == (3, 3)  # it is not changed


def test_lars_and_shared_penalties_are_linear_in_their_rows():
    expected = InfoGainAttributor(LinearRegression()).fit(X, Y[:, 1]).explain(QUERIES, k=3)
    for model in (Lars(), MultiTaskLasso(0.5)):
        single = single_output(model.fit(X, Y), 1)
        found = InfoGainAttributor(single).fit(X, Y[:, 1]).explain(QUERIES, k=3)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.query_labels, model.predict(QUERIES)[:, 1])
    with pytest.raises(TypeError, match="estimator must be an estimator that minimises"):
        InfluenceAttributor(single).fit(X, Y[:, 1])


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(6, random_state=0),
        ExtraTreesRegressor(5, bootstrap=False, min_samples_leaf=4, random_state=0),
        DecisionTreeRegressor(max_depth=2),
        KNeighborsRegressor(4, weights="distance"),
        make_pipeline(StandardScaler(), RandomForestRegressor(4, random_state=0)),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("output", [0, 2])
def test_weights_times_targets_are_the_output(model, output):
    model = clone(model).fit(X, Y)
    found = explain(model, QUERIES, k=20, training=(X, Y), output=output)
    used = np.where(found.indices >= 0, found.indices, 0)
    total = (np.nan_to_num(found.scores) * Y[used, output]).sum(1)
    np.testing.assert_allclose(total, model.predict(QUERIES)[:, output])
    np.testing.assert_allclose(found.query_labels, model.predict(QUERIES)[:, output])
    assert f"output {output} of " in found.reason


test_weights_times_targets_are_the_output = pytest.mark.filterwarnings(
    "ignore:.*have fewer than k=20"
)(test_weights_times_targets_are_the_output)


def test_classes_of_one_of_several_targets():
    labels = np.stack([Y[:, 0] > 176, np.digitize(Y[:, 1], [34, 37])], 1).astype(int)
    names = np.where(labels[:, 1] == 0, "slim", np.where(labels[:, 1] == 1, "medium", "wide"))
    several = np.stack([labels[:, 0].astype(str), names], 1)
    for model in (
        ExtraTreesClassifier(4, min_samples_leaf=3, random_state=0),
        KNeighborsClassifier(5),
        MultiOutputClassifier(LogisticRegression()),
    ):
        model = clone(model).fit(X, several)
        found = explain(model, QUERIES, k=2, training=(X, several), output=1)
        np.testing.assert_array_equal(found.query_labels, model.predict(QUERIES)[:, 1])
        np.testing.assert_array_equal(found.exemplar_labels, names[found.indices])
    forest = ExtraTreesClassifier(4, random_state=0).fit(X, several)
    weights = ForestAttributor(single_output(forest, 1)).fit(X, names).weights(QUERIES)
    np.testing.assert_allclose(
        weights @ (names[:, None] == forest.classes_[1]), forest.predict_proba(QUERIES)[1]
    )


def perceptron():
    return MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0).fit(X, Y)


def skorch():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    model = NeuralNetRegressor(module, max_epochs=3, verbose=0, train_split=None)
    return model.fit(X.astype(np.float32), Y.astype(np.float32))


def provenance():
    return ProvenanceRegressor(backbone=backbone, max_epochs=3, random_state=0).fit(X, Y)


def backbone():
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh())


def parameters_of(model):
    if isinstance(model, MLPRegressor):
        return [p for pair in zip(model.coefs_, model.intercepts_, strict=True) for p in pair]
    module = model.module_ if isinstance(model, NeuralNetRegressor) else model.net_.module_
    named = module.named_parameters()
    return [p.detach().numpy() for name, p in named if "index" not in name]


@pytest.mark.parametrize("make", [perceptron, skorch, provenance], ids=lambda f: f.__name__)
def test_features_of_networks_are_gradients_of_the_output(make):
    model, rows = make(), X.astype(np.float32)
    attributor = InfoGainAttributor(single_output(model, 2)).fit(rows, Y[:, 2])
    columns, step = [], 1e-3
    for parameter in parameters_of(model):
        flat = parameter.reshape(-1)
        for place in range(flat.size):
            value, predictions = flat[place], []
            for sign in (1, -1):
                flat[place] = value + sign * step
                predictions.append(np.asarray(model.predict(rows), dtype=np.float64)[:, 2])
            flat[place] = value
            columns.append((predictions[0] - predictions[1]) / (2 * step))
    expected = np.stack(columns, 1)
    found = attributor.transform(rows)
    scale = np.abs(expected @ expected.T).max()
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=3e-3 * scale)
    again = pickle.loads(pickle.dumps(attributor)).explain(rows[:2], k=3)
    np.testing.assert_array_equal(again.indices, attributor.explain(rows[:2], k=3).indices)
    np.testing.assert_allclose(again.query_labels, model.predict(rows[:2])[:, 2], rtol=1e-6)
    assert again.targets == "numbers"


def test_a_provenance_network_explains_all_outputs_by_itself():
    model = provenance()
    assert explain(model, X[:2], k=3).method == "regression network"
    with pytest.raises(ValueError, match="output must be None, because ProvenanceRegressor"):
        explain(model, X[:2], training=(X, Y), output=1)
    found = explain(model, X[:2], training=(X, Y), output=1, method="info_gain")
    np.testing.assert_array_equal(found.exemplar_labels, Y[found.indices, 1])


@pytest.mark.parametrize(
    ("model", "output", "error", "message"),
    [
        (Ridge(), None, ValueError, "Ridge was fitted on 3 targets; pass output="),
        (Ridge(), 3, ValueError, "between 0 and 2, the outputs of Ridge; got 3"),
        (Ridge(), -1, ValueError, "between 0 and 2"),
        (Ridge(), 1.0, TypeError, r"must be an integer, got 1\.0"),
        (MultiOutputRegressor(Ridge()), 7, ValueError, "got 7"),
    ],
)
def test_refusals(model, output, error, message):
    model = clone(model).fit(X, Y)
    with pytest.raises(error, match=message):
        explain(model, X[:2], training=(X, Y), output=output)


def test_refusals_of_what_has_no_such_output():
    labels = (np.median(Y, 0) < Y).astype(int)
    chain = ClassifierChain(LogisticRegression()).fit(X, labels)
    with pytest.raises(TypeError, match=r"Explain its estimators_ one by one"):
        explain(chain, X[:2], training=(X, labels), output=1)
    with pytest.raises(TypeError, match="must have several outputs; this Ridge has one"):
        single_output(Ridge().fit(X, Y[:, 0]), 0)
    with pytest.raises(TypeError, match="For a module pass measurement="):
        single_output(nn.Linear(3, 2), 0)
    with pytest.raises(ValueError, match=r"output=1 needs .* got shape \(20,\)"):
        explain(Ridge().fit(X, Y[:, 0]), X[:2], training=(X, Y[:, 0]), output=1)
    with pytest.raises(ValueError, match="output 5 must be a column"):
        InfoGainAttributor(single_output(skorch(), 5)).fit(X.astype(np.float32), Y[:, 0])
    single = single_output(perceptron(), 1)
    with pytest.raises(TypeError, match="is fitted already"):
        RandomAttributor(single, prefit=False).fit(X, Y[:, 1])
    for attributor in (InfluenceAttributor(Ridge()), InfoGainAttributor(perceptron())):
        with pytest.raises(ValueError, match=r"got an array of shape \(20, 3\) .* single_output\("):
            attributor.fit(X, Y)
