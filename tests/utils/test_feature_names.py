"""Names of the columns that transformers make of named columns."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from sklearn_provenance._utils.feature_names import names_out

NAMES = np.array(["a", "b", "c"], object)
X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0], "c": [0.0, 1.0]})


@pytest.mark.parametrize("step", [None, "passthrough"])
def test_what_passes_rows_through_keeps_their_names(step):
    assert names_out(step, NAMES) is NAMES
    assert names_out(step, None) is None


def test_what_drops_columns_names_none():
    assert names_out("drop", NAMES).tolist() == []


def columns(**selected):
    kinds = {"scale": StandardScaler(), "rank": MinMaxScaler(), "words": OneHotEncoder()}
    return ColumnTransformer([(name, kinds[name], picked) for name, picked in selected.items()])


@pytest.mark.parametrize("named", [True, False])
def test_columns_without_any_are_passed_over(named):
    table = X if named else X.to_numpy()
    some, none = (["b", "a"], []) if named else ([1, 0], [])
    step = columns(words=none, scale=some).fit(table)
    assert names_out(step, NAMES).tolist() == ["b", "a"]


def test_names_may_be_others_than_those_of_fit():
    """Of a step before it: columns then count by their places."""
    step = columns(scale=["b"], rank=["c", "a"]).fit(X)
    assert names_out(step, NAMES[::-1]).tolist() == ["b", "c", "a"]
    assert names_out(step, np.array(["x", "y", "z"], object)).tolist() == ["y", "z", "x"]
