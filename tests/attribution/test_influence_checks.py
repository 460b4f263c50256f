"""The warning of rows without which a model has no minimum says which they are."""

import re

import numpy as np
import pytest

from sklearn_provenance import Explanation
from sklearn_provenance.attribution.estimators._certificate import check_queries
from sklearn_provenance.attribution.estimators._influence_checks import warn_of_nan


def test_sets_are_of_the_same_queries():
    numbers = Explanation([[0]], [[1.0]], queries=[[1.0, np.nan]])
    check_queries(numbers, np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="but it was given other rows"):
        check_queries(numbers, np.array([[2.0, np.nan]]))
    texts = Explanation([[0]], [[1.0]], queries=np.array(["a text"], dtype=object))
    check_queries(texts, ["another"])  # nothing tells texts that were changed from others


def message(rows, labels):
    drops = np.zeros((2, 30))
    drops[1, rows] = np.nan
    with pytest.warns(UserWarning, match="no unique minimum") as caught:
        warn_of_nan(drops, labels)
    (warning,) = caught
    return str(warning.message)


def test_rows_that_are_the_last_of_their_class_are_named():
    labels = np.zeros(30, dtype=int)
    labels[[4, 7]] = 1, 2
    assert "Row 7 is the last of its class" in message([7], labels)
    told = message([4, 7], labels)
    assert "2 rows, row 4 among them" in told
    assert re.search(r"Each of the rows 4, 7 is the last of its class, which .* then$", told)
    assert message([4, 20], labels).endswith("then; others alone determine a parameter, or are "
                                             "the last with a weight")  # fmt: skip
    each = np.arange(30)
    assert "rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more is the last" in message(range(13), each)


def test_reasons_without_labels():
    for labels in (None, np.zeros(30)):
        assert message([3], labels).endswith("alone determines a parameter, or is the last of its "
                                             "class")  # fmt: skip
