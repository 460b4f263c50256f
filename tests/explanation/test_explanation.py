import copy
import pickle
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from sklearn_provenance import Explanation, explain
from sklearn_provenance.explanation import Contributions, ExplanationDisplay
from sklearn_provenance.explanation._explain import explain_by_itself
from sklearn_provenance.explanation._images import brightness
from sklearn_provenance.explanation._rows import feature_differences, row_kind

from ..checks import thorough

PER_QUERY = (
    *("indices", "scores", "sample_id", "exemplar_labels", "query_labels", "queries"),
    *("query_id", "n_tied", "true_labels"),
)
LABELS = st.text(max_size=30) | st.sampled_from(["<script>alert(1)</script>", "a & 'b'", "$x_", ""])


@st.composite
def explanations(draw, max_queries=12, max_k=6):
    """Explanations with any padding, with or without labels and ids."""
    n_queries, k = draw(st.integers(0, max_queries)), draw(st.integers(0, max_k))
    lengths = draw(hnp.arrays(np.int64, n_queries, elements=st.integers(0, k)))
    valid = np.arange(k) < lengths[:, None]
    n_train = 10 ** draw(st.integers(1, 15))
    picks = draw(hnp.arrays(np.int64, (n_queries, k), elements=st.integers(0, n_train)))
    values = draw(
        hnp.arrays(np.float64, (n_queries, k), elements=st.floats(allow_nan=False, width=64))
    )
    kinds = st.one_of(LABELS, st.integers(-(10**20), 10**20), st.booleans())

    def maybe(shape):
        return draw(st.none() | hnp.arrays(object, shape, elements=kinds))

    return Explanation(
        np.where(valid, picks, -1),
        np.where(valid, values, np.nan),
        sample_id=maybe((n_queries, k)),
        exemplar_labels=maybe((n_queries, k)),
        query_labels=maybe((n_queries,)),
        queries=np.arange(3 * n_queries).reshape(n_queries, 3),
        query_id=maybe((n_queries,)),
        true_labels=maybe((n_queries,)),
        n_tied=draw(st.none() | hnp.arrays(int, n_queries, elements=st.integers(0, 10**15))),
        method=draw(st.text(max_size=60) | st.just("<script>")),
        score_name=draw(st.text(max_size=60) | st.just("<script>")),
    )


