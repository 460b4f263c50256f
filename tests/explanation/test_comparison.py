"""Methods side by side: what is common, what is refused, the table, the figure and the page."""

import re

import numpy as np
import pytest

from sklearn_provenance import Explanation
from sklearn_provenance.explanation import Comparison, compare

from ..pages import ATTACKS, Page, readable
from .test_explanation import make


def pair(**options):
    """The explanation of make(), and one by another method that is like it in part."""
    one = make(**options)
    rng = np.random.default_rng(1)
    indices = one.indices.copy()
    indices[0] = indices[0, ::-1]  # the same rows in another order
    indices[2] = [(row + 1) % 20 for row in indices[2]]
    indices[3] = -1
    scores = np.where(indices < 0, np.nan, rng.random(indices.shape))
    labels = np.arange(20)[indices.clip(0)] % 3
    other = one._replace(indices=indices, scores=scores, exemplar_labels=labels, method="other")
    return one, other


def test_overlap_is_the_share_of_common_rows():
    one, other = pair()
    comparison = compare({"one": one, "other": other})
    expected = []
    for query in range(4):
        rows = [set(exp.indices[query]) - {-1} for exp in (one, other)]
        expected.append(len(rows[0] & rows[1]) / max(map(len, rows)) if all(rows) else np.nan)
    np.testing.assert_allclose(comparison.overlaps[0, 1], expected)
    assert expected[0] == expected[1] == 1
    assert np.isnan(expected[3])
    assert (
        comparison.overlap[0, 1] == comparison.overlap[1, 0] == pytest.approx(np.nanmean(expected))
    )
    np.testing.assert_array_equal(np.diag(comparison.overlap), 1)
    best = [one.indices[q, 0] == other.indices[q, 0] for q in range(3)]
    assert comparison.same_best[0, 1] == pytest.approx(np.mean(best))
    assert comparison.chance == pytest.approx(3 / 20)


def test_only_as_many_exemplars_as_all_were_asked_for_are_compared():
    one = Explanation([[1, 2, 3]], [[3.0, 2.0, 1.0]])
    other = Explanation([[3]], [[1.0]])
    comparison = compare({"one": one, "other": other})
    assert comparison.k == 1
    assert comparison.overlap[0, 1] == 0
    assert np.isnan(comparison.chance)


def test_the_table_has_a_line_for_each_exemplar_of_each_method():
    one, other = pair()
    lines = compare({"one": one, "other": other}).to_frame()
    assert len(lines) == (one.indices >= 0).sum() + (other.indices >= 0).sum()
    for name, exp in {"one": one, "other": other}.items():
        of_method = lines[lines["method"] == name]
        np.testing.assert_array_equal(of_method["index"], exp.to_frame()["index"])
        np.testing.assert_array_equal(of_method["score"], exp.to_frame()["score"])
    assert (lines.loc[lines["query"] == 0, "named_by"] == 2).all()
    assert (lines.loc[lines["query"] == 3, "named_by"] == 1).all()


def test_queries_are_taken_from_all_methods():
    one, other = pair()
    part = compare({"one": one, "other": other}).take([2, 0])
    np.testing.assert_array_equal(part["other"].indices, other.indices[[2, 0]])
    assert isinstance(part, Comparison)
    with pytest.raises(KeyError, match="'x' is none of the methods one, other"):
        part["x"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": np.zeros((4, 16))}, "differ in 4 of 4 queries"),
        (
            {"query_labels": [0, 1, 2, 1]},
            "differ in the label that is explained for 1 of 4 queries; pass",
        ),
        ({"query_id": list("abcd")}, None),
        (
            {"training_data": np.zeros((20, 16))},
            r"differ in \d+ of \d+ training rows that are named",
        ),
        ({"training_data": np.zeros((25, 16))}, "have 20 and 25 training rows"),
        ({"training_data": np.zeros((20, 4))}, r"differ in (\d+) of \1 training rows"),
        ({"queries": None, "training_data": None}, None),
        ({"targets": "numbers"}, "have targets that are labels and numbers"),
    ],
)
def test_only_explanations_of_the_same_queries_are_compared(changes, message):
    one, other = pair()
    other = other._replace(**changes)
    if message is None:
        compare({"one": one, "other": other})
        return
    with pytest.raises(ValueError, match=f"those of one and other {message}"):
        compare({"one": one, "other": other})


def test_queries_with_other_identifiers_are_others():
    one, other = pair(query_id=list("abcd"))
    with pytest.raises(ValueError, match="those of one and other have other query_id"):
        compare({"one": one, "other": other._replace(query_id=list("abdc"))})


def test_methods_that_name_nothing():
    """Nothing is shared, no training row has to be the same, and all of it is shown."""
    for k in (0, 2):
        indices, scores = np.full((2, k), -1), np.full((2, k), np.nan)
        one = Explanation(indices, scores, training_data=np.zeros((3, 2)))
        other = one._replace(training_data=np.ones((3, 2)))
        comparison = compare({"one": one, "other": other})
        assert np.isnan(comparison.overlap[0, 1])
        assert "none" in comparison._repr_html_()


def test_what_is_no_explanation_is_refused():
    with pytest.raises(TypeError, match=r"must be a mapping from names of methods.*got list"):
        compare([make(), make()])
    with pytest.raises(TypeError, match="got ndarray under the name 'one'"):
        compare({"one": np.zeros(3), "other": make()})
    with pytest.raises(ValueError, match="at least two methods, got 1"):
        compare({"one": make()})
    with pytest.raises(ValueError, match="those of one and other have 4 and 3 queries"):
        compare({"one": make(), "other": make()[:3]})


