"""Read the file formats of the data sets. A damaged file raises a ValueError that names it."""

import csv
import gzip
import pickle
import zlib

import numpy as np

IDX_UINT8 = 0x08
CIFAR_PIXELS = 3 * 32 * 32


def read_idx(path, ndim):
    """Read a read-only uint8 array with ``ndim`` axes from an idx file, gzipped or plain."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    expected = bytes([0, 0, IDX_UINT8, ndim])
    if raw[:4] != expected:
        raise ValueError(
            f"{path} must start with the magic number {expected.hex()} of a uint8 idx file with "
            f"{ndim} axes, got {raw[:4].hex() or 'nothing'}"
        )
    offset = 4 + 4 * ndim
    if len(raw) < offset:
        raise ValueError(f"{path} is truncated: its header ends after {len(raw)} bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", count=ndim, offset=4))
    size = int(np.prod(shape, dtype=object))
    if len(raw) - offset != size:
        raise ValueError(
            f"{path} is truncated or padded: shape {shape} needs {size} bytes of data, "
            f"the file has {len(raw) - offset}"
        )
    return np.frombuffer(raw, np.uint8, offset=offset).reshape(shape)


def read_cifar_binary(path):
    """Read images (n, 32, 32, 3) and labels (n,) from a batch of CIFAR-10's binary version."""
    raw = np.fromfile(path, dtype=np.uint8)
    if raw.size == 0 or raw.size % (1 + CIFAR_PIXELS):
        raise ValueError(
            f"{path} is truncated or no CIFAR-10 batch: its {raw.size} bytes are not a whole "
            f"number of records of {1 + CIFAR_PIXELS} bytes"
        )
    records = raw.reshape(-1, 1 + CIFAR_PIXELS)
    return channels_last(records[:, 1:]), records[:, 0]


class _Inert:
    """Stands for a NumPy object in a pickle: keeps its state and does nothing."""

    def __init__(self, *args):
        self.state = None

    def __setstate__(self, state):
        self.state = state


class _InertUnpickler(pickle.Unpickler):
    """Builds plain containers from a pickle and runs no code that it names."""

    numpy_names = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
    }

    def find_class(self, module, name):
        if (module, name) not in self.numpy_names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return _Inert


def read_cifar_python(path):
    """Read images and labels from a batch of CIFAR-10's python version, a pickle.

    None of its code runs: only the labels and the bytes of its one array are used.
    """
    with open(path, "rb") as file:
        try:
            batch = _InertUnpickler(file, encoding="bytes").load()
            _, shape, _, is_fortran, raw = batch[b"data"].state
            order = "F" if is_fortran else "C"
            pixels = np.frombuffer(raw, np.uint8).reshape(shape, order=order)
            return channels_last(pixels), np.asarray(batch[b"labels"], dtype=np.int64)
        # Damaged pickles raise nearly anything, whichever opcode the damage hits.
        except Exception as error:
            raise ValueError(f"{path} is not a usable CIFAR-10 python batch: {error}") from error


def channels_last(flat):
    """Turn rows of 3072 values, red plane first, into images (n, 32, 32, 3)."""
    return np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def read_tsv(path, columns):
    """Read the named columns of a tab-separated file whose quote marks mean nothing."""
    with open(path, encoding="utf-8", newline="") as file:
        try:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = [column for column in columns if column not in (reader.fieldnames or [])]
            if missing:
                raise ValueError(f"no column named {', '.join(missing)}")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"line {reader.line_num} does not have {len(reader.fieldnames)} fields"
                    )
                rows.append(tuple(row[column] for column in columns))
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path} is not a usable tab-separated file: {error}") from error
    return rows


def check_images(path, images, labels, shape, n_classes):
    """Raise ValueError unless images and labels fit to each other and to the data set."""
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise ValueError(
            f"{path} holds images of shape {images.shape[1:]} and type {images.dtype}, "
            f"expected {shape} and uint8"
        )
    if labels.shape != (len(images),):
        raise ValueError(f"{path} has {len(images)} images for labels of shape {labels.shape}")
    if labels.size and (labels.min() < 0 or labels.max() >= n_classes):
        raise ValueError(
            f"{path} goes with labels from {labels.min()} to {labels.max()}, "
            f"expected 0 to {n_classes - 1}"
        )
