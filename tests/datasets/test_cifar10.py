"""CIFAR-10 on small files of each of its forms."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_array_equal
from sklearn.utils import Bunch

from sklearn_provenance.datasets import load_cifar10

N = 3


@pytest.fixture
def batches():
    """Five training batches and a test batch of three images each."""
    rng = np.random.default_rng(0)
    return [
        (rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, N))
        for _ in range(6)
    ]


def _planes(images):
    """Rows as the authors describe them: 1024 red values, 1024 green, 1024 blue."""
    return np.stack([images[..., c].reshape(len(images), -1) for c in range(3)], 1).reshape(
        -1, 3072
    )


def _write_npz(folder, batches):
    X = np.concatenate([images for images, _ in batches[:5]])
    y = np.concatenate([labels for _, labels in batches[:5]]).astype(np.uint8)
    np.savez(folder / "cifar10_train_1of2.npz", X_train=X[:7], y_train=y[:7])
    np.savez_compressed(folder / "cifar10_train_2of2.npz", X_train=X[7:], y_train=y[7:])
    np.savez(folder / "cifar10_test.npz", X_test=batches[5][0], y_test=batches[5][1])


def _names():
    return [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def _write_binary(folder, batches):
    for name, (images, labels) in zip(_names(), batches, strict=True):
        records = [
            bytes([y]) + row.tobytes() for y, row in zip(labels, _planes(images), strict=True)
        ]
        (folder / f"{name}.bin").write_bytes(b"".join(records))


def _python2_pickle(images, labels):
    """Spell the pickle that Python 2 with NumPy 1 wrote, opcode by opcode."""

    def text(value):
        return b"U" + bytes([len(value)]) + value.encode()

    def integer(value):
        return b"J" + struct.pack("<i", value)

    rows = _planes(images)
    dtype = b"cnumpy\ndtype\n" + text("u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text("|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    array += integer(0) + b"\x85" + text("b") + b"\x87R"
    array += b"(" + integer(1) + integer(rows.shape[0]) + integer(rows.shape[1]) + b"\x86" + dtype
    array += b"\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    label_list = b"](" + b"".join(integer(int(y)) for y in labels) + b"e"
    return b"\x80\x02}(" + text("labels") + label_list + text("data") + array + b"u."


def _write_python(folder, batches):
    for name, (images, labels) in zip(_names(), batches, strict=True):
        (folder / name).write_bytes(_python2_pickle(images, labels))


def _write_python3(folder, batches):
    for name, (images, labels) in zip(_names(), batches, strict=True):
        batch = {b"data": np.asfortranarray(_planes(images)), b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=4))


FORMS = {
    "npz": (_write_npz, "cifar10/full"),
    "binary": (_write_binary, "cifar-10-batches-bin"),
    "python": (_write_python, "cifar-10-batches-py"),
    "python3": (_write_python3, "cifar10/cifar-10-batches-py"),
}


@pytest.fixture
def write(tmp_path, batches):
    def write(form):
        writer, name = FORMS[form]
        folder = tmp_path / name
        folder.mkdir(parents=True)
        writer(folder, batches)
        return folder

    return write


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direct", [True, False])
def test_every_form_gives_the_same_images(tmp_path, batches, write, form, direct):
    folder = write(form)
    home = folder if direct else tmp_path
    train, test = load_cifar10(data_home=home), load_cifar10("test", data_home=home)
    assert_array_equal(train.data, np.concatenate([images for images, _ in batches[:5]]))
    assert_array_equal(train.target, np.concatenate([labels for _, labels in batches[:5]]))
    assert_array_equal(test.data, batches[5][0])
    assert_array_equal(test.target, batches[5][1])
    assert test.data.dtype == np.uint8
    assert test.target.dtype == np.int64
    assert test.data.flags.writeable
    assert test.target_names[[0, 9]].tolist() == ["airplane", "truck"]
    assert "Krizhevsky" in test.DESCR
    X, y = load_cifar10("all", data_home=home, return_X_y=True)
    assert_array_equal(X, np.concatenate([train.data, test.data]))
    assert_array_equal(y, np.concatenate([train.target, test.target]))


def test_the_python2_pickle_is_one_that_numpy_reads(batches):
    # Guards the test's own spelling of the format: pickle.loads is the reference reader.
    images, labels = batches[0]
    batch = pickle.loads(_python2_pickle(images, labels), encoding="bytes")
    assert_array_equal(batch[b"data"], _planes(images))
    assert_array_equal(batch[b"labels"], labels)


class _Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_runs_no_code(tmp_path, batches, write):
    folder = write("python")
    trace = tmp_path / "trace"
    payload = {b"data": _Intruder(str(trace)), b"labels": [0]}
    (folder / "test_batch").write_bytes(pickle.dumps(payload))
    with pytest.raises(ValueError, match=r"test_batch.*not allowed"):
        load_cifar10("test", data_home=tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("npz", "cifar10_test.npz"),
        ("binary", "test_batch.bin"),
        ("python", "test_batch"),
    ],
)
@pytest.mark.parametrize("damage", [lambda raw: raw[:-1000], lambda raw: b"", lambda raw: b"junk"])
def test_a_damaged_file_is_named(tmp_path, write, form, name, damage):
    path = write(form) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"not a usable|truncated") as caught:
        load_cifar10("test", data_home=tmp_path)
    assert str(path) in str(caught.value)
    assert len(load_cifar10("train", data_home=tmp_path).data) == 5 * N


def test_a_damaged_lzma_member_is_named(tmp_path, write):
    path = write("npz") / "cifar10_test.npz"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert len(load_cifar10("test", data_home=tmp_path).data) == N
    raw = bytearray(path.read_bytes())
    raw[200:1200] = bytes(1000)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"cifar10_test\.npz is not a usable npz"):
        load_cifar10("test", data_home=tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((2, 32, 32, 3), np.uint8)}, "X_test"),
        ({"X_test": np.zeros((2, 3, 32, 32), np.uint8), "y_test": np.zeros(2)}, "expected"),
        ({"X_test": np.zeros((2, 32, 32, 3)), "y_test": np.zeros(2)}, "uint8"),
        ({"X_test": np.zeros((2, 32, 32, 3), np.uint8), "y_test": np.zeros(3)}, "2 images"),
        ({"X_test": np.array([{}, {}]), "y_test": np.zeros(2)}, "allow_pickle"),
    ],
)
def test_an_archive_of_something_else(tmp_path, arrays, message):
    np.savez(tmp_path / "cifar10_test.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_cifar10("test", data_home=tmp_path)


def test_labels_beyond_ten_classes(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(ValueError, match="labels from 10 to 10"):
        load_cifar10("test", data_home=tmp_path)


def test_missing_files_and_subset(tmp_path):
    with pytest.raises(ValueError, match="got 'dev'"):
        load_cifar10("dev", data_home=tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        load_cifar10("test", data_home=tmp_path)
    message = str(caught.value)
    for part in ("cifar10_test.npz", "test_batch.bin", "cifar-10-batches-py", str(tmp_path)):
        assert part in message
    assert "data_batch_1" not in message


def test_openml_planes_become_channels(monkeypatch):
    rows = np.zeros((60_000, 3072), dtype=np.uint8)
    rows[50_000, [0, 1024 + 33, 2048 + 1023]] = 1, 2, 3
    labels = (np.arange(60_000) % 10).astype(str).astype(object)
    asked = []

    def fetch_openml(**kwargs):
        asked.append(kwargs["data_id"])
        return Bunch(data=rows, target=labels)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    test = load_cifar10("test")
    assert asked == [40927]
    assert test.data.shape == (10_000, 32, 32, 3)
    assert test.data[0, 0, 0].tolist() == [1, 0, 0]
    assert test.data[0, 1, 1].tolist() == [0, 2, 0]
    assert test.data[0, 31, 31].tolist() == [0, 0, 3]
    assert_array_equal(test.target, np.arange(50_000, 60_000) % 10)
