"""Features that queries share with exemplars: their parts, and how texts and tables show them."""

import pickle
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.offsetbox import HPacker
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from sklearn_provenance import Explanation
from sklearn_provenance.explanation import Contributions
from sklearn_provenance.explanation._pair_contributions import PairContributions
from sklearn_provenance.explanation._shared_features import mark_words
from sklearn_provenance.explanation._words import Texts

from ..pages import ATTACKS, Page, hostile, readable
from .drawn import texts_of
from .test_explanation import make

TEXTS = np.array(
    [
        "The river rose after heavy rain, and the bridge over the River was closed.",
        "A bird sang near the river.",
        "Rain and more rain: the bridge stays closed.",
    ],
    dtype=object,
)
QUERY = np.array(["Is the bridge closed because the river rose?"], dtype=object)


def of_texts(**options):
    """A query by TF-IDF, with "closed" counted negatively."""
    vectors = TfidfVectorizer(stop_words="english").fit(TEXTS)
    train, query = vectors.transform(TEXTS), vectors.transform(QUERY)
    names = vectors.get_feature_names_out()
    weights = np.where(names == "closed", -1.0, 1.0)
    scores = (query.multiply(weights) @ train.T).toarray()
    order = np.argsort(-scores, axis=1)
    exp = Explanation(
        order, np.take_along_axis(scores, order, 1), queries=QUERY, training_data=TEXTS,
        contributions=Contributions(query, train, names, weights), **options,
    )  # fmt: skip
    return exp, (query, train, weights, scores)


# Parts


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, sparse.coo_matrix])
@pytest.mark.parametrize("weighted", [False, True])
def test_parts_are_products_and_add_up_to_the_inner_product(convert, weighted):
    rng = np.random.default_rng(0)
    queries, train = (rng.integers(-3, 4, (n, 6)).astype(np.float32) for n in (4, 9))
    weights = rng.normal(size=6) if weighted else None
    names = list("abcdef")
    parts = Contributions(convert(queries), convert(train), names, weights)
    indices = rng.integers(0, 9, (4, 2))
    indices[3, 1] = -1
    exp = Explanation(indices, np.where(indices < 0, np.nan, 1.0), contributions=parts)
    for query, rank in np.ndindex(4, 2):
        shared = exp.shared_features(query, rank)
        if indices[query, rank] < 0:
            assert shared == []
            continue
        expected = queries[query] * train[indices[query, rank]]
        if weighted:
            expected = expected * weights
        assert dict(shared) == pytest.approx(
            {name: part for name, part in zip(names, expected, strict=True) if part}
        )
        sizes = [abs(part) for _, part in shared]
        assert sizes == sorted(sizes, reverse=True)
        assert exp.shared_features(query, rank, 2) == shared[:2]


def test_parts_of_one_name_are_added():
    """As columns of a one-hot encoding have the name of the column they came from."""
    parts = Contributions([[1.0, 2.0, 4.0]], [[1.0, 1.0, -1.0]], ["city", "age", "city"])
    exp = Explanation([[0]], [[1.0]], contributions=parts)
    assert exp.shared_features(0, 0) == [("city", -3.0), ("age", 2.0)]


def test_queries_are_taken_with_their_parts():
    queries = np.arange(12.0).reshape(4, 3)
    parts = Contributions(queries, np.ones((5, 3)), list("abc"))
    exp = Explanation([[0], [1], [2], [3]], [[1.0]] * 4, contributions=parts)
    part = pickle.loads(pickle.dumps(exp[[3, 1]]))
    assert part.shared_features(0, 0) == [("c", 11.0), ("b", 10.0), ("a", 9.0)]
    assert part.shared_features(1, 0) == exp.shared_features(1, 0)
    listed = Explanation(
        [[0, 1], [1, -1]], [[1, 0.5], [1, np.nan]],
        contributions=[[{"a": 1, "b": -2}, [("c", 3)]], [{"d": 4}]],
    )  # fmt: skip
    assert listed.shared_features(0, 0) == [("b", -2.0), ("a", 1.0)]
    assert listed[1].shared_features(0, 0) == [("d", 4.0)]
    assert listed[1].shared_features(0, 1) == []


