"""Attributors of a list of models against the same attributor of each."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor
from torch import nn

from sklearn_provenance import InfluenceAttributor, TangentFeatures
from sklearn_provenance import attribution as att

AVERAGING = [
    att.RepSimAttributor,
    att.GradDotAttributor,
    att.LastLayerAttributor,
    att.EKFACAttributor,
    att.RelatIFAttributor,
]
every_averaging = pytest.mark.parametrize("cls", AVERAGING)


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


MODELS = [network(0), network(1)]
RNG = np.random.default_rng(0)
X, QUERIES = RNG.normal(size=(24, 4)), RNG.normal(size=(5, 4))
Y = np.arange(24) % 3


def together(X):
    """Class of the largest mean probability."""
    with torch.no_grad():
        return sum(model(torch.as_tensor(X)).softmax(1) for model in MODELS).argmax(1).numpy()


@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_cosines_from_features_in_blocks(candidates):
    """As from features in memory, where those of a model take 4.6 kB; queries come singly."""
    sketch = TangentFeatures(n_components=8, random_state=0)
    params = {"features": sketch, "measurement": "margin", "candidates": candidates}
    memory = att.RelatIFAttributor(MODELS, **params).fit(X, Y)
    blocks = att.RelatIFAttributor(MODELS, memory_limit=6e3, **params).fit(X, Y)
    assert {rule.together(5) for _, rule in blocks._fitted_rules()} == {1}
    for rows in (QUERIES, None):
        found, expected = blocks.explain(rows, k=4), memory.explain(rows, k=4)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)
    scores = memory.attribute(QUERIES)
    np.testing.assert_allclose(blocks.attribute(QUERIES), scores, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(blocks.select(QUERIES, 9), memory.select(QUERIES, 9))


@every_averaging
@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_scores_are_the_mean_over_models(cls, candidates):
    attributor = cls(MODELS, candidates=candidates).fit(X, Y)
    labels = together(QUERIES)
    np.testing.assert_array_equal(attributor.predict(QUERIES), labels)
    alone = [cls(model, candidates=candidates).fit(X, Y) for model in MODELS]
    want = np.mean([one.attribute(QUERIES, labels) for one in alone], 0)
    found = attributor.attribute(QUERIES)
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-12)
    exp = attributor.explain(QUERIES, k=3)
    np.testing.assert_array_equal(exp.indices, np.argsort(-want, 1)[:, :3])
    np.testing.assert_allclose(exp.scores, np.take_along_axis(found, exp.indices, 1))
    total = np.nansum(found, 0)
    if candidates == "all":
        np.testing.assert_array_equal(attributor.select(QUERIES, 4), np.argsort(-total)[:4])


@every_averaging
def test_training_rows_are_explained_without_themselves(cls):
    exp = cls(MODELS, candidates="all").fit(X, Y).explain(k=len(X) - 1)
    alone = [cls(model, candidates="all").fit(X, Y).explain(k=len(X) - 1) for model in MODELS]
    means = np.zeros((len(X), len(X)))
    for one in alone:
        np.put_along_axis(
            means, one.indices, np.take_along_axis(means, one.indices, 1) + one.scores / 2, 1
        )
    found = np.zeros_like(means)
    np.put_along_axis(found, exp.indices, exp.scores, 1)
    np.testing.assert_allclose(found, means, rtol=1e-8, atol=1e-12)
    assert (np.diff(exp.scores, axis=1) <= 0).all()
    assert not (exp.indices == np.arange(len(X))[:, None]).any()


@every_averaging
def test_what_is_learned_of_each_model_is_a_list(cls):
    attributor = cls(MODELS).fit(X, Y)
    assert attributor.estimator_ == MODELS
    alone = [cls(model).fit(X, Y) for model in MODELS]
    for name in ("damping_", "noise_variance_", "n_samples_"):
        if hasattr(alone[0], name):
            assert getattr(attributor, name) == [getattr(one, name) for one in alone]
    labels = together(QUERIES)
    assert attributor.transform(QUERIES).shape[1] == len(attributor.get_feature_names_out())
    other = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(other.attribute(QUERIES), attributor.attribute(QUERIES, labels))


def test_the_density_is_the_mean_over_models():
    alone = [att.RelatIFAttributor(model).fit(X, Y).score(QUERIES, Y[:5]) for model in MODELS]
    found = att.RelatIFAttributor(MODELS).fit(X, Y).score(QUERIES, Y[:5])
    np.testing.assert_allclose(found, np.mean(alone), rtol=1e-10)


def test_copies_tie():
    rows, labels = np.tile(X[:8], (2, 1)), np.tile(Y[:8], 2)
    exp = att.EKFACAttributor(MODELS, candidates="all").fit(rows, labels).explain(QUERIES, k=4)
    np.testing.assert_array_equal(exp.indices[:, 0] + 8, exp.indices[:, 1])
    np.testing.assert_array_equal(exp.scores[:, 0], exp.scores[:, 1])


def test_other_weights_are_refused():
    models = [network(0), network(1)]
    attributor = att.GradDotAttributor(models).fit(X, Y)
    with torch.no_grad():
        models[1][0].weight += 1
    with pytest.raises(ValueError, match="have changed"):
        attributor.attribute(QUERIES)


def test_regressors():
    rows, targets = load_diabetes(return_X_y=True)
    rows, targets = 20 * rows[:40], targets[:40] / 50
    models = [
        MLPRegressor(
            hidden_layer_sizes=(4,), solver="lbfgs", alpha=1.0, max_iter=9999, random_state=seed
        )
        for seed in range(2)
    ]
    models = [model.fit(rows, targets) for model in models]
    mean = np.mean([model.predict(rows[:3]) for model in models], 0)
    averaging = [cls for cls in AVERAGING if cls is not att.RelatIFAttributor]
    for cls in [*averaging, InfluenceAttributor]:
        attributor = cls(models).fit(rows, targets)
        np.testing.assert_allclose(attributor.predict(rows[:3]), mean)
        alone = [cls(model).fit(rows, targets).attribute(rows[:3]) for model in models]
        np.testing.assert_allclose(
            attributor.attribute(rows[:3]), np.mean(alone, 0), rtol=1e-7, atol=1e-10
        )
    # The last is InfluenceAttributor, whose scores are falls of the mean prediction.
    exp = attributor.explain(rows[:3], k=4)
    after = attributor.predict_without(rows[:3], exp.indices)
    np.testing.assert_allclose(mean - after, exp.scores.sum(1), rtol=1e-7)
    sets = attributor.flipping_set(rows[:3], max_rows=10, threshold=mean.mean())
    found = sets.sizes > 0
    assert found.any()
    assert ((sets.margins[:, 0] > mean.mean()) != (sets.predicted > mean.mean()))[found].all()


def test_clones_are_fitted():
    models = [LogisticRegression(C=c) for c in (0.1, 1.0)]
    attributor = clone(att.LastLayerAttributor(models)).fit(X, Y)
    assert [model.C for model in attributor.estimator_] == [0.1, 1.0]
    assert not hasattr(models[0], "coef_")
    forests = [RandomForestClassifier(3, random_state=seed) for seed in range(2)]
    similar = att.RepSimAttributor(forests).fit(X, Y)
    p = np.mean([forest.predict_proba(QUERIES) for forest in similar.estimator_], 0)
    np.testing.assert_array_equal(similar.predict(QUERIES), p.argmax(1))


class TestRefusals:
    @pytest.mark.parametrize("cls", [att.InfoGainAttributor, att.InfoLossAttributor])
    def test_information_of_several_models(self, cls):
        with pytest.raises(TypeError, match="outputs of several models have no common variance"):
            cls(MODELS).fit(X, Y)

    def test_lists_where_scores_are_not_averaged(self):
        with pytest.raises(TypeError, match="must be one model for RandomAttributor"):
            att.RandomAttributor(MODELS).fit(X, Y)

    def test_models_of_other_classes_and_none(self):
        other = LogisticRegression().fit(X, np.where(X[:, 0] > 1, 3, Y))
        with pytest.raises(ValueError, match=r"model 1 of the list knows \[0, 1, 2, 3\]"):
            att.RepSimAttributor([MODELS[0], other]).fit(X, Y)
        with pytest.raises(ValueError, match="empty list"):
            att.GradDotAttributor([]).fit(X, Y)

    def test_measurements_of_ones_own(self):
        def first(logits, labels):
            return logits[:, 0]

        with pytest.raises(ValueError, match="measurement must be a name for a list of models"):
            att.GradDotAttributor(MODELS, measurement=first).fit(X, Y)
