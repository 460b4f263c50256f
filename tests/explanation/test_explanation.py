"""What an explanation holds, and how it is sliced, copied, told and written."""

import copy
import pickle
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sklearn_provenance import Explanation

from .drawn import texts_of

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
