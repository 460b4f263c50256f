"""Rankings of label errors against definitions by counting."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import auc, log_loss
from torch import nn

from sklearn_provenance import Explanation, ProvenanceClassifier
from sklearn_provenance.attribution import (
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RepSimAttributor,
    _suspicion,
)
from sklearn_provenance.datasets import flip_labels, load_digits
from sklearn_provenance.evaluation import (
    LinesDisplay,
    label_disagreement,
    label_error_ranking,
    label_error_scores,
    label_loss,
    self_influence,
)

LABELS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=6).filter(
    lambda rows: len({error for _, error in rows}) == 2
)


@given(rows=LABELS)
def test_figures_are_expectations_over_the_order_of_ties(rows):
    scores, errors = (np.array(column) for column in zip(*rows, strict=True))
    n = len(scores)
    orders = [
        order for order in map(list, itertools.permutations(range(n)))
        if (np.diff(scores[order]) <= 0).all()
    ]  # fmt: skip
    shares = np.arange(n + 1) / n
    expected = [
        np.mean([errors[order[:m]].sum() for order in orders]) / errors.sum() for m in range(n + 1)
    ]
    result = label_error_ranking({"a": scores, "loss": -scores}, errors, inspected=shares)
    np.testing.assert_allclose(result.found[0], expected)
    pairs = scores[errors][:, None] - scores[~errors]
    assert result.auroc[0] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert result.auroc.sum() == pytest.approx(1)
    # The area under this curve and that under the ROC curve: errors found count as inspected.
    share = errors.mean()
    assert auc(*result.curves[0]) == pytest.approx((1 - share) * result.auroc[0] + share / 2)


def digits(n=400, share=0.1):
    X, y = load_digits(return_X_y=True)
    y, flipped = flip_labels(y[:n], share, random_state=0)
    return X[:n].reshape(n, -1) / 255, y, flipped


@pytest.fixture(scope="module")
def noisy():
    X, y, flipped = digits()
    return X, y, flipped, LogisticRegression(max_iter=500).fit(X, y)


def test_wrong_digits_are_found(noisy):
    X, y, flipped, model = noisy
    scores = {"loss": label_loss(model, X, y)}
    for method in (RepSimAttributor, InfoGainAttributor, RandomAttributor, LastLayerAttributor):
        attributor = method(model, candidates="all").fit(X, y)
        own = label_error_scores(attributor, X, y)
        assert list(own) == ["self-influence", "disagreement", "loss"]
        np.testing.assert_array_equal(own["loss"], scores["loss"])
        for name in ("self-influence", "disagreement"):
            scores[f"{method.__name__[:-10]}, {name}"] = own[name]
    result = label_error_ranking(scores, flipped)
    auroc = dict(zip(result.methods, result.auroc, strict=True))
    found = dict(zip(result.methods, result.found, strict=True))
    for name in ("loss", "RepSim, disagreement", "InfoGain, disagreement",
                 "LastLayer, self-influence"):  # fmt: skip
        assert auroc[name] > 0.95
        assert found[name][0] > 0.6
        assert found[name][1] > 0.9
    for name in ("Random, disagreement", "Random, self-influence"):
        assert 0.35 < auroc[name] < 0.65
    assert result.inspected == (0.1, 0.2)
    assert (result.n_errors, result.n_rows) == (40, 400)


@pytest.mark.parametrize("block", [1, 700, 2**24])
def test_self_influence_is_a_diagonal(noisy, monkeypatch, block):
    X, y = noisy[0][:60], noisy[1][:60]
    monkeypatch.setattr(_suspicion, "_BLOCK", block)
    model = LogisticRegression().fit(X, y)
    for method in (InfoLossAttributor, RandomAttributor, LastLayerAttributor):
        for candidates in ("all", "same_class"):
            attributor = method(model, candidates=candidates).fit(X, y)
            expected = np.diag(attributor.attribute(X, y))
            np.testing.assert_allclose(self_influence(attributor, X, y), expected, rtol=1e-9)
    net = ProvenanceClassifier(width="small", max_epochs=2, device="cpu", random_state=0)
    net.fit(X.astype(np.float32), y)
    expected = np.diag(net.index_proba(X.astype(np.float32)))
    got = self_influence(net, X.astype(np.float32), y)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


def test_networks_that_mix_share_the_probability_of_right_labels():
    X, y, flipped = digits(250)
    net = ProvenanceClassifier(
        architecture="class_independent", alpha=0.8, width="small", max_epochs=25, device="cpu",
        random_state=0,
    ).fit(X.astype(np.float32), y)  # fmt: skip
    result = label_error_ranking(label_error_scores(net, X.astype(np.float32), y), flipped)
    assert result.auroc[0] > 0.8


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-1, 8), st.floats(-2, 5)), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_disagreement_by_counting(rows, weighted):
    rows = [sorted(row, key=lambda pick: pick[0] < 0) for row in rows]  # padding stands at the end
    indices = np.array([[index for index, _ in row] for row in rows])
    scores = np.array([[score for _, score in row] for row in rows])
    scores[indices < 0] = np.nan
    labels = np.arange(9) % 3
    exemplar_labels, y = labels[indices], np.arange(len(rows)) % 3
    explanation = Explanation(indices, scores, exemplar_labels=exemplar_labels)
    got = label_disagreement(explanation, y, weighted=weighted)
    for row, label, value in zip(rows, y, got, strict=True):
        picks = [(labels[index] != label, score) for index, score in row if index >= 0]
        if not picks:
            assert np.isnan(value)
            continue
        weights = [max(score, 0) for _, score in picks]
        if not weighted or not any(weights):
            weights = [1] * len(picks)
        expected = sum(w for w, (differs, _) in zip(weights, picks, strict=True) if differs)
        assert value == pytest.approx(expected / sum(weights))


def test_loss_of_classifiers(noisy):
    X, y, _, model = noisy
    losses = label_loss(model, X, y)
    assert losses.mean() == pytest.approx(log_loss(y, model.predict_proba(X)))
    attributor = RandomAttributor(model).fit(X, y)
    np.testing.assert_array_equal(label_loss(attributor, X, y), losses)
    names = np.array(list("abcdefghij"))
    named = LogisticRegression(max_iter=500).fit(X, names[y])
    np.testing.assert_allclose(label_loss(named, X, names[y]), losses)


def test_loss_of_networks(noisy):
    X, y, *_ = noisy
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 10)).double()
    module.train()
    losses = label_loss(module, X, y)
    assert module.training
    assert module[1].training
    module.eval()
    expected = nn.functional.cross_entropy(
        module(torch.tensor(X)), torch.tensor(y), reduction="none"
    )
    np.testing.assert_allclose(losses, expected.detach().numpy(), rtol=1e-12)
    attributor = InfoGainAttributor(module, candidates="all").fit(X, y)
    np.testing.assert_allclose(label_loss(attributor, X, y), losses, rtol=1e-12)
    net = ProvenanceClassifier(width="small", max_epochs=2, device="cpu", random_state=0)
    net.fit(X.astype(np.float32), y)
    p = net.predict_proba(X.astype(np.float32))
    losses = label_loss(net, X.astype(np.float32), y)
    np.testing.assert_allclose(losses, -np.log(p[np.arange(len(y)), y]), rtol=1e-5)


def test_a_label_of_no_probability_has_a_finite_loss():
    X, y = np.array([[-1e3], [1e3]]), np.array([0, 1])
    model = LogisticRegression(C=1e6).fit(X, y)
    assert model.predict_proba(1e3 * X)[0, 1] == 0
    losses = label_loss(model, 1e3 * X, y[::-1])
    assert np.isfinite(losses).all()
    assert (losses > 700).all()


def test_tables_and_figure(noisy):
    X, y, flipped, model = noisy
    scores = label_error_scores(RepSimAttributor(model, candidates="all").fit(X, y), X, y)
    result = label_error_ranking(scores, flipped, inspected=(0.05, 0.1, 0.2))
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert frame.columns.tolist() == [
        *("method", "auroc", "found@5%", "found@10%", "found@20%", "n_errors", "n_rows")
    ]
    assert frame.method.tolist() == ["self-influence", "disagreement", "loss"]
    np.testing.assert_array_equal(frame.iloc[:, 2:5], result.found)

    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    display = result.plot(ax=ax)
    assert isinstance(display, LinesDisplay)
    assert display.figure_ is figure
    lines, labels = ax.get_legend_handles_labels()
    assert labels == ["self-influence", "disagreement", "loss"]
    for line, curve, found in zip(lines, result.curves, result.found, strict=True):
        np.testing.assert_array_equal(line.get_xydata().T, curve)
        np.testing.assert_allclose(np.interp(0.1, *line.get_xydata().T), found[1])
    assert lines[-1].get_linestyle() == "--"
    figure.canvas.draw()
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores_by_method": {"a": [0, 1, 2]}}, ValueError, "baseline 'loss'"),
        ({"scores_by_method": [0, 1, 2]}, TypeError, "dict"),
        (
            {"scores_by_method": {"loss": [0, 1]}},
            ValueError,
            r"shape \(3,\), got shape \(2,\)",
        ),
        ({"scores_by_method": {"loss": [0, 1, np.nan]}}, ValueError, "1 that are nan"),
        ({"is_error": [0, 1, 2]}, ValueError, "bool"),
        ({"is_error": [True] * 3}, ValueError, "not for all"),
        ({"is_error": [False] * 3}, ValueError, "True for some"),
        ({"inspected": (0.1, 2)}, ValueError, "inspected"),
    ],
)
def test_bad_rankings(change, error, message):
    arguments = {"scores_by_method": {"loss": [0.0, 1, 2]}, "is_error": [True, False, False]}
    with pytest.raises(error, match=message):
        label_error_ranking(**(arguments | change))


def test_bad_suspicion(noisy):
    X, y, _, model = noisy
    same_class = RandomAttributor(model).fit(X, y)
    with pytest.raises(ValueError, match='candidates="all"'):
        label_error_scores(same_class, X, y)
    with pytest.raises(ValueError, match="fitted on"):
        self_influence(same_class, X[:-1], y[:-1])
    net = ProvenanceClassifier(width="small", max_epochs=1, device="cpu", random_state=0)
    net.fit(X.astype(np.float32), y)
    with pytest.raises(ValueError, match="fitted on 400 rows that are not those of X and y"):
        self_influence(net, X[:-1].astype(np.float32), y[:-1])
    with pytest.raises(ValueError, match="those of X, for example row 0"):
        self_influence(net, 2 * X.astype(np.float32), y)
    few = clone(net).set_params(index_subset=50).fit(X.astype(np.float32), y)
    with pytest.raises(ValueError, match="50 of the 400 training rows have an output of the index"):
        self_influence(few, X.astype(np.float32), y)
    with pytest.raises(TypeError, match="predict_proba"):
        label_loss(RidgeClassifier().fit(X, y), X, y)
    with pytest.raises(ValueError, match="none of the classes"):
        label_loss(model, X, np.full(len(y), 11))
    with pytest.raises(ValueError, match="exemplar_labels"):
        label_disagreement(Explanation([[0]], [[1.0]]), [0])
    with pytest.raises(ValueError, match=r"compares labels, but the targets .* are numbers"):
        label_disagreement(Explanation([[0]], [[1.0]], exemplar_labels=[[0.5]]), [0])
    with pytest.raises(ValueError, match="y must have one label for each of the 1 rows"):
        label_disagreement(Explanation([[0]], [[1.0]], exemplar_labels=[[0]]), [0, 1])