def make(n_queries=4, k=3, **options):
    """A padded explanation of the first rows of 20 by rows that differ in label now and then."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 16)), np.arange(20) % 3
    indices = np.stack([rng.permutation(20)[:k] for _ in range(n_queries)])
    scores = -np.sort(-rng.random((n_queries, k)))
    indices[1, 2:], scores[1, 2:] = -1, np.nan
    given = {
        "exemplar_labels": y[indices],
        "query_labels": y[:n_queries],
        "queries": X[:n_queries],
        "training_data": X,
        "method": "nearest",
        "score_name": "gain (nats)",
    }
    return Explanation(indices, scores, **given | options)


# What it holds


def test_holds_int64_and_float64_and_unpacks():
    exp = Explanation([[3, 1]], [[1, 0]])
    indices, scores = exp
    assert (indices.dtype, scores.dtype) == (np.int64, np.float64)
    assert indices.tolist() == [[3, 1]]
    assert scores.tolist() == [[1.0, 0.0]]
    assert (exp.n_queries, exp.k) == (1, 2)
    with pytest.raises(TypeError):
        len(exp)


def test_training_data_is_kept_by_reference():
    X = np.zeros((5, 2))
    exp = Explanation([[4]], [[1.0]], training_data=X)
    assert exp.training_data is X
    assert exp[[0]].training_data is X


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": [0, 1]}, r"must both have shape .* got \(2,\) and \(2, 2\)"),
        ({"scores": [[1.0], [2.0]]}, r"got \(2, 2\) and \(2, 1\)"),
        ({"indices": [[0.0, 1.0], [1.0, 2.0]]}, "must be integers, got dtype float64"),
        ({"indices": [[True, False], [True, True]]}, "must be integers, got dtype bool"),
        ({"indices": [[0, 1], [-2, 1]]}, "got -2"),
        ({"indices": [[0, 1], [2, -1]]}, "got index -1 with score 0.25 at query 1, position 1"),
        ({"scores": [[0, 1], [np.nan, 1]]}, "got index 2 with score nan at query 1, position 0"),
        ({"indices": [[0, 1], [-1, 2]], "scores": [[1, 1], [np.nan, 1]]}, "padding .* in query 1"),
        ({"sample_id": ["a", "b"]}, r"sample_id must have shape \(2, 2\), got \(2,\)"),
        ({"exemplar_labels": [[0], [1]]}, r"exemplar_labels must have shape \(2, 2\)"),
        ({"query_labels": [0, 1, 1]}, r"query_labels must have shape \(2,\), got \(3,\)"),
        ({"n_tied": [0, 1, 1]}, r"n_tied must have shape \(2,\), got \(3,\)"),
        ({"query_id": ["a"]}, r"query_id must have shape \(2,\), got \(1,\)"),
        ({"n_tied": [0, -1]}, r"n_tied must be non-negative integers, got \[ 0 -1\]"),
        ({"n_tied": [0.0, 1.0]}, "n_tied must be non-negative integers"),
        ({"queries": np.zeros((3, 4))}, "queries has 3 rows, but indices explains 2 queries"),
        ({"training_data": np.zeros((3, 4))}, "row 3, but training_data has 3 rows"),
        (
            {"queries": {"ids": np.zeros((2, 5))}},
            "queries must be .* got dict; give None",
        ),
        ({"training_data": 3.0}, "training_data must be an array, .* got float; give None"),
        ({"queries": np.zeros((2, 5)), "image_shape": (2, 2)}, "needs 4 values .* holds 5"),
        ({"training_data": np.zeros((9, 4)), "image_shape": (4,)}, r"\(H, W\) or \(C, H, W\)"),
        ({"queries": np.zeros((2, 3)), "feature_names": ["a"]}, "1 names, .* holds 3 values"),
        ({"queries": np.zeros((2, 2)), "feature_names": "ab"}, "names, got the text 'ab'"),
        ({"queries": np.zeros((2, 4)), "image_shape": (-2, -2)}, r"got \(-2, -2\)"),
        ({"queries": np.zeros((2, 4)), "image_shape": (2.5, 2)}, r"got \(2.5, 2\)"),
        ({"queries": np.zeros((2, 4)), "image_shape": "44"}, "got '44'"),
        ({"scores": np.ma.ones((2, 2))}, "scores must not be a masked array"),
        ({"queries": np.ma.zeros((2, 3))}, "queries must not be a masked array"),
        ({"query_labels": np.ma.zeros(2)}, "query_labels must not be a masked array"),
    ],
)
def test_refuses(change, message):
    arguments = {"indices": [[0, 1], [2, 3]], "scores": [[1.0, 0.5], [0.5, 0.25]]} | change
    with pytest.raises(ValueError, match=message):
        Explanation(arguments.pop("indices"), arguments.pop("scores"), **arguments)


@pytest.mark.parametrize("name", ["queries", "training_data", "query_labels"])
def test_refuses_what_only_gives_rows(name):
    dataset = torch.utils.data.TensorDataset(torch.zeros(2, 3))
    with pytest.raises(TypeError, match=f"{name} must hold the rows; got a TensorDataset"):
        Explanation([[0], [1]], [[1.0], [2.0]], **{name: dataset})


@pytest.mark.parametrize("convert", [pd.DataFrame, sparse.csr_array, sparse.coo_array, np.asarray])
def test_rows_of_any_kind_can_be_taken(convert):
    X = np.random.default_rng(0).normal(size=(4, 16))
    exp = make(queries=convert(X), training_data=convert(np.tile(X, (5, 1))))
    part = exp[2:].queries
    np.testing.assert_array_equal(part.toarray() if sparse.issparse(part) else part, X[2:])


def test_lists_of_rows_of_several_lengths_are_kept():
    tokens = [["a", "b"], ["c"], ["d", "e", "f"]]
    exp = Explanation([[2], [1]], [[2.0], [1.0]], queries=[["c"], []], training_data=tokens)
    assert exp.training_data.tolist() == tokens
    assert exp.queries.tolist() == [["c"], []]
    assert Explanation([[0]], [[1.0]], training_data=[[1, 2], [3, 4]]).training_data.shape == (2, 2)


def test_frames_of_other_libraries_are_converted_once():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": list("abcd") * 5, "size": np.arange(20.0)})
    exp = make(queries=frame[:4], training_data=frame)
    assert exp.feature_names == ["text", "size"]
    assert exp[1].feature_names == ["text", "size"]
    assert isinstance(exp.training_data, np.ndarray)
    assert exp[1].queries.tolist() == [["b", 1.0]]
    pandas = pd.DataFrame({"size": np.arange(20.0)})
    assert make(queries=None, training_data=pandas).training_data is pandas


# Slicing

KEYS = st.one_of(
    st.slices(12),
    st.lists(st.integers(-15, 15), max_size=8),
    st.integers(-15, 15),
    st.integers(-15, 15).map(np.int64),
    hnp.arrays(bool, st.integers(0, 12)),
)


@given(explanations(), KEYS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_slicing_is_numpys(exp, key):
    try:
        expected = np.atleast_1d(np.arange(exp.n_queries)[key])
    except IndexError:
        with pytest.raises(IndexError):
            exp[key]
        return
    part = exp[key]
    assert type(part) is Explanation
    assert part.indices.shape == (expected.size, exp.k)
    for name in PER_QUERY:
        whole = getattr(exp, name)
        if whole is None:
            assert getattr(part, name) is None
        else:
            np.testing.assert_array_equal(getattr(part, name), whole[expected])


@pytest.mark.parametrize("key", [(0, 1), None, "query", [[0, 1]], True, 4, -5])
def test_only_queries_are_sliced(key):
    with pytest.raises(IndexError):
        make(n_queries=4)[key]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda exp: pickle.loads(pickle.dumps(exp))])
def test_copies_are_equal_and_independent(copied):
    exp = make(feature_names=[f"f{i}" for i in range(16)], image_shape=(4, 4))
    other = copied(exp)
    for name in PER_QUERY + ("training_data",):
        np.testing.assert_array_equal(getattr(other, name), getattr(exp, name))
        assert not np.shares_memory(getattr(other, name), getattr(exp, name))
    assert (other.feature_names, other.image_shape) == (exp.feature_names, exp.image_shape)
    assert repr(other) == repr(exp)


def test_a_query_with_fewer_exemplars_is_told_from_the_first_line():
    padded = Explanation([[3, 1], [2, -1]], [[2.0, 1.0], [3.0, np.nan]])
    assert "2 queries, up to 2 exemplars each" in repr(padded)
    assert "1 query, 2 exemplars each" in repr(padded[:1])


def test_agreement_is_the_share_of_equal_labels_without_padding():
    nan = np.nan
    exp = Explanation(
        [[0, 1, 2], [3, -1, -1], [-1, -1, -1]],
        [[1, 1, 1], [1, nan, nan], [nan, nan, nan]],
        exemplar_labels=[["a", "a", "b"], ["b", "b", "b"], ["a", "a", "a"]],
        query_labels=["a", "b", "a"],
    )
    np.testing.assert_allclose(exp.agreement, [2 / 3, 1, nan])
    with pytest.raises(AttributeError, match="exemplar_labels was not given"):
        _ = Explanation([[0]], [[1.0]], query_labels=[1]).agreement


# to_frame


@given(explanations())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_frame_holds_all_and_only_the_exemplars(exp):
    frame = exp.to_frame()
    indices, scores = np.full(exp.indices.shape, -1), np.full(exp.scores.shape, np.nan)
    place = frame["query"].to_numpy(), frame["rank"].to_numpy() - 1
    indices[place], scores[place] = frame["index"], frame["score"]
    np.testing.assert_array_equal(indices, exp.indices)
    np.testing.assert_array_equal(scores, exp.scores)
    assert len(frame) == (exp.indices >= 0).sum()
    for column, whole in [("sample_id", exp.sample_id), ("label", exp.exemplar_labels)]:
        assert (column in frame) == (whole is not None)
        if whole is not None:
            assert list(frame[column]) == list(whole[place])
    for column in ("query_label", "query_id", "n_tied"):
        whole = getattr(exp, column.replace("label", "labels"))
        assert (column in frame) == (whole is not None)
        if whole is not None:
            assert list(frame[column]) == list(whole[frame["query"]])


@pytest.mark.parametrize(
    ("module", "act"),
    [("pandas", lambda exp: exp.to_frame()), ("matplotlib.pyplot", lambda exp: exp.plot())],
)
def test_missing_extra_is_named(monkeypatch, module, act):
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"pandas": "frame", "matplotlib.pyplot": "plot"}[module]
    with pytest.raises(ImportError, match=rf"pip install sklearn-provenance\[{extra}\]"):
        act(make())


# Text and HTML


@given(explanations(max_queries=30, max_k=30))
@example(Explanation([[0]] * 10, [[1.0]] * 10, method="m" * 99, score_name="s" * 99))
@example(
    Explanation(
        [[-1], [0]],
        [[np.nan], [1.0]],
        query_labels=["l" * 20] * 2,
        true_labels=["t" * 20] * 2,
        query_id=["q" * 20] * 2,
        n_tied=[10**15] * 2,
    )
)
@settings(suppress_health_check=list(HealthCheck))
def test_text_stays_within_its_limits(exp):
    lines = repr(exp).split("\n")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    assert all(line.strip() for line in lines)


def test_text_shows_labels_and_scores_without_numpy_names():
    exp = make(sample_id=np.array([["a", "b", "c"]] * 4), exemplar_labels=[["x", "y", "y"]] * 4)
    exp = exp._replace(
        query_labels=np.array(["x"] * 4), scores=np.where(exp.indices < 0, np.nan, 0.5)
    )
    lines = repr(exp).split("\n")
    assert lines[0] == "Explanation by nearest: 4 queries, up to 3 exemplars each, gain (nats)"
    assert lines[2] == "query 1 -> 'x':  id 'a' 0.5 | id 'b' (!= 'y') 0.5"


def test_ties_are_said_where_there_are_any():
    exp = make(n_tied=[0, 12, 1, 0])
    said = ["12 tied with the last" in line for line in repr(exp).split("\n")[1:]]
    assert said == [False, True, False, False]
    assert "and 1 tied with the last" in repr(exp[2])
    assert "tied with the last" in exp._repr_html_()
    same = exp._replace(scores=np.where(exp.indices < 0, np.nan, 0.5))
    assert repr(same).split("\n")[2].endswith("| row 1 0.5, all tied, with 12 more")
    for none in (make(), make(n_tied=[0] * 4)):
        assert repr(none) == repr(make())
        assert "tied" not in none._repr_html_() + none.to_html()
    page = exp.to_html()
    assert "12 more rows are tied with exemplar 2" in page  # of a query with padding
    assert "1 more row is tied with exemplar 3" in page
    for image_shape in [(4, 4), None]:
        written = [t.get_text() for t, _ in texts_of(exp._replace(image_shape=image_shape).plot())]
        assert sum("tied" in text for text in written) == 2


def test_queries_have_the_users_names():
    exp = make(query_id=[f"patient {i}" for i in range(4)])
    assert "query 'patient 2' -> 2:" in repr(exp)
    assert "patient 2" in repr(exp[2])
    assert "&#39;patient 2&#39;: 2" in exp._repr_html_()
    assert "Query patient 2" in exp.to_html()
    assert "patient" not in exp.to_html(query_id=list("abcd"))
    drawn = [t.get_text() for t, _ in texts_of(exp.plot([2]))]
    assert "query patient 2   2" in drawn


@given(explanations())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_html_escapes_what_comes_from_data(exp):
    tags = set(re.findall(r"<([^>]*)>", exp._repr_html_()))
    known = ("div", "p", "table", "tr", "th", "td", "style")
    allowed = {word for tag in known for word in (tag, f"/{tag}")}
    allowed.add('div class="provenance-words"')
    image = 'img alt="[a-z0-9 ]*" width="56" src="data:image/png;base64,[A-Za-z0-9+/=]*"'
    assert not [tag for tag in tags - allowed if not re.fullmatch(image, tag)]


def test_html_says_what_it_leaves_out():
    exp = Explanation(np.zeros((20, 7), dtype=int), np.ones((20, 7)), method="<script>")
    html = exp._repr_html_()
    assert "8 of 20 queries, 5 of 7 exemplars" in html
    assert "&lt;script&gt;" in html


# plot


@pytest.fixture
def _close_figures():
    yield
    plt.close("all")


pytestmark = pytest.mark.usefixtures("_close_figures")


def texts_of(display):
    """Every text of a drawn figure with its box, in pixels."""
    figure = display.figure_
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    found = [t for t in figure.findobj(plt.Text) if t.get_visible() and t.get_text().strip()]
    return [(text, text.get_window_extent(renderer)) for text in found]


@pytest.mark.parametrize(
    ("image_shape", "n_queries"), [((4, 4), 8), (None, 1), *thorough(((4, 4), 1), (None, 8))]
)
def test_texts_of_a_figure_do_not_overlap(n_queries, image_shape):
    names = [f"a long name of a feature {i}" for i in range(16)]
    exp = make(8, 5, image_shape=image_shape, feature_names=names, n_tied=[0, 12345, 3, 9] * 2)
    labels = np.array(["a label too long to draw", "automobile", "dog $_x"])
    exp = exp._replace(
        exemplar_labels=labels[exp.exemplar_labels], query_labels=labels[exp.query_labels]
    )
    # Slanted names have boxes that overlap though the names do not.
    upright = [(t, box) for t, box in texts_of(exp[:n_queries].plot()) if t.get_rotation() == 0]
    assert len(upright) > 6 * n_queries
    for i, (text, box) in enumerate(upright):
        for other, other_box in upright[:i]:
            assert not box.overlaps(other_box), (text, other)
    figure = upright[0][0].figure.figure.bbox
    assert all(box.x0 >= 0 and box.x1 <= figure.x1 for _, box in upright)


def test_images_are_drawn_beside_their_query():
    exp = make(image_shape=(4, 4))
    display = exp.plot([2, 1])
    assert display.axes_.shape == (2, 4)
    np.testing.assert_array_equal(
        display.axes_[0, 2].images[0].get_array(),
        exp.training_data[exp.indices[2, 1]].reshape(4, 4),
    )
    np.testing.assert_array_equal(
        display.axes_[1, 0].images[0].get_array(), exp.queries[1].reshape(4, 4)
    )
    assert not display.axes_[1, 3].images  # padding
    assert not display.axes_[1, 3].axison
    assert "query 2" in display.axes_[0, 0].get_title()


@pytest.mark.parametrize("image_shape", [(4, 4), None])
def test_another_label_has_a_sign_and_a_colour(image_shape):
    exp = make(image_shape=image_shape)
    marked = [t for t, _ in texts_of(exp.plot()) if "≠" in t.get_text()]
    differs = (exp.exemplar_labels != exp.query_labels[:, None]) & (exp.indices >= 0)
    assert len(marked) == differs.sum() > 0
    assert {t.get_color() for t in marked} == {"#D55E00"}


@pytest.mark.parametrize("layout", ["flat", "channels first", "channels last"])
def test_channels_are_moved_last(layout):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
    last = np.moveaxis(pictures, 1, -1)
    rows = {"flat": pictures.reshape(6, -1), "channels first": pictures, "channels last": last}
    exp = Explanation(
        [[5]], [[1.0]], queries=rows[layout][:1], training_data=rows[layout], image_shape=(3, 4, 5)
    )
    drawn = [panel.images[0].get_array() for panel in exp.plot().axes_[0]]
    np.testing.assert_array_equal(drawn, last[[0, 5]])


def test_images_outside_of_0_to_1_are_scaled_together():
    rows = np.stack([np.full((3, 2, 2), value) for value in (-1.0, 0.0, 3.0)])
    exp = Explanation(
        [[1, 2]], [[1.0, 0.5]], queries=rows[:1], training_data=rows, image_shape=(3, 2, 2)
    )
    drawn = [panel.images[0].get_array().max() for panel in exp.plot().axes_[0]]
    np.testing.assert_allclose(drawn, [0, 0.25, 1])


def test_table_shows_the_features_that_differ_most():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(50, 30))
    query = train[:1].copy()
    query[:, [4, 17]] += 9  # nothing else differs
    names = [f"f{i}" for i in range(30)]
    exp = Explanation([[0]], [[1.0]], queries=query, training_data=train, feature_names=names)
    display = exp.plot()
    shown = [label.get_text() for label in display.axes_[0].get_xticklabels()]
    assert len(shown) == 12
    assert {"f4", "f17"} <= set(shown)
    written = {text.get_position(): text.get_text() for text in display.axes_[0].texts}
    place = shown.index("f17")
    assert float(written[place, 0]) == pytest.approx(query[0, 17], rel=0.01)
    assert float(written[place, 1]) == pytest.approx(train[0, 17], rel=0.1)
    cells = display.axes_[0].images[0].get_array()
    colored = np.abs(cells[1, :, :3] - cells[1].max(axis=0)[:3]).max(axis=1) > 0.1
    assert [name for name, is_colored in zip(shown, colored, strict=True) if is_colored] == [
        "f4",
        "f17",
    ]


def test_long_texts_in_a_table_take_two_lines():
    towns = np.array([["Llanfairpwllgwyngyll by the sea", "x"], ["Rome", "y"]], dtype=object)
    exp = Explanation([[1]], [[1.0]], queries=towns[:1], training_data=towns)
    texts = [text.get_text() for text in exp.plot().figure_.findobj(plt.Text)]
    (long,) = [text for text in texts if text.startswith("Llanfair")]
    assert long.count("\n") == 1


def test_table_of_a_data_frame_with_categories_and_missing_values():
    frame = pd.DataFrame({"size": [1.0, np.nan, 3.0], "kind": ["a", "b", "a"], "on": [True] * 3})
    exp = Explanation([[1, 2]], [[1.0, 0.5]], queries=frame[:1], training_data=frame)
    written = [t.get_text() for t, _ in texts_of(exp.plot())]
    assert {"size", "kind", "on", "a", "b", "nan", "True", "0.5   row 2"} <= set(written)


TEXTS = ["a text\nof two lines", "short", "$x_1$ <b>", "long " * 200, "a" * 400] * 4


@pytest.mark.parametrize(
    "convert",
    [
        list,
        lambda texts: np.array([None, *texts[1:]], dtype=object),
        lambda texts: pd.DataFrame({"text": texts}),
        *thorough(
            np.array,
            lambda texts: np.array(texts, dtype=object),
            lambda texts: np.array(texts, dtype=object)[:, None],
            pd.Series,
            lambda texts: pd.Series(texts, dtype="string"),
            lambda texts: [text.split() for text in texts],
        ),
    ],
)
def test_texts_are_drawn_as_texts(convert):
    data = convert(TEXTS)
    n_queries = 8 if convert is list else 3  # drawing takes long, and rows are read one by one
    exp = make(n_queries, 3, queries=data[:n_queries], training_data=data, n_tied=[7] * n_queries)
    display = exp.plot(true_labels=[0] * n_queries)
    assert display.axes_.shape == (n_queries,)
    written = texts_of(display)
    assert any("short" in t.get_text() for t, _ in written)
    boxes = [(t, box) for t, box in written if t.axes is not None]
    for i, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), (text, other)
    figure = display.figure_.bbox
    assert all(box.x0 >= 0 and box.x1 <= figure.x1 and box.y0 >= 0 for _, box in written)
    assert exp.to_html().count('<ol class="texts"') == n_queries


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: sparse.csr_array(X),
        lambda X: torch.tensor(X, requires_grad=True),
        lambda X: torch.tensor(X).bfloat16(),
        lambda X: pd.DataFrame(X.astype(object)).assign(any=[None, (1, 2), "a", 3, pd.NA] * 4),
        *thorough(
            lambda X: torch.tensor(X).half(),
            lambda X: pd.DataFrame(X).astype("Float64").mask(X > 1),
            lambda X: pd.DataFrame(X.astype(object)).assign(words=["a text of many words"] * 20),
        ),
    ],
)
def test_rows_of_any_kind_are_drawn(convert):
    data = convert(np.random.default_rng(0).normal(size=(20, 5)).round(2))
    queries = data[:4] if not hasattr(data, "iloc") else data.iloc[:4]
    exp = make(queries=queries, training_data=data)
    display = exp.plot()
    assert display.axes_.shape == (4,)
    assert len(texts_of(display)) > 40
    assert "x0" in exp.to_html() or hasattr(data, "iloc")


@pytest.mark.parametrize("data", [np.zeros((20, 0)), pd.DataFrame(index=range(20))])
def test_rows_without_values_are_not_drawn(data):
    exp = make(queries=data[:4], training_data=data)
    with pytest.raises(ValueError, match="a row of queries holds no values"):
        exp.plot()
    assert "x0" not in exp.to_html()


@pytest.mark.parametrize("image_shape", [(4, 4), None])
def test_wrong_predictions_are_marked(image_shape):
    display = make(image_shape=image_shape).plot([3, 1], true_labels=[0, 2, 2, 0])
    marked = [t for t, _ in texts_of(display) if "true:" in t.get_text()]
    assert ["✓" in t.get_text() for t in marked] == [True, False]
    assert "true: 2 ✗" in marked[1].get_text()
    assert [t.get_color() for t in marked] == ["k", "#D55E00"]
    with pytest.raises(ValueError, match=r"true_labels must have shape \(4,\), got \(1,\)"):
        make().plot(true_labels=[0])


def test_plot_takes_the_place_of_a_subplot():
    figure, (left, right) = plt.subplots(1, 2)
    display = make(image_shape=(4, 4)).plot(ax=left)
    assert display.figure_ is figure
    figure.draw_without_rendering()
    middle = figure.bbox.width / 2
    assert all(panel.get_window_extent().x1 < middle for panel in display.axes_.ravel())
    assert right.get_window_extent().x1 > middle


def test_plot_limits():
    exp = make(n_queries=9, k=3, image_shape=(4, 4))
    assert exp.plot(max_queries=2, k=2).axes_.shape == (2, 3)
    assert exp.plot(range(9), k=1).axes_.shape == (9, 2)
    assert exp.plot(-1).axes_[0, 0].get_title().startswith("query 8")


@pytest.mark.parametrize(
    ("exp", "options", "message"),
    [
        (make(queries=None), {}, "has no queries"),
        (make(queries=None, training_data=None), {}, "no queries and no training_data"),
        (make(), {"k": 0}, "k must be an integer of at least 1, got 0"),
        (make(), {"max_queries": 1.5}, "max_queries must be an integer of at least 1, got 1.5"),
        (make(), {"queries": []}, "nothing to draw"),
        (make(image_shape=(2, 2, 4)), {}, "2 channels"),
    ],
)
def test_plot_says_what_it_lacks(exp, options, message):
    with pytest.raises(ValueError, match=message):
        exp.plot(**options)


# explain


class Nearest(KNeighborsClassifier):
    """Explains by nearest neighbours, and keeps what it was asked."""

    image_shape = None

    def explain(self, X, k=5):
        distances, indices = self.kneighbors(X, k)
        self.asked_ = X
        return Explanation(
            indices,
            -distances,
            queries=self._fit_X if X is None else np.asarray(X),
            training_data=self._fit_X,
            image_shape=self.image_shape,
        )


RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)) * [1, 10, 100, 1000] + 5
Y = (X[:, 0] > 5).astype(int)
Q = X[:6] + 0.25


def direct(transform):
    """What the nearest neighbours in a transformed space are."""
    return Nearest().fit(transform(X), Y).explain(transform(Q), 3)


SCALED = direct(StandardScaler().fit(X).transform)


@pytest.mark.parametrize(
    "container",
    [
        lambda: make_pipeline(StandardScaler(), Nearest()),
        lambda: make_pipeline("passthrough", StandardScaler(), None, Nearest()),
        lambda: make_pipeline(StandardScaler(), make_pipeline(Nearest())),
        lambda: make_pipeline(make_pipeline(StandardScaler()), Nearest()),
        lambda: GridSearchCV(
            make_pipeline(StandardScaler(), Nearest()), {"nearest__n_neighbors": [3]}, cv=2
        ),
        lambda: make_pipeline(
            StandardScaler(), GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2)
        ),
        lambda: FrozenEstimator(make_pipeline(StandardScaler(), Nearest()).fit(X, Y)),
        lambda: make_pipeline(
            FrozenEstimator(make_pipeline(StandardScaler(), Nearest()).fit(X, Y))
        ),
        lambda: make_pipeline(
            MinMaxScaler(), FunctionTransformer(), make_pipeline(StandardScaler(), Nearest())
        ),
    ],
)
def test_containers_are_opened_and_rows_shown_in_the_users_units(container):
    exp = explain(container().fit(X, Y), Q, k=3)
    np.testing.assert_array_equal(exp.indices, SCALED.indices)
    np.testing.assert_allclose(exp.scores, SCALED.scores)
    assert exp.queries is Q
    assert exp.training_data.shape == X.shape
    np.testing.assert_allclose(np.asarray(exp.training_data), X)
    np.testing.assert_allclose(exp.training_data[exp.indices], X[exp.indices])
    np.testing.assert_allclose(exp.training_data[-1], X[-1])


@pytest.mark.parametrize(
    "container",
    [
        lambda: Nearest(),
        lambda: GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2),
        lambda: FrozenEstimator(Nearest().fit(pd.DataFrame(X, columns=list("abcd")), Y)),
        lambda: Pipeline([("only", Nearest())]),
    ],
)
def test_without_transforming_steps_nothing_changes(container):
    frame, queries = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, Q[:2]))
    exp = explain(container().fit(frame, Y), queries, k=3)
    expected = Nearest().fit(X, Y).explain(Q[:2], 3)
    np.testing.assert_array_equal(exp.indices, expected.indices)
    assert isinstance(exp.training_data, np.ndarray)
    assert exp.feature_names == list("abcd")


@pytest.mark.parametrize(
    "step",
    [
        FunctionTransformer(np.tanh),  # its inverse_transform is the identity
        FrozenEstimator(FunctionTransformer(np.tanh).fit(X)),
        SelectKBest(k=2),  # its inverse_transform fills in zeros
        SimpleImputer(),  # its inverse_transform raises
        make_pipeline(StandardScaler(), SimpleImputer()),
    ],
)
def test_steps_that_cannot_be_undone_leave_rows_in_the_transformed_space(step):
    pipeline = make_pipeline(step, Nearest()).fit(X, Y)
    exp = explain(pipeline, Q, k=3)
    np.testing.assert_allclose(exp.queries, pipeline[:-1].transform(Q))
    np.testing.assert_allclose(exp.training_data, pipeline[:-1].transform(X))


def test_names_follow_the_space_that_is_shown():
    frame, queries = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X, Q))
    scaled = make_pipeline(StandardScaler(), Nearest()).fit(frame, Y)
    assert explain(scaled, queries).feature_names == list("abcd")
    assert explain(scaled, None).feature_names == list("abcd")
    selected = make_pipeline(SelectKBest(k=2), Nearest()).fit(frame, Y)
    expected = list(selected[:-1].get_feature_names_out())
    assert explain(selected, queries).feature_names == expected
    assert set(expected) < set("abcd")


class NearestImage(Nearest):
    image_shape = (2, 1)


@pytest.mark.parametrize(("n_columns", "kept"), [(2, (2, 1)), (4, None)])
def test_image_shape_is_kept_only_if_rows_keep_their_size(n_columns, kept):
    pipeline = make_pipeline(PCA(n_components=2), NearestImage()).fit(X[:, :n_columns], Y)
    exp = explain(pipeline, Q[:, :n_columns])
    assert exp.image_shape == kept
    assert exp.training_data.shape == (40, n_columns)


def test_no_queries_are_handed_on_to_leave_each_training_row_out():
    pipeline = make_pipeline(StandardScaler(), Nearest()).fit(X, Y)
    exp = explain(pipeline, None, k=3)
    assert pipeline[-1].asked_ is None
    assert (exp.indices != np.arange(len(X))[:, None]).all()
    np.testing.assert_allclose(np.asarray(exp.queries), X)
    np.testing.assert_allclose(exp[[5, 2]].queries, X[[5, 2]])


def test_restored_rows_are_pickled_and_drawn():
    exp = explain(make_pipeline(StandardScaler(), Nearest()).fit(X, Y), Q.tolist(), k=3)
    other = pickle.loads(pickle.dumps(exp))
    np.testing.assert_allclose(other.training_data[:3], X[:3])
    written = {text.get_text() for text, _ in texts_of(other.plot(0))}
    assert {f"{value:.3g}" for value in Q[0] if 1 <= value < 100} <= written


def test_rows_are_restored_only_when_asked_for():
    class Counting(StandardScaler):
        def inverse_transform(self, X, copy=None):
            restored.append(len(X))
            return super().inverse_transform(X, copy=copy)

    restored = []
    exp = explain(make_pipeline(Counting(), Nearest()).fit(X, Y), Q, k=3)
    _ = exp.training_data[exp.indices[0]]
    assert sum(restored) == 1 + 3  # one row tells whether the steps can be undone


@pytest.mark.parametrize(
    ("estimator", "path"),
    [
        (LogisticRegression(), "LogisticRegression"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline > LogisticRegression"),
        (FrozenEstimator(LogisticRegression()), "FrozenEstimator > LogisticRegression"),
        (make_pipeline(StandardScaler(), "passthrough"), "Pipeline > str"),
        (
            GridSearchCV(make_pipeline(LogisticRegression()), {}, cv=2).fit(X, Y),
            "GridSearchCV > Pipeline > LogisticRegression",
        ),
    ],
)
def test_what_does_not_explain_is_named(estimator, path):
    with pytest.raises(TypeError, match=f"got {path}$"):
        explain_by_itself(estimator, Q)


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(LogisticRegression()), torch.nn.Linear(2, 2)],
    ids=["sklearn", "torch"],
)
def test_the_attributor_for_other_classifiers_is_named(estimator):
    with pytest.raises(TypeError, match=r"InfoGainAttributor\(estimator\).fit\(X_train, y_train\)"):
        explain_by_itself(estimator, Q)
    with pytest.raises(TypeError, match="inside a Pipeline or a search; got LinearRegression"):
        explain_by_itself(LinearRegression(), Q)


@pytest.mark.parametrize("scaler_first", [True, False])
def test_samplers_are_passed_over(scaler_first):
    pipelines = pytest.importorskip("imblearn.pipeline")
    sampling = pytest.importorskip("imblearn.under_sampling")
    labels = np.arange(40) < 6
    sampler = sampling.RandomUnderSampler(random_state=0)
    steps = [StandardScaler(), sampler] if scaler_first else [sampler, StandardScaler()]
    pipeline = pipelines.make_pipeline(*steps, Nearest()).fit(X, labels)
    rows, _ = clone(sampler).fit_resample(X, labels)
    exp = explain(pipeline, Q, k=2)
    assert exp.queries is Q
    np.testing.assert_allclose(np.asarray(exp.training_data), rows)
    expected = pipeline[-1].kneighbors(
        StandardScaler().fit(X if scaler_first else rows).transform(Q), 2
    )
    np.testing.assert_array_equal(exp.indices, expected[1])
    only = pipelines.make_pipeline(sampler, Nearest()).fit(X, labels)
    np.testing.assert_array_equal(explain(only, Q, 2).training_data, rows)


def test_search_without_refit_is_named():
    search = GridSearchCV(Nearest(), {"n_neighbors": [3]}, cv=2, refit=False).fit(X, Y)
    with pytest.raises(TypeError, match="refit=True"):
        explain(search, Q)


@pytest.mark.parametrize(
    "estimator",
    [
        Nearest(),
        make_pipeline(StandardScaler(), Nearest()),
        GridSearchCV(Nearest(), {"n_neighbors": [3]}),
        make_pipeline(StandardScaler(), GridSearchCV(Nearest(), {"n_neighbors": [3]})),
    ],
)
def test_unfitted_estimators_are_refused(estimator):
    with pytest.raises(NotFittedError):
        explain(estimator, Q)


def test_images_of_a_query_without_exemplars_are_drawn():
    exp = make(n_queries=2, image_shape=(4, 4))
    indices, scores = exp.indices.copy(), exp.scores.copy()
    indices[1], scores[1] = -1, np.nan
    display = exp._replace(indices=indices, scores=scores).plot()
    assert [len(ax.images) for ax in display.axes_.ravel()] == [1, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.0, 1.0), (0.0, 1.0)), ((-1.0, 3.0), (0.0, 1.0)), ((5.0, 5.0), (0, 0))],
)
def test_colours_are_scaled_where_they_are_outside_of_0_to_1(values, expected):
    images = np.array(values).reshape(2, 1, 1, 1) * np.ones((2, 2, 2, 3))
    scaled, limits = brightness(images)
    np.testing.assert_array_equal(scaled[:, 0, 0, 0], expected)
    assert limits == {}


def test_one_column_of_objects_is_a_table_where_they_are_numbers():
    numbers = np.array([[1], [None], [2.5]], dtype=object)
    assert row_kind([numbers], None) == "table"
    assert row_kind([numbers.astype(str).astype(object)], None) == "texts"


def test_differences_without_a_unit():
    queries, exemplars = np.array([[1.0, 5.0]]), np.array([[[4.0, 5.0], [99.0, np.nan]]])
    found = feature_differences(queries, exemplars, None)
    np.testing.assert_array_equal(found, [[[3.0, 0.0], [10.0, np.nan]]])


def test_figures_have_names_of_rows_and_the_size_that_is_asked_for():
    names = np.array([f"n{number}" for number in range(20)])
    exp = make()
    display = ExplanationDisplay.from_explanation(
        exp._replace(sample_id=names[exp.indices]), k=2
    ).plot(figsize=(7, 9))
    np.testing.assert_allclose(display.figure_.get_size_inches(), [7, 9])
    written = "\n".join(text.get_text() for text, _ in texts_of(display))
    assert all(f"id n{row}" in written for row in exp.indices[:, :2].ravel() if row >= 0)
    assert "row 0" not in written


class Bare(Nearest):
    """Says nothing of its rows."""

    def explain(self, X, k=5):
        return super().explain(X, k)._replace(queries=None, training_data=None)


def test_explanations_without_rows_go_through_a_pipeline():
    exp = explain(make_pipeline(StandardScaler(), Bare()).fit(X, Y), Q, k=3)
    np.testing.assert_array_equal(exp.indices, SCALED.indices)
    assert exp.training_data is None
    assert exp.feature_names is None


def test_names_that_a_step_counts_wrongly_are_not_shown():
    class Miscounting(FunctionTransformer):
        def get_feature_names_out(self, input_features=None):
            return np.array(["a", "b"], dtype=object)

    exp = explain(make_pipeline(Miscounting(np.tanh), Nearest()).fit(X, Y), Q, k=3)
    np.testing.assert_allclose(exp.training_data, np.tanh(X))
    assert exp.feature_names is None


def test_parts_of_training_rows_are_named_as_the_frame_names_them():
    class Parts(Nearest):
        def explain(self, X, k=5):
            rows = self._fit_X if X is None else X
            parts = Contributions(rows, self._fit_X, [f"x{i}" for i in range(4)])
            return super().explain(X, k)._replace(contributions=parts)

    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), Parts()).fit(frame, Y)
    exp = explain(pipeline, None, k=2)
    assert {name for name, _ in exp.shared_features(0, 0)} <= set("abcd")
    assert exp.shared_features(0, 0)
    assert len(exp.training_data) == len(exp.queries) == 40