def test_factors_belong_to_pairs_and_go_with_their_queries():
    parts = Contributions(
        np.ones((2, 2)), [[1.0, 2.0], [3.0, 4.0]], list("ab"), [1, 10], [[1, 2], [0, -1]]
    )
    exp = Explanation([[0, 1], [1, 0]], [[1, 0.5]] * 2, contributions=parts)
    assert exp.shared_features(0, 0) == [("b", 20.0), ("a", 1.0)]
    assert exp.shared_features(0, 1) == [("b", 80.0), ("a", 6.0)]
    assert exp[1].shared_features(0, 0) == []
    assert exp[1].shared_features(0, 1) == [("b", -20.0), ("a", -1.0)]
    renamed = exp._replace(contributions=parts.named(["c", "d"]))
    assert renamed[1].shared_features(0, 1) == [("d", -20.0), ("c", -1.0)]


@pytest.mark.parametrize(
    ("contributions", "error", "message"),
    [
        (3, TypeError, "must be a Contributions object, or hold .* got int"),
        ([["ab"]], TypeError, "must be a Contributions object"),
        ([[{"a": 1}]] * 2, ValueError, "contributions has 2 queries, but indices explains 1"),
        ([[{"a": 1}] * 3], ValueError, "one entry for each exemplar, got 3 for the 2 exemplars"),
        ([[{"a": 1}]], ValueError, "one entry for each exemplar, got 1 for the 2 exemplars"),
        (Contributions([[1.0]], [[1.0]], ["a"]), ValueError, "row 1, .* has 1 training rows"),
    ],
)
def test_refuses(contributions, error, message):
    with pytest.raises(error, match=message):
        Explanation([[0, 1]], [[1, 0.5]], contributions=contributions)


def test_parts_of_pairs_have_a_row_for_each_exemplar():
    parts = PairContributions([np.ones((1, 3))], list("abc"))
    with pytest.raises(ValueError, match=r"for each exemplar, shape \(2, 3\), got \(1, 3\)"):
        Explanation([[0, 1]], [[1, 0.5]], contributions=parts)


def test_refuses_rows_that_do_not_fit():
    with pytest.raises(ValueError, match="2 names and 1 columns"):
        Contributions([[1.0]], [[1.0]], ["a", "b"])
    with pytest.raises(ValueError, match=r"weights must have shape \(1,\), got \(2,\)"):
        Contributions([[1.0]], [[1.0]], ["a"], [1, 2])
    with pytest.raises(ValueError, match=r"queries must be numbers .* got shape \(1,\)"):
        Contributions([1.0], [[1.0]], ["a"])
    with pytest.raises(ValueError, match=r"training_data must be numbers .* dtype <U1"):
        Contributions([[1.0]], [["a"]], ["a"])
    with pytest.raises(ValueError, match=r"one row for each of the 1 queries, got shape \(2, 1\)"):
        Contributions([[1.0]], [[1.0]], ["a"], factors=[[1], [2]])
    parts = Contributions([[1.0]], [[1.0]], ["a"], factors=[[1, 2]])
    with pytest.raises(ValueError, match=r"the shape of indices, \(1, 1\), got \(1, 2\)"):
        Explanation([[0]], [[1.0]], contributions=parts)
    with pytest.raises(AttributeError, match="contributions was not given"):
        make().shared_features(0, 0)


# Words


def test_words_are_marked_by_sign_and_size():
    parts = [("river", 0.8), ("new york", 0.5), ("ri", 0.4), ("rain", 0.3), ("c++", -0.4)]
    runs = mark_words("River, rivers: New\n York's rain in C++.", parts)
    assert [(run.text, run.mark) for run in runs if run.mark] == [
        ("River", "above2"), ("New\n York", "above2"), ("rain", "above1"), ("C", "below2"),
    ]  # fmt: skip


