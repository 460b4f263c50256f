"""CIFAR-10, from NumPy archives or from either of the original forms that hold the pixels."""

from functools import partial
from typing import Literal

from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._utils.files import read_npz
from .._utils.types import Path
from ._bunch import join_parts, make_bunch
from ._files import (
    CIFAR_PIXELS,
    channels_last,
    check_images,
    read_cifar_binary,
    read_cifar_python,
)
from ._openml import fetch_flat_images
from ._search import (
    find_files,
    not_found,
    search_folders,
    subset_parts,
)

TITLE = "CIFAR-10"
OPENML_ID = 40927
N_TRAIN = 50_000
N_TEST = 10_000
SHAPE = (32, 32, 3)
TARGET_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
ARCHIVE_FOLDERS = ("cifar10/full", "cifar10")
BATCH_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
SUBFOLDERS = (
    *ARCHIVE_FOLDERS,
    *BATCH_FOLDERS,
    *(f"cifar10/{folder}" for folder in BATCH_FOLDERS),
)
ADVICE = (
    "get CIFAR-10 in its binary or python version and unpack it, which makes the folder "
    "cifar-10-batches-bin or cifar-10-batches-py."
)
DESCR = """\
CIFAR-10: small colour photographs
==================================

60000 RGB images of 32x32 pixels, channels last, in ten balanced classes, 50000 for training and
10000 for testing, in their original order. Pixels are uint8; divided by 255 the channels of the
training set have means 0.4914, 0.4822, 0.4465 and standard deviations 0.2470, 0.2435, 0.2616.

Source: A. Krizhevsky, V. Nair and G. Hinton, a labelled subset of the 80 million tiny images.
Licence: none stated by the authors.
Citation: A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report,
University of Toronto, 2009.
"""


def _formats(parts):
    """Return files of each format that hold the parts of a subset, as find_files takes them."""
    batches = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    archives = {
        "train": [f"cifar10_train_{i}of2.npz" for i in (1, 2)],
        "test": ["cifar10_test.npz"],
    }
    return {
        "npz": [(name,) for part in parts for name in archives[part]],
        "binary": [(f"{name}.bin",) for part in parts for name in batches[part]],
        "python": [(name,) for part in parts for name in batches[part]],
    }


def _read_npz(path):
    if path.name == "cifar10_test.npz":
        return read_npz(path, ("X_test", "y_test"))
    return read_npz(path, ("X_train", "y_train"))


_READERS = {"npz": _read_npz, "binary": read_cifar_binary, "python": read_cifar_python}


def _read(file_format, path):
    images, labels = _READERS[file_format](path)
    check_images(path, images, labels, SHAPE, 10)
    return images, labels


def load_cifar10(
    subset: Literal["train", "test", "all"] = "train",
    *,
    data_home: Path | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the colour photographs of CIFAR-10.

    The loader reads three forms: NumPy archives (``cifar10_train_1of2.npz``,
    ``cifar10_train_2of2.npz`` and ``cifar10_test.npz`` with arrays ``X_train`` and ``y_train``, or
    ``X_test`` and ``y_test``), the original binary version and the original python version. The
    python version consists of pickles, whose code is not run.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The official 50000 training images, the 10000 test images, or the first followed by the
        second.
    data_home : str or path-like, default=None
        The folder of the files, or a folder that holds them in ``cifar10``, ``cifar10/full``,
        ``cifar-10-batches-bin`` or ``cifar-10-batches-py``; nothing else is then tried. With None,
        the folder named by the environment variable ``SKLEARN_PROVENANCE_DATA`` is used in the
        same way. Where that is not set either, the data are fetched from OpenML, which takes
        several gigabytes of memory once, and kept by scikit-learn in its own data folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, 32, 32, 3), ``target``, an int64 ndarray of
        shape (n,), ``target_names``, an ndarray of shape (10,), and ``DESCR``. With
        ``return_X_y`` only the pair of the first two.

    Raises
    ------
    FileNotFoundError
        If the files are in none of the places.
    ValueError
        If ``subset`` is unknown or a file is damaged.

    References
    ----------
    .. [1] A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report,
       University of Toronto, 2009.
    """
    parts = subset_parts(subset)
    formats = _formats(parts)
    folders = search_folders(data_home, SUBFOLDERS)
    found = find_files(folders, formats)
    if found is not None:
        file_format, paths = found
        data, target = join_parts([_read(file_format, path) for path in paths])
    else:
        missing = partial(not_found, TITLE, folders, formats, ADVICE)
        flat, target = fetch_flat_images(
            OPENML_ID, N_TRAIN, N_TEST, CIFAR_PIXELS, parts, data_home, missing
        )
        data = channels_last(flat)
    return make_bunch(data, target, TARGET_NAMES, DESCR, return_X_y)
