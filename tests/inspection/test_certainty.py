"""Confidence and entropy against their definitions, and a block at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.information._certainty import LogSums, certainty
from sklearn_provenance.inspection._certainty import class_certainty
from sklearn_provenance.provenance import _index_reading

from ..checks import thorough

ARCHITECTURES = ["class_conditional", "class_independent", "single_branch"]
LOGITS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
    elements=st.floats(-50, 50) | st.just(-np.inf),
).filter(lambda logits: np.isfinite(logits).any(1).all())


def by_definition(p):
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return np.log(p.max(1)), -(p * logs).sum(1)


@given(LOGITS)
def test_definition(logits):
    log_p = torch.tensor(logits).log_softmax(1)
    for found, expected in zip(certainty(log_p), by_definition(log_p.exp().numpy()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


@given(LOGITS, st.integers(0, 6), st.floats(-20, 20))
def test_logits_that_come_in_blocks(logits, cut, above):
    """Also where a block has no possible outcome."""
    logits = torch.tensor(logits)
    cut = min(cut, logits.shape[1] - 1)
    parts = [LogSums.of(part) for part in (logits[:, :cut], logits[:, cut:]) if part.shape[1]]
    sums = nothing = LogSums.none(len(logits), logits.device)
    for part in parts:
        sums = sums.merged(part.raised(torch.tensor(above, dtype=torch.float64)))
    torch.testing.assert_close(sums.log_sum, logits.logsumexp(1) + above, rtol=1e-12, atol=1e-12)
    expected = by_definition(logits.softmax(1).numpy())
    for found, one in zip(sums.certainty, expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-9, atol=1e-13)
    assert nothing.certainty[0].isnan().all()


@given(st.lists(st.floats(-80, -20), min_size=2, max_size=6, unique=True))
def test_rows_that_round_to_certainty_keep_their_order(rest):
    log_p = torch.tensor([[0.0, value] for value in rest], dtype=torch.float32)
    assert (log_p.exp().amax(1) == 1).all()
    order = np.argsort(log_p[:, 1].numpy(), kind="stable")
    log_confidence, entropy = (values.numpy() for values in certainty(log_p))
    distinct = np.diff(log_p[order, 1].numpy()) > 0
    assert (np.diff(log_confidence[order])[distinct] < 0).all()
    assert (np.diff(entropy[order])[distinct] > 0).all()


@given(hnp.arrays(np.float64, st.tuples(st.integers(4, 9)), elements=st.floats(-30, 30)))
def test_confidence_and_entropy_agree_on_two_outcomes(logit):
    log_p = torch.tensor(np.column_stack([logit, np.zeros_like(logit)])).log_softmax(1)
    log_confidence, entropy = (values.numpy() for values in certainty(log_p))
    # Rounding may part two logits and its negative, which are equally certain.
    scores = np.round(np.abs(logit), 6)
    keep = np.unique(scores, return_index=True)[1]
    order = np.argsort(scores[keep])
    assert (np.diff(log_confidence[keep][order]) >= 0).all()
    assert (np.diff(entropy[keep][order]) <= 1e-12).all()


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), y


@pytest.mark.parametrize(
    ("routing", "subset"),
    [("hard", 0.5), ("soft", None), *thorough(("hard", None), ("soft", 0.5))],
)
@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
def test_branches_of_networks(architecture, subset, routing, iris, monkeypatch):
    X, y = iris
    clf = ProvenanceClassifier(
        architecture,
        index_subset=subset,
        routing=routing,
        width="small",
        max_epochs=5,
        device="cpu",
        random_state=0,
    ).fit(X, y)
    pairs = [
        (clf.index_certainty(X), clf.index_proba(X)),
        (class_certainty(clf, X), clf.predict_proba(X)),
    ]
    for found, proba in pairs:
        expected = by_definition(proba.astype(np.float64))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    batches = []
    monkeypatch.setattr(
        _index_reading, "_BATCH_VALUES", 7 * max(75, clf.net_.module_.values_per_row)
    )
    forward = type(clf.net_.module_).forward
    monkeypatch.setattr(
        type(clf.net_.module_),
        "forward",
        lambda self, x, *args, **kw: batches.append(len(x)) or forward(self, x, *args, **kw),
    )
    np.testing.assert_allclose(clf.index_certainty(X), pairs[0][0], rtol=1e-5, atol=1e-6)
    if (architecture, routing) != ("class_conditional", "soft"):
        assert max(batches) <= 16  # 7 rows, which are repeated up to 16


def test_classes_that_round_to_certainty_keep_their_order(iris):
    X, y = iris
    model = GaussianNB().fit(X, y)
    p = model.predict_proba(X)
    certain = np.flatnonzero(p.max(1) == 1)
    rest = np.sort(p[certain], axis=1)[:, :2].sum(1)  # of the other classes
    log_confidence, entropy = class_certainty(model, X[certain])
    assert len(np.unique(rest)) > 10
    np.testing.assert_array_equal(np.argsort(-log_confidence), np.argsort(rest))
    np.testing.assert_array_equal(np.argsort(entropy), np.argsort(rest))


def test_probabilities_that_are_nan_are_refused(iris):
    X, y = iris
    model = GaussianNB().fit(X, y)
    model.theta_[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite probabilities, got NaN from GaussianNB"):
        class_certainty(model, X)
