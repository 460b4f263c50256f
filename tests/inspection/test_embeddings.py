"""Clusters inside a class against their definitions, and their figure."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.inspection import ClustersDisplay, embedding_clusters

N = 300


@pytest.fixture(scope="module")
def data():
    X, y = load_digits(return_X_y=True)
    return X[:N], y[:N], X[N : N + 100], y[N : N + 100]


@pytest.fixture(scope="module")
def clf(data):
    clf = ProvenanceClassifier(
        backbone="mlp", width="small", max_epochs=4, device="cpu", random_state=0
    )
    return clf.fit(*data[:2])


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    clf = ProvenanceClassifier(width="small", max_epochs=2, device="cpu", random_state=0)
    return clf.fit(X, names, sample_id=[f"flower {i}" for i in range(150)])


def test_clusters_and_exemplars_by_their_definitions(data, clf):
    X, y, *_ = data
    result = embedding_clusters(clf, label=3, n_clusters=3, embedding="pca", random_state=0)
    np.testing.assert_array_equal(result.rows, np.flatnonzero(y == 3))
    features = clf.transform(X).astype(np.float64)[result.rows]
    centres = np.array([features[result.clusters == c].mean(0) for c in range(3)])
    distances = np.linalg.norm(features[:, None] - centres, axis=2)
    # At the end of k-means every row is in the cluster of the nearest centre.
    np.testing.assert_array_equal(result.clusters, distances.argmin(1))
    np.testing.assert_allclose(result.distances, distances.min(1), rtol=1e-5)
    for cluster in range(3):
        members = np.flatnonzero(result.clusters == cluster)
        nearest = members[distances[members, cluster].argsort()[:4]]
        np.testing.assert_array_equal(result.exemplars[cluster], result.rows[nearest])
        np.testing.assert_allclose(
            result.exemplar_distances[cluster], distances[nearest, cluster], rtol=1e-5
        )
    np.testing.assert_array_equal(result.exemplar_images, X[result.exemplars.ravel()])
    # A map by PCA keeps as much of the variance as two directions can.
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    assert (result.coordinates**2).sum() == pytest.approx((values[:2] ** 2).sum(), rel=1e-4)


def test_other_rows_are_shown_by_training_rows(data, clf):
    X, y, new, labels = data
    result = embedding_clusters(
        clf, new, labels, label=5, n_clusters=2, n_exemplars=3, embedding="pca", random_state=0
    )
    np.testing.assert_array_equal(result.rows, np.flatnonzero(labels == 5))
    assert (y[result.exemplars] == 5).all()
    features = clf.transform(new[labels == 5]).astype(np.float64)
    known = np.flatnonzero(y == 5)
    distances = np.array(
        [
            np.linalg.norm(clf.transform(X[known]) - features[result.clusters == c].mean(0), axis=1)
            for c in range(2)
        ]
    )
    own = distances[1] < distances[0]
    nearest = known[own][distances[1, own].argsort()[:3]]
    np.testing.assert_array_equal(result.exemplars[1], nearest)
    whole = embedding_clusters(clf, X, y, label=5, embedding="pca", random_state=0)
    default = embedding_clusters(clf, label=5, embedding="pca", random_state=0)
    np.testing.assert_array_equal(whole.clusters, default.clusters)


def test_a_small_cluster_has_fewer_exemplars(clf, iris):
    plt = pytest.importorskip("matplotlib.pyplot")
    for estimator, label in ((clf, 3), (iris, "setosa")):
        result = embedding_clusters(
            estimator, label=label, n_clusters=3, n_exemplars=60, embedding="pca", random_state=0
        )
        sizes = np.bincount(result.clusters)
        np.testing.assert_array_equal((result.exemplars >= 0).sum(1), sizes)
        np.testing.assert_array_equal(result.exemplars < 0, np.isnan(result.exemplar_distances))
        assert sorted(result.exemplars[result.exemplars >= 0]) == result.rows.tolist()
    result = embedding_clusters(
        clf, label=3, n_clusters=3, n_exemplars=sizes.max(), embedding="pca", random_state=0
    )
    display = result.plot()
    shown = [[bool(panel.images) for panel in line] for line in display.exemplar_axes_]
    np.testing.assert_array_equal(shown, result.exemplars >= 0)
    plt.close("all")


def test_the_same_seed_gives_the_same_map(clf):
    one, two = (embedding_clusters(clf, label=1, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one.coordinates, two.coordinates)
    assert one.coordinates.shape == (len(one.rows), 2)
    assert np.isfinite(one.coordinates).all()


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4])
@pytest.mark.parametrize("embedding", ["pca", "tsne"])
def test_few_rows_have_a_map(clf, data, n_rows, embedding):
    *_, new, labels = data
    rows = np.flatnonzero(labels == 2)[:n_rows]
    result = embedding_clusters(
        clf, new[rows], labels[rows], label=2, n_clusters=1, embedding=embedding, random_state=0
    )
    assert result.coordinates.shape == (n_rows, 2)
    assert np.isfinite(result.coordinates).all()


def test_table(clf, iris):
    pytest.importorskip("pandas")
    result = embedding_clusters(iris, label="setosa", n_clusters=3, random_state=0)
    frame = result.to_frame()
    assert sorted(frame.row) == list(range(50))
    assert frame.cluster.is_monotonic_increasing
    assert frame.cluster.nunique() == 3
    for cluster, part in frame.groupby("cluster"):
        assert (result.clusters[part.row] == cluster).all()
        assert (np.diff(part.distance) >= 0).all()
        np.testing.assert_array_equal(result.coordinates[part.row], part[["x", "y"]])


def test_figure_of_images(clf, data):
    plt = pytest.importorskip("matplotlib.pyplot")
    X, *_ = data
    figure, ax = plt.subplots()
    result = embedding_clusters(
        clf, label=4, n_clusters=2, n_exemplars=3, embedding="pca", random_state=0
    )
    display = result.plot(ax=ax)
    assert isinstance(display, ClustersDisplay)
    assert display.figure_ is figure
    for cluster, (dots, panels) in enumerate(
        zip(display.ax_.collections, display.exemplar_axes_, strict=True)
    ):
        np.testing.assert_array_equal(
            dots.get_offsets(), result.coordinates[result.clusters == cluster]
        )
        for panel, row in zip(panels, result.exemplars[cluster], strict=True):
            np.testing.assert_array_equal(panel.images[0].get_array(), X[row])
            assert panel.get_xlabel() == f"row {row}"
    figure.canvas.draw()
    plt.close("all")


def test_figure_of_other_rows(iris):
    plt = pytest.importorskip("matplotlib.pyplot")
    result = embedding_clusters(iris, label="virginica", embedding="pca", random_state=0)
    display = result.plot()
    assert display.exemplar_axes_.shape == (4, 1)
    for (panel,), rows in zip(display.exemplar_axes_, result.exemplars, strict=True):
        lines = panel.texts[0].get_text().splitlines()
        for line, row in zip(lines, rows, strict=True):
            assert line.startswith(f"id flower {row} ")
    display.figure_.canvas.draw()
    plt.close("all")


def test_errors(clf, data):
    X, y, *_ = data
    with pytest.raises(ValueError, match="both be given, or neither"):
        embedding_clusters(clf, X, label=1)
    with pytest.raises(ValueError, match=r"'embedding' parameter .* Got 'umap'"):
        embedding_clusters(clf, label=1, embedding="umap")
    with pytest.raises(ValueError, match="class of one row or more, got 11"):
        embedding_clusters(clf, label=11)
    with pytest.raises(ValueError, match="class of one training row or more, got 11"):
        embedding_clusters(clf, X, np.full(N, 11), label=11)
    with pytest.raises(ValueError, match="n_clusters must be at most 31"):
        embedding_clusters(clf, label=1, n_clusters=1000)
    with pytest.raises(ValueError, match=r"'n_exemplars' parameter .* Got 0"):
        embedding_clusters(clf, label=1, n_exemplars=0)
    with pytest.raises(ValueError, match="each of the 300 rows"):
        embedding_clusters(clf, X, y[:-1], label=1)
