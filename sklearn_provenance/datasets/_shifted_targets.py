"""Wrong targets of a regression, for protocols to find."""

from numbers import Real

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state, check_scalar

from .._utils.arguments import check_labels, check_numbers
from .._utils.types import RandomState, Targets


def shift_targets(
    target: Targets,
    share: float,
    random_state: RandomState = None,
    n_deviations: float = 3.0,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give a share of rows a wrong target, too large or too small.

    Parameters
    ----------
    target : array-like of shape (n,)
        Numbers that are not all the same. They are not changed.
    share : float
        Share of all rows whose target is changed, from 0 to 1. The number of rows is
        ``share * n`` rounded half up.
    random_state : int, RandomState instance or None, default=None
        Determines the rows, and which of them get a larger target: each with probability one half.
    n_deviations : float, default=3.0
        By how much targets are changed, in standard deviations of all targets.

    Returns
    -------
    targets : ndarray of shape (n,), float64
        Targets, some of which are wrong.
    shifted : ndarray of shape (n,), bool
        Rows whose target was changed.

    Raises
    ------
    ValueError
        If ``share`` or ``n_deviations`` is out of range, or targets are no finite numbers or all
        the same.

    See Also
    --------
    flip_labels : Give rows of a classification a wrong label.
    sklearn_provenance.evaluation.label_error_ranking : Measure whether a ranking finds wrong
        targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance.datasets import shift_targets
    >>> targets, shifted = shift_targets(np.arange(10.0), share=0.2, random_state=0)
    >>> (targets - np.arange(10.0))[shifted].round(2).tolist()
    [-8.62, 8.62]
    """
    check_scalar(share, "share", Real, min_val=0, max_val=1)
    check_scalar(n_deviations, "n_deviations", Real, min_val=0, include_boundaries="neither")
    labels = check_labels(target, "target", len(target), "target")
    targets = check_numbers(labels, "target", (len(labels),)).copy()
    if np.ptp(targets) == 0:
        raise ValueError(f"target must hold different numbers, got {targets[0]:g} in every row")
    rng = check_random_state(random_state)
    rows = rng.permutation(len(targets))[: int(np.floor(share * len(targets) + 0.5))]
    signs = rng.choice([-1.0, 1.0], len(rows))
    shifted = np.zeros(len(targets), dtype=bool)
    shifted[rows] = True
    targets[rows] += signs * n_deviations * targets.std()
    return targets, shifted
