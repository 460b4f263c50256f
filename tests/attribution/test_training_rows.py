"""Protocols are given the rows that attributors were fitted on, not only their labels."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, dok_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance.attribution import BM25Attributor, RandomAttributor
from sklearn_provenance.attribution._training_rows import check_same_rows, differing_row
from sklearn_provenance.evaluation import brittleness, linear_datamodeling_score

WORDS = np.array([f"row {i} has {i * i} words" for i in range(60)], dtype=object)
NUMBERS = np.random.default_rng(0).normal(size=(60, 12))
ORDER = np.roll(np.arange(60), 1)


FORMS = {
    "array": lambda x: x,
    "single": lambda x: x.astype(np.float32),
    "half": lambda x: x.astype(np.float16),
    "brain": lambda x: torch.tensor(x, dtype=torch.bfloat16),
    "images": lambda x: x.reshape(60, 3, 2, 2),
    "tensor": lambda x: torch.tensor(x, requires_grad=True),
    "frame": lambda x: pd.DataFrame(x),
    "sparse": csr_array,
    "keys": dok_array,
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("one", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_forms_of_the_same_numbers(one, other):
    theirs = FORMS[other](NUMBERS)
    assert differing_row(FORMS[one](NUMBERS), theirs) is None
    assert differing_row(FORMS[one](NUMBERS[ORDER]), theirs) == 0
    assert differing_row(FORMS[one](2 * NUMBERS), theirs) == 0
    changed = NUMBERS.copy()
    changed[17, 3] += 0.5
    assert differing_row(FORMS[one](changed), theirs) == 17


@pytest.mark.parametrize(
    "rows",
    [
        list(WORDS),
        WORDS,
        pd.Series(WORDS),
        pd.DataFrame({"text": WORDS, "length": np.arange(60)}),
        np.arange(5000, 5060)[:, None],
        {"input_ids": torch.arange(240).reshape(60, 4), "mask": torch.ones(60, 4)},
        np.where(NUMBERS > 1, np.nan, NUMBERS),
    ],
    ids=["list", "objects", "series", "mixed", "tokens", "mapping", "missing"],
)
def test_rows_that_are_no_numbers(rows):
    def ordered():
        if isinstance(rows, dict):
            return {key: value[ORDER] for key, value in rows.items()}
        if isinstance(rows, list):
            return [rows[i] for i in ORDER]
        return rows.iloc[ORDER] if hasattr(rows, "iloc") else rows[ORDER]

    same = rows if isinstance(rows, dict) else rows[:]
    assert differing_row(same, rows) is None
    assert differing_row(ordered(), rows) == 0


def test_what_cannot_be_compared():
    assert differing_row(NUMBERS, None) is None
    assert differing_row(list(WORDS), pd.DataFrame(WORDS)) is None
    assert differing_row(list(WORDS), NUMBERS) is None
    assert differing_row({"a": NUMBERS}, NUMBERS) is None
    assert differing_row({"a": NUMBERS}, {"b": NUMBERS}) is None
    assert differing_row(NUMBERS, NUMBERS[:, :4]) is None


@pytest.mark.parametrize(
    "attributor",
    [
        RandomAttributor(LogisticRegression()),
        InfoGainAttributor(LogisticRegression()),
        InfluenceAttributor(LogisticRegression()),
    ],
    ids=lambda attributor: type(attributor).__name__,
)
def test_protocols_refuse_other_rows(attributor):
    y = np.arange(60) % 2
    fitted = attributor.fit(NUMBERS, y)
    given = {"model": LogisticRegression()}
    for rows in (NUMBERS[np.roll(np.arange(60), 2)], NUMBERS / 255):
        with pytest.raises(ValueError, match="that are not those of X, for example row 0: give"):
            brittleness({"it": fitted}, rows, y, NUMBERS[:4], y[:4], sizes=(3,), **given)
        with pytest.raises(ValueError, match="that are not those of X, for example row 0: give"):
            linear_datamodeling_score(
                {"it": fitted}, rows, y, NUMBERS[:4], y[:4], n_masks=4, **given
            )


def test_texts_of_another_order():
    y = np.arange(60) % 2
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    fitted = BM25Attributor(model).fit(list(WORDS), y)
    np.testing.assert_array_equal(check_same_rows({"it": fitted}, list(WORDS), y), y)
    with pytest.raises(ValueError, match="for example row 0"):
        check_same_rows({"it": fitted}, list(WORDS[ORDER]), y)


def test_columns_of_several_types():
    frame = pd.DataFrame(
        {
            "number": NUMBERS[:, 0],
            "text": WORDS,
            "count": pd.array([*range(59), None], dtype="Int64"),
            "day": pd.date_range("2020", periods=60),
            "class": pd.Categorical(np.where(NUMBERS[:, 1] > 0, "a", "b")),
        },
        index=ORDER,
    )
    same = {
        "single": frame.astype({"number": np.float32}),
        "float": frame.astype({"count": "Float64"}),
        "nan": frame.astype({"count": np.float64}),
        "object": frame.astype({"class": object}),
        "index": frame.reset_index(drop=True),
    }
    for name, other in same.items():
        assert differing_row(other, frame) is None, name
        assert differing_row(frame, other) is None, name
    for column in frame:
        changed = frame.copy()
        changed[column] = frame[column].to_numpy()[ORDER]
        assert differing_row(changed, frame) is not None, column


def test_targets_of_another_precision():
    targets = NUMBERS @ np.arange(12)
    fitted = InfluenceAttributor(Ridge()).fit(NUMBERS, targets)
    for kind in (np.float32, np.float16, np.float64):
        check_same_rows({"it": fitted}, NUMBERS, targets.astype(kind))
    with pytest.raises(ValueError, match="60 rows that are not those"):
        check_same_rows({"it": fitted}, NUMBERS, targets[ORDER].astype(np.float32))
    with pytest.raises(ValueError, match="60 rows that are not those"):
        check_same_rows({"it": fitted}, NUMBERS, 1.01 * targets)
