"""Rows that are a dict of inputs are trained on as the same numbers in one array are."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor
from sklearn_provenance._utils.hashing import row_digests
from sklearn_provenance.evaluation import (
    brittleness,
    brittleness_scorer,
    coreset_selection,
    linear_datamodeling_score,
    scoreboard,
)
from sklearn_provenance.retraining import Recipe, iter_retrain, retrain
from sklearn_provenance.retraining._fit import fit_model

RNG = np.random.default_rng(0)
IDS, SHIFTS = RNG.integers(0, 8, (30, 3)), RNG.normal(size=(30, 4)).astype(np.float32)
Y = (IDS[:, 0] + (SHIFTS[:, 0] > 0)) % 3
ROWS = {"ids": torch.tensor(IDS), "shift": torch.tensor(SHIFTS)}
TABLE = torch.tensor(np.hstack([IDS, SHIFTS]))  # the same in one array, double precision
QUERIES, TABLE_QUERIES = ({name: part[:9] for name, part in ROWS.items()}, TABLE[:9])
RECIPE = Recipe(lr=0.3, batch_size=8, max_epochs=6)


class Words(nn.Module):
    """Words are looked up and averaged, a shift is added; takes the inputs as keywords."""

    def __init__(self, wrap=lambda logits: logits):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(8, 4), nn.Linear(4, 3)
        self.wrap = wrap
        self.double()

    def forward(self, ids, shift):
        return self.wrap(self.head(torch.tanh(self.table(ids).mean(1) + shift)))


class OfTable(nn.Module):
    """The same module, which takes its inputs apart."""

    def __init__(self):
        super().__init__()
        self.words = Words()

    def forward(self, x):
        return self.words(x[:, :3].long(), x[:, 3:])


def masks(n=5):
    found = np.random.default_rng(1).random((n, 30)) < 0.8
    found[0] = True
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("group_size", [1, 2, 5, "auto"])
def test_copies_are_those_of_one_array(group_size, precision):
    recipe = Recipe(lr=0.3, batch_size=8, max_epochs=6, precision=precision)
    options = {"recipe": recipe, "group_size": group_size, "device": "cpu"}
    result = retrain(Words(), ROWS, Y, masks(), X_eval=QUERIES, **options)
    expected = retrain(OfTable(), TABLE, Y, masks(), X_eval=TABLE_QUERIES, **options)
    np.testing.assert_array_equal(result.outputs, expected.outputs)
    assert np.ptp(result.outputs, axis=0).max() > 0.05  # the rows matter


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: SimpleNamespace(logits=logits),
    ],
    ids=["dict", "object"],
)
@pytest.mark.parametrize("group_size", [1, 5])
def test_logits_are_taken_out_of_what_a_module_returns(wrap, group_size):
    options = {"X_eval": QUERIES, "recipe": RECIPE, "group_size": group_size}
    result = retrain(Words(wrap), ROWS, Y, masks(), **options)
    plain = retrain(Words(), ROWS, Y, masks(), **options)
    np.testing.assert_array_equal(result.outputs, plain.outputs)


def test_forward_gets_the_dict():
    forward = lambda module, x: module(x["words"], x["moved"])  # noqa: E731
    renamed = {"words": ROWS["ids"], "moved": ROWS["shift"]}
    queries = {name: part[:9] for name, part in renamed.items()}
    options = {"recipe": RECIPE, "forward": forward}
    result = retrain(Words(), renamed, Y, masks(), X_eval=queries, **options)
    plain = retrain(Words(), ROWS, Y, masks(), X_eval=QUERIES, recipe=RECIPE)
    np.testing.assert_array_equal(result.outputs, plain.outputs)


def test_entries_may_be_lists():
    options = {"recipe": RECIPE, "y": Y, "masks": masks()}
    expected = retrain(Words(), ROWS, X_eval=QUERIES, **options).outputs
    for listed in (list, torch.Tensor.tolist):
        rows, queries = ({n: listed(part) for n, part in x.items()} for x in (ROWS, QUERIES))
        result = retrain(Words(), rows, X_eval=queries, **options)
        np.testing.assert_array_equal(result.outputs, expected)


class OfTokens(nn.Module):
    """A network with the configuration of those of Hugging Face."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=8, max_position_embeddings=6, pad_token_id=0)
        self.table, self.places = nn.Embedding(8, 4), nn.Embedding(6, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids, attention_mask=None):
        return self.head((self.table(input_ids) + self.places.weight[: input_ids.shape[1]]).mean(1))


