"""What single families of models say of themselves, and what they refuse."""

import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, load_linnerud
from sklearn.ensemble import (
    AdaBoostClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from skorch import NeuralNetBinaryClassifier, NeuralNetRegressor
from torch import nn

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance.attribution import (
    BoostInAttributor,
    ForestAttributor,
    models,
    single_output,
)
from sklearn_provenance.attribution.models import FittedModel, _base, _single_output, adapt

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS = IRIS + np.random.default_rng(0).normal(size=IRIS.shape)
LINNERUD, TARGETS = load_linnerud(return_X_y=True)
COUNTS = np.random.default_rng(1).poisson(np.exp(IRIS[:, 0] - IRIS[:, 0].mean()))


# --- boosting of other packages ---


def lightgbm(kind, **params):
    package = pytest.importorskip("lightgbm")
    params = {"n_estimators": 4, "min_child_samples": 8, "verbose": -1, "n_jobs": 1} | params
    return getattr(package, f"LGBM{kind}")(**params)


def xgboost(kind, **params):
    package = pytest.importorskip("xgboost")
    params = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1} | params
    return getattr(package, f"XGB{kind}")(**params)


def raw_outputs(model, X):
    """Outputs as the sums of the values of leaves."""
    trees = adapt(model).trees
    return trees.raw(trees.leaves(X)).numpy()


def test_trees_of_lightgbm_that_are_averaged():
    """In its random forests no tree is added to others: leaves are those of a forest."""
    bagging = {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}
    model = lightgbm("Classifier", **bagging).fit(IRIS, SPECIES)
    leaves = model.predict(IRIS, pred_leaf=True)
    phi = InfoGainAttributor(model, candidates="all").fit(IRIS, SPECIES).transform(IRIS)
    np.testing.assert_allclose(phi @ phi.T, (leaves[:, None] == leaves).mean(2), atol=1e-12)


@pytest.mark.parametrize("params", [{"class_weight": "balanced"}, {"boost_from_average": False}])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_steps_of_lightgbm_are_taken_again(params, n_classes):
    rows = np.flatnonzero(n_classes > SPECIES)[10:]  # classes of several sizes
    X, y = IRIS[rows], SPECIES[rows]
    model = lightgbm("Classifier", **params).fit(X, y)
    attributor = BoostInAttributor(model, candidates="all").fit(X, y)
    expected = model.predict(X, raw_score=True)
    np.testing.assert_allclose(attributor.predict_without(X, []), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"boosting_type": "dart"}, ValueError, "boosting_type of .* must be 'gbdt'"),
        ({"objective": "regression_l1"}, ValueError, "objective of .* must be 'binary'"),
        ({"linear_tree": True}, TypeError, "linear_tree=False"),
    ],
)
def test_what_lightgbm_cannot_be_asked(params, error, message):
    with pytest.raises(error, match=message):
        BoostInAttributor(lightgbm("Regressor", **params)).fit(IRIS, COUNTS)


@pytest.mark.parametrize("objective", ["count:poisson", "reg:gamma", "reg:tweedie"])
def test_outputs_of_xgboost_before_a_logarithmic_link(objective):
    model = xgboost("Regressor", objective=objective).fit(IRIS, COUNTS + 1.0)
    expected = model.predict(IRIS, output_margin=True)
    np.testing.assert_allclose(np.ravel(raw_outputs(model, IRIS)), expected, rtol=1e-5, atol=1e-6)


