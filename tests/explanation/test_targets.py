"""Explanations of regressions: targets are numbers, which differ by amounts and never as labels."""

import pickle
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors

from sklearn_provenance import Explanation, InfluenceAttributor, InfoGainAttributor

from ..checks import thorough
from ..pages import Page
from .drawn import texts_of
from .test_explanation import make

NAN = np.nan
MISMATCH = "#D55E00"


def prices(kind="table", **options):
    """Three queries explained by neighbours, the last one with padding."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 16))
    y = np.round(100 + 20 * X[:, 0] + 5 * X[:, 1], 1)
    distances, indices = NearestNeighbors(n_neighbors=3).fit(X[4:]).kneighbors(X[:3])
    scores = 1 / (1 + distances)
    indices[2, 2:], scores[2, 2:] = -1, NAN
    data = {
        "table": X,
        "images": X.reshape(-1, 4, 4),
        "texts": np.array([f"a flat with {i} rooms" for i in range(30)], dtype=object),
    }[kind]
    given = {
        "exemplar_labels": y[4:][indices],
        "query_labels": y[:3] + [3, -2, 0.5],
        "true_labels": y[:3],
        "queries": data[:3],
        "training_data": data[4:],
        "image_shape": (4, 4) if kind == "images" else None,
        "method": "nearest",
    }
    return Explanation(indices, scores, **given | options)


# Which they are


@pytest.mark.parametrize(
    ("exemplars", "query", "expected"),
    [
        ([[1.5, 2.0]], [1.5], "numbers"),
        ([[1.5, 2.0]], None, "numbers"),
        (None, [1.5], "numbers"),
        ([[1, 2]], [1.5], "numbers"),
        ([[1.0, 2.0]], [1], "numbers"),
        ([[1, 2]], [1], "labels"),
        ([["a", "b"]], ["a"], "labels"),
        ([["a", "b"]], [1.5], "labels"),
        ([[True, False]], [True], "labels"),
        (np.array([[1.5, "a"]], dtype=object), [1], "labels"),
        (None, None, "labels"),
    ],
)
def test_floats_are_numbers_unless_the_caller_says_otherwise(exemplars, query, expected):
    given = {"exemplar_labels": exemplars, "query_labels": query}
    assert Explanation([[0, 1]], [[1, 0.5]], **given).targets == expected
    assert Explanation([[0, 1]], [[1, 0.5]], targets="labels", **given).targets == "labels"


def test_whole_numbers_are_targets_where_the_caller_says_so():
    exp = Explanation(
        [[0, 1]], [[1, 0.5]], exemplar_labels=[[3, 8]], query_labels=[5], targets="numbers"
    )
    assert exp.target_differences.tolist() == [[-2.0, 3.0]]
    assert exp.exemplar_labels.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "floats"}, r"targets must be None or one of .*, got 'floats'"),
        ({"targets": "numbers", "query_labels": ["a"]}, "needs numbers in query_labels, .* <U1"),
        ({"targets": "numbers", "exemplar_labels": [["a", "b"]]}, 'pass targets="labels"'),
        (
            {"targets": "numbers", "query_labels": np.array(["a"], dtype=object)},
            "needs numbers in query_labels, got dtype object",
        ),
        ({"true_labels": [1.0, 2.0]}, r"true_labels must have shape \(1,\), got \(2,\)"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Explanation([[0, 1]], [[1, 0.5]], **options)


def test_differences_and_residuals():
    exp = Explanation(
        [[4, 0], [2, -1]],
        [[0.9, 0.4], [1.0, NAN]],
        exemplar_labels=[[151.0, 75.0], [3.0, 0.0]],
        query_labels=[142.5, 5.0],
        true_labels=[140.0, 5.5],
    )
    np.testing.assert_array_equal(exp.target_differences, [[8.5, -67.5], [-2.0, NAN]])
    np.testing.assert_array_equal(exp.residuals, [-2.5, 0.5])
    np.testing.assert_array_equal(exp[1].residuals, [0.5])
    with pytest.raises(AttributeError, match=r"agreement compares labels, .* are numbers"):
        _ = exp.agreement
    with pytest.raises(AttributeError, match="true_labels was not given"):
        _ = exp._replace(true_labels=None).residuals
    with pytest.raises(AttributeError, match="exemplar_labels was not given"):
        _ = exp._replace(exemplar_labels=None).target_differences
    for name in ("residuals", "target_differences"):
        with pytest.raises(AttributeError, match=f"{name} subtracts numbers, .* are labels"):
            getattr(make(), name)


def test_explanations_pickled_before_there_were_targets():
    exp = make(score_name="gain (nats)")
    for name in ("targets", "true_labels"):
        delattr(exp, name)
    state = pickle.dumps(exp, protocol=0).replace(
        b"csklearn_provenance.explanation._explanation\n", b"csklearn_provenance.explanation\n"
    )
    assert b"csklearn_provenance.explanation\nExplanation\n" in state
    old = pickle.loads(state)
    assert repr(old) == repr(make())
    np.testing.assert_array_equal(old[1].agreement, make().agreement[1:2])


# Text and frame


def test_text_shows_numbers_with_their_differences():
    exp = Explanation(
        [[4, 0], [2, -1]],
        [[0.9, 0.4], [1.0, NAN]],
        exemplar_labels=[[151.0, 75.0], [30000.25, 0.0]],
        query_labels=[142.5, 30000.0],
    )
    lines = repr(exp).split("\n")
    assert lines[0] == "Explanation: 2 queries, up to 2 exemplars each, score; (target, difference)"
    assert lines[1] == "query 0 -> 142:  row 4 (151, +8.5) 0.9 | row 0 (75, -67.5) 0.4"
    assert lines[2] == "query 1 -> 30000:  row 2 (30000, +0.25) 1"
    lines = repr(exp._replace(true_labels=[140, 30001])).split("\n")
    assert lines[1].startswith("query 0 -> 142 (true 140, -2.5):  row 4")
    lines = repr(exp._replace(query_labels=None)).split("\n")
    assert lines[0].endswith("score; (target)")
    assert lines[1] == "query 0:  row 4 (151) 0.9 | row 0 (75) 0.4"
    html = exp._replace(true_labels=[140, 30001])._repr_html_()
    assert "<th>0: 142 (true 140, -2.5)</th><td>row 4 (151, +8.5) 0.9</td>" in html
    assert not set("≠✓") & set(html)


def test_text_shows_true_labels_where_they_differ():
    exp = make(true_labels=[0, 0, 2, 0])
    lines = repr(exp).split("\n")
    assert lines[1].startswith("query 0 -> 0:  ")
    assert lines[2].startswith("query 1 -> 1 (!= true 0):  ")
    assert "1: 1 (≠ true 0)" in exp._repr_html_()


def test_frame_has_targets_residuals_and_differences():
    exp = prices(sample_id=np.array([list("abc")] * 3))
    frame = exp.to_frame()
    assert list(frame.columns) == [
        *("query", "rank", "index", "sample_id", "score", "query_target", "true_target"),
        *("residual", "target", "difference"),
    ]
    assert len(frame) == 8
    np.testing.assert_allclose(frame["target"] - frame["query_target"], frame["difference"])
    np.testing.assert_allclose(frame["residual"], exp.residuals[frame["query"]])
    assert not {"label", "query_label"} & set(frame.columns)
    assert "true_label" in make(true_labels=[0, 0, 2, 0]).to_frame()


NUMBERS = st.floats(width=64) | st.integers(-(10**6), 10**6).map(float)


@st.composite
def regressions(draw):
    """Regressions with any numbers, infinite and missing ones included."""
    n_queries, k = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    lengths = draw(hnp.arrays(np.int64, n_queries, elements=st.integers(0, k)))
    valid = np.arange(k) < lengths[:, None]

    def maybe(shape):
        return draw(st.none() | hnp.arrays(np.float64, shape, elements=NUMBERS))

    return Explanation(
        np.where(valid, 3, -1),
        np.where(valid, 0.5, NAN),
        exemplar_labels=maybe((n_queries, k)),
        query_labels=maybe((n_queries,)),
        true_labels=maybe((n_queries,)),
        queries=np.arange(3 * n_queries).reshape(n_queries, 3),
        training_data=np.arange(12).reshape(4, 3),
        targets="numbers",
    )


def test_units_and_brackets_of_a_long_header_are_written():
    exp = Explanation(
        [[4]],
        [[0.9]],
        exemplar_labels=[[151.0]],
        query_labels=[142.5],
        method="influence",
        score_name="drop of the prediction (units of y)",
        reason="all the parts of the ensemble can be computed without a row, " * 3,
    )
    lines = repr(exp).split("\n")
    assert max(map(len, lines)) <= 100
    head = " ".join(line.strip() for line in lines[:2])
    assert head.endswith("drop of the prediction (units of y); (target, difference)")
    assert lines[2] == "query 0 -> 142:  row 4 (151, +8.5) 0.9"
    assert lines[3].startswith("chosen because")
    assert lines[3].endswith("...")
    assert len(lines) == 4


@given(regressions())
@settings(suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("error")
def test_any_numbers_are_written(exp):
    lines = repr(exp).split("\n")
    assert max(map(len, lines)) <= 100
    page = Page(exp.to_html())
    assert len(page.named("article")) == exp.n_queries
    assert len(exp.to_frame()) == (exp.indices >= 0).sum()
    written = repr(exp) + exp._repr_html_() + "".join(text for _, text in page.texts)
    assert not re.search("another label|same label|!= ", written)


# Figures


@pytest.mark.parametrize("kind", ["images", "table", "texts"])
def test_figures_colour_by_target_and_mark_nothing(kind):
    exp = prices(kind)
    display = exp.plot()
    found = texts_of(display)
    written = "\n".join(text.get_text() for text, _ in found)
    assert not set("≠✓✗") & set(written)
    assert all(text.get_color() != MISMATCH for text, _ in found)
    difference = exp.target_differences[0, 0]
    assert f"{exp.exemplar_labels[0, 0]:.3g} ({difference:+.3g})" in written
    assert f"true: {exp.true_labels[0]:.3g}" in written
    bars = [axes for axes in display.figure_.axes if axes.get_ylabel() == "target"]
    assert len(bars) == 1
    values = np.concatenate([exp.exemplar_labels[exp.indices >= 0], exp.query_labels,
                             exp.true_labels])  # fmt: skip
    assert bars[0].get_ylim() == (values.min(), values.max())
    viridis = plt.colormaps["viridis"]
    shares = (exp.exemplar_labels[0] - values.min()) / (values.max() - values.min())
    panels = display.axes_
    if kind == "images":
        drawn = [panel.spines["left"].get_edgecolor() for panel in panels[0, 1:]]
    else:
        squares = [line for line in panels[0].get_lines() if line.get_marker() == "s"]
        drawn = [line.get_color() for line in squares[1:]]
    np.testing.assert_allclose(drawn, viridis(shares), atol=1 / 128)


@pytest.mark.parametrize("kind", ["table", *thorough("images", "texts")])
def test_figures_of_equal_or_unknown_targets(kind):
    equal = prices(kind, exemplar_labels=np.full((3, 3), 7.0), query_labels=np.full(3, 7.0),
                   true_labels=None)  # fmt: skip
    assert texts_of(equal.plot())
    unknown = prices(kind, exemplar_labels=None, query_labels=None, true_labels=None,
                     targets="numbers")  # fmt: skip
    assert texts_of(unknown.plot())


def test_texts_of_a_figure_of_numbers_do_not_overlap():
    for kind in ("images", "table", "texts"):
        upright = [(t, b) for t, b in texts_of(prices(kind, n_tied=[1, 0, 20]).plot())
                   if t.get_rotation() == 0]  # fmt: skip
        for i, (text, box) in enumerate(upright):
            for other, other_box in upright[:i]:
                assert not box.overlaps(other_box), (text, other)


# Pages


@pytest.mark.parametrize("kind", ["images", "table", "texts"])
def test_pages_show_targets_and_mark_nothing(kind):
    exp = prices(kind)
    page = Page(exp.to_html())
    text = " ".join(" ".join(text for _, text in page.texts).split())
    assert not set("≠✓✗") & set(text.replace("≠ marks another category", ""))
    assert not re.search("another label|same label|have the label|all labels", text)
    first = exp.exemplar_labels[0, 0]
    assert f"{first:.3g} ({exp.target_differences[0, 0]:+.3g})" in text
    assert f"target {exp.true_labels[0]:.3g} (residual {exp.residuals[0]:+.3g})" in text
    targets = exp.exemplar_labels[0]
    assert f"targets of exemplars from {targets.min():.3g} to {targets.max():.3g}, mean" in text
    assert [attributes["class"] for attributes in page.named("article")] == [""] * 3
    shades = [
        int(attributes["class"][-1])
        for attributes in page.named("span")
        if attributes.get("class", "").startswith("swatch")
    ]
    # A colour in each heading, for each exemplar, and in a table for the query's line.
    assert len(shades) == 3 + 8 + 3 * (kind == "table")
    assert (min(shades), max(shades)) == (0, 6)


def test_orders_of_numbers():
    exp = prices()
    page = Page(exp.to_html())
    assert "largest residual first" in "".join(page.inside("option"))
    articles = page.named("article")
    places = [int(attributes["data-residual"]) for attributes in articles]
    np.testing.assert_array_equal(np.argsort(places), np.argsort(-np.abs(exp.residuals)))
    places = [int(attributes["data-difference"]) for attributes in articles]
    largest = np.nanmax(np.abs(exp.target_differences), axis=1)
    np.testing.assert_array_equal(np.argsort(places), np.argsort(-largest))
    assert [attributes["name"] for attributes in page.named("select")] == ["sort"]


def test_numbers_have_no_names():
    with pytest.raises(ValueError, match="label_names must be None, because the targets"):
        prices().to_html(label_names=["a", "b"])


# Attributors


def test_attributors_say_which_they_are():
    X = np.random.default_rng(0).normal(size=(20, 3))
    classes = np.where(X[:, 0] > 0, 1.0, 0.0)  # floats that are classes
    exp = InfoGainAttributor(LogisticRegression()).fit(X, classes).explain(X[:2], k=2)
    assert exp.targets == "labels"
    numbers = (10 * X[:, 0]).round()
    module = torch.nn.Linear(3, 1)
    attributor = InfoGainAttributor(module, measurement=lambda out, target: out[:, 0])
    exp = attributor.fit(X.astype(np.float32), numbers).explain(
        X[:2].astype(np.float32), numbers[:2], k=2
    )
    assert exp.targets == "numbers"
    np.testing.assert_array_equal(exp.exemplar_labels, numbers[exp.indices])
    assert "!=" not in repr(exp)


def test_influence_says_which_they_are():
    X = np.random.default_rng(0).normal(size=(20, 3))
    classes = np.where(X[:, 0] > 0, 1.0, 0.0)
    exp = InfluenceAttributor(LogisticRegression()).fit(X, classes).explain(X[:2], k=2)
    assert exp.targets == "labels"
    counts = np.arange(20)
    exp = InfluenceAttributor(Ridge()).fit(X, counts).explain(X[:2], k=2)
    assert exp.targets == "numbers"


@pytest.mark.parametrize("targets", ["numbers", "labels"])
def test_captions_of_what_is_not_known(targets):
    """Without predictions the true targets stand alone, and are compared with nothing."""
    exp = prices(query_labels=None, targets=targets)
    written = [text.get_text() for text, _ in texts_of(exp.plot())]
    width = ".3g" if targets == "numbers" else ""
    assert any(f"true: {exp.true_labels[0]:{width}}" in text for text in written)
    assert not any("✓" in text or "✗" in text or "≠" in text for text in written)
    assert f"{exp.exemplar_labels[0, 0]:{width}}" in "\n".join(written)
    display = prices(query_labels=None).plot()
    assert display.target_color(0) == display._colors.to_rgba(display.true_labels[0])


def test_a_target_that_is_not_known_has_no_shade():
    labels = prices().exemplar_labels
    labels[0, 1] = NAN
    cards = Page(prices(exemplar_labels=labels).to_html()).structure
    whole = Page(prices().to_html()).structure
    assert str(whole).count("shade") == str(cards).count("shade") + 1
