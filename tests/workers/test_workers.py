"""Work that workers of a Dask cluster share gives what one machine gives."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from sklearn_provenance._utils import cluster, pieces
from sklearn_provenance._utils.row_arrays import RowArray, named_file, on_disk
from sklearn_provenance.attribution import EKFACAttributor, RelatIFAttributor
from sklearn_provenance.evaluation import coreset_selection
from sklearn_provenance.retraining import retrain
from sklearn_provenance.retrieval import ExactIndex
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough
from .problems import (
    MASKS,
    PHI,
    QUERIES,
    THREE,
    TRUTH,
    WORKS,
    N,
    Signal,
    X,
    Y,
    fitted,
    network,
    small_pieces,
)

distributed = pytest.importorskip("distributed")
# What other packages say of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SKETCH = TangentFeatures(n_components=8, random_state=0)
# Shown by coreset and greedy_loss.
REPEATING = ("balanced_coreset", "coreset_of_loss", "greedy_gain", "influence_of_rows")
# Relative differences, where sums come in another order than on one machine.
TOLERANT = {
    **{"density": 1e-12, "greedy_gain": 1e-12, "greedy_loss": 1e-11, "cosines": 1e-11},
    **{"influence": 1e-10, "influence_of_rows": 1e-10},
}


@pytest.fixture(autouse=True)
def cut(monkeypatch):
    small_pieces(monkeypatch)


@pytest.fixture(scope="module")
def client():
    """Workers in threads of this process, which start in no time."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    local = distributed.LocalCluster(processes=False, **settings)
    with local, distributed.Client(local) as client:
        yield client


def same(name, expected, found):
    if name in TOLERANT:
        np.testing.assert_allclose(found, expected, rtol=TOLERANT[name])
    elif isinstance(expected, dict):
        assert found == expected
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [*sorted(set(WORKS) - {*REPEATING}), *thorough(*REPEATING)])
def test_workers_answer_as_one_machine(name, client, tmp_path, monkeypatch):
    """Also where a client is not passed, but that of joblib is in use."""
    work = WORKS[name](Signal(tmp_path))
    expected = work(None)
    asked = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster, "submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    same(name, expected, work(client))
    assert len(asked) > 2
    n_asked = len(asked)
    with joblib.parallel_config("dask", client=client):
        same(name, expected, work(None))
    assert len(asked) == 2 * n_asked
    same(name, expected, work(None))
    assert len(asked) == 2 * n_asked


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_search(client, tmp_path, in_file, dtype):
    rows = PHI.astype(dtype)
    if in_file:
        np.save(tmp_path / "rows.npy", rows)
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")[1:]
    elif dtype == np.float16:
        rows = rows.astype(np.float32)
    expected = ExactIndex().build(rows).search(PHI[:9] * 2.0, 95)
    with cluster.using(client):
        index = ExactIndex().build(rows)
        found = index.search(PHI[:9] * 2.0, 95)
    np.testing.assert_array_equal(found, expected)
    assert index.largest_norm_ == ExactIndex().build(rows).largest_norm_


def test_rows_may_be_tensors(client):
    with cluster.using(client):
        found = ExactIndex().build(torch.as_tensor(PHI)).search(PHI[:9], 20)
    np.testing.assert_array_equal(found, ExactIndex().build(PHI).search(PHI[:9], 20))


def test_rows_without_copies_are_selected(client, tmp_path):
    attributor = fitted(Signal(tmp_path))
    attributor = clone(attributor).set_params(features=lambda rows: PHI[: len(rows)] + rows[:, :1])
    attributor.fit(X + np.arange(len(X))[:, None], Y)
    for normalize in (True, False):
        expected = attributor.select(QUERIES, 5, normalize=normalize)
        found = attributor.select(QUERIES, 5, normalize=normalize, client=client)
        np.testing.assert_array_equal(found, expected)


def test_rows_that_are_not_finite(client):
    rows = PHI.copy()
    rows[70, 3] = np.nan
    with cluster.using(client), pytest.raises(ValueError, match="Row 70 holds NaN") as caught:
        ExactIndex().build(rows)
    assert "worker" in caught.value.__notes__[0]


@pytest.mark.parametrize("in_file", [True, False])
def test_transform(client, tmp_path, in_file):
    rows = X
    if in_file:
        np.save(tmp_path / "rows.npy", X)
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    module = network(Signal(tmp_path)).eval()
    features = TangentFeatures(module, n_components=16, batch_size=10).fit(X)
    expected = features.transform(rows, Y), features.transform(rows)
    with joblib.parallel_config("dask", client=client):
        found = features.transform(rows, Y), features.transform(rows)
        features.set_params(store=tmp_path / "features")
        stored = features.transform(rows, Y)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(stored, expected[0])


