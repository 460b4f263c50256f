"""Subclass: does the first row share what the labels do not tell?"""

import numpy as np

from ._base import Measure, NotMeasured, criterion


@criterion("subclass")
def subclass(task):
    """Share of queries whose first row has the query's class, where the model was trained on groups
    of classes and its label for the group is explained.

    Classes are put in groups of two at random, of three where their number is odd. Random scores
    reach the share of the query's class among the rows; a method that knows the group only reaches
    about one half.

    Parameters
    ----------
    task : Task
        Rows, queries and model, of four classes or more.

    References
    ----------
    Hanawa, Yokoi, Hara, Inui (2021). Evaluation of similarity-based explanations, section 3, the
    identical subclass test.
    """
    classes = task.classes
    if len(classes) < 4:
        raise NotMeasured(
            f"it needs four classes or more, to put two in each of two groups, but y has "
            f"{len(classes)}"
        )
    # Which of n_groups each class goes to.
    group = task.generator("subclass").permutation(len(classes)) % (len(classes) // 2)
    y, y_queries = (group[np.searchsorted(classes, labels)] for labels in (task.y, task.y_queries))
    problem = task.problem("subclass", task.X, y, task.X_queries, y_queries)

    def values(method):
        first = method.picks(problem, 1)[:, 0]
        return (task.y[first] == task.y_queries).astype(float)

    return Measure(values, float(np.mean(task.y == task.y_queries[:, None])))