def test_rounds_after_the_best_do_not_count():
    model = xgboost("Classifier", n_estimators=30, early_stopping_rounds=2, learning_rate=2.0)
    held_out = IRIS[::3], SPECIES[::-3]  # wrong labels: training longer makes it worse
    model.fit(IRIS, SPECIES, eval_set=[held_out], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    expected = model.predict(IRIS, output_margin=True)
    np.testing.assert_allclose(raw_outputs(model, IRIS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"booster": "dart"}, "booster='gbtree', whose trees are added up .*; got 'dart'"),
        ({"booster": "gblinear"}, "got 'gblinear'"),
        (
            {"multi_strategy": "multi_output_tree", "tree_method": "hist"},
            "multi_strategy='one_output_per_tree'; got trees with several outputs",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:xgboost")
def test_what_xgboost_cannot_be_asked(params, message):
    model = xgboost("Classifier", **params).fit(IRIS, SPECIES)
    with pytest.raises(TypeError, match=message):
        adapt(model)


def test_rows_that_stop_a_regressor_have_no_influence():
    model = HistGradientBoostingRegressor(max_iter=5, early_stopping=True, random_state=0)
    influence = BoostInAttributor(model, candidates="all").fit(IRIS, COUNTS).attribute(IRIS)
    assert (influence == 0).all(0).sum() == 15


# --- estimators of scikit-learn ---


def test_boosting_of_other_models_than_trees_only_predicts():
    model = AdaBoostClassifier(LogisticRegression(), n_estimators=3).fit(IRIS, SPECIES)
    adapted = adapt(model)
    assert adapted.trees is None
    np.testing.assert_array_equal(adapted.predict(IRIS), model.predict(IRIS))
    with pytest.raises(TypeError, match="features"):
        InfoGainAttributor(model).fit(IRIS, SPECIES)


def test_rows_of_what_only_predicts_are_as_it_takes_them():
    adapted = adapt(KNeighborsClassifier().fit(IRIS, SPECIES))
    assert type(adapted) is FittedModel
    for X in (IRIS, IRIS.tolist(), torch.as_tensor(IRIS)):
        np.testing.assert_array_equal(adapted.inputs(X), IRIS)
        np.testing.assert_array_equal(adapted.predict(X), adapted.estimator.predict(IRIS))


def test_several_targets_are_not_one_class():
    model = KNeighborsClassifier().fit(IRIS, np.stack([SPECIES, SPECIES[::-1]], 1))
    with pytest.raises(TypeError, match="KNeighborsClassifier was fitted on several targets"):
        adapt(model)


def test_a_forest_that_was_fitted_on_other_rows_is_refused():
    weights = np.linspace(1, 2, 150)
    model = RandomForestClassifier(5, random_state=0).fit(IRIS, SPECIES, sample_weight=weights)
    with pytest.raises(ValueError, match="was trained on 150 rows, and got 100"):
        ForestAttributor(model).fit(IRIS[:100], SPECIES[:100])


def test_one_output_of_a_frozen_estimator():
    ridge = Ridge().fit(LINNERUD, TARGETS)
    plain, frozen = single_output(ridge, 1), single_output(FrozenEstimator(ridge), 1)
    np.testing.assert_allclose(frozen.predict(LINNERUD), ridge.predict(LINNERUD)[:, 1])
    attributors = [InfluenceAttributor(one).fit(LINNERUD, TARGETS[:, 1]) for one in (plain, frozen)]
    np.testing.assert_array_equal(*(one.attribute(LINNERUD) for one in attributors))


def test_one_output_has_the_columns_of_all():
    model = KNeighborsClassifier().fit(IRIS, np.stack([SPECIES, SPECIES[::-1]], 1))
    assert single_output(model, 0).n_features_in_ == 4


# --- networks ---


def skorch(kind, module, **params):
    return kind(module, max_epochs=1, train_split=None, verbose=0, **params)


def test_outputs_of_skorch_are_numbered_from_zero():
    net = skorch(NeuralNetRegressor, nn.Linear(3, 3))
    net.fit(LINNERUD.astype(np.float32), TARGETS.astype(np.float32))
    with pytest.raises(ValueError, match="output must be 0 or more; got -1"):
        single_output(net, -1)


def test_a_network_of_several_targets_predicts_all_of_them():
    X, Y = LINNERUD.astype(np.float32), TARGETS.astype(np.float32)
    net = skorch(NeuralNetRegressor, nn.Linear(3, 3)).fit(X, Y)
    np.testing.assert_array_equal(adapt(net).predict(X), net.predict(X))


def lenient(z):
    """Probabilities (B, 2) that are twice as near to a half."""
    p = torch.sigmoid(z) / 2 + 0.25
    return torch.stack([1 - p, p], 1)


@pytest.mark.parametrize("nonlinearity", ["auto", lenient])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_binary_networks_decide_by_their_own_probability(nonlinearity, threshold):
    torch.manual_seed(0)
    X, y = IRIS[:100].astype(np.float32), SPECIES[:100].astype(np.float32)
    module = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    net = skorch(
        NeuralNetBinaryClassifier, module, predict_nonlinearity=nonlinearity, threshold=threshold
    ).fit(X, y)
    attributor = InfoGainAttributor(net, noise_variance=1.0).fit(X, y)
    np.testing.assert_array_equal(attributor.explain(X, k=1).query_labels, net.predict(X))


def test_a_module_that_takes_neither_kind_of_number_says_why():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        InfoGainAttributor(nn.Linear(5, 3)).fit(np.ones((6, 4), int), [0, 1, 2] * 2)


def test_a_module_without_parameters_predicts():
    X = np.random.default_rng(0).normal(size=(6, 3))
    for rows in (X, torch.as_tensor(X)):
        np.testing.assert_array_equal(adapt(nn.Identity()).predict(rows), X.argmax(1))


def test_forward_gives_a_logit_for_each_class():
    model = LogisticRegression().fit(IRIS, SPECIES)
    attributor = InfoGainAttributor(model, forward=lambda module, x: module(x)[:, :2])
    with pytest.raises(ValueError, match="a logit for each of its 3 classes; got 2 logits"):
        attributor.fit(IRIS, SPECIES)


def test_a_measurement_is_given_numbers():
    attributor = InfoGainAttributor(nn.Linear(4, 1), measurement=lambda out, y: out[:, 0] * y)
    with pytest.raises(ValueError, match="y must hold numbers, because the module"):
        attributor.fit(IRIS, SPECIES.astype(str))


# --- families ---


class Unknown:
    """An estimator of a package that nothing knows yet."""

    classes_ = np.array([0, 1])

    def predict(self, X):
        return np.ones((len(X), 2), int)


FAMILY = """
from tests.attribution.test_model_families import Unknown
from sklearn_provenance.attribution.models import FittedModel, adapt
from sklearn_provenance.attribution.models._single_output import SingleOutput, output_of

@adapt.register(Unknown)
def _(estimator):
    return FittedModel(estimator, classes=estimator.classes_ + 7)

@output_of.register(Unknown)
def _(estimator, output):
    return SingleOutput(estimator, output)
"""


def test_a_family_is_imported_with_the_first_of_it(monkeypatch, tmp_path):
    top = Unknown.__module__.partition(".")[0]
    (tmp_path / "_made_up.py").write_text(FAMILY)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    for module in (_base, _single_output):
        monkeypatch.setitem(module._FAMILIES, top, ("_made_up",))
    try:
        assert single_output(Unknown(), 1).predict(IRIS).shape == (150,)
        assert adapt(Unknown()).classes.tolist() == [7, 8]
    finally:
        sys.modules.pop(f"{models.__name__}._made_up", None)