@pytest.mark.parametrize("search", [{}, {"index": "exact", "pool_size": 9}])
def test_classes(client, tmp_path, search):
    """Rows of a class are some of those in the file."""
    attributor = fitted(Signal(tmp_path), candidates="same_class", **search)
    expected = attributor.explain(QUERIES, k=4)
    fresh = fitted(Signal(tmp_path), candidates="same_class", **search)
    found = fresh.explain(QUERIES, k=4, client=client)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(
        attributor.select(QUERIES, 9), attributor.select(QUERIES, 9, client=client)
    )


@pytest.mark.parametrize("name", ["loss", "RelatIF", "influence", *thorough("additive")])
def test_classes_are_one_selection(name, client, tmp_path, monkeypatch):
    """Queries of all classes take the tasks of those of one, where workers hold all rows."""
    module = network(Signal(tmp_path), 3).eval()
    params = {"features": SKETCH}
    cls = InfluenceAttributor
    if name in ("loss", "RelatIF"):
        cls = InfoLossAttributor if name == "loss" else RelatIFAttributor
        params["measurement"] = "margin"
    elif name == "additive":
        params["selection"] = name
    labels = np.arange(len(QUERIES)) % 3
    asked = []
    submit = cluster.Cluster._submit
    monkeypatch.setattr(
        cluster.Cluster, "_submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    counts = {}
    for candidates in ("same_class", "all"):
        attributor = cls(module, candidates=candidates, **params).fit(X, THREE)
        expected = attributor.explain(QUERIES, labels, k=12)
        fresh = clone(attributor).fit(X, THREE)
        assert not asked
        found = fresh.explain(QUERIES, labels, k=12, client=client)
        counts[candidates] = len(asked)
        asked.clear()
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.n_tied, expected.n_tied)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-10)
        if candidates == "same_class":
            np.testing.assert_array_equal(THREE[found.indices], np.repeat(labels[:, None], 12, 1))
            of_one = fresh.explain(QUERIES[:1], labels[:1], k=12, client=client)
            np.testing.assert_array_equal(of_one.indices, expected.indices[:1])
            counts["one query"] = len(asked)
            asked.clear()
    assert counts["same_class"] == counts["all"]
    assert counts["one query"] <= counts["all"]


@pytest.mark.parametrize("kind", [InfoGainAttributor, InfoLossAttributor])
def test_training_rows_explain_each_other(kind, client, tmp_path, monkeypatch):
    """Each without itself, in groups of queries that fit the budget; workers read rows once."""
    settings = {"candidates": "same_class", "memory_limit": 5e4}
    expected = fitted(Signal(tmp_path), kind, **settings).explain(k=3)
    asked = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster, "submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    found = fitted(Signal(tmp_path), kind, **settings).explain(k=3, client=client)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.n_tied, expected.n_tied)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-11)
    n_rows = [N] if kind is InfoLossAttributor else np.bincount(Y)  # of each group of features
    assert asked.count("read_rows") == sum(np.ceil(np.divide(n_rows, 20)))
    assert asked.count("_begin") > asked.count("read_rows")


@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_cosines_by_workers(candidates, client, tmp_path, monkeypatch):
    """Training rows by each other, scores of rows of a class, and means over queries."""
    settings = {"candidates": candidates, "measurement": "margin"}
    attributor = fitted(Signal(tmp_path), RelatIFAttributor, **settings)
    expected = attributor.explain(k=3)
    scores, rows = attributor.attribute(QUERIES), attributor.select(QUERIES, 30)
    fresh = fitted(Signal(tmp_path), RelatIFAttributor, memory_limit=1.4e4, **settings)
    asked = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster, "submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    found = fresh.explain(k=3, client=client)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.n_tied, expected.n_tied)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-11)
    assert asked.count("read_rows") == asked.count("_lengths") == np.ceil(N / 20)
    assert asked.count("_products") > asked.count("_lengths")  # queries in several groups
    asked.clear()
    with joblib.parallel_config("dask", client=client):
        np.testing.assert_allclose(fresh.attribute(QUERIES), scores, rtol=1e-10, atol=1e-13)
        np.testing.assert_array_equal(fresh.select(QUERIES, 30), rows)
    assert {"_lengths", "_products"} <= set(asked)
    assert "posterior" not in vars(fresh._rule_at(None, everything=True))


