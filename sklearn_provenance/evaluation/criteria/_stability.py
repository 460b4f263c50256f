"""Stability: are the same rows named when the model is trained again?"""

import numpy as np

from ..._utils.arguments import real, whole
from ..._utils.rows import take_rows
from ._base import Measure, NotMeasured, criterion


@criterion("stability", k=[whole()], share=[real(0, 1, "neither")])
def stability(task, k=10, share=0.1):
    """Mean over queries of |T ∩ T'| / |T|, where T' are the first k rows after training with
    another seed and without a random share of the rows, and T those of the first k that were kept.

    Random scores reach k / n for n rows kept. It is a check that can only fail: a similarity that
    does not look at the model reaches 1.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    k : int, default=10
        Rows of each query.
    share : float, default=0.1
        Share of the rows that the second model is trained without.

    References
    ----------
    Bareeva et al. (2024). Quanda, on the noise of training; Nguyen, Seo, Oh (2023). A Bayesian
    approach to analysing training data attribution in deep learning.
    """
    n_removed = round(share * len(task.y))
    rng = task.generator("stability")
    kept = np.sort(rng.permutation(len(task.y))[n_removed:])
    if len(kept) <= k:
        raise NotMeasured(f"k must be less than the {len(kept)} rows that are kept, got {k}")
    y = task.y[kept]
    if not task.are_numbers and len(np.unique(y)) < len(task.classes):
        raise NotMeasured("a class has too few rows to keep one without a share of the rows")
    first = task.given()
    second = task.problem(
        "stability",
        take_rows(task.X, kept),
        y,
        task.X_queries,
        task.y_queries,
        seed=task.seed + 1,
    )

    def values(method):
        return overlaps(method.picks(first, k), kept[method.picks(second, k)], kept)

    return Measure(values, k / len(kept))


def overlaps(rows, others, kept):
    """Compute shares (n_queries,) of rows among the others; rows that were not kept do not count.

    Parameters
    ----------
    rows, others : ndarray of shape (n_queries, k), int
        Rows that are named by either model.
    kept : ndarray of int
        Rows that both models were trained on.

    Returns
    -------
    ndarray of shape (n_queries,)
        nan where no row was kept.
    """
    is_kept = np.isin(rows, kept)
    is_shared = (rows[:, :, None] == others[:, None]).any(2)
    with np.errstate(invalid="ignore"):
        return (is_shared & is_kept).sum(1) / is_kept.sum(1)