@given(hostile, st.lists(st.tuples(hostile | st.sampled_from("abc"), st.floats(-2, 2))))
@example("a b c", [("a", 1.0), ("b c", -0.25)])
@settings(suppress_health_check=list(HealthCheck))
def test_marks_change_no_letter(text, parts):
    runs = mark_words(text, [(name, part) for name, part in parts if part])
    assert "".join(run.text for run in runs) == text
    assert all(run.text for run in runs)


def test_pages_mark_the_words_of_texts():
    exp, _ = of_texts()
    page = Page(exp.to_html())
    marks = [(a["class"], text.lower()) for a, text in
             zip(page.named("mark"), page.inside("mark"), strict=True)]  # fmt: skip
    shared = {name: part for rank in range(3) for name, part in exp.shared_features(0, rank)}
    assert {word for _, word in marks} == set(shared) == {"river", "rose", "bridge", "closed"}
    assert {word for mark, word in marks if mark.startswith("below")} == {"closed"}
    text = " ".join(text for _, text in page.texts)
    name, part = exp.shared_features(0, 0, 1)[0]
    assert f"{name} {part:+.2g}" in text
    # The texts are still whole.
    flat = re.sub("<[^>]*>", "", exp.to_html())
    assert all(row in flat for row in [*TEXTS, *QUERY])


@given(st.lists(hostile, min_size=8, max_size=8))
@example(ATTACKS[:8])
@example(ATTACKS[-8:])
@settings(suppress_health_check=list(HealthCheck))
def test_no_name_changes_a_page(names):
    data = np.array(names[:4], dtype=object)
    exp = Explanation(
        [[0, 1]], [[1, 0.5]], queries=data[2:3], training_data=data,
        contributions=[[dict.fromkeys(names, 1.0), dict.fromkeys(names[:3], -1.0)]],
    )  # fmt: skip
    page = Page(exp.to_html())
    assert {name for name, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "p", "main"),
        *("section", "h2", "div", "article", "h3", "figure", "figcaption", "ol", "li", "span"),
        *("bdi", "mark", "footer", "script", "fieldset", "button"),
        *("details", "summary", "svg", "path", "circle", "ul"),
    }
    bare = Page(exp._replace(contributions=None).to_html())
    joined = "".join(text for tag, text in page.texts if tag in ("bdi", "mark"))
    for text in bare.inside("bdi"):
        assert readable(text) in joined


def test_tables_write_parts_below_values_and_others_beside_them():
    X = np.random.default_rng(0).normal(size=(20, 16))
    names = [f"f{i}" for i in range(16)]
    parts = Contributions(X[:4], X, [*names[:15], "elsewhere"])
    exp = make(feature_names=names, contributions=parts)
    page = Page(exp.to_html())
    heads = page.inside("th")
    assert "also shared" in heads
    below = page.inside("small")
    beside = " ".join(text for tag, text in page.texts if tag == "td")
    for rank in range(3):
        for name, part in exp.shared_features(0, rank, 8):
            shown = f"{part:+.2g}" if abs(part) < 1 else f"{part:+.3g}"
            if name in heads:
                assert shown in below
            else:
                assert f"{name} {shown}" in beside
    assert "those with the largest parts, then those that differ most" in exp.to_html()
    largest = exp.shared_features(0, 0, 1)[0][0]
    assert largest in heads or largest == "elsewhere"
    assert "also shared" not in make(feature_names=names).to_html()