def test_fewer_rows_than_features(client, tmp_path):
    """The posterior given all of them is that of their small kernel, with or without workers."""
    module = network(Signal(tmp_path)).eval()
    for kind in (InfoGainAttributor, InfoLossAttributor):
        attributor = kind(module, features=lambda rows: np.outer(rows[:, 0], np.arange(20) + 1.0))
        attributor.set_params(noise_variance=1.0, candidates="all").fit(X[:9], Y[:9])
        expected = attributor.select(QUERIES, 5)
        np.testing.assert_array_equal(attributor.select(QUERIES, 5, client=client), expected)


INFLUENCES = {
    "mean": {"candidates": "all", "selection": "additive", "direction": "any"},
    "row": {"curvature": "row", "direction": "up"},
    "softmax": {"curvature": "softmax", "selection": "additive"},
}


def influences(attributor, client=None):
    """What an InfluenceAttributor says of rows; some of it with the client of joblib."""
    of_queries = attributor.explain(QUERIES, k=4, client=client)
    of_rows = attributor.explain(k=3, client=client)
    numbers = [attributor.attribute(QUERIES, client=client)]
    options = {"backend": "dask", "client": client} if client else {"backend": "threading"}
    with joblib.parallel_config(**options):
        sets = attributor.flipping_set(QUERIES, max_rows=5)
        numbers += [
            sets.margins,
            attributor.predict_without(QUERIES, of_queries.indices),
            attributor.self_influence_,
        ]
    explanations = [of_queries, of_rows, sets]
    whole = [*(one.indices for one in explanations), of_queries.n_tied, of_rows.n_tied]
    return whole, [*numbers, *(one.scores for one in explanations)]


def alike(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


@pytest.mark.thorough
@pytest.mark.parametrize("name", INFLUENCES)
def test_influence_by_workers(name, client, tmp_path, monkeypatch):
    """Also the pass that measures rows; the process makes no system of the rows itself."""
    module = network(Signal(tmp_path), 3).eval()
    attributor = InfluenceAttributor(module, features=SKETCH, **INFLUENCES[name])
    expected = influences(attributor.fit(X, THREE))
    asked = []
    submit = cluster.Cluster.submit
    monkeypatch.setattr(
        cluster.Cluster, "submit", lambda *a: asked.append(a[1].__name__) or submit(*a)
    )
    attributor = clone(attributor).fit(X, THREE, client=client)
    assert set(asked) == {"_measure_piece"}
    alike(influences(attributor, client), expected)
    rule = attributor._network._rule_at(None, everything=True)
    assert "means" not in vars(rule)
    assert {"_root_of_shard", "_begin", "_condition", "_leaders", "_gains"} <= set(asked)
    # Without workers the same attributor goes on alone.
    n_asked = len(asked)
    np.testing.assert_array_equal(attributor.explain(QUERIES, k=2).indices.shape, (7, 2))
    np.testing.assert_allclose(attributor.attribute(QUERIES), expected[1][0], rtol=1e-10)
    assert len(asked) == n_asked


@pytest.mark.thorough
def test_influence_on_numbers_by_workers(client, tmp_path, monkeypatch):
    """A regressor of skorch, from features in a file, with shards of one row."""
    from skorch import NeuralNetRegressor

    y = X[:, :1] + X[:, 1:2] ** 2
    options = {"max_epochs": 1, "verbose": 0, "train_split": None}
    model = NeuralNetRegressor(network(Signal(tmp_path), 1), **options)
    model.fit(X, y)
    features = TangentFeatures(n_components=8, random_state=0, store=tmp_path / "features")
    attributor = InfluenceAttributor(model, features=features).fit(X[:30], y[:30, 0])
    expected = attributor.attribute(QUERIES), attributor.explain(QUERIES, k=25)
    monkeypatch.setattr(pieces, "_READ_BYTES", 1)
    fresh = InfluenceAttributor(model, features=features).fit(X[:30], y[:30, 0])
    assert isinstance(fresh._network._rule_at(None, everything=True).points.array, RowArray)
    np.testing.assert_allclose(fresh.attribute(QUERIES, client=client), expected[0], rtol=1e-10)
    monkeypatch.undo()
    small_pieces(monkeypatch)
    found = fresh.explain(QUERIES, k=25, client=client)
    np.testing.assert_array_equal(found.indices, expected[1].indices)
    np.testing.assert_allclose(found.scores, expected[1].scores, rtol=1e-8, atol=1e-12)


def test_influence_without_a_use_for_a_client(client, tmp_path):
    from sklearn.linear_model import LogisticRegression

    linear = InfluenceAttributor(LogisticRegression())
    module = network(Signal(tmp_path)).eval()
    exact = InfluenceAttributor(module)
    for attributor in (linear, exact):
        with pytest.raises(ValueError, match=r"client must be None here.*network have"):
            attributor.fit(X, Y, client=client)
        assert not hasattr(attributor, "training_")
        attributor.fit(X, Y)
        for call in (attributor.explain, attributor.attribute):
            with pytest.raises(ValueError, match=r"client must be None here.*network have"):
                call(QUERIES, client=client)
            with pytest.raises(TypeError, match="client must be a dask"):
                call(QUERIES, client=3)
    # Fewer rows than features: their kernel is small, and stays here.
    few = InfluenceAttributor(module, features=SKETCH).fit(X[:7], Y[:7])
    np.testing.assert_array_equal(few.attribute(QUERIES, client=client), few.attribute(QUERIES))
    many = InfluenceAttributor(module, features=SKETCH).fit(X, Y)
    with distributed.Client(client.scheduler.address) as closed:
        pass
    with pytest.raises(RuntimeError, match="the client has lost it"):
        many.explain(QUERIES, client=closed)


def test_estimators_are_fitted_by_workers(client, tmp_path):
    from sklearn.linear_model import LogisticRegression

    np.save(tmp_path / "rows.npy", X)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    expected = retrain(LogisticRegression(), X, Y, MASKS, X_eval=QUERIES).outputs
    found = retrain(LogisticRegression(), rows, Y, MASKS, X_eval=QUERIES, client=client)
    np.testing.assert_array_equal(found.outputs, expected)
    # What is done is kept, and found by a call without workers.
    options = {"X_eval": QUERIES, "store": tmp_path / "store"}
    retrain(LogisticRegression(), rows, Y, MASKS, client=client, **options)
    kept = retrain(LogisticRegression(), rows, Y, MASKS, **options)
    np.testing.assert_array_equal(kept.outputs, expected)
    with pytest.raises(ValueError, match=r"C must be|'C' parameter") as caught:
        retrain(LogisticRegression(C=-1), X, Y, MASKS, X_eval=QUERIES, client=client)
    assert any("copy 0" in note for note in caught.value.__notes__)


def test_protocols_hand_clients_on(client, tmp_path):
    attributor = fitted(Signal(tmp_path))
    arguments = {"X_queries": QUERIES, "X_test": QUERIES, "y_test": TRUTH, "sizes": [8]}
    model = network(Signal(tmp_path))
    expected = coreset_selection(attributor, X, Y, model=model, **arguments)
    found = coreset_selection(attributor, X, Y, model=model, client=client, **arguments)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)


