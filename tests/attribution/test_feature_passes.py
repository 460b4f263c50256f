"""How often rows run through a network: scales of σ² and several classes share passes."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import InfluenceAttributor, RelatIFAttributor
from sklearn_provenance.attribution.features._training import TrainingRows
from sklearn_provenance.tangent import TangentModel, tangent_diagonal

PLANNING = 60  # rows at most that run while the network's layers are examined


class Counted(nn.Sequential):
    """Counts the rows that run through it."""

    n_rows = 0

    def forward(self, x):
        Counted.n_rows += len(x)
        return super().forward(x)


@pytest.fixture
def counted():
    torch.manual_seed(0)
    module = Counted(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 10)).double()
    Counted.n_rows = 0
    return module


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 5)), np.arange(n) % 10


def sketch():
    return TangentFeatures(n_components=32)


@pytest.mark.parametrize("features", ["exact", sketch()])
@pytest.mark.parametrize("cls", [InfoLossAttributor, RelatIFAttributor])
def test_a_number_for_noise_variance_costs_no_pass(counted, cls, features):
    X, y = rows(1000)
    fitted = cls(counted, features=features, noise_variance=2.0).fit(X, y)
    assert Counted.n_rows <= PLANNING
    assert fitted.noise_variance_ == 2
    assert fitted.noise_scale_ is None


@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_the_scale_is_the_mean_of_256_rows_where_others_are_not_needed(counted, candidates):
    X, y = rows(1000)
    model = TangentModel(counted)
    all_rows = tangent_diagonal(model, X, y)
    Counted.n_rows = 0
    fitted = InfoLossAttributor(counted, candidates=candidates).fit(X, y)
    assert Counted.n_rows <= 256 + PLANNING
    error = all_rows.std().item() / 16
    assert 0 < abs(fitted.noise_scale_ - all_rows.mean().item()) < 4 * error
    assert fitted.noise_variance_ == 10 * fitted.noise_scale_
    again = InfoLossAttributor(counted, noise_variance="diagonal").fit(X, y)
    assert again.noise_variance_ == fitted.noise_scale_


@pytest.mark.parametrize("n", [50, 256])
def test_the_scale_of_few_rows_is_that_of_all(counted, n):
    X, y = rows(n)
    fitted = InfoLossAttributor(counted).fit(X, y)
    expected = tangent_diagonal(TangentModel(counted), X, y).mean().item()
    np.testing.assert_allclose(fitted.noise_scale_, expected, rtol=1e-12)


def test_the_scale_of_sketched_rows_is_that_of_their_sketches(counted):
    X, y = rows(300)
    fitted = InfoGainAttributor(counted, features=sketch()).fit(X, y)
    expected = np.square(fitted.features_.transform(X, y)).sum(1).mean()
    np.testing.assert_allclose(fitted.noise_scale_, expected, rtol=1e-12)
    assert Counted.n_rows <= 2 * 300 + PLANNING  # of fit, and of transform above


CLASSES = 10
SHARED = 1 + CLASSES / 8  # passes that may be needed for rows at every class

ATTRIBUTORS = {
    "gain all": (InfoGainAttributor, {"candidates": "all"}),
    "loss": (InfoLossAttributor, {}),
    "loss all": (InfoLossAttributor, {"candidates": "all"}),
    "relatif": (RelatIFAttributor, {"candidates": "all"}),
}


def one_by_one(monkeypatch):
    """Let features measure rows at one label a pass, as they do where memory is short."""
    several = TrainingRows.expect
    monkeypatch.setattr(TrainingRows, "expect", lambda rows, *_: several(rows, [], 0.0))


@pytest.mark.parametrize("features", ["exact", sketch()])
@pytest.mark.parametrize("name", ATTRIBUTORS)
def test_rows_at_every_class_share_passes(counted, monkeypatch, name, features):
    cls, params = ATTRIBUTORS[name]
    X, y = rows(150)
    queries, labels = rows(CLASSES, seed=1)
    made = {"features": features, "noise_variance": 2.0, **params}
    fitted = cls(counted, **made).fit(X, y)
    Counted.n_rows = 0
    found = fitted.explain(queries, labels, k=4)
    assert Counted.n_rows <= SHARED * len(X) + len(queries)
    Counted.n_rows = 0
    scored = fitted.attribute(queries[::-1], labels)
    assert Counted.n_rows == len(queries)  # features of the rows are kept between calls

    one_by_one(monkeypatch)
    apart = cls(counted, **made).fit(X, y)
    Counted.n_rows = 0
    expected = apart.explain(queries, labels, k=4)
    assert Counted.n_rows >= CLASSES * len(X)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)
    np.testing.assert_allclose(
        scored, apart.attribute(queries[::-1], labels), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("features", ["exact", sketch()])
def test_score_and_select_share_passes(counted, monkeypatch, features):
    X, y = rows(150)
    held_out, truth = rows(40, seed=1)
    made = {"features": features, "noise_variance": 2.0}
    fitted = InfoGainAttributor(counted, **made).fit(X, y)
    Counted.n_rows = 0
    score = fitted.score(held_out, truth)
    assert Counted.n_rows <= SHARED * (len(X) + len(held_out))
    chosen = RelatIFAttributor(counted, **made).fit(X, y)
    Counted.n_rows = 0
    selected = chosen.select(held_out, 9, truth)
    assert Counted.n_rows <= SHARED * len(X) + len(held_out)

    one_by_one(monkeypatch)
    apart = InfoGainAttributor(counted, **made).fit(X, y)
    np.testing.assert_allclose(score, apart.score(held_out, truth), rtol=1e-9)
    apart = RelatIFAttributor(counted, **made).fit(X, y)
    np.testing.assert_array_equal(selected, apart.select(held_out, 9, truth))


def test_predictions_without_rows_share_passes(counted):
    X, y = rows(150)
    fitted = InfluenceAttributor(counted, candidates="all").fit(X, y)
    queries, _ = rows(30, seed=1)
    Counted.n_rows = 0
    fitted.predict_without(queries, [0, 5])
    assert Counted.n_rows <= SHARED * len(queries)


@pytest.mark.parametrize(
    ("features", "n_components", "shared", "each"),
    [
        ("exact", 138, 6 + 9, 8 + 10),  # inputs of the layers and their 1, gradients in the outputs
        (TangentFeatures(n_components=128), 128, 0, 128),
    ],
)
def test_several_classes_share_a_pass_where_they_fit(counted, features, n_components, shared, each):
    """A budget for three classes takes four passes, and one for none takes ten."""
    X, y = rows(300)
    queries, labels = rows(CLASSES, seed=1)
    make = partial(InfoLossAttributor, counted, features=features, noise_variance=2.0)
    full = make().fit(X, y)
    expected = full.explain(queries, labels, k=4)
    beside = full._rule.n_bytes(len(X), n_components, 1024)
    shared *= 8 * len(X)
    each *= 8 * len(X)
    for n_classes, n_passes in [(3, 4), (0, CLASSES)]:
        limit = beside + shared + (n_classes + 0.5) * each
        fitted = make(memory_limit=limit).fit(X, y)
        Counted.n_rows = 0
        found = fitted.explain(queries, labels, k=4)
        assert Counted.n_rows <= n_passes * len(X) + len(queries)
        assert Counted.n_rows > (n_passes - 1) * len(X)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)
