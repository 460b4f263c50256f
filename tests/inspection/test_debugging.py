"""Rankings of anomalous rows against definitions, and their figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import flip_labels, load_digits
from sklearn_provenance.evaluation import label_disagreement
from sklearn_provenance.inspection import (
    AnomalyRanking,
    RowsDisplay,
    anomaly_ranking,
    index_entropy,
)

N = 150
NAMES = np.array(list("abcdefghij"))


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:N], NAMES[y[:N]]


def fitted(architecture, routing="hard", **params):
    params = {"backbone": "mlp", "width": "small", "max_epochs": 8, "device": "cpu", **params}
    clf = ProvenanceClassifier(architecture, routing=routing, random_state=0, **params)
    return clf.fit(*digits())


@pytest.fixture(scope="module", params=["class_conditional", "class_independent", "single_branch"])
def clf(request):
    return fitted(request.param, alpha=0.1)


@pytest.fixture(scope="module")
def single():
    return fitted("single_branch", alpha=0)


def without_own(clf, X):
    p = clf.index_proba(X).astype(np.float64)
    np.fill_diagonal(p, 0)
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("routing", ["hard", "soft"])
def test_entropy_is_that_of_the_index_probabilities(clf, routing):
    X, _ = digits()
    clf.set_params(routing=routing)
    np.testing.assert_allclose(index_entropy(clf, X), entr(clf.index_proba(X)).sum(1), rtol=1e-4)
    np.testing.assert_allclose(index_entropy(clf), entr(without_own(clf, X)).sum(1), rtol=1e-4)
    clf.set_params(routing="hard")


def test_rows_without_an_output_have_no_own_index_to_leave_out():
    X, _ = digits()
    clf = fitted("class_independent", index_subset=0.4)
    expected = entr(without_own(clf, X)).sum(1)
    np.testing.assert_allclose(index_entropy(clf), expected, rtol=1e-4)
    plain = np.setdiff1d(np.arange(N), clf.index_)
    np.testing.assert_allclose(index_entropy(clf)[plain], index_entropy(clf, X)[plain], rtol=1e-6)


def test_every_score_by_its_definition(clf):
    X, y = digits()
    p = without_own(clf, X)
    np.testing.assert_allclose(
        anomaly_ranking(clf, "confidence").scores, -np.log(p.max(1)), rtol=1e-4
    )
    entropy = anomaly_ranking(clf, "entropy").scores
    np.testing.assert_array_equal(entropy, index_entropy(clf))
    np.testing.assert_array_equal(anomaly_ranking(clf, "low_entropy").scores, -entropy)

    features = clf.transform(X).astype(np.float64)
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, :4].mean(1)
    np.testing.assert_allclose(anomaly_ranking(clf, k=4).scores, nearest, rtol=1e-6)

    clf.set_params(routing="soft")
    p = without_own(clf, X)
    top = np.argsort(-p, axis=1)[:, :4]
    weights = np.take_along_axis(p, top, axis=1)
    other = (weights * (y[top] != y[:, None])).sum(1) / weights.sum(1)
    ranking = anomaly_ranking(clf, "disagreement", k=4)
    np.testing.assert_allclose(ranking.scores, other, atol=1e-5)
    np.testing.assert_array_equal(ranking.scores, label_disagreement(clf.explain(k=4), y))
    clf.set_params(routing="hard")


def test_a_row_that_is_alone_in_its_class_is_as_anomalous_as_can_be():
    X, y = digits()
    rows = np.append(np.flatnonzero(y == "a"), np.flatnonzero(y == "b")[:1])
    clf = ProvenanceClassifier(width="small", max_epochs=30, device="cpu", random_state=0)
    clf.fit(X[rows].reshape(len(rows), -1).astype(float), y[rows])
    assert clf.predict(clf._fit_X)[-1] == "b"
    assert np.isnan(index_entropy(clf)[-1])
    for by in ("entropy", "low_entropy", "confidence"):
        scores = anomaly_ranking(clf, by).scores
        assert np.isfinite(scores).all()
        assert scores[-1] == scores.max()


def test_disagreement_finds_wrong_labels():
    X, y = load_digits(return_X_y=True)
    y, flipped = flip_labels(y[:400], 0.1, random_state=0)
    clf = ProvenanceClassifier(
        "single_branch", alpha=0, backbone="mlp", width="small", max_epochs=10, device="cpu",
        random_state=0,
    ).fit(X[:400], y)  # fmt: skip
    ranking = anomaly_ranking(clf, "disagreement")
    assert roc_auc_score(flipped, ranking.scores) > 0.95


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=30))
def test_ranks_are_inside_classes(rows):
    pytest.importorskip("pandas")
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    ranking = AnomalyRanking(scores, labels, "score")
    frame = ranking.to_frame()
    assert sorted(frame.row) == list(range(len(rows)))
    np.testing.assert_array_equal(frame.score, scores[frame.row])
    np.testing.assert_array_equal(frame.label, labels[frame.row])
    for label, part in frame.groupby("label"):
        assert part["rank"].tolist() == list(range(1, len(part) + 1))
        assert (np.diff(part.score) <= 0).all()
        np.testing.assert_array_equal(ranking.most(label, 2), part.row[:2])
        np.testing.assert_array_equal(ranking.least(label, 2), part.row[::-1][:2])


def test_wrappers_and_own_scores(single):
    X, y = digits()
    scores = np.arange(N, dtype=float)
    ranking = anomaly_ranking(FrozenEstimator(single), scores)
    scores[:] = 0  # the ranking has a copy
    assert ranking.most(y[-1], 1) == N - 1
    np.testing.assert_array_equal(ranking.labels, y)
    flat = X.reshape(N, -1).astype(float)
    pipeline = make_pipeline(StandardScaler(), ProvenanceClassifier(
        width="small", max_epochs=2, device="cpu", random_state=0
    )).fit(flat, y)  # fmt: skip
    inner, scaled = pipeline[-1], pipeline[:-1].transform(flat)
    np.testing.assert_array_equal(index_entropy(pipeline, flat), index_entropy(inner, scaled))
    np.testing.assert_array_equal(index_entropy(pipeline), index_entropy(inner))
    assert anomaly_ranking(pipeline).images is None


def test_sample_ids_are_in_the_table():
    pytest.importorskip("pandas")
    X, y = digits()
    clf = ProvenanceClassifier(backbone="mlp", width="small", max_epochs=1, device="cpu")
    ids = np.array([f"id{i}" for i in range(N)])
    frame = anomaly_ranking(clf.fit(X, y, sample_id=ids), np.zeros(N)).to_frame()
    assert (frame.sample_id == ids[frame.row]).all()


def test_errors(single):
    X, y = digits()
    with pytest.raises(ValueError, match=r"'by' parameter .* Got 'loss'"):
        anomaly_ranking(single, "loss")
    with pytest.raises(ValueError, match=r"by must be finite .*\(150,\), got shape \(2,\)"):
        anomaly_ranking(single, [1.0, 2.0])
    with pytest.raises(ValueError, match="1 that are nan"):
        anomaly_ranking(single, np.append(np.zeros(N - 1), np.nan))
    with pytest.raises(ValueError, match=r"label must be one of .*, got 'z'"):
        anomaly_ranking(single, np.zeros(N)).most("z")
    with pytest.raises(ValueError, match="less than 150, the number of training rows"):
        anomaly_ranking(single, k=N)
    with pytest.raises(TypeError, match=r"ProvenanceClassifier.*got LogisticRegression"):
        index_entropy(LogisticRegression().fit(X.reshape(N, -1), y))
    hard = ProvenanceClassifier(backbone="mlp", width="small", max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match='routing="soft"'):
        anomaly_ranking(hard, "disagreement")


def test_images_show_the_ends_in_rising_order(single):
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y = digits()
    ranking = anomaly_ranking(single)
    display = ranking.plot(labels=["d", "b"], n=3)
    assert isinstance(display, RowsDisplay)
    assert display.axes_.shape == (2, 6)
    for line, label in enumerate("db"):
        rows = [*ranking.least(label, 3), *ranking.most(label, 3)[::-1]]
        assert (np.diff(ranking.scores[rows]) >= 0).all()
        for panel, row in zip(display.axes_[line], rows, strict=True):
            np.testing.assert_array_equal(panel.images[0].get_array(), X[row])
            assert panel.get_xlabel() == f"row {row}"
        assert display.axes_[line, 0].get_ylabel() == label
    display.figure_.canvas.draw()
    plt.close("all")


def test_a_class_of_fewer_rows_leaves_panels_empty(single):
    plt = pytest.importorskip("matplotlib.pyplot")
    X, _ = digits()
    labels = np.array(["a"] * 2 + ["b"] * 8)
    display = AnomalyRanking(np.arange(10.0), labels, "score", images=X[:10]).plot(n=4)
    shown = [[bool(panel.images) for panel in line] for line in display.axes_]
    assert shown == [[True, True, False, False] * 2, [True] * 8]
    plt.close("all")


def test_bars_and_histograms(single):
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    ranking = anomaly_ranking(single, "entropy")
    display = ranking.plot(kind="bars", n=2, ax=ax)
    assert display.figure_ is figure
    assert len(display.axes_) == 10
    for panel, label in zip(display.axes_, NAMES, strict=True):
        rows = [*ranking.least(label, 2), *ranking.most(label, 2)[::-1]]
        np.testing.assert_allclose([bar.get_width() for bar in panel.patches], ranking.scores[rows])
        assert [tick.get_text() for tick in panel.get_yticklabels()] == [f"row {r}" for r in rows]
    display = ranking.plot(kind="histogram")
    for panel, label in zip(display.axes_, NAMES, strict=True):
        heights = [bar.get_height() for bar in panel.patches]
        assert sum(heights) == (ranking.labels == label).sum()
    figure.canvas.draw()
    with pytest.raises(ValueError, match="kind must be one of"):
        ranking.plot(kind="lines")
    table = AnomalyRanking(ranking.scores, ranking.labels, "score")
    with pytest.raises(ValueError, match="rows that are images"):
        table.plot(kind="images")
    with pytest.raises(ValueError, match="must be a subplot"):
        ranking.plot(ax=plt.figure().add_axes([0, 0, 1, 1]))
    plt.close("all")
