"""Mixed data sets: are foreign rows found for foreign queries?"""

import numpy as np

from ..._utils.arguments import real
from ._base import criterion
from ._shortcut import precision_of_rows


@criterion("mixed", share=[real(0, 1, "neither")], foreign=["array-like", None])
def mixed(task, share=0.1, foreign=None):
    """Mean average precision, over foreign queries that are predicted as class c, of the order of
    all rows by scores for c, relevant the foreign rows, which are in the training rows as class c.

    The class is drawn at random. Random scores reach the same as in the criterion "shortcut".

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    share : float, default=0.1
        Foreign rows that are added, as a share of the rows given; at most half of ``foreign``.
    foreign : array-like of shape (n, ...), default=None
        Rows of another data set, of the same shape. The first half is trained on, the others are
        queries. None takes training rows and queries whose columns are put in another order, the
        same for all.

    References
    ----------
    Hammoudeh, Lowd (2022). Identifying a training-set attack's target using renormalized influence
    estimation, section 5; Bareeva et al. (2024). Quanda, mixed datasets.
    """
    classes = task.classes
    X, X_queries = task.numbers()
    rng = task.generator("mixed")
    label = classes[rng.integers(len(classes))]
    n_foreign = max(1, round(share * len(X)))
    if foreign is None:
        n_foreign = min(n_foreign, len(X))
        added = X[rng.choice(len(X), n_foreign, replace=False)]
        order = rng.permutation(X[0].size)
        added, queries = (_reordered(rows, order) for rows in (added, X_queries))
    else:
        foreign = np.asarray(foreign, dtype=X.dtype)
        if foreign.shape[1:] != X.shape[1:] or len(foreign) < 2:
            raise ValueError(
                f"foreign must hold two or more rows of shape {X.shape[1:]}, as X does; got shape "
                f"{foreign.shape}"
            )
        half = len(foreign) // 2
        added = foreign[: min(half, n_foreign)]
        queries = foreign[half:]
    relevant = len(X) + np.arange(len(added))
    X = np.concatenate([X, added])
    y = np.append(task.y, np.full(len(added), label, task.y.dtype))
    problem = task.problem("mixed", X, y, queries, np.full(len(queries), label))
    return precision_of_rows(problem.where_predicted("the foreign rows"), relevant)


def _reordered(rows, order):
    """Reorder the numbers in each row."""
    return rows.reshape(len(rows), -1)[:, order].reshape(rows.shape)
