"""Outputs of an index branch, found in blocks or by a search index, against all logits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_provenance.provenance import _head_scan, _index_reading, _inference
from sklearn_provenance.provenance._head_scan import Head
from sklearn_provenance.provenance._head_search import HeadSearch
from sklearn_provenance.retrieval import FaissIndex

from .conftest import quick, quick_regressor, quick_vae


@pytest.fixture(autouse=True, scope="module")
def blocks_of_seven():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_head_scan, "BLOCK", 7)
        patch.setattr(_index_reading, "BLOCK", 7)
        patch.setattr(_inference, "BLOCK", 7)
        yield


@st.composite
def heads(draw):
    """Small whole numbers, whose products are exact and often tie."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, width, size = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 30))
    features, weight, bias = (
        torch.tensor(random.integers(-2, 3, shape), dtype=torch.float32)
        for shape in ((n, width), (size, width), size)
    )
    hidden = None
    if draw(st.booleans()):
        hidden = torch.tensor(random.integers(-1, size, n))
    return Head(features, weight, bias, hidden), draw(st.integers(1, size + 2))


@given(heads(), st.sampled_from([None, "exact", "faiss"]))
def test_the_largest_logits_with_ties(problem, index):
    head, k = problem
    logits = (head.features @ head.weight.T + head.bias).double()  # (n, K)
    if head.hidden is not None:
        rows = torch.arange(len(logits))[head.hidden >= 0]
        logits[rows, head.hidden[rows]] = -torch.inf
    order = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(logits.numpy(), order, 1)
    missing = max(0, k - logits.shape[1])
    expected = np.pad(expected, ((0, 0), (0, missing)), constant_values=-np.inf)
    order = np.where(np.isinf(expected), -1, np.pad(order, ((0, 0), (0, missing))))
    if index is None:
        found, positions, log_sum = head.largest(k)
        torch.testing.assert_close(log_sum, logits.logsumexp(1), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found, expected)
    else:
        found, positions = HeadSearch(index).largest(head, None, k)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    if index != "faiss":  # of equal products FAISS finds any
        np.testing.assert_array_equal(positions, order)


class ReadOnce:
    """A head whose logits may be read once."""

    def __init__(self, head):
        self.features = head.features
        self._blocks = head.blocks()

    def blocks(self):
        blocks, self._blocks = self._blocks, None
        return blocks


@given(heads(), st.integers(1, 4))
def test_probabilities_take_one_reading_of_the_logits(problem, n):
    """Also of the first rows alone."""
    head = problem[0]._replace(hidden=None)
    logits = head.features @ head.weight.T + head.bias
    proba = torch.zeros(logits[:n].shape)
    _inference._softmax_into(proba, ReadOnce(head))
    torch.testing.assert_close(proba, logits[:n].double().softmax(1).float())


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "single_branch"},
        {"architecture": "class_independent", "index_subset": 0.6},
        {"heads": "per_class"},
        {"heads": "shared", "routing": "soft"},
        {"heads": "per_class", "routing": "soft", "class_conditioning": False},
    ],
)
def test_classifiers(options, iris):
    X, y = iris
    clf = quick(max_epochs=2, **options).fit(X, y)
    check(clf, X, clf.index_proba(X))
    own = y == clf.classes_[1]
    proba = clf.set_params(index=None).index_proba(X)
    named = clf.predict_index(X, np.full(len(X), clf.classes_[1]))
    assert (y[named] == clf.classes_[1]).all()
    if clf.candidates_ == "all" and "heads" not in options:
        np.testing.assert_array_equal(named, np.where(own, proba, -1).argmax(1))


def test_regressors_and_autoencoders(diabetes, iris):
    X, y = diabetes
    reg = quick_regressor(max_epochs=2).fit(X, y)
    check(reg, X, reg.index_proba(X))
    X, y = iris
    for heads_of in ("per_class", "shared"):
        vae = quick_vae(max_epochs=1, heads=heads_of).fit(X, y)
        decoder = vae.net_.module_.decoder.eval()
        with torch.no_grad():
            output = decoder(torch.tensor(vae.transform(X)))
        p, local = output.index_logits.softmax(1).sort(dim=1, descending=True, stable=True)
        members = vae._index.members[output.label[:, None], local[:, :4]]
        for index in (None, "exact"):
            found = vae.set_params(index=index).explain(X, k=4)
            np.testing.assert_array_equal(found.indices, members)
            np.testing.assert_allclose(found.scores, p[:, :4], rtol=1e-4)


def check(estimator, X, proba):
    """Compare with all probabilities, also where no row names itself."""
    others = proba.copy()
    np.fill_diagonal(others, 0)
    others /= others.sum(1, keepdims=True)
    for index in (None, "exact", FaissIndex("inverted_file", n_lists=3, n_probe=3)):
        estimator.set_params(index=index)
        for rows, expected in ((X, proba), (None, others)):
            indices, scores = estimator.explain(rows, k=5)
            best = -np.sort(-expected, axis=1)[:, :5]
            np.testing.assert_allclose(scores, best, rtol=1e-4)
            np.testing.assert_allclose(np.take_along_axis(expected, indices, 1), best, rtol=1e-4)
            names = estimator.kneighbors(rows, 5, return_distance=False)
            np.testing.assert_array_equal(names, indices)
        np.testing.assert_array_equal(
            estimator.predict_index(X), estimator.explain(X, 1).indices[:, 0]
        )


def test_no_block_is_larger(iris, monkeypatch):
    """Logits are those of a batch of rows and a block of outputs."""
    clf = quick("class_independent", max_epochs=1).fit(*iris)
    shapes = []
    blocks = Head.blocks

    def recorded(head):
        for start, logits in blocks(head):
            shapes.append(logits.shape)
            yield start, logits

    monkeypatch.setattr(Head, "blocks", recorded)
    values = clf.net_.module_.values_per_row
    assert values < 150 * 2  # the outputs do not count
    monkeypatch.setattr(_index_reading, "_BATCH_VALUES", 20 * values)
    for method in (clf.explain, clf.index_proba, clf.predict_index, clf.index_certainty):
        method(iris[0])
    assert {shape[1] for shape in shapes} == {7, 150 % 7}
    assert max(shape[0] for shape in shapes) == 20


class Counting(FaissIndex):
    built = 0

    def build(self, rows):
        Counting.built += 1
        return super().build(rows)


def test_a_search_index_is_built_once(iris, tmp_path):
    import pickle

    X, y = iris
    clf = quick("class_independent", max_epochs=1, index=Counting()).fit(X, y)
    assert Counting.built == 0
    expected = clf.explain(X[:3], k=2)
    clf.explain(X, k=3)
    clf.predict_index(X)
    assert Counting.built == 1
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.explain(X[:3], k=2).indices, expected.indices)
    assert Counting.built == 2
    clf.fit(X, y).explain(X[:1])
    assert Counting.built == 3
    clf.save(tmp_path / "clf")
    loaded = type(clf).load(tmp_path / "clf", device="cpu")
    assert loaded.index is None
    loaded.set_params(index="exact").save(tmp_path / "clf")
    assert type(clf).load(tmp_path / "clf", device="cpu").index == "exact"


def test_what_is_no_search_index(iris):
    for wrong in ("annoy", 3, object()):
        with pytest.raises(ValueError, match="'index' parameter"):
            quick(max_epochs=1, index=wrong).fit(*iris)
    clf = quick(max_epochs=1).fit(*iris).set_params(index="annoy")
    with pytest.raises(ValueError, match="index must be None, 'exact', 'faiss'"):
        clf.explain(iris[0])