def test_figures_mark_words():
    exp, _ = of_texts()
    display = exp.plot()
    texts_of(display)  # draws, which places each word after the one before it
    areas = [area for packed in display.axes_[0].findobj(HPacker) for area in packed.get_children()]
    texts = [area.get_children()[0] for area in areas]
    marked = {
        text.get_text().lower(): to_hex(text.get_bbox_patch().get_facecolor())
        for text in texts
        if text.get_bbox_patch() is not None
    }
    assert set(marked) == {"river", "rose", "bridge", "closed"}
    assert marked["closed"] in ("#e6e2f2", "#c8c1e2")
    assert marked["river"] in ("#fde6cb", "#f8c48a")
    assert "violet ones lower it" in display.figure_.get_supxlabel()
    # Words of a line follow each other without gap or overlap.
    renderer = display.figure_.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    line = [box for box in boxes if abs(box.y0 - boxes[0].y0) < 1]
    assert len(line) == 9
    for box, after in pairwise(line):
        assert box.x1 == pytest.approx(after.x0, abs=3)  # backgrounds are a little larger


def test_a_figure_of_a_line_of_marked_words_is_drawn():
    """Placed one after the other, each by the one before it, these would never be drawn."""
    words = [f"w{number}" for number in range(12)]
    parts = np.arange(1.0, 13.0)[None]
    text = np.array([" ".join(f"{word} and" for word in words)], dtype=object)
    exp = Explanation(
        [[0]], [[1.0]], queries=text, training_data=text,
        contributions=Contributions(parts, parts, words),
    )  # fmt: skip
    display = exp.plot()
    texts_of(display)
    runs = [
        area.get_text()
        for packed in display.axes_[0].findobj(HPacker)
        for area in packed.get_children()
    ]
    assert "".join(runs) == 2 * text[0]
    assert {word for word in words if word in runs} == set(words[4:])  # the largest parts


def test_figures_of_tables_have_bold_parts():
    X = np.random.default_rng(0).normal(size=(20, 16))
    names = [f"f{i}" for i in range(16)]
    exp = make(feature_names=names, contributions=Contributions(X[:4], X, names))
    panel = exp.plot().axes_[0]
    drawn = [label.get_text() for label in panel.get_xticklabels()]
    bold = {
        (drawn[round(text.get_position()[0])], round(text.get_position()[1]))
        for text in panel.texts
        if text.get_fontweight() == "bold"
    }
    for rank in range(3):
        shared = {name for name, _ in exp.shared_features(0, rank, 8)} & set(drawn)
        assert {name for name, line in bold if line == rank + 1} == shared


def test_letters_without_a_small_letter_of_their_own_are_not_marked():
    """The long s is a small letter that stands for S where case is ignored."""
    runs = mark_words("ſ or S", [("s", 1.0)])
    assert [(run.text, run.mark) for run in runs] == [("ſ or ", ""), ("S", "above2")]


def test_parts_of_pixels_are_not_listed():
    X = np.random.default_rng(0).uniform(size=(20, 16))
    exp = make(contributions=Contributions(X[:4], X, [f"x{i}" for i in range(16)]))
    images = exp._replace(image_shape=(4, 4))
    assert "  shared  " in repr(exp)
    assert "shared" not in repr(images)
    assert "x1" in exp._repr_html_()
    assert "x1" not in images._repr_html_()
    for page in (images.to_html(), exp.to_html(image_shape=(4, 4))):
        assert "shared:" not in page
        assert "“Shared”" not in page
    assert images.shared_features(0, 0)


def test_parts_of_rows_that_are_not_shown_are_listed():
    exp, _ = of_texts()
    page = exp._replace(queries=None, training_data=None).to_html()
    assert "Shared" in page
    assert "Their words are marked" not in page
    assert "Their words are marked" in exp.to_html()


def test_texts_of_exemplars_where_there_are_any():
    exp, _ = of_texts()
    indices, scores = exp.indices.copy(), exp.scores.copy()
    indices[0, 2], scores[0, 2] = -1, np.nan
    texts = Texts(exp._replace(indices=indices, scores=scores))
    assert texts.exemplars == [[TEXTS[indices[0, 0]], TEXTS[indices[0, 1]], ""]]
    nothing = exp._replace(indices=[[-1, -1, -1]], scores=[[np.nan] * 3])
    assert Texts(nothing).exemplars is None
    assert Texts(nothing).queries == list(QUERY)