@pytest.mark.parametrize("name", ["X", "X_eval"])
def test_rows_of_tokens_are_looked_at_as_attributors_look_at_them(name):
    options = {"y": Y, "masks": masks(), "recipe": Recipe(max_epochs=1)}
    ids = ROWS["ids"].clamp(min=1)
    fine = {"X": {"input_ids": ids}, "X_eval": {"input_ids": ids[:9]}}
    n = len(fine[name]["input_ids"])
    outside = ids[:n].clone()
    outside[7, 0] = 8  # not among the first rows, which the network sees before it is trained
    wrong = [
        ({"input_ids": outside}, f"{name} cannot be used: token ids must be from 0 to 7.*row 7"),
        ({"input_ids": ids[:n].repeat(1, 3)}, f"{name} cannot be used: rows must have at most 6"),
        (
            {"input_ids": ids[:n], "attention_mask": torch.ones(n, 2)},
            f"{name} cannot be used: attention_mask must have the shape",
        ),
    ]
    for rows, message in wrong:
        with pytest.raises(ValueError, match=message):
            retrain(OfTokens(), **(fine | {name: rows}), **options)
    padded = ids[:n].clone()
    padded[2, -1] = 0
    with pytest.warns(UserWarning, match="no attention_mask"):
        retrain(OfTokens(), **(fine | {name: {"input_ids": padded}}), **options)


def test_rows_are_not_changed():
    class Writing(Words):
        def forward(self, ids, shift):
            return super().forward(ids.fill_(0), shift.mul_(2))

    before = {name: part.clone() for name, part in ROWS.items()}
    retrain(Writing(), ROWS, Y, masks(), X_eval=ROWS, recipe=Recipe(max_epochs=1))
    assert all(torch.equal(before[name], ROWS[name]) for name in ROWS)


