"""Labeled Faces in the Wild, scaled down to 32x32 pixels."""

from numbers import Integral
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_scalar

from .._utils.files import read_npz
from .._utils.types import Path
from ._bunch import make_bunch
from ._files import check_images
from ._search import (
    find_files,
    not_found,
    search_folders,
    subset_parts,
)
from ._splits import check_split, rank_within, split_rows

GREY_FILE = "lfw_gray32.npz"
COLOR_FILE = "lfw20_rgb32.npz"
COLOR_MIN_IMAGES = 20
ADVICE = (
    "make the file from the deep-funneled pictures of Labeled Faces in the Wild (250x250): crop "
    "the square from pixel 62 to 187 on both axes, scale it to 32x32, and save with numpy.savez "
    "X (uint8 images), y (the number of the person), names (of the people) and img_no (the number "
    f"in the picture's file name); {COLOR_FILE} has the people with {COLOR_MIN_IMAGES} pictures "
    "or more. Put it into a folder lfw."
)
DESCR = """\
Labeled Faces in the Wild, 32x32 pixels
=======================================

News photographs of faces, labelled with the person's name: 13233 grey pictures of 5749 people, of
whom 4069 have a single picture, or 3023 RGB pictures of the 62 people with 20 pictures or more (up
to 530 a person). Cut from the deep-funneled pictures (pixels 62 to 187 on both axes) and scaled
down with a Lanczos filter. There is no official split for telling people apart.

Source: University of Massachusetts, Amherst.
Licence: none stated; published for research on unconstrained face recognition, and the photographs
carry rights of their own. For research only.
Citation: G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller. Labeled faces in the wild: a
database for studying face recognition in unconstrained environments. Technical report 07-49,
University of Massachusetts, Amherst, 2007. G. B. Huang, M. Mattar, H. Lee and E. Learned-Miller.
Learning to align from scratch. NIPS 2012.
"""


def _read(path, color):
    images, labels, names, numbers = read_npz(path, ("X", "y", "names", "img_no"))
    shape = (32, 32, 3) if color else (32, 32)
    check_images(path, images, labels, shape, len(names))
    if numbers.shape != labels.shape:
        raise ValueError(
            f"img_no of {path} must have the shape of its labels, {labels.shape}; got "
            f"{numbers.shape}"
        )
    return images, labels.astype(np.int64), names, numbers.astype(np.int64)


def _check_limits(color, least, most):
    for name, value in (("min_images_per_person", least), ("max_images_per_person", most)):
        if value is not None:
            check_scalar(value, name, Integral, min_val=1)
    if color and least is not None and least < COLOR_MIN_IMAGES:
        raise ValueError(
            f"min_images_per_person must be at least {COLOR_MIN_IMAGES} or None in colour, because "
            f"people with fewer pictures have only grey ones; got {least}. Ask for more, or use "
            "color=False"
        )


def load_faces(
    subset: Literal["train", "test", "all"] = "train",
    *,
    color: bool = False,
    min_images_per_person: int | None = None,
    max_images_per_person: int | None = None,
    test_size: float = 0.25,
    random_state: int = 0,
    data_home: Path | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the faces of Labeled Faces in the Wild, 32x32 pixels each.

    The pictures are strongly unbalanced: one person has 530, most have one. They come from
    ``lfw_gray32.npz`` (all people) or ``lfw20_rgb32.npz`` (those with 20 pictures or more).

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        One side of a random split made person by person, its rows shuffled, or all pictures
        sorted by person. A person with a single picture is always in the training subset.
    color : bool, default=False
        Load the RGB pictures of the 62 people with 20 pictures or more, instead of all grey ones.
    min_images_per_person : int, default=None
        Leave out people with fewer pictures than this.
    max_images_per_person : int, default=None
        Keep this many pictures of each person, those with the lowest numbers.
    test_size : float, default=0.25
        The share of each person's pictures that is in the test subset, rounded half up, but never
        all of them.
    random_state : int, default=0
        Determines the split. The training and the test subset of one seed are complementary.
    data_home : str or path-like, default=None
        The folder of the file, or a folder that holds it in ``lfw``. With None, the folder named
        by the environment variable ``SKLEARN_PROVENANCE_DATA`` is used in the same way. Nothing is
        downloaded.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, 32, 32) or (n, 32, 32, 3), ``target``, an int64
        ndarray of shape (n,) that numbers the people who are kept, ``target_names``, an ndarray
        with their names, ``index``, an int64 ndarray of shape (n,) with the rows in the file,
        ``image_number``, an int64 ndarray of shape (n,) with the numbers in the pictures'
        original file names, and ``DESCR``. With ``return_X_y`` only the pair of the first two.

    Raises
    ------
    FileNotFoundError
        If the file is in none of the places.
    ValueError
        If an argument is out of its range, nobody has enough pictures, or the file is damaged.
    TypeError
        If an argument has the wrong type; ``random_state`` must be an int.

    References
    ----------
    .. [1] G. B. Huang, M. Ramesh, T. Berg and E. Learned-Miller. Labeled faces in the wild: a
       database for studying face recognition in unconstrained environments. Technical report
       07-49, University of Massachusetts, Amherst, 2007.
    """
    subset_parts(subset)
    check_split(test_size, random_state)
    _check_limits(color, min_images_per_person, max_images_per_person)
    formats = {"npz": [(COLOR_FILE if color else GREY_FILE,)]}
    folders = search_folders(data_home, ("lfw",))
    found = find_files(folders, formats)
    if found is None:
        raise not_found("Labeled Faces in the Wild", folders, formats, ADVICE)
    _, (path,) = found
    images, labels, names, numbers = _read(path, color)

    counts = np.bincount(labels, minlength=len(names))
    people = np.flatnonzero(counts >= (min_images_per_person or 1))
    if len(people) == 0:
        raise ValueError(
            f"min_images_per_person must not exceed {counts.max(initial=0)}, the largest number of "
            f"pictures of a person; got {min_images_per_person}"
        )
    kept = np.isin(labels, people)
    if max_images_per_person is not None:
        kept &= _rank_by_number(labels, numbers) < max_images_per_person
    index = np.flatnonzero(kept)
    target = np.searchsorted(people, labels[index])

    rows = split_rows(target, subset, test_size, random_state)
    index = index[rows]
    return make_bunch(
        images[index],
        target[rows],
        # As scikit-learn's fetch_lfw_people writes them.
        [str(name).replace("_", " ") for name in names[people]],
        DESCR,
        return_X_y,
        index=index,
        image_number=numbers[index],
    )


def _rank_by_number(labels, numbers):
    """Number the pictures of each person 0, 1, 2, ... in the order of their numbers."""
    by_number = np.argsort(numbers, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_number] = rank_within(labels[by_number])
    return rank
