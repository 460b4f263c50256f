"""MNIST and Fashion-MNIST on small idx files: formats, places, damage, OpenML."""

import gzip
from http.client import IncompleteRead

import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_array_equal
from sklearn.utils import Bunch

from sklearn_provenance.datasets import load_fashion_mnist, load_mnist

VARIABLE = "SKLEARN_PROVENANCE_DATA"
LOADERS = [(load_mnist, "mnist"), (load_fashion_mnist, "fashion-mnist")]


@pytest.mark.parametrize(("load", "folder"), LOADERS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("direct", [True, False])
def test_small_files_come_back_as_written(tmp_path, write_mnist, load, folder, suffix, direct):
    written = write_mnist(tmp_path / folder, suffix)
    home = tmp_path / folder if direct else tmp_path
    for subset in ("train", "test"):
        bunch = load(subset, data_home=home)
        assert_array_equal(bunch.data, written[subset][0])
        assert_array_equal(bunch.target, written[subset][1])
        assert bunch.data.dtype == np.uint8
        assert bunch.target.dtype == np.int64
        assert len(bunch.target_names) == 10
        assert "Licence" in bunch.DESCR
    X, y = load("all", data_home=str(home), return_X_y=True)
    assert_array_equal(X, np.concatenate([written["train"][0], written["test"][0]]))
    assert_array_equal(y, np.concatenate([written["train"][1], written["test"][1]]))


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist"])
def test_environment_variable_names_the_home(tmp_path, monkeypatch, write_mnist, folder):
    written = write_mnist(tmp_path / folder)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert_array_equal(load_mnist().data, written["train"][0])


def test_data_home_wins_over_the_variable_and_the_variable_over_debian(
    tmp_path, monkeypatch, write_mnist
):
    argument = write_mnist(tmp_path / "argument", seed=1)["train"][0]
    variable = write_mnist(tmp_path / "variable", seed=2)["train"][0]
    debian = write_mnist(tmp_path / "debian", seed=3)["train"][0]
    assert_array_equal(load_fashion_mnist().data, debian)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert_array_equal(load_fashion_mnist().data, variable)
    assert_array_equal(load_fashion_mnist(data_home=tmp_path / "argument").data, argument)
    # The variable is about all data sets; one that it lacks may still be on the machine.
    monkeypatch.setenv(VARIABLE, str(tmp_path / "empty"))
    assert_array_equal(load_fashion_mnist().data, debian)


def test_arrays_belong_to_the_caller(tmp_path, write_mnist):
    written = write_mnist(tmp_path, "")
    first = load_mnist("test", data_home=tmp_path)
    first.data[:] = 7
    first.target[:] = 7
    first.target_names[:] = "x"
    second = load_mnist("test", data_home=tmp_path)
    assert_array_equal(second.data, written["test"][0])
    assert_array_equal(second.target, written["test"][1])
    assert list(second.target_names) == list("0123456789")


@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist])
def test_unknown_subset(tmp_path, load):
    with pytest.raises(ValueError, match=r"'train', 'test' or 'all', got 'validation'"):
        load("validation", data_home=tmp_path)


def test_missing_files_say_where_what_and_how(tmp_path, write_mnist):
    write_mnist(tmp_path / "fashion-mnist")
    (tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    load_fashion_mnist("train", data_home=tmp_path)  # needs no test files
    with pytest.raises(FileNotFoundError) as caught:
        load_fashion_mnist("test", data_home=tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path / "fashion-mnist"),
        "t10k-labels-idx1-ubyte.gz",
        "dataset-fashion-mnist",
        VARIABLE,
        "data_home",
    ):
        assert part in message
    assert "train-images" not in message
    assert f"{tmp_path / 'FashionMNIST' / 'raw'} (no such folder)" in message


def test_a_named_folder_without_the_files_never_downloads(tmp_path, monkeypatch):
    # The fixture's fetch_openml raises AssertionError when called.
    with pytest.raises(FileNotFoundError, match="OpenML is not tried"):
        load_mnist(data_home=tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="OpenML is not tried"):
        load_fashion_mnist()


