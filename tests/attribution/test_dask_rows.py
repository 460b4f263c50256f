"""Rows that are a Dask array stay where they are, and answers are those of the array in memory."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance import attribution as att
from sklearn_provenance._utils.dask_rows import DaskRows
from sklearn_provenance._utils.row_arrays import DaskFeatures
from sklearn_provenance.attribution._training_rows import differing_row
from sklearn_provenance.retrieval import make_index
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
N = 120
SKETCH = TangentFeatures(n_components=8, random_state=0)


def itself(X):
    return X


class Counted:
    """Chunks that say when they are computed."""

    def __init__(self):
        self.rows = []

    def __call__(self, block, block_info=None):
        self.rows.append(len(block))
        return block


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    X = (rng.normal(size=(N, 6)) + y[:, None]).astype(np.float32)
    X[[30, 60]] = X[0]
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double().eval()
    model = LogisticRegression(max_iter=500).fit(X, y)
    queries = rng.normal(size=(5, 6)).astype(np.float32) + 1
    return {"own": model, "network": network}, X, y, queries


def cut(X, seed):
    """Cut an array into chunks along all axes, some of them empty."""
    rng = np.random.default_rng(seed)

    def sizes(n):
        ends = np.sort(rng.integers(0, n + 1, rng.integers(0, min(n, 7))))
        return tuple(map(int, np.diff([0, *ends, n])))

    return da.from_array(np.asarray(X), chunks=tuple(map(sizes, X.shape)))


METHODS = {
    "gain": (att.InfoGainAttributor, {}),
    "gain, scanned": (att.InfoGainAttributor, {"memory_limit": 4000}),
    "linear response": (att.InfoGainAttributor, {"solver": "linear_response"}),
    "pool": (att.InfoGainAttributor, {"pool_size": 9}),
    "pool of index": (att.InfoGainAttributor, {"pool_size": 9, "index": "exact"}),
    "index": (att.InfoGainAttributor, {"solver": "linear_response", "index": "exact"}),
    "loss": (att.InfoLossAttributor, {}),
    "loss, in blocks": (att.InfoLossAttributor, {"memory_limit": 9000}),
    "RelatIF": (att.RelatIFAttributor, {}),
    "RelatIF, in blocks": (att.RelatIFAttributor, {"memory_limit": 13_000}),
    "RepSim": (att.RepSimAttributor, {}),
}


@pytest.mark.parametrize("seed", [0, *thorough(*range(1, 6))])
@pytest.mark.parametrize("kind", ["own", "network"])
@pytest.mark.parametrize("name", METHODS)
def test_answers_are_those_of_rows_in_memory(problem, name, kind, seed):
    """To the last bit, but where blocks are read instead of one kernel: there to 1e-7."""
    models, X, y, queries = problem
    cls, params = METHODS[name]
    features = itself
    if kind == "network":
        features = SKETCH
        params = params | {"measurement": "margin"} if cls is not att.RepSimAttributor else params
    params = {"features": features} | params
    if cls is att.RepSimAttributor and kind == "network":
        del params["features"]
    expected = cls(models[kind], **params).fit(X, y)
    rows, targets, own_id = cut(X, seed), cut(y, seed), cut(np.arange(N) * 2, seed)
    if params.get("memory_limit"):
        rows = rows.rechunk({0: 70})
    attributor = cls(models[kind], **params).fit(rows, targets, own_id)
    kept = DaskFeatures if kind == "own" else DaskRows
    assert isinstance(attributor._rows.inputs, kept)
    for some, same in ((cut(queries, seed), queries), (None, None)):
        found, known = attributor.explain(some, k=4), expected.explain(same, k=4)
        np.testing.assert_array_equal(found.indices, known.indices)
        np.testing.assert_allclose(found.scores, known.scores, rtol=1e-7, atol=1e-12)
        np.testing.assert_array_equal(found.sample_id, 2 * known.indices)
    found, known = (one.attribute(queries) for one in (attributor, expected))
    np.testing.assert_allclose(found, known, rtol=1e-7, atol=1e-12)
    lazy = cut(queries, seed)
    np.testing.assert_array_equal(attributor.transform(lazy), expected.transform(queries))
    np.testing.assert_array_equal(attributor.predict(lazy), expected.predict(queries))
    if hasattr(expected, "select"):
        few = 2 if name == "gain, scanned" else 5  # which fit the budget
        chosen = attributor.select(lazy[:few], 9)
        np.testing.assert_array_equal(chosen, expected.select(queries[:few], 9))
    if isinstance(expected, att.InfoGainAttributor | att.InfoLossAttributor):
        truth = np.arange(5) % 3
        found = attributor.score(lazy, cut(truth, seed))
        assert found == pytest.approx(expected.score(queries, truth), rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, bool])
def test_types_of_numbers(problem, dtype):
    models, X, y, queries = problem
    X, queries = (np.abs(10 * part).astype(dtype) for part in (X, queries))
    for kind, features in (("own", itself), ("network", SKETCH)):
        make = att.InfoGainAttributor(models[kind], features=features, candidates="all")
        known = make.fit(X, y).explain(queries, k=4)
        found = make.fit(cut(X, 0), y).explain(cut(queries, 0), k=4)
        assert isinstance(make._rows.inputs, DaskRows | DaskFeatures)
        np.testing.assert_array_equal(found.indices, known.indices)
        np.testing.assert_array_equal(found.scores, known.scores)
        assert found.training_data[:1].dtype == dtype


def test_images_stay(problem):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (40, 1, 5, 4), dtype=np.uint8)
    y = np.arange(40) % 2
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(24, 2)).eval()
    lazy = da.from_array(images, chunks=(7, 1, 3, 4))
    make = att.InfoGainAttributor(network, features=SKETCH)
    known = make.fit(images, y).explain(images[:4], k=3)
    found = make.fit(lazy, y).explain(lazy[:4], k=3)
    assert isinstance(make._rows.inputs, DaskRows)
    np.testing.assert_array_equal(found.indices, known.indices)
    np.testing.assert_array_equal(found.scores, known.scores)
    assert found.image_shape == known.image_shape
    np.testing.assert_array_equal(np.asarray(found.queries), images[:4])


def test_influence_and_transformers(problem):
    models, X, y, queries = problem
    lazy = cut(X, 3)
    influence = InfluenceAttributor(models["network"], features=SKETCH)
    known = influence.fit(X, y).attribute(queries)
    np.testing.assert_array_equal(influence.fit(lazy, y).attribute(cut(queries, 0)), known)
    scaled = att.InfoGainAttributor(models["own"], features=StandardScaler())
    known = scaled.fit(X, y).explain(queries)
    np.testing.assert_array_equal(scaled.fit(lazy, y).explain(queries).indices, known.indices)
    unfitted = att.InfoGainAttributor(LogisticRegression(max_iter=500))
    known = unfitted.fit(X, y).explain(queries)
    np.testing.assert_array_equal(unfitted.fit(lazy, y).explain(queries).indices, known.indices)


@pytest.mark.parametrize("name", ["exact", "faiss"])
def test_search_indexes(problem, name):
    if name == "faiss":
        pytest.importorskip("faiss")
    _, X, _, queries = problem
    for dtype in (np.float16, np.float32, np.float64):
        rows = X.astype(dtype)
        lazy = cut(rows, 1)
        same = rows.astype(np.float32) if dtype == np.float16 else rows
        known = make_index(name).build(same)
        index = make_index(name).build(lazy)
        found = index.search(cut(queries, 0), 7)
        np.testing.assert_array_equal(found, known.search(queries, 7))
        both = np.concatenate([same, -2 * same[:9]])
        index.add(da.concatenate([lazy, -2 * lazy[:9]]))
        np.testing.assert_array_equal(index.search(queries, 7), known.add(both).search(queries, 7))
    for wrong, said in ((lazy[:, 0], r"shape \(120,\)"), (lazy.astype(int), "array of int64")):
        with pytest.raises(ValueError, match=said):
            make_index(name).build(wrong)


def test_features_may_be_lazy(problem):
    """A callable gets the Dask array, and what it gives stays one."""
    models, X, y, queries = problem
    weights = np.random.default_rng(1).normal(size=(6, 4))

    def product(rows):
        if len(rows) == N:
            assert da.Array in type(rows).__mro__ or isinstance(rows, np.ndarray)
        return rows @ weights

    make = att.InfoLossAttributor(models["own"], features=product)
    known = make.fit(X.astype(np.float64), y).explain(queries, k=4)
    found = make.fit(cut(X, 1).astype(np.float64), y).explain(queries, k=4)
    assert isinstance(make._rows.inputs, DaskFeatures)
    np.testing.assert_array_equal(found.indices, known.indices)
    np.testing.assert_allclose(found.scores, known.scores, rtol=1e-10)


@pytest.mark.parametrize(
    "cls", [att.InfoGainAttributor, *thorough(att.InfoLossAttributor, att.RelatIFAttributor)]
)
@pytest.mark.parametrize("kind", ["own", "network"])
def test_stores_are_those_of_rows_in_memory(problem, tmp_path, kind, cls):
    models, X, y, queries = problem
    features = itself if kind == "own" else SKETCH
    params = {"features": features, "measurement": "margin"}
    half = N // 2
    folders = []
    for name, rows in (("array", X), ("dask", cut(X, 2))):
        folder = tmp_path / name
        folders.append(folder)
        attributor = cls(models[kind], **params)
        attributor.fit(rows[:half], y[:half], store=folder)
        attributor.append_rows(rows[half:], y[half:])
        attributor.append_rows(rows[half:], y[half:], np.arange(half, N))  # is there already
        answer = attributor.explain(queries, k=4)
    np.testing.assert_array_equal(att.AttributionStore(folders[0]).y, y)
    first, second = ({p.name for p in folder.glob("features*")} for folder in folders)
    assert first == second  # names are checksums
    known = cls(models[kind], **params).fit(X, y).explain(queries, k=4)
    np.testing.assert_array_equal(answer.indices, known.indices)


def test_results_on_disk_are_shared_with_arrays(problem, tmp_path):
    """The digest of a Dask array is that of the array."""
    models, X, y, queries = problem
    passes = []

    def forward(module, x):
        passes.append(len(x))
        return module(x)

    params = {"forward": forward, "features": SKETCH, "memory": str(tmp_path)}
    known = att.InfoGainAttributor(models["network"], **params).fit(X, y).explain(queries)
    passes.clear()
    found = att.InfoGainAttributor(models["network"], **params).fit(cut(X, 4), y)
    np.testing.assert_array_equal(found.explain(queries).indices, known.indices)
    assert sum(passes) < N


def test_chunks_are_computed_a_few_times(problem):
    """Pools of all queries are read together, in one pass over the chunks that they need."""
    models, X, y, queries = problem
    counted = Counted()
    lazy = da.from_array(X, chunks=(10, 6)).map_blocks(counted, dtype=X.dtype, meta=X[:0])
    params = {"features": itself, "pool_size": 30, "index": "exact", "candidates": "all"}
    attributor = att.InfoGainAttributor(models["own"], **params).fit(lazy, y)
    assert sum(counted.rows) <= 3 * N
    counted.rows.clear()
    attributor.explain(np.tile(queries, (10, 1)), k=3)
    assert sum(counted.rows) <= 3 * N  # all of it is held: 16 MB are
    assert set(counted.rows) <= {10}


def test_chunks_too_large_are_refused_before_they_are_computed(problem):
    models, X, y, _ = problem
    counted = Counted()
    lazy = da.from_array(X, chunks=(60, 6)).map_blocks(counted, dtype=X.dtype, meta=X[:0])
    said = r"a chunk of X has 60 rows, which are computed together and take.*\.rechunk\(\{0: 30\}\)"
    for cls in (att.InfoGainAttributor, InfluenceAttributor):
        attributor = cls(models["network"], features=SKETCH, memory_limit=60 * 24 - 1)
        with pytest.raises(MemoryError, match=said):
            attributor.fit(lazy, y)
    attributor = att.InfoGainAttributor(
        models["own"], features=lambda X: da.from_array(X, chunks=60), memory_limit=60 * 24 - 1
    )
    with pytest.raises(MemoryError, match="a chunk of the array that features gives has 60 rows"):
        attributor.fit(X, y)
    assert not counted.rows


def test_what_cannot_be_used(problem):
    models, X, y, _ = problem
    make = att.InfoGainAttributor(models["own"], features=itself)
    lazy = da.from_array(X, chunks=50)
    unknown = lazy[lazy[:, 0] > -np.inf]
    with pytest.raises(ValueError, match=r"X must have chunks of known sizes.*compute_chunk_sizes"):
        make.fit(unknown, y)
    make.fit(unknown.compute_chunk_sizes(), y)
    bad = X.copy()
    bad[77, 2] = np.nan
    with pytest.raises(ValueError, match="must be finite; those of row 77 are not"):
        make.fit(da.from_array(bad, chunks=50), y)
    with pytest.raises(ValueError, match="two dimensions or more"):
        make.fit(lazy[:, 0], y)
    with pytest.raises(ValueError, match="0 sample"):
        make.fit(lazy[:0], y[:0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make.fit(lazy, y[1:])
    with pytest.raises(ValueError, match="Complex data not supported"):
        make.fit(lazy.astype(complex), y)
    with pytest.raises(ValueError, match="must not be a masked array"):
        make.fit(da.ma.masked_less(lazy, 0), y)
    with pytest.raises(
        ValueError, match=r"features must give .*\(n_rows, n_columns\).*\(120, 6, 1"
    ):
        att.InfoGainAttributor(models["own"], features=lambda X: X[:, :, None]).fit(lazy, y)
    wrong = lazy.map_blocks(lambda block: block[:-1], dtype=X.dtype, meta=X[:0])
    with pytest.raises(ValueError, match=r"rows 0 to 119 were computed with shape \(117, 6\)"):
        make.fit(wrong, y)
    sparse = pytest.importorskip("scipy.sparse")
    blocks = lazy.map_blocks(sparse.csr_matrix)
    if not isinstance(blocks._meta, np.ndarray):
        with pytest.raises(ValueError, match="arrays of NumPy as chunks; its chunks are of scipy"):
            make.fit(blocks, y)


def test_frames_are_refused(problem):
    pandas = pytest.importorskip("pandas")
    frames = pytest.importorskip("dask.dataframe")
    models, X, y, queries = problem
    frame = frames.from_pandas(pandas.DataFrame(X), npartitions=3)
    make = att.InfoGainAttributor(models["own"], features=itself)
    with pytest.raises(TypeError, match=r"X of Dask .* DataFrame. Pass X.to_dask_array\(lengths="):
        make.fit(frame, y)
    with pytest.raises(TypeError, match=r"X of Dask must be an array; got a Delayed.* X.compute"):
        make.fit(dask.delayed(X), y)
    targets = frames.from_pandas(pandas.Series(y), npartitions=2)
    found = make.fit(frame.to_dask_array(lengths=True), targets).explain(queries)
    np.testing.assert_array_equal(found.indices, make.fit(X, y).explain(queries).indices)


def test_what_reads_rows_of_a_fit(problem):
    """Pickles, explanations, and functions that take attributors and the same rows."""
    models, X, y, queries = problem
    lazy = cut(X, 5)
    expected = att.InfoGainAttributor(models["network"], features=SKETCH).fit(X, y).explain(queries)
    attributor = att.InfoGainAttributor(models["network"], features=SKETCH).fit(lazy, y)
    again = pickle.loads(pickle.dumps(attributor))
    for one in (attributor, again):
        found = one.explain(cut(queries, 1))
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.training_data[found.indices[0]], X[found.indices[0]])
        assert found.to_html()
        assert found[1:3].indices.shape == (2, 5)
    assert differing_row(lazy, X) is None
    assert differing_row(X, attributor.training_.X) is None
    assert differing_row(lazy, X + 1) == 0
    np.testing.assert_array_equal(attributor.training_.take([5, 2]).X, X[[5, 2]])