# Figures


@pytest.mark.parametrize("kind", ["images", "table", "texts"])
def test_every_method_is_drawn_beside_the_query(kind):
    options = {}
    if kind == "images":
        options["image_shape"] = (4, 4)
    if kind == "texts":
        texts = np.array([f"text number {row}" for row in range(20)], dtype=object)
        options = {"queries": texts[:4], "training_data": texts}
    comparison = compare(dict(zip(("InfoGain", "TRAK"), pair(**options), strict=True)))
    names = ["ant", "bee", "cow"]
    display = comparison.plot(k=2, max_queries=3, label_names=names, true_labels=[0, 0, 2, 0])
    assert display.axes_.shape == ((6, 3) if kind == "images" else (3,))
    texts = [text.get_text() for text in display.figure_.findobj(lambda a: hasattr(a, "get_text"))]
    written = "\n".join(texts)
    for name in ("InfoGain", "TRAK", "query 0", "named by several methods", "true: ant ✗", "bee"):
        assert name in written
    for method in ("InfoGain", "TRAK"):
        for row in comparison[method].indices[2, :2]:
            assert f"row {row}" in written


def test_rows_named_by_several_methods_are_marked():
    one, other = pair(image_shape=(4, 4))
    display = compare({"one": one, "other": other}).plot(k=3)
    below = [panel.get_xlabel() for panel in display.axes_[:2, 1:].ravel()]
    assert all(text.endswith("●") for text in below)
    alone = [panel.get_xlabel() for panel in display.axes_[6, 1:]]
    assert not any("●" in text for text in alone)
    assert not display.axes_[7, 1].axison  # the other method names none


def test_numbers_have_one_scale_of_colours():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(6, 3))
    numbers = {"queries": data[:2], "training_data": data, "query_labels": [1.5, 2.5]}
    one = Explanation(
        [[1, 2], [3, 4]], np.ones((2, 2)), exemplar_labels=[[1.0, 9.0], [2, 3]], **numbers
    )
    other = Explanation(
        [[5, 2], [0, 4]], np.ones((2, 2)), exemplar_labels=[[0.0, 9.0], [2, 3]], **numbers
    )
    display = compare({"one": one, "other": other}).plot()
    bars = [axes for axes in display.figure_.axes if axes.get_ylabel() == "target"]
    assert bars[0].get_ylim() == (0.0, 9.0)


# Pages


@pytest.mark.parametrize("kind", ["images", "table"])
def test_a_page_has_every_method_and_how_far_they_agree(kind):
    one, other = pair(image_shape=(4, 4) if kind == "images" else None)
    comparison = compare({"one": one, ATTACKS[0]: other})
    page = Page(comparison.to_html(title="Two", true_labels=[0, 1, 1, 0]))
    assert page.inside("h1") == ["Two"]
    text = " ".join(" ".join(text for _, text in page.texts).split())
    assert f"{comparison.overlap[0, 1]:.2f} ({comparison.same_best[0, 1]:.2f})" in text
    assert len(page.named("article")) == 4
    heads = page.inside("h4") if kind == "images" else page.inside("th")
    assert heads.count("one") >= 4 - (kind == "images") * 0
    assert heads.count(readable(ATTACKS[0])) >= 3
    n_exemplars = (one.indices >= 0).sum() + (other.indices >= 0).sum()
    assert len([b for b in page.named("button") if "value" in b]) == n_exemplars
    assert text.count("also one") == text.count(f"also {readable(ATTACKS[0])}")
    assert text.count("also one") == 3 + 2  # of queries 0 and 1, and by chance none of query 2
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1


def test_a_page_is_sorted_by_what_methods_have_in_common():
    one, other = pair()
    page = Page(compare({"one": one, "other": other}).to_html())
    places = [int(attributes["data-least"]) for attributes in page.named("article")]
    assert set(np.argsort(places)[:2]) == {2, 3}


def test_a_page_shows_what_is_known(tmp_path):
    """No choice of labels without labels, none of wrong queries, no chance for unknown rows."""
    one = Explanation([[1, 2], [3, 4]], [[3.0, 2.0], [2.0, 1.0]])
    other = one._replace(indices=[[1, 3], [4, 5]])
    path = tmp_path / "page.html"
    html = compare({"one": one, "other": other}).to_html(path)
    assert path.read_text() == html
    assert len(Page(html).named("article")) == 2
    (select,) = Page(html).named("select")
    assert select["name"] == "sort"
    assert "at random would share" not in html


def test_a_page_of_texts_says_what_is_underlined():
    texts = np.array([f"text number {row}" for row in range(20)], dtype=object)
    one, other = pair(queries=texts[:4], training_data=texts)
    html = compare({"one": one, "other": other}).to_html()
    assert "Underlined words are in the query and in the exemplar" in html


def test_a_notebook_shows_some_of_the_queries():
    one = make(n_queries=12)
    assert "of 12 queries" in compare({"one": one, "other": one})._repr_html_()


def test_a_notebook_shows_the_exemplars_of_each_method():
    one, other = pair()
    html = compare({"one": one, "other": other})._repr_html_()
    assert re.search(r"<th>query</th><th>one</th><th>other</th><th>in common</th>", html)
    assert f"row {one.indices[0, 0]}" in html
    assert "none" in html
