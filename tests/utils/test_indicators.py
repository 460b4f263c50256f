"""Indicators are booleans or 0 and 1, wherever one is an argument."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance._utils.indicators import as_indicator
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.evaluation import (
    backdoor_retrieval,
    label_error_ranking,
    lds_from_truth,
    linear_datamodeling_score,
)
from sklearn_provenance.inspection import MembershipResult
from sklearn_provenance.retraining import Recipe, retrain

RNG = np.random.default_rng(0)
N = 24
Y = np.arange(N) % 2
X = (RNG.normal(size=(N, 3)) + Y[:, None]).astype(np.float32)
SCORES = RNG.normal(size=N)
TRUE = RNG.permutation(Y).astype(bool)
MASKS = RNG.random((4, N)) < 0.6
TRUTH = RNG.normal(size=(4, 3))


def similarity():
    return RepSimAttributor(LogisticRegression(), candidates="all").fit(X, Y)


def retrained(masks):
    torch.manual_seed(0)
    recipe = Recipe(max_epochs=1)
    return retrain(nn.Linear(3, 2), X, Y, masks, X_eval=X[:2], recipe=recipe, seeds=range(4))


def datamodels(masks):
    return linear_datamodeling_score(similarity(), X, Y, X[:3], Y[:3], masks=masks, margins=TRUTH)


# Name of the argument, what is indicated, and what a function makes of it.
FUNCTIONS = {
    "is_member": (TRUE, lambda rows: MembershipResult.from_predictions(rows, SCORES).auc),
    "is_error": (TRUE, lambda rows: label_error_ranking({"loss": SCORES}, rows).auroc),
    "relevant": (
        TRUE,
        lambda rows: backdoor_retrieval(similarity(), X[:3], Y[:3], rows, k=3).recall,
    ),
    "masks of lds": (MASKS, lambda rows: lds_from_truth(RNG_SCORES, rows, TRUTH)),
    "masks of retrain": (MASKS, lambda rows: retrained(rows).outputs),
    "masks": (MASKS, lambda rows: datamodels(rows).correlations),
}
RNG_SCORES = RNG.normal(size=(3, N))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "kind",
    [
        lambda rows: rows.astype(int),
        lambda rows: rows.astype(np.uint8),
        lambda rows: rows.tolist(),
        lambda rows: rows.astype(int).tolist(),
        lambda rows: torch.tensor(rows),
        lambda rows: torch.tensor(rows).int(),
        lambda rows: rows.astype(object),
        lambda rows: pd.DataFrame(rows).squeeze().astype("boolean"),
    ],
    ids=["int", "uint8", "list", "list of int", "tensor", "int tensor", "object", "nullable"],
)
def test_0_and_1_are_false_and_true(name, kind):
    rows, function = FUNCTIONS[name]
    np.testing.assert_array_equal(
        np.asarray(function(kind(rows))), np.asarray(function(rows)), strict=True
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("change", "given"),
    [
        (lambda rows: rows + 0.5, "got float64"),
        (lambda rows: rows.astype(float), "got float64"),
        (lambda rows: 2 * rows, "got int64 with .*2"),
        (lambda rows: rows - 1, "got int64 with .*-1"),
        (lambda rows: np.where(rows, "yes", "no"), "got <U3"),
        (lambda rows: np.where(rows, True, None), "got object with None"),
        (lambda rows: [], "got float64 of shape"),
    ],
)
def test_other_values_are_named(name, change, given):
    rows, function = FUNCTIONS[name]
    message = f"^{name.split()[0]} must be bool, or 0 and 1 as integers; {given}"
    with pytest.raises(ValueError, match=message):
        function(change(rows.astype(int)))


def test_masked_and_ragged_indicators_are_refused():
    with pytest.raises(ValueError, match="rows must not be a masked array"):
        as_indicator(np.ma.masked_array(TRUE, TRUE), "rows")
    with pytest.raises(ValueError, match="rows must have rows of one length"):
        as_indicator([[True], [True, False]], "rows")
