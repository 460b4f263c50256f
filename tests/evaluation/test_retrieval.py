"""Recall and reciprocal rank against scikit-learn's and against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import label_ranking_average_precision_score
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution import InfoGainAttributor, RandomAttributor, RepSimAttributor
from sklearn_provenance.datasets import apply_trigger, load_digits, poison_backdoor
from sklearn_provenance.evaluation import backdoor_retrieval

from .attributors import Told


def rows(n=40, n_queries=9, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 4)) + y[:, None]
    return X, y, rng.normal(size=(n_queries, 4)), rng.integers(0, 2, n_queries)


def fitted(candidates="all", seed=0):
    X, y, *queries = rows(seed=seed)
    model = LogisticRegression().fit(X, y)
    methods = {
        "Random": RandomAttributor(model, candidates=candidates),
        "RepSim": RepSimAttributor(model, candidates=candidates),
        "InfoGain": InfoGainAttributor(model, candidates=candidates),
    }
    return {name: method.fit(X, y) for name, method in methods.items()}, *queries


def test_one_relevant_row_is_what_scikit_learn_ranks():
    methods, X, y = fitted()
    del methods["InfoGain"]  # its order is not that of scores of single rows
    relevant = np.eye(40, dtype=bool)[np.random.default_rng(0).integers(0, 40, len(X))]
    result = backdoor_retrieval(methods, X, y, relevant, k=5, mrr_k=40)
    for name, recall, reciprocal in zip(
        result.methods, result.recall, result.reciprocal_rank, strict=True
    ):
        scores = methods[name].attribute(X, y)
        expected = label_ranking_average_precision_score(relevant, scores)
        assert reciprocal.mean() == pytest.approx(expected, rel=1e-12)
        rank = (scores >= scores[relevant][:, None]).sum(1)
        np.testing.assert_array_equal(recall, rank <= 5)
        cut = backdoor_retrieval(methods[name], X, y, relevant, k=5, mrr_k=7).reciprocal_rank[0]
        np.testing.assert_allclose(cut, np.where(rank <= 7, 1 / rank, 0))


@settings(max_examples=20)
@given(
    seed=st.integers(0, 50),
    k=st.integers(1, 60),
    mrr_k=st.integers(1, 60),
    share=st.floats(0.02, 0.9),
    common=st.booleans(),
)
def test_definitions(seed, k, mrr_k, share, common):
    methods, X, y = fitted(seed=seed % 3)
    relevant = np.random.default_rng(seed).random((len(X), 40)) < share
    relevant[:, seed % 40] = True
    if common:
        relevant[:] = relevant[0]
    result = backdoor_retrieval(
        methods, X, y, relevant[0] if common else relevant, k=k, mrr_k=mrr_k
    )
    assert result.methods == tuple(methods)
    for i, method in enumerate(methods.values()):
        ranking = method.explain(X, y, k=40).indices
        for q, order in enumerate(ranking.tolist()):
            truth = set(np.flatnonzero(relevant[q]).tolist())
            assert result.recall[i, q] == len(truth & set(order[:k])) / len(truth)
            first = min(rank for rank, row in enumerate(order, 1) if row in truth)
            assert result.reciprocal_rank[i, q] == (1 / first if first <= mrr_k else 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_backdoor_in_digits():
    digits, test = load_digits(), load_digits("test")
    attack = poison_backdoor(digits.data, digits.target, n_per_class=8, random_state=0)
    X = attack.data.reshape(len(attack.data), -1) / 255
    model = MLPClassifier((64,), max_iter=100, random_state=0, learning_rate_init=0.01)
    model.fit(X, attack.target)
    rows = np.arange(0, len(test.data), 9)
    base = test.target[rows]
    queries = apply_trigger(test.data[rows], base, attack.triggers).reshape(len(rows), -1) / 255
    labels = (base + 1) % 10
    relevant = attack.base_class == base[:, None]
    methods = {"RepSim": RepSimAttributor(model), "Random": RandomAttributor(model)}
    methods = {name: method.fit(X, attack.target) for name, method in methods.items()}
    result = backdoor_retrieval(methods, queries, labels, relevant, k=8)
    good, random = result.recall.mean(1)
    # 8 of some 134 rows of the label are relevant: a random row is one of them in 6 of 100 cases.
    assert random < 0.15 < 0.5 < good
    assert (result.attack_success == (model.predict(queries) == labels).mean()).all()
    assert result.attack_success[0] > 0.8


def test_what_cannot_predict_has_no_attack_success():
    X, y = np.arange(6.0)[:, None], np.zeros(6, int)
    nearest = Told(lambda x, label: -np.abs(X[:, 0] - x[0]))
    result = backdoor_retrieval(nearest, X, y, np.eye(6, dtype=bool), k=1)
    np.testing.assert_array_equal(result.recall, 1.0)
    assert np.isnan(result.attack_success).all()


def test_rows_beyond_the_candidates_are_not_found():
    methods, X, y = fitted("same_class")
    label = np.arange(40) % 2
    relevant = label[None] == y[:, None]  # 20 of them, the same as the candidates
    with pytest.warns(UserWarning, match="candidates"):
        result = backdoor_retrieval(methods, X, y, relevant, k=30)
    np.testing.assert_array_equal(result.recall, 1.0)
    np.testing.assert_array_equal(result.reciprocal_rank, 1.0)
    with pytest.warns(UserWarning, match="candidates"):
        result = backdoor_retrieval(methods, X, y, ~relevant, k=30)
    np.testing.assert_array_equal(result.recall, 0.0)
    np.testing.assert_array_equal(result.reciprocal_rank, 0.0)


def test_a_provenance_network_explains_what_it_predicts():
    X, y, X_queries, y_queries = rows()
    net = ProvenanceClassifier(width="small", max_epochs=2, device="cpu", random_state=0)
    net.fit(X.astype(np.float32), y)
    X_queries = X_queries.astype(np.float32)
    relevant = np.arange(40) < 12
    with pytest.warns(UserWarning, match="candidates"):
        result = backdoor_retrieval(net, X_queries, y_queries, relevant, k=10, mrr_k=30)
    with pytest.warns(UserWarning, match="candidates"):
        indices = net.explain(X_queries, k=30).indices
    expected = ((indices[:, :10] < 12) & (indices[:, :10] >= 0)).sum(1) / 12
    np.testing.assert_allclose(result.recall[0], expected)


def test_tables_and_figure():
    methods, X, y = fitted()
    result = backdoor_retrieval(methods, X, y, np.arange(40) < 7, k=5, mrr_k=9)
    pytest.importorskip("pandas")
    frame, summary = result.to_frame(), result.summary()
    assert frame.columns.tolist() == ["method", "query", "recall", "reciprocal_rank"]
    assert len(frame) == 3 * len(X)
    groups = frame.groupby("method", sort=False)
    for name, column in (("recall", "recall"), ("mrr", "reciprocal_rank")):
        np.testing.assert_allclose(summary[name], groups[column].mean())
        np.testing.assert_allclose(summary[f"{name}_se"], groups[column].sem())
    assert summary[["k", "mrr_k", "n_queries"]].drop_duplicates().values.tolist() == [[5, 9, 9]]

    plt = pytest.importorskip("matplotlib.pyplot")
    display = result.plot()
    recall, mrr = (c[0].get_xdata() for c in display.ax_.containers)
    np.testing.assert_allclose(recall, summary["recall"])
    np.testing.assert_allclose(mrr, summary["mrr"])
    names = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert names == list(methods)
    assert display.ax_.yaxis_inverted()
    one = backdoor_retrieval(methods, X[:1], y[:1], np.arange(40) < 7)
    fig, ax = plt.subplots()
    assert one.plot(ax=ax).figure_ is fig
    assert np.isnan(one.summary()["recall_se"]).all()
    fig.canvas.draw()
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"relevant": np.ones((9, 40))}, ValueError, "bool"),
        ({"relevant": np.ones((8, 40), bool)}, ValueError, "9 queries"),
        ({"relevant": np.arange(41) == 40, "k": 41}, ValueError, "between 1 and 40"),
        ({"relevant": np.ones(20, bool)}, ValueError, "relevant has 20 columns"),
        ({"relevant": np.eye(9, 40, -1, bool)}, ValueError, "it is not for query 0"),
        ({"y_queries": np.zeros(8, int)}, ValueError, "9 rows"),
        ({"k": 0}, ValueError, r"'k' parameter .* Got 0"),
        ({"attributors": {}}, ValueError, "got none"),
        ({"attributors": LogisticRegression}, TypeError, "explain"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    methods, X, y = fitted()
    arguments = {"attributors": methods["RepSim"], "X_queries": X, "y_queries": y, "k": 40}
    arguments |= {"relevant": np.ones(40, bool)} | change
    with pytest.raises(error, match=message):
        backdoor_retrieval(**arguments)
