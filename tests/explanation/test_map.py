"""The map of a page: where rows lie, what their colours are, and what is refused."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sklearn_provenance import Explanation
from sklearn_provenance.explanation._embedding import check_embedding, places

from ..pages import Page
from .test_explanation import make


def dots(page, kind):
    """Places of the points of a kind by number."""
    found = {}
    for path in page.named("path"):
        if path["class"].split()[0] == kind and "data-numbers" in path:
            xy = np.array(re.findall(r"M(\d+) (\d+)h0", path["d"]), dtype=int)
            found |= dict(zip(map(int, path["data-numbers"].split()), xy, strict=True))
    return found


def test_rows_lie_on_the_principal_components_of_the_training_rows():
    exp = make(image_shape=(4, 4))
    placed = places(exp, "pca")
    pca = PCA(2, random_state=0).fit(exp.training_data)
    np.testing.assert_allclose(placed.queries, pca.transform(exp.queries))
    np.testing.assert_array_equal(placed.rows, np.arange(20))
    np.testing.assert_allclose(placed.training, pca.transform(exp.training_data))
    assert f"{pca.explained_variance_ratio_.sum():.0%} of the variance" in placed.name


def test_columns_have_one_scale_and_missing_values_lie_in_the_middle():
    X = np.random.default_rng(0).normal(size=(30, 3))
    scaled = X * [1, 1e6, 1e-6]
    scaled[0] = np.nan
    exp = Explanation([[1]], [[1.0]], queries=scaled[:1], training_data=scaled[1:])
    placed = places(exp, "pca")
    other = places(exp._replace(queries=X[1:2], training_data=X[1:]), "pca")
    np.testing.assert_allclose(np.abs(placed.training), np.abs(other.training), rtol=0.2, atol=0.3)
    middle = placed.training.mean(axis=0)
    assert np.linalg.norm(placed.queries[0] - middle) < 1e-6


def test_rows_of_one_category_lie_together():
    data = np.array([["red", 1.0], ["blue", 1.0]] * 6, dtype=object)
    exp = Explanation([[1]], [[1.0]], queries=data[:1], training_data=data)
    placed = places(exp, "pca")
    np.testing.assert_allclose(placed.training[::2], placed.queries.repeat(6, axis=0), atol=1e-9)
    assert np.linalg.norm(placed.training[1] - placed.queries[0]) > 0.5


def test_texts_of_the_same_words_lie_together():
    texts = np.array(["a river", "river a", "bread and salt", "salt and bread", "!"], dtype=object)
    exp = Explanation([[1]], [[1.0]], queries=texts[:1], training_data=texts)
    placed = places(exp, "pca")
    np.testing.assert_allclose(placed.training[:2], placed.queries.repeat(2, axis=0), atol=1e-9)
    assert np.linalg.norm(placed.training[2] - placed.queries[0]) > 0.5


def test_points_of_the_users_own_keep_their_places():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(4, 2)), rng.normal(size=(20, 2))
    exp = make(training_data=None, queries=None)
    own = own[0], own[1][: exp.indices.max() + 1]
    page = Page(exp.to_html(embedding=own))
    drawn = dots(page, "queries")
    assert sorted(drawn) == [0, 1, 2, 3]
    assert sorted(dots(page, "rows")) == np.unique(exp.indices[exp.indices >= 0]).tolist()
    points = np.concatenate(own) * [1, -1]  # pages count downwards
    at = np.array([*(drawn[i] for i in range(4)), *dots(page, "rows").values()])
    rows = np.concatenate([np.arange(4), 4 + np.array(list(dots(page, "rows")))])
    scale = np.ptp(at[:, 0]) / np.ptp(points[rows, 0])
    expected = (points[rows] - points[rows[0]]) * scale + at[0]
    np.testing.assert_allclose(at, expected, atol=1.5)


def test_more_dimensions_of_the_users_own_become_two():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(4, 5)), rng.normal(size=(20, 5))
    placed = places(make(), own)
    assert "of the embedding given" in placed.name
    np.testing.assert_allclose(placed.queries, PCA(2).fit(own[1]).transform(own[0]))


def test_tsne_keeps_near_neighbours_together():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(8)[:2] * 50, 10, axis=0)
    X = centres + rng.normal(size=(20, 8))
    exp = Explanation([[1]], [[1.0]], queries=X[:1], training_data=X)
    placed = places(exp, "tsne")
    distances = np.linalg.norm(placed.training - placed.queries, axis=1)
    assert distances[:10].max() < distances[10:].min()


def test_colours_are_those_of_labels_and_wrong_queries_have_a_ring():
    exp = make(query_labels=[0, 1, 2, 0])
    page = Page(exp.to_html(true_labels=[0, 1, 0, 0], label_names=["ant", "bee", "cow"]))
    legend = page.inside("bdi")[:3]
    assert legend == ["ant", "bee", "cow"]
    colors = {}
    for path in page.named("path"):
        if "data-numbers" in path and path["class"].startswith("queries"):
            colors |= dict.fromkeys(map(int, path["data-numbers"].split()), path["class"][8:])
    assert colors == {0: "color0", 3: "color0", 1: "color1", 2: "color2"}
    (ring,) = [
        path["d"]
        for path in page.named("path")
        if path["class"] == "ring" and "M0" not in path["d"]
    ]
    x, y = dots(page, "queries")[2]
    assert ring == f"M{x} {y}h0"


def test_a_page_without_a_map():
    assert "Map of the rows" in make().to_html()
    assert "Map of the rows" not in make().to_html(embedding=None)
    assert "Map of the rows" not in make(queries=None).to_html()
    assert "Map of the rows" not in make(training_data=None).to_html()
    two_points = Explanation([[0]], [[1.0]], queries=np.eye(2)[:1], training_data=np.eye(2)[1:])
    assert "Map of the rows" not in two_points.to_html()


def test_rare_labels_share_a_colour():
    labels = np.arange(20)
    exp = make(n_queries=20, query_labels=labels)
    exp = exp._replace(exemplar_labels=labels[exp.indices.clip(0)])
    page = Page(exp.to_html())
    assert "other labels" in page.inside("bdi")


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ("mds", "embedding must be None, one of pca, tsne, umap, or a pair of arrays, got 'mds'"),
        (3, "or a pair of arrays.*got int"),
        (np.zeros((3, 2)), "or a pair of arrays.*got ndarray"),
        ((np.zeros(4), np.zeros((20, 2))), r"for the queries, got shape \(4,\)"),
        ((np.zeros((4, 2)), np.full((20, 2), np.nan)), "finite points .* for the training rows"),
        ((np.zeros((5, 2)), np.zeros((20, 2))), "4 points for the queries and 20 for the training"),
        ((np.zeros((4, 2)), np.zeros((20, 3))), "in one space"),
    ],
)
def test_what_is_no_embedding_is_refused(embedding, message):
    with pytest.raises(ValueError, match=message):
        make().to_html(embedding=embedding)


class Reducer:
    """Stands for UMAP, which is not installed for tests: the first columns, in reverse."""

    def __init__(self, **parameters):
        self.parameters = parameters

    def fit_transform(self, points):
        assert self.parameters["n_neighbors"] < len(points)
        return points[:, 1::-1]


def test_umap_places_rows(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Reducer))
    for exp in (make(), make(k=1)[:1]):
        by_itself, by_umap = places(exp, "pca"), places(exp, "umap")
        np.testing.assert_array_equal(by_umap.rows, by_itself.rows)
        assert by_umap.training.shape == by_itself.training.shape
        assert "UMAP" in exp.to_html(embedding="umap")


def test_umap_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        check_embedding("umap", make())
