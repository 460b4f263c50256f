"""MNIST and Fashion-MNIST, which share one file format and even their file names."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._utils.types import Path
from ._bunch import join_parts, make_bunch
from ._files import check_images, read_idx
from ._openml import fetch_flat_images
from ._search import (
    find_files,
    not_found,
    search_folders,
    subset_parts,
)

DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"
SHAPE = (28, 28)
N_TRAIN = 60_000
N_TEST = 10_000
PREFIX = {"train": "train", "test": "t10k"}

MNIST_DESCR = """\
MNIST: handwritten digits
=========================

70000 grey images of 28x28 pixels, 60000 for training and 10000 for testing, in their original
order; label i is the digit i. Pixels are uint8; divided by 255 the training set has mean 0.1307
and standard deviation 0.3081.

Source: Y. LeCun, C. Cortes and C. J. C. Burges, the MNIST database of handwritten digits.
Licence: copyright Y. LeCun and C. Cortes; usually stated as CC BY-SA 3.0.
Citation: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner. Gradient-based learning applied to
document recognition. Proceedings of the IEEE 86(11), 1998.
"""

FASHION_DESCR = """\
Fashion-MNIST: pictures of clothes
==================================

70000 grey images of 28x28 pixels in ten balanced classes, 60000 for training and 10000 for
testing, in their original order. Pixels are uint8; divided by 255 the training set has mean 0.2860
and standard deviation 0.3530.

Source: Zalando Research; Debian's package dataset-fashion-mnist.
Licence: MIT (Expat), copyright Zalando SE 2017.
Citation: H. Xiao, K. Rasul and R. Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking
machine learning algorithms. arXiv:1708.07747, 2017.
"""


@dataclass(frozen=True)
class _IdxImages:
    """What tells the two data sets apart."""

    title: str
    loader: str
    subfolders: tuple
    openml_id: int
    target_names: tuple
    descr: str
    advice: str
    # Nothing in the files but their labels says which of the two data sets they hold.
    first_labels: dict
    system_folders: tuple = ()


MNIST = _IdxImages(
    title="MNIST",
    loader="load_mnist",
    subfolders=("mnist", "MNIST/raw"),
    openml_id=554,
    target_names=tuple("0123456789"),
    descr=MNIST_DESCR,
    advice="get the four idx files of MNIST, gzipped or not, and put them into a folder mnist.",
    first_labels={"train": "5041921314353617", "test": "7210414959069015"},
)

FASHION_MNIST = _IdxImages(
    title="Fashion-MNIST",
    loader="load_fashion_mnist",
    subfolders=("fashion-mnist", "FashionMNIST/raw"),
    openml_id=40996,
    target_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    descr=FASHION_DESCR,
    advice="on Debian and Ubuntu, install the package dataset-fashion-mnist and name no folder. "
    "Elsewhere get the four idx files, gzipped or not, and put them into a folder fashion-mnist.",
    first_labels={"train": "9003027255095579", "test": "9211614657457341"},
    system_folders=(DEBIAN_FOLDER,),
)


def _formats(parts):
    """Return files of images and labels of each part in turn, as find_files takes them."""
    stems = []
    for part in parts:
        stems += [f"{PREFIX[part]}-images-idx3-ubyte", f"{PREFIX[part]}-labels-idx1-ubyte"]
    return {"idx": [(stem, f"{stem}.gz") for stem in stems]}


def _read_part(dataset, part, image_path, label_path):
    images = read_idx(image_path, 3)
    labels = read_idx(label_path, 1)
    check_images(image_path, images, labels, SHAPE, 10)
    first = "".join(map(str, labels[:16]))
    for other in (MNIST, FASHION_MNIST):
        if other is not dataset and first == other.first_labels[part]:
            raise ValueError(
                f"{label_path} holds the labels of {other.title}, not of {dataset.title}, whose "
                f"files have the same names. Load it with {other.loader}, or name another folder"
            )
    return images, labels


def _load(dataset, subset, data_home, return_X_y):
    parts = subset_parts(subset)
    formats = _formats(parts)
    folders = search_folders(data_home, dataset.subfolders, dataset.system_folders)
    found = find_files(folders, formats)
    if found is not None:
        _, paths = found
        images, labels = paths[0::2], paths[1::2]
        data, target = join_parts(
            [_read_part(dataset, *files) for files in zip(parts, images, labels, strict=True)]
        )
    else:
        missing = partial(not_found, dataset.title, folders, formats, dataset.advice)
        data, target = fetch_flat_images(
            dataset.openml_id, N_TRAIN, N_TEST, 28 * 28, parts, data_home, missing
        )
        data = data.reshape(-1, *SHAPE)
    return make_bunch(data, target, dataset.target_names, dataset.descr, return_X_y)


def load_mnist(
    subset: Literal["train", "test", "all"] = "train",
    *,
    data_home: Path | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the handwritten digits of MNIST.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The official 60000 training images, the 10000 test images, or the first followed by the
        second.
    data_home : str or path-like, default=None
        The folder of the idx files, or a folder that holds them in ``mnist`` or ``MNIST/raw``;
        nothing else is then tried. With None, the folder named by the environment variable
        ``SKLEARN_PROVENANCE_DATA`` is used in the same way. Where that is not set either, the data
        are fetched from OpenML, and kept by scikit-learn in its own data folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, 28, 28), ``target``, an int64 ndarray of
        shape (n,), ``target_names``, an ndarray of shape (10,), and ``DESCR``. With
        ``return_X_y`` only the pair of the first two.

    Raises
    ------
    FileNotFoundError
        If the files are in none of the places.
    ValueError
        If ``subset`` is unknown, a file is damaged, or the files are those of Fashion-MNIST.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner. Gradient-based learning applied to
       document recognition. Proceedings of the IEEE 86(11), 1998.
    """
    return _load(MNIST, subset, data_home, return_X_y)


def load_fashion_mnist(
    subset: Literal["train", "test", "all"] = "train",
    *,
    data_home: Path | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the pictures of clothes of Fashion-MNIST.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The official 60000 training images, the 10000 test images, or the first followed by the
        second.
    data_home : str or path-like, default=None
        The folder of the idx files, or a folder that holds them in ``fashion-mnist`` or
        ``FashionMNIST/raw``; nothing else is then tried. With None, the folder named by the
        environment variable ``SKLEARN_PROVENANCE_DATA`` is used in the same way, then the folder
        of Debian's package ``dataset-fashion-mnist``. Where the files are not there and the
        variable is not set, the data are fetched from OpenML, and kept by scikit-learn in its own
        data folder.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, 28, 28), ``target``, an int64 ndarray of
        shape (n,), ``target_names``, an ndarray of shape (10,), and ``DESCR``. With
        ``return_X_y`` only the pair of the first two.

    Raises
    ------
    FileNotFoundError
        If the files are in none of the places.
    ValueError
        If ``subset`` is unknown, a file is damaged, or the files are those of MNIST.

    References
    ----------
    .. [1] H. Xiao, K. Rasul and R. Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking
       machine learning algorithms. arXiv:1708.07747, 2017.
    """
    return _load(FASHION_MNIST, subset, data_home, return_X_y)
