"""Every attributor takes the rows of a language model, or says why not and what to use."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import attribution as att
from sklearn_provenance.attribution.models._sequences import drawn_rows
from sklearn_provenance.tangent import TangentFeatures
from sklearn_provenance.text import (
    causal_measurement,
    causal_rows,
    log_likelihood,
    log_odds,
    mean_embeddings,
    token_shares,
)

from ..checks import thorough
from .conftest import Causal

IDS = torch.tensor([[5, 3, 4, 2], [4, 1, 2, 0], [3, 3, 5, 1], [1, 2, 5, 5], [2, 4, 4, 3]])
ROWS = causal_rows({"input_ids": IDS, "attention_mask": (IDS > 0).long()})
QUERIES = causal_rows({"input_ids": IDS[2:4, :3], "attention_mask": torch.ones(2, 3).long()}, 1)
ZEROS = [0] * 5
MEASURES = {"log odds": log_odds, "log p": log_likelihood}
every_measure = pytest.mark.parametrize("forward", MEASURES.values(), ids=MEASURES)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Causal(6, 3).double()


def embeddings(module, rows):
    encoder = nn.Module()
    encoder.forward = lambda input_ids: module.table(input_ids)
    return mean_embeddings(encoder, {"input_ids": rows["input_ids"]})


TAKEN = {
    "BM25Attributor": {},
    "EKFACAttributor": {},
    "GradDotAttributor": {},
    "InfoGainAttributor": {},
    "InfoLossAttributor": {},
    "RandomAttributor": {},
    "RelatIFAttributor": {},
    "RepSimAttributor": {"features": embeddings},
    "TRAKAttributor": {"n_components": "exact"},
}
OF_TREES = "estimator must be"
REFUSED = {
    "BoostInAttributor": OF_TREES,
    "EnsembleAttributor": OF_TREES,
    "ForestAttributor": OF_TREES,
    "InfluenceAttributor": "a margin for each token. EKFACAttributor and TRAKAttributor",
    "LastLayerAttributor": "for each token. EKFACAttributor and TRAKAttributor",
}


def make(name, model, forward=log_odds, **params):
    params = TAKEN[name] | params
    if "features" in params and not isinstance(params["features"], TangentFeatures):
        params["features"] = partial(params["features"], model)
    return getattr(att, name)(model, forward=forward, **params)


def test_of_each_attributor_it_is_known():
    names = {name for name in att.__all__ if name.endswith("Attributor")}
    assert names == {*TAKEN, *REFUSED}


@pytest.mark.parametrize("forward", [log_odds, *thorough(log_likelihood)])
@pytest.mark.parametrize("name", TAKEN)
def test_labels_need_not_be_given(name, forward, model):
    attributor = make(name, model, forward).fit(ROWS, ZEROS)
    explanation = attributor.explain(QUERIES, k=2)
    np.testing.assert_array_equal(
        explanation.indices, attributor.explain(QUERIES, [0, 0], k=2).indices
    )
    scores = attributor.attribute(QUERIES)
    assert np.isfinite(scores).all()
    if "Info" not in name:  # others pick the largest scores
        np.testing.assert_array_equal(explanation.indices, (-scores).argsort(1)[:, :2])
    assert attributor.explain(k=1).indices.shape == (5, 1)
    with pytest.raises(ValueError, match="predict needs classes, but the rows of a language model"):
        attributor.predict(QUERIES)
    groups = make(name, model, forward).fit(ROWS, [0, 0, 1, 1, 1])
    assert (groups.explain(QUERIES, [0, 1], k=2).indices < [[2], [5]]).all()
    with pytest.raises(ValueError, match="y must be given where the training rows of a language"):
        groups.explain(QUERIES, k=2)


@pytest.mark.parametrize("y", [["a"] * 5, [0.5] * 5, [-1] * 5], ids=["texts", "floats", "negative"])
@pytest.mark.parametrize("name", ["GradDotAttributor", "InfoGainAttributor"])
def test_labels_are_numbers_of_groups(name, y, model):
    with pytest.raises(ValueError, match="y must hold zeros, or the number of a group of rows"):
        make(name, model).fit(ROWS, y)


@pytest.mark.parametrize("name", REFUSED)
def test_others_say_what_to_use(name, model):
    cls = getattr(att, name)
    params = {"forward": log_odds} if REFUSED[name] != OF_TREES else {}
    with pytest.raises(TypeError, match=REFUSED[name]):
        cls(model, **params).fit(ROWS, ZEROS)


def test_similarity_needs_features_of_rows(model):
    with pytest.raises(TypeError, match=r"partial\(mean_embeddings, encoder\)"):
        att.RepSimAttributor(model, forward=log_odds).fit(ROWS, ZEROS)


def gradients(model, forward, rows):
    """Gradients (n, P) of each row, one at a time."""
    found = []
    for row in range(len(rows["labels"])):
        value = forward(model, {name: part[row : row + 1] for name, part in rows.items()})
        parts = torch.autograd.grad(value.sum(), list(model.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


@every_measure
def test_products_of_gradients_by_definition(forward, model):
    asked = gradients(model, forward, QUERIES)
    learned = gradients(model, log_likelihood, ROWS)
    attributor = make("GradDotAttributor", model, forward).fit(ROWS, ZEROS)
    np.testing.assert_allclose(attributor.attribute(QUERIES), asked @ learned.T)
    explicit = make("GradDotAttributor", model, forward, measurement=causal_measurement)
    np.testing.assert_allclose(
        explicit.fit(ROWS, ZEROS).attribute(QUERIES, [0, 0]), asked @ learned.T
    )
    shares = token_shares(attributor, QUERIES, k=2)
    sums = shares.exemplars.sum(2) + shares.exemplars_elsewhere
    np.testing.assert_allclose(sums, shares.explanation.scores)


@every_measure
def test_trak_by_definition(forward, model):
    asked = gradients(model, forward, QUERIES)
    rows = gradients(model, forward, ROWS)
    learned = gradients(model, log_likelihood, ROWS)
    gram = rows.T @ rows + 0.5 * torch.eye(rows.shape[1])
    expected = asked @ torch.linalg.solve(gram, learned.T)
    attributor = make("TRAKAttributor", model, forward, ridge=0.5).fit(ROWS, ZEROS)
    np.testing.assert_allclose(attributor.attribute(QUERIES), expected)
    twice = att.TRAKAttributor([model] * 2, forward=forward, n_components="exact", ridge=0.5)
    np.testing.assert_allclose(twice.fit(ROWS, ZEROS).attribute(QUERIES), expected)


def test_trak_of_one_token_is_that_of_classes(model):
    """The gradient of log p is 1 - p times that of the log odds."""
    rows = causal_rows(IDS[[0, 2, 3, 4]], last=1)
    labels = rows["labels"][:, -1].tolist()
    settings = {"n_components": "exact", "candidates": "all"}
    causal = att.TRAKAttributor(model, forward=log_odds, **settings).fit(rows, [0] * 4)
    classes = att.TRAKAttributor(model, forward=lambda m, x: m(x["input_ids"])[:, -2], **settings)
    classes.fit(dict(rows), labels)
    np.testing.assert_allclose(causal.attribute(rows), classes.attribute(dict(rows), labels))


def influence(model, forward, fisher_rows, damping):
    """Influence (n_queries, n) with the Fisher matrix of given rows, written out."""
    g = gradients(model, log_likelihood, fisher_rows)
    fisher = g.T @ g / len(g) + damping * torch.eye(g.shape[1])
    learned = gradients(model, log_likelihood, ROWS)
    return gradients(model, forward, QUERIES) @ torch.linalg.solve(fisher, learned.T)


@every_measure
def test_ek_fac_by_definition(forward, model):
    settings = {"damping": 0.5, "n_iterations": 60}
    attributor = make("EKFACAttributor", model, forward, fisher="empirical", **settings)
    expected = influence(model, forward, ROWS, 0.5)
    np.testing.assert_allclose(attributor.fit(ROWS, ZEROS).attribute(QUERIES), expected, rtol=1e-6)
    drawn = make("EKFACAttributor", model, forward, n_samples=2, random_state=3, **settings)
    found = drawn.fit(ROWS, ZEROS).attribute(QUERIES)
    assert drawn.n_samples_ == 2
    assert np.abs(found - expected.numpy()).max() > 0.01
    wrapped = drawn._features.model
    rows = drawn_rows(wrapped, ROWS, 2, drawn._rule.seed)
    np.testing.assert_allclose(found, influence(model, forward, rows, 0.5), rtol=1e-6)
    with pytest.raises(ValueError, match='n_samples must be a number or "auto" for a language'):
        make("EKFACAttributor", model, forward, n_samples="exact").fit(ROWS, ZEROS)


def test_drawn_tokens_follow_the_probabilities(model):
    attributor = make("EKFACAttributor", model).fit(ROWS, ZEROS)
    rows = drawn_rows(attributor._features.model, ROWS, 800, 0)
    labels = rows["labels"].view(800, 5, 4)
    assert torch.equal(labels == -100, (ROWS["labels"] == -100).expand(800, 5, 4))
    assert torch.equal(rows["input_ids"][-5:], ROWS["input_ids"])
    p = model(ROWS["input_ids"]).softmax(2)
    for row, place in [(0, 1), (1, 2), (4, 3)]:
        shares = torch.bincount(labels[:, row, place], minlength=6) / 800
        assert (shares - p[row, place - 1]).abs().max() < 0.06


@pytest.mark.parametrize("name", ["EKFACAttributor", "GradDotAttributor", "TRAKAttributor"])
def test_results_are_kept_apart_on_disk(name, model, tmp_path):
    for forward in (*MEASURES.values(), *MEASURES.values()):
        kept = make(name, model, forward, memory=str(tmp_path)).fit(ROWS, ZEROS)
        plain = make(name, model, forward).fit(ROWS, ZEROS)
        np.testing.assert_allclose(kept.attribute(QUERIES), plain.attribute(QUERIES))


@pytest.mark.parametrize("name", ["InfoGainAttributor", "RelatIFAttributor"])
def test_gradients_may_be_sketched(name, model):
    sketch = TangentFeatures(n_components="exact")
    found = make(name, model, features=sketch).fit(ROWS, ZEROS).attribute(QUERIES)
    exact = make(name, model).fit(ROWS, ZEROS).attribute(QUERIES)
    np.testing.assert_allclose(found, exact)