def test_a_store_is_resumed_and_tells_rows_apart(tmp_path):
    options = {"X_eval": QUERIES, "recipe": RECIPE, "group_size": 1, "store": tmp_path}
    groups = iter_retrain(Words(), ROWS, Y, masks(), **options)
    next(groups)
    groups.close()
    result = retrain(Words(), ROWS, Y, masks(), **options)
    plain = retrain(Words(), ROWS, Y, masks(), **(options | {"store": None}))
    np.testing.assert_array_equal(result.outputs, plain.outputs)
    with pytest.raises(ValueError, match="X"):
        retrain(Words(), ROWS | {"shift": 2 * ROWS["shift"]}, Y, masks(), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": ROWS | {"shift": ROWS["shift"][:7]}}, "one number of rows.*'ids': 30, 'shift': 7"),
        ({"X_eval": QUERIES | {"shift": ROWS["shift"]}}, "one number of rows"),
        ({"X": list(ROWS["shift"])}, r"list of 30 tensors with 4 rows.*torch\.stack"),
        ({"y": Y[:7]}, "30 rows, but y has 7"),
        ({"X": ROWS | {"shift": ROWS["shift"] * np.nan}}, "X cannot be used.*NaN"),
        ({"X": {"ids": ROWS["ids"]}}, "must take a dict of rows, or its entries 'ids'"),
        ({"X_eval": QUERIES | {"shift": QUERIES["shift"][:, :2]}}, "rows of X_eval, .* and "),
        (
            {"X_eval": QUERIES | {"ids": QUERIES["ids"] + 8}},
            r"rows of X_eval, .*'table' looks up must be .*got 8 to",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(changes, message):
    given = {"X": ROWS, "y": Y, "X_eval": QUERIES} | changes
    with pytest.raises((TypeError, ValueError), match=message):
        retrain(Words(), masks=masks(), recipe=RECIPE, **given)


class OfDict(ClassifierMixin, BaseEstimator):
    """A classifier that takes a dict, as those of skorch do."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(self.joined(X), y)
        self.classes_ = self.model_.classes_
        return self

    def decision_function(self, X):
        return self.model_.decision_function(self.joined(X))

    def predict(self, X):
        return self.model_.predict(self.joined(X))

    @staticmethod
    def joined(X):
        return np.hstack([X["ids"], X["shift"]])


def test_estimators_that_take_a_dict_are_trained_again():
    result = retrain(OfDict(), ROWS, Y, masks(), X_eval=QUERIES)
    expected = retrain(LogisticRegression(), TABLE.numpy(), Y, masks(), X_eval=TABLE_QUERIES)
    np.testing.assert_allclose(result.outputs, expected.outputs)


def attributors(make, rows):
    network = fit_model(make(), rows, Y, recipe=RECIPE)
    methods = {
        "InfoGain": InfoGainAttributor(network),
        "influence": InfluenceAttributor(network),
    }
    return {
        name: attributor.set_params(candidates="all").fit(rows, Y)
        for name, attributor in methods.items()
    }


def coreset(methods, X, queries, **options):
    return coreset_selection({"i": methods["InfoGain"]}, X, Y, queries, X, Y, sizes=8, **options)


def lds(methods, X, queries, **options):
    options |= {"n_masks": 8, "n_repeats": 1}
    return linear_datamodeling_score(methods, X, Y, queries, Y[:9], **options)


def flips(methods, X, queries, **options):
    return brittleness(methods, X, Y, queries, Y[:9], sizes=(3, 6), **options)


def board(methods, X, queries, **options):
    criteria = {"lds": {"n_masks": 8}, "brittleness": {"size": 4}}
    return scoreboard(methods, X, Y, queries, Y[:9], criteria=criteria, **options)


@pytest.mark.parametrize("protocol", [coreset, lds, flips, board])
def test_protocols_measure_what_they_measure_of_one_array(protocol):
    options = {"recipe": RECIPE}
    found = protocol(attributors(Words, ROWS), ROWS, QUERIES, model=Words(), **options)
    methods = attributors(OfTable, TABLE)
    expected = protocol(methods, TABLE, TABLE_QUERIES, model=OfTable(), **options)
    found, expected = found.to_frame(), expected.to_frame()
    if protocol is board:  # whose own baseline compares rows as vectors, which a dict is not
        found, expected = (frame[frame["method"].isin(methods)] for frame in (found, expected))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)


def test_the_scorer_measures_brittleness():
    scorer = {"size": 4, "n_queries": 5, "recipe": RECIPE}
    scores = []
    for make, rows, queries in ((Words, ROWS, QUERIES), (OfTable, TABLE, TABLE_QUERIES)):
        attributor = attributors(make, rows)["InfoGain"]
        scores.append(brittleness_scorer(make(), **scorer)(attributor, queries, Y[:9]))
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)


def test_estimators_that_take_no_mapping_say_so():
    with pytest.raises(TypeError, match="dict") as caught:
        retrain(LogisticRegression(), ROWS, Y, masks(), X_eval=QUERIES)
    assert "X is a mapping of inputs, and LogisticRegression must take" in caught.value.__notes__[1]


@pytest.mark.parametrize("form", ["dok_matrix", "dok_array"])
def test_a_sparse_matrix_that_is_a_mapping_is_a_matrix(form, tmp_path):
    X = getattr(scipy.sparse, form)(TABLE.numpy())
    assert isinstance(X, Mapping)
    options = {"X_eval": TABLE_QUERIES, "y": Y, "masks": masks()}
    result = retrain(LogisticRegression(), X, store=tmp_path, **options)
    expected = retrain(LogisticRegression(), TABLE.numpy(), **options)
    np.testing.assert_allclose(result.outputs, expected.outputs, rtol=1e-6)
    with pytest.raises(ValueError, match=r"X must be dense for a network.*X\.toarray"):
        retrain(OfTable(), X, recipe=RECIPE, **options)
    np.testing.assert_array_equal(row_digests(X), row_digests(X.tocsr()))
