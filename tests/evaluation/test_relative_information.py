"""Relative information against the definitions, on a network whose tangent features are X."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_provenance import InfoGainAttributor, InfoLossAttributor, TangentFeatures
from sklearn_provenance.attribution import RandomAttributor
from sklearn_provenance.evaluation import LinesDisplay, relative_information

from ..attribution.conftest import information

SIZES = (2, 5, 9)


def problem(n=36, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = nn.Linear(n_features, 3, bias=False, dtype=torch.float64)
    return network, rng.normal(size=(n, n_features)), np.arange(n) % 3, rng.normal(size=(8, 5))


@given(
    seed=st.integers(0, 99),
    candidates=st.sampled_from(["same_class", "all"]),
    noise_variance=st.floats(1e-2, 1e3),
)
@settings(max_examples=15)
def test_nats_are_those_of_the_definition(seed, candidates, noise_variance):
    network, X, y, X_queries = problem(seed=seed)
    options = {"noise_variance": noise_variance, "candidates": candidates}
    reference = InfoLossAttributor(network, **options).fit(X, y)
    methods = {
        "InfoGain": InfoGainAttributor(network, **options).fit(X, y),
        "Random": RandomAttributor(network, candidates=candidates).fit(X, y),
    }
    labels = np.arange(8) % 3
    result = relative_information(methods, reference, X_queries, labels, sizes=SIZES)
    for a, nats in [
        (reference, result.reference_nats),
        *zip(methods.values(), result.nats, strict=True),
    ]:
        picks = a.explain(X_queries, labels, k=9).indices
        for (q, query), (s, size) in itertools.product(enumerate(X_queries), enumerate(SIZES)):
            expected = information("info_loss", X, picks[q, :size], query, noise_variance)
            np.testing.assert_allclose(nats[q, s], expected, rtol=1e-6)
    np.testing.assert_allclose(result.ratios, result.nats / result.reference_nats)


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components=64)])
def test_the_reference_loses_what_it_says(features):
    network, X, y, X_queries = problem()
    reference = InfoLossAttributor(network, noise_variance=1.0, features=features).fit(X, y)
    result = relative_information(reference, reference, X_queries, sizes=SIZES)
    np.testing.assert_allclose(result.ratios, 1.0)
    scores = reference.explain(X_queries, k=9).scores.cumsum(1)
    np.testing.assert_allclose(result.reference_nats, scores[:, np.array(SIZES) - 1])


def test_with_much_noise_information_gain_is_all_that_it_takes():
    network, X, y, X_queries = problem()

    def mean(noise_variance, cls=InfoGainAttributor, **options):
        settings = {"noise_variance": noise_variance, "candidates": "all"}
        reference = InfoLossAttributor(network, **settings).fit(X, y)
        relaxed = cls(network, **(settings if cls is InfoGainAttributor else options)).fit(X, y)
        return relative_information(relaxed, reference, X_queries, sizes=(3,)).means()[0][0, 0]

    assert mean(1e6) > 0.9999
    assert mean(0.1) < mean(1e6)
    assert mean(1e6, RandomAttributor, candidates="all") < 0.5


def test_a_query_that_nothing_is_known_of():
    network, X, y, X_queries = problem()
    X_queries[2] = 0.0
    attributors = [
        cls(network, noise_variance=1.0).fit(X, y)
        for cls in (InfoGainAttributor, InfoLossAttributor)
    ]
    result = relative_information(*attributors, X_queries, sizes=SIZES)
    np.testing.assert_array_equal(result.nats[:, 2], 0.0)
    assert np.isnan(result.ratios[:, 2]).all()
    assert np.isfinite(result.means()[0]).all()
    assert result.summary()["n_queries"].tolist() == [7] * 3


def test_errors():
    network, X, y, X_queries = problem()
    gain, loss = (c(network).fit(X, y) for c in (InfoGainAttributor, InfoLossAttributor))
    with pytest.raises(TypeError, match=r"'reference' .*InfoLossAttributor.* Got InfoGain"):
        relative_information(loss, gain, X_queries)
    with pytest.raises(ValueError, match="not fitted"):
        relative_information(gain, InfoLossAttributor(network), X_queries)
    other = InfoGainAttributor(network).fit(X[1:], y[1:])
    with pytest.raises(ValueError, match="'InfoGain' was fitted on 35 rows"):
        relative_information(other, loss, X_queries)
    with pytest.raises(ValueError, match=r"'the reference' must name 20 rows .* it names 12"):
        relative_information(gain, loss, X_queries, sizes=(20,))
    with pytest.raises(ValueError, match="sizes must be"):
        relative_information(gain, loss, X_queries, sizes=(3, 2))


def test_tables_and_figure():
    network, X, y, X_queries = problem()
    methods = {
        solver: InfoGainAttributor(network, noise_variance=1.0, solver=solver).fit(X, y)
        for solver in ("exact", "linear_response")
    }
    reference = InfoLossAttributor(network, noise_variance=1.0).fit(X, y)
    result = relative_information(methods, reference, X_queries, sizes=SIZES)
    table = result.to_frame()
    assert list(table) == ["method", "query", "size", "nats", "reference_nats", "relative"]
    np.testing.assert_allclose(table["relative"], table["nats"] / table["reference_nats"])
    groups = table.groupby(["method", "size"])["relative"]
    summary = result.summary()
    np.testing.assert_allclose(summary["relative"], groups.mean())
    np.testing.assert_allclose(summary["relative_se"], groups.sem())
    assert f"{summary['relative'].iloc[0]:.3f}" in repr(result)

    display = result.plot()
    assert isinstance(display, LinesDisplay)
    for container, mean in zip(display.errorbars_, result.means()[0], strict=True):
        np.testing.assert_allclose(container[0].get_ydata(), mean)
    display.figure_.canvas.draw()
    again = result.plot(ax=display.ax_, linestyle="--")
    assert again.errorbars_[0][0].get_linestyle() == "--"
