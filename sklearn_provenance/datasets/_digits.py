"""The small digits that come with scikit-learn: always there, for examples and tests."""

from typing import Literal

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ._bunch import make_bunch
from ._search import subset_parts
from ._splits import check_split, split_rows

DESCR = """\
Digits of scikit-learn as 8x8 images
====================================

1797 grey images of handwritten digits, 8x8 pixels, in ten nearly balanced classes. The original
pixels count inked points from 0 to 16; here they are x * 255 / 16, rounded, as uint8. There is no
official split.

Source: scikit-learn, which has them from the UCI Machine Learning Repository (the test set of
Optical Recognition of Handwritten Digits).
Licence: CC BY 4.0.
Citation: E. Alpaydin and C. Kaynak. Optical recognition of handwritten digits. UCI Machine
Learning Repository, 1998.
"""


def load_digits(
    subset: Literal["train", "test", "all"] = "train",
    *,
    test_size: float = 0.25,
    random_state: int = 0,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the 8x8 digits that come with scikit-learn as images.

    Pixels are scaled from scikit-learn's 0..16 to 0..255, ``x * 255 / 16`` rounded, so that all
    image data sets here can be divided by 255.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        One side of a random split stratified by class, its rows shuffled, or all 1797 images in
        scikit-learn's order.
    test_size : float, default=0.25
        The share of each class that is in the test subset, rounded half up.
    random_state : int, default=0
        Determines the split. The training and the test subset of one seed are complementary.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, 8, 8), ``target``, an int64 ndarray of shape
        (n,), ``target_names``, an ndarray of shape (10,), ``index``, an int64 ndarray of shape
        (n,) with the rows in scikit-learn's data, and ``DESCR``. With ``return_X_y`` only the pair
        of the first two.

    Raises
    ------
    ValueError
        If ``subset`` is unknown or ``test_size`` is not between 0 and 1.
    TypeError
        If ``random_state`` is not an int.

    References
    ----------
    .. [1] E. Alpaydin and C. Kaynak. Optical recognition of handwritten digits. UCI Machine
       Learning Repository, 1998.

    Examples
    --------
    >>> from sklearn_provenance.datasets import load_digits
    >>> digits = load_digits(subset="all")
    >>> digits.data.shape, digits.data.dtype
    ((1797, 8, 8), dtype('uint8'))
    >>> X, y = load_digits("test", return_X_y=True)
    >>> len(X)
    451
    """
    subset_parts(subset)
    check_split(test_size, random_state)
    digits = sklearn.datasets.load_digits()
    target = digits.target.astype(np.int64)
    index = split_rows(target, subset, test_size, random_state)
    data = np.rint(digits.images[index] * 255 / 16).astype(np.uint8)
    return make_bunch(data, target[index], list("0123456789"), DESCR, return_X_y, index=index)