def test_what_has_no_use_for_a_client(client, tmp_path):
    attributor = fitted(Signal(tmp_path))
    module = network(Signal(tmp_path)).eval()
    exact = InfoLossAttributor(module, noise_variance=1.0).fit(X, Y)
    for call in (exact.explain, lambda X, client: exact.select(X, 3, client=client)):
        with pytest.raises(ValueError, match=r"client must be None here.*explicit features"):
            call(QUERIES, client=client)
    relatif = RelatIFAttributor([module, module], features=SKETCH, measurement="margin")
    with pytest.raises(ValueError, match=r"client must be None here.*RelatIF of one model"):
        relatif.fit(X, Y).explain(QUERIES, client=client)
    for wrong in (3, object(), distributed.Client):
        for call in (attributor.explain, lambda X, client: attributor.select(X, 3, client=client)):
            with pytest.raises(TypeError, match="client must be a dask"):
                call(QUERIES, client=wrong)
    with pytest.raises(ValueError, match="explicit features of rows; EKFACAttributor does not"):
        EKFACAttributor(network(Signal(tmp_path))).fit(X, Y, client=client)
    with pytest.raises(ValueError, match="client needs explicit features"):
        type(attributor)(network(Signal(tmp_path)).eval()).fit(X, Y, client=client)


def test_memory_maps_are_named(tmp_path):
    """Views of a file that may be read elsewhere; others are sent."""
    np.save(tmp_path / "rows.npy", PHI)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for view in (rows, rows[3:50], rows[5:]):
        np.testing.assert_array_equal(named_file(view).open(), view)
        np.testing.assert_array_equal(named_file(on_disk(view))[:], view)
    for view in (PHI, rows[:, :3], rows[::2], np.load(tmp_path / "rows.npy", mmap_mode="c")):
        assert named_file(view) is None
    named = named_file(rows)
    with open(tmp_path / "rows.npy", "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="the same file for workers"):
        named.open()
