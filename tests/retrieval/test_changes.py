"""Search indexes whose rows come and go, and that are written to files."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sklearn_provenance.retrieval import ExactIndex, FaissIndex, LanceIndex

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 6)).astype(np.float32)
ROWS[350:] *= 1.5  # longer than all before
QUERIES = RNG.normal(size=(5, 6))
# Lists that are all read, so that every kind is exact.
KINDS = {
    "exact": lambda folder: ExactIndex(),
    "faiss flat": lambda folder: FaissIndex(),
    "faiss bytes": lambda folder: FaissIndex("scalar_quantized"),
    "faiss lists": lambda folder: FaissIndex("inverted_file", n_lists=4, n_probe=4),
    "lance flat": lambda folder: LanceIndex(folder),
    "lance lists": lambda folder: LanceIndex(folder, "inverted_file", n_lists=4, n_probe=4),
}


@pytest.fixture(params=KINDS)
def index(request, tmp_path):
    pytest.importorskip(request.param.split()[0].replace("lance", "lancedb").replace("exact", "os"))
    return KINDS[request.param](tmp_path / "database")


def agrees(index, rows, k=9):
    found, products = index.search(QUERIES, k)
    expected = ExactIndex().build(rows).search(QUERIES, k)
    np.testing.assert_array_equal(found, expected[0])
    np.testing.assert_allclose(products, expected[1], rtol=1e-13)


def test_rows_come_and_go(index, tmp_path):
    """In every order, with the numbers that the rows have then; and a file is the same index."""
    rows = ROWS[:300]
    index.build(rows)
    agrees(index, rows)
    kept = np.setdiff1d(np.arange(300), [0, 7, 150, 299])
    rows = rows[kept]
    index.remove(rows, [7, 0, 299, 150])
    agrees(index, rows)
    rows = np.concatenate([rows, ROWS[300:]])
    index.add(rows)
    agrees(index, rows)
    removed = index.search(QUERIES, 3)[0][0]
    rows = np.delete(rows, removed, axis=0)
    index.remove(rows, removed)
    agrees(index, rows)
    index.add(rows)  # nothing new
    index.remove(rows, [])
    path = tmp_path / "index"
    index.save(path)
    agrees(clone(index).load(path, rows), rows)
    agrees(pickle.loads(pickle.dumps(index)), rows)
    agrees(index.build(ROWS[:40]), ROWS[:40])


def test_what_has_to_be_built_again():
    """Lists made for fewer rows, and bytes made for shorter ones."""
    pytest.importorskip("faiss")
    index = FaissIndex("inverted_file", n_lists=4).build(ROWS[:150])
    assert index.add(ROWS[:250]).n_trained_ == 150
    assert index.add(ROWS).n_trained_ == 400
    index = FaissIndex("scalar_quantized").build(ROWS[:150])
    assert index.add(ROWS[:150]).n_trained_ == 150
    long = np.concatenate([ROWS[:150], 3 * ROWS[:5]])
    assert index.add(long).n_trained_ == 155
    agrees(index, long)


def test_what_does_not_fit(index, tmp_path):
    path = tmp_path / "index"
    for call in (
        lambda: index.add(ROWS),
        lambda: index.remove(ROWS, [0]),
        lambda: index.save(path),
        lambda: index.search(QUERIES, 1),
    ):
        with pytest.raises(NotFittedError, match="holds no rows yet"):
            call()
    index.build(ROWS[:100])
    for rows, message in ((ROWS[:99], "new ones behind"), (ROWS[:, :5], "must have 6 features")):
        with pytest.raises(ValueError, match=message):
            index.add(rows)
    broken = ROWS[:120].copy()
    broken[110] = np.nan
    with pytest.raises(ValueError, match="Row 110 holds NaN"):
        index.add(broken)
    for numbers, message in (([0, 100], "between 0 and 99"), ([1.5], "integers"), ([1], "99 that")):
        with pytest.raises(ValueError, match=message):
            index.remove(ROWS[:98], numbers)
    agrees(index, ROWS[:100])  # what has failed has changed nothing
    index.save(path)
    with pytest.raises(ValueError, match="n_rows is 99"):
        clone(index).load(path, ROWS[:99])
    path.write_bytes(b"something else\n")
    with pytest.raises(ValueError, match="build the search index again"):
        clone(index).load(path, ROWS[:100])


def test_a_file_of_other_parameters(tmp_path):
    pytest.importorskip("faiss")
    FaissIndex().build(ROWS).save(tmp_path / "index")
    for other in (FaissIndex("scalar_quantized"), ExactIndex()):
        with pytest.raises(ValueError, match="must hold a search index whose"):
            other.load(tmp_path / "index", ROWS)


def test_a_table_at_its_version(tmp_path):
    """A file of before a change goes on finding what was there, and may be changed by itself."""
    pytest.importorskip("lancedb")
    index = LanceIndex(tmp_path / "database").build(ROWS[:100])
    index.save(tmp_path / "before")
    index.add(ROWS[:200])  # by a process that was killed, say
    agrees(index, ROWS[:200])
    before = LanceIndex(tmp_path / "database").load(tmp_path / "before", ROWS[:100])
    agrees(before, ROWS[:100])
    other = np.concatenate([ROWS[:100], ROWS[300:]])
    agrees(before.add(other), other)
    before.drop_table()
    with pytest.raises(ValueError, match="must hold the table"):
        LanceIndex(tmp_path / "database").load(tmp_path / "before", ROWS[:100])
