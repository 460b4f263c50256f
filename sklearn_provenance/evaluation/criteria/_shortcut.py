"""Shortcut: are the rows found that taught the model a shortcut?"""

import numpy as np
from sklearn.metrics import average_precision_score

from ..._utils.arguments import real
from ._base import Measure, NotMeasured, average_precision_of_chance, criterion
from ._trigger import Trigger


@criterion("shortcut", share=[real(0, 1, "neither")])
def shortcut(task, share=0.5):
    """Mean average precision, over queries of other classes with a trigger that are predicted as
    class c, of the order of all rows by scores for c, relevant the rows of c that have the trigger.

    The trigger is in a share of the rows of one class, drawn at random, and of no other, so that
    the model may learn the trigger in place of the class. Labels stay right. Random scores reach
    ((m - 1)(1 - H_n / n) / (n - 1) + H_n / n) for m of n rows, a little above m / n.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    share : float, default=0.5
        Share of the class that has the trigger.

    References
    ----------
    Koh, Liang (2017). Understanding black-box predictions via influence functions, section 5.2;
    Bareeva et al. (2024). Quanda: An interpretability toolkit for training data attribution
    evaluation and beyond, shortcut detection.
    """
    classes = task.classes
    X, X_queries = task.numbers()
    rng = task.generator("shortcut")
    trigger = Trigger(X, 1, rng)
    label = classes[rng.integers(len(classes))]
    of_class = np.flatnonzero(task.y == label)
    n_relevant = round(share * len(of_class))
    if not n_relevant:
        raise NotMeasured(
            f"share must give one row or more of class {label} the trigger, which has "
            f"{len(of_class)} rows; got {share}"
        )
    relevant = rng.choice(of_class, n_relevant, replace=False)
    X[relevant] = trigger.stamp(X[relevant], 0)
    others = task.y_queries != label
    X_queries = trigger.stamp(X_queries[others], 0)
    y_queries = np.full(len(X_queries), label)
    problem = task.problem("shortcut", X, task.y, X_queries, y_queries)
    return precision_of_rows(problem.where_predicted("the shortcut"), relevant)


def precision_of_rows(problem, relevant):
    """Measure the average precision with which scores find the same rows for all queries.

    Parameters
    ----------
    problem : Problem
        Queries.
    relevant : ndarray of int
        Rows to find.

    Returns
    -------
    Measure
        Average precision of each query.
    """
    is_relevant = np.zeros(problem.n_rows, bool)
    is_relevant[relevant] = True

    def values(method):
        return np.array([average_precision_score(is_relevant, s) for s in method.scores(problem)])

    return Measure(values, average_precision_of_chance(len(relevant), problem.n_rows))
