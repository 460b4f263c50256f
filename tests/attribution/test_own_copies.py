"""Users go on with their arrays after fit: nothing that was fitted changes with them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import is_regressor
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.attribution import (
    BoostInAttributor,
    EKFACAttributor,
    EnsembleAttributor,
    ForestAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RandomAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)
from sklearn_provenance.attribution._training_rows import check_same_rows
from sklearn_provenance.text import TokenizedTexts

N = 40
RNG = np.random.default_rng(0)
ROWS = np.abs(RNG.normal(size=(N, 3)))
NUMBERS = ROWS @ [1.0, 0.5, 0.0] + 0.1 * RNG.random(N)
LABELS = (NUMBERS + 0.3 * RNG.normal(size=N) > 1.2).astype(int)
WEIGHTS = RNG.integers(1, 4, size=N).astype(float)
QUERIES = np.abs(RNG.normal(size=(4, 3)))
LOGISTIC = LogisticRegression(fit_intercept=False)

FORMS = {
    "array": np.array,
    "strange order": np.asfortranarray,
    "frame": lambda rows: pd.DataFrame(rows, columns=list("abc")),
    "sparse": csr_array,
}
ATTRIBUTORS = [
    *(InfluenceAttributor(LinearSVC(fit_intercept=intercept)) for intercept in (True, False)),
    *(
        InfluenceAttributor(model)
        for model in (
            LOGISTIC,
            OneVsRestClassifier(LOGISTIC),
            Ridge(fit_intercept=False),
            Lasso(alpha=0.01),
            PoissonRegressor(tol=1e-8, max_iter=1000),
            KernelRidge(kernel="rbf"),
            GaussianProcessRegressor(alpha=1.0),
            GaussianProcessClassifier(),
            MLPClassifier((4,), random_state=0, tol=1.0),
        )
    ),
    *(
        kind(LOGISTIC)
        for kind in (
            EKFACAttributor,
            GradDotAttributor,
            InfoGainAttributor,
            InfoLossAttributor,
            LastLayerAttributor,
            RandomAttributor,
            RelatIFAttributor,
            RepSimAttributor,
            TRAKAttributor,
        )
    ),
    InfoGainAttributor(Ridge(fit_intercept=False)),
    BoostInAttributor(GradientBoostingRegressor(n_estimators=3, random_state=0)),
    ForestAttributor(RandomForestClassifier(5, random_state=0)),
    EnsembleAttributor(VotingClassifier([("one", LOGISTIC)], voting="soft")),
    EnsembleAttributor(BaggingClassifier(LOGISTIC, 3, random_state=0)),
    EnsembleAttributor(OneVsRestClassifier(LOGISTIC)),
]


def spoil(rows):
    """Write other numbers into rows of a form."""
    if isinstance(rows, csr_array):
        rows.data[:] = 3
    elif hasattr(rows, "iloc"):
        rows.iloc[:, :] = 3.0
    else:
        rows[:] = 3


def answers(attributor, queries):
    """What is said of queries, and of training rows; a rule is asked anew each time."""
    explained = attributor.explain(queries, k=4)
    found = [
        explained.indices,
        explained.scores,
        explained.exemplar_labels,
        explained.sample_id,
        attributor.explain(k=3).indices,
        attributor.attribute(queries),
    ]
    if hasattr(attributor, "predict_without"):
        found.append(attributor.predict_without(queries, [1, 2]))
    return found


@pytest.mark.filterwarnings("ignore:a part of:UserWarning")
@pytest.mark.filterwarnings("ignore:.*fewer than k:UserWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "attributor",
    ATTRIBUTORS,
    ids=[f"{type(one).__name__[:-10]}-{type(one.estimator).__name__}" for one in ATTRIBUTORS],
)
def test_rows_labels_and_names_that_change_after_fit(attributor, form):
    if form == "sparse" and "GaussianProcess" in type(attributor.estimator).__name__:
        pytest.skip("Gaussian processes take no sparse rows")
    targets = NUMBERS if is_regressor(attributor.estimator) else LABELS
    queries = FORMS[form](QUERIES)
    arguments = FORMS[form](ROWS), targets.copy(), np.arange(N)
    expected = answers(attributor.fit(*(one.copy() for one in arguments)), queries)
    fitted = attributor.fit(*arguments)
    spoil(arguments[0])
    arguments[1][:] = arguments[1][::-1].copy()
    arguments[2][:] = -1
    for one, other in zip(answers(fitted, queries), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    check_same_rows({"it": fitted}, FORMS[form](ROWS), targets)
    with pytest.raises(ValueError, match="that are not those of X, for example row 0"):
        check_same_rows({"it": fitted}, arguments[0], targets)
    with pytest.raises(ValueError, match="that are not those of X and y"):
        check_same_rows({"it": fitted}, FORMS[form](ROWS), arguments[1])


@pytest.mark.parametrize(
    "attributor",
    [
        InfluenceAttributor(Ridge()),
        InfluenceAttributor(LogisticRegression(tol=1e-8)),
        ForestAttributor(RandomForestClassifier(5, random_state=0)),
    ],
    ids=["influence of numbers", "influence of labels", "forest"],
)
def test_weights_that_change_after_fit(attributor):
    targets = NUMBERS if is_regressor(attributor.estimator) else LABELS
    weights = WEIGHTS.copy()
    attributor.fit(ROWS, targets, sample_weight=weights)
    before = attributor.attribute(QUERIES)
    attributor.fit(ROWS, targets, sample_weight=weights)
    weights[:] = 1
    np.testing.assert_array_equal(attributor.attribute(QUERIES), before)


class Sum(torch.nn.Module):
    """Logits of rows of tokens with a mask."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 2)

    def forward(self, input_ids, attention_mask):
        return (self.embedding(input_ids) * attention_mask[..., None]).sum(1)


@pytest.mark.parametrize("kind", [InfoGainAttributor, InfluenceAttributor])
@pytest.mark.parametrize("with_texts", [False, True])
def test_mappings_that_change_after_fit(kind, with_texts):
    ids = torch.as_tensor(RNG.integers(1, 9, size=(N, 5)))
    rows = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if with_texts:
        rows = TokenizedTexts(rows, [f"text {i}" for i in range(N)])
    fitted = kind(Sum()).fit(rows, LABELS)
    kept = ids.clone()
    rows["input_ids"][:] = 1
    assert torch.equal(fitted.training_.X["input_ids"], kept)
    assert type(fitted.training_.X) is type(rows)


def test_files_stay_files(tmp_path):
    for mode in ("w+", "r+", "r"):
        rows = np.memmap(tmp_path / "rows", np.float32, mode, shape=ROWS.shape)
        if mode == "w+":
            rows[:] = ROWS
        fitted = InfoGainAttributor(LogisticRegression()).fit(rows, LABELS)
        assert np.shares_memory(fitted.training_.X, rows)
