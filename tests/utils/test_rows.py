"""Rows of whatever users give: counted, taken, named, shown."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sklearn_provenance._utils import rows as module
from sklearn_provenance._utils.rows import as_given, axis_names, n_rows, take_rows

X = np.arange(20.0).reshape(5, 4)
FRAME = pd.DataFrame(X, columns=list("abcd"), index=[f"row {i}" for i in range(5)])
KINDS = {
    "array": X,
    "images": np.arange(60).reshape(5, 2, 6),
    "tensor": torch.tensor(X),
    "frame": FRAME,
    "column": FRAME["a"],
    "list of lists": X.tolist(),
    "list of texts": list("abcde"),
    "tuple of texts": tuple("abcde"),
    "objects": np.array(list("abcde"), dtype=object),
    "masked": np.ma.masked_less(X, 3),
    **{
        name: getattr(sparse, f"{name}_matrix")(X)
        for name in ("csr", "csc", "coo", "lil", "bsr", "dok")
    },
    "sparse array": sparse.csr_array(X),
}


def test_lists_of_tensors_in_a_mapping_become_tensors():
    given = {"ids": [torch.tensor([1, 2]), torch.tensor([3, 4])], "numbers": X}
    found = as_given(given)
    assert found["ids"].tolist() == [[1, 2], [3, 4]]
    assert found["numbers"] is X
    assert as_given(found) is found


def polars_kinds():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({name: X[:, i] for i, name in enumerate("abcd")})
    return {"polars frame": frame, "polars column": frame["a"]}


def plain(rows):
    if sparse.issparse(rows):
        return rows.toarray()
    return np.asarray(rows)


@pytest.fixture(params=[*KINDS, "polars frame", "polars column"])
def rows(request):
    return KINDS[request.param] if request.param in KINDS else polars_kinds()[request.param]


@pytest.mark.parametrize(
    "taken",
    [
        [3, 0, 0],
        np.array([1]),
        slice(1, 4),
        np.arange(5) > 2,
        np.zeros(5, bool),
        torch.tensor([2, 1]),
        [],
        np.array([-1, 1], dtype=np.int32),
    ],
    ids=str,
)
def test_rows_are_taken(rows, taken):
    index = np.asarray(taken) if not isinstance(taken, slice) else taken
    index = index.astype(int) if not isinstance(index, slice) and not index.size else index
    result = take_rows(rows, taken)
    np.testing.assert_array_equal(plain(result), plain(rows)[index].reshape(plain(result).shape))
    assert n_rows(result) == len(np.arange(5)[index])
    if not isinstance(rows, tuple) and not sparse.issparse(rows):
        assert type(result) is type(rows)


def test_rows_are_counted(rows):
    assert n_rows(rows) == 5


def test_mappings():
    batch = {"ids": torch.arange(10).reshape(5, 2), "mask": X}
    assert n_rows(batch) == 5
    taken = take_rows(batch, [4, 1])
    np.testing.assert_array_equal(taken["ids"], [[8, 9], [2, 3]])
    np.testing.assert_array_equal(taken["mask"], X[[4, 1]])
    with pytest.raises(ValueError, match=r"one number of rows each; got \{'a': 5, 'b': 4\}"):
        n_rows({"a": X, "b": X[1:]})


@pytest.mark.parametrize("bad", [np.array(3.0), torch.tensor(1), "text", 3, None, {}])
def test_what_has_no_rows(bad):
    with pytest.raises(ValueError, match="rows"):
        n_rows(bad)


def shown(X):
    return module.shown(X)[0][0]


def row_names(X):
    return axis_names(X)[0]


def feature_names(X):
    return axis_names(X)[1]


def test_names_of_rows():
    np.testing.assert_array_equal(row_names(FRAME), FRAME.index)
    np.testing.assert_array_equal(row_names(FRAME["a"]), FRAME.index)
    plain_frame = pd.DataFrame(X)
    assert row_names(plain_frame) is None
    assert row_names(plain_frame[:2]) is None
    np.testing.assert_array_equal(row_names(plain_frame[3:]), [3, 4])
    np.testing.assert_array_equal(row_names(plain_frame.iloc[[4, 4, 0]]), [4, 4, 0])
    pairs = pd.DataFrame(X, index=pd.MultiIndex.from_product([["a"], range(5)]))
    assert row_names(pairs).shape == (5,)
    assert row_names(pairs)[1] == ("a", 1)
    days = pd.date_range("2020-01-01", periods=5)
    np.testing.assert_array_equal(row_names(pd.DataFrame(X, index=days)), days.to_numpy())
    for other in (X, X.tolist(), torch.tensor(X), sparse.csr_matrix(X), {"a": X}):
        assert row_names(other) is None
    assert row_names(polars_kinds()["polars frame"]) is None


def test_names_of_columns():
    assert feature_names(FRAME) == list("abcd")
    assert feature_names(polars_kinds()["polars frame"]) == list("abcd")
    for other in (pd.DataFrame(X), X, X.tolist(), torch.tensor(X), FRAME["a"], {"a": X}):
        assert feature_names(other) is None


def test_rows_as_an_explanation_keeps_them():
    assert shown(FRAME) is FRAME
    assert shown(X) is X
    assert shown(None) is None
    texts = shown(["a cat", "dog"])
    assert texts.dtype == object
    assert shown(sparse.coo_matrix(X)).format == "csr"
    assert shown(sparse.dok_matrix(X)).format == "csr"
    for rows in (torch.tensor(X, requires_grad=True), X.tolist(), polars_kinds()["polars frame"]):
        np.testing.assert_array_equal(shown(rows), X)
        assert isinstance(shown(rows), np.ndarray)
    assert shown(torch.tensor(X, dtype=torch.bfloat16)).dtype == np.float32
    batch = {"images": torch.zeros(5, 2, 2), "ids": torch.arange(10).reshape(5, 2), "mask": X}
    np.testing.assert_array_equal(shown(batch), batch["ids"])
    assert shown({"images": torch.zeros(5, 2, 2)}) is None
    column = shown(polars_kinds()["polars column"])
    np.testing.assert_array_equal(column, X[:, 0])