def test_files_of_the_sibling_are_told_apart(tmp_path, write_mnist, write_idx):
    write_mnist(tmp_path, "")
    fashion = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9] + [1] * 14
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array(fashion))
    assert_array_equal(load_fashion_mnist(data_home=tmp_path).target, fashion)
    with pytest.raises(ValueError, match=r"labels of Fashion-MNIST.*load_fashion_mnist"):
        load_mnist(data_home=tmp_path)


def _wrong_magic(raw):
    return b"\x00\x00\x0b" + raw[3:]


def _wrong_axes(raw):
    return raw[:3] + b"\x01" + raw[4:]


def _short_header(raw):
    return raw[:10]


def _truncated(raw):
    return raw[:-1]


def _padded(raw):
    return raw + b"\x00"


def _empty(raw):
    return b""


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_wrong_magic, "magic number"),
        (_wrong_axes, "magic number"),
        (_empty, "magic number"),
        (_short_header, "truncated"),
        (_truncated, "truncated"),
        (_padded, "padded"),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, write_mnist, suffix, damage, message):
    write_mnist(tmp_path, suffix)
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    raw = damage(gzip.decompress(path.read_bytes()) if suffix else path.read_bytes())
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist(data_home=tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [slice(0, 3000), slice(5, None)])
def test_damaged_gzip_is_named(tmp_path, write_mnist, keep):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[keep])
    with pytest.raises(ValueError, match="not a whole gzip file") as caught:
        load_mnist(data_home=tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "array", "message"),
    [
        ("labels-idx1", np.zeros(29), "30 images"),
        ("labels-idx1", np.full(30, 10), "labels from 10 to 10"),
        ("images-idx3", np.zeros((30, 27, 28)), r"expected \(28, 28\)"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, write_mnist, write_idx, stem, array, message):
    write_mnist(tmp_path, "")
    write_idx(tmp_path / f"train-{stem}-ubyte", array)
    with pytest.raises(ValueError, match=message):
        load_mnist(data_home=tmp_path)


@pytest.mark.parametrize(("load", "data_id"), [(load_mnist, 554), (load_fashion_mnist, 40996)])
def test_openml_is_the_last_resort(monkeypatch, load, data_id):
    rows = np.zeros((70_000, 784), dtype=np.uint8)
    rows[0, 1], rows[59_999, 28], rows[60_000, 783], rows[69_999, 0] = 1, 2, 3, 4
    labels = (np.arange(70_000) % 7).astype(str).astype(object)
    asked = []

    def fetch_openml(**kwargs):
        asked.append(kwargs)
        return Bunch(data=rows, target=labels)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    train, test = load("train"), load("test")
    assert [kwargs["data_id"] for kwargs in asked] == [data_id, data_id]
    assert train.data.shape == (60_000, 28, 28)
    assert test.data.shape == (10_000, 28, 28)
    assert train.data[0, 0, 1] == 1
    assert train.data[-1, 1, 0] == 2
    assert test.data[0, 27, 27] == 3
    assert test.data[-1, 0, 0] == 4
    assert train.target.dtype == np.int64
    assert_array_equal(test.target, np.arange(60_000, 70_000) % 7)
    test.data[:] = 9
    assert rows[60_000, 0] == 0
    assert_array_equal(load("all").target, np.arange(70_000) % 7)


@pytest.mark.parametrize("failure", [ConnectionError("no route"), IncompleteRead(b"")])
def test_unreachable_openml(monkeypatch, failure):
    def fetch_openml(**kwargs):
        raise failure

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(FileNotFoundError, match="OpenML, the last resort") as caught:
        load_mnist()
    assert "no folder" in str(caught.value)
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize(
    ("rows", "message"),
    [(np.zeros((10, 784)), "shape"), (np.full((70_000, 784), -1, dtype=np.int8), "outside")],
)
def test_unexpected_openml_data(monkeypatch, rows, message):
    bunch = Bunch(data=rows, target=np.zeros(len(rows)))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **kwargs: bunch)
    with pytest.raises(ValueError, match=message):
        load_mnist()


def test_openml_without_pandas(monkeypatch):
    def fetch_openml(**kwargs):
        raise ImportError("no pandas")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(ImportError, match="frame"):
        load_mnist()
