"""Brittleness: the drop of predictions without the rows that explain them."""

import numpy as np

from ..._utils.arguments import whole
from ...retraining._removals import Removals
from .._effects import removal_effect, remove_ascending
from ._base import Measure, NotMeasured, criterion


@criterion("brittleness", lowest=-np.inf, highest=np.inf, best=np.inf, size=[whole(), None])
def brittleness(task, size=None):
    """Mean over queries, in nats, of the drop of the true label's margin when the model is trained
    without the first rows of that label (regression: drop of the output, in deviations of y).

    Queries are those that the model gets right, and all in a regression. The same number of rows is
    removed for each. Without random rows of its label a margin drops a little: the line of "random"
    says by how much, and 0 stands for chance.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    size : int, default=None
        Rows removed. None takes a tenth of the rows of the smallest class, and a twentieth of all
        rows in a regression.

    References
    ----------
    [IT] "A Bayesian information-theoretic approach to data attribution", section 4.1; Ilyas, Park,
    Engstrom, Leclerc, Madry (2022). Datamodels: Predicting predictions from training data.
    """
    problem = task.given()
    if task.are_numbers:
        smallest = problem.n_rows
        share = 20
    else:
        smallest = np.unique(task.y, return_counts=True)[1].min()
        share = 10
    if size is None:
        size = max(1, smallest // share)
    if size >= smallest:
        raise NotMeasured(f"size must be less than the {smallest} rows of a class, got {size}")
    copies = Removals(
        task.model,
        task.X,
        task.y,
        task.X_queries,
        (task.seed,),
        task.store("removals"),
        **task.retraining,
    )
    effect = removal_effect(copies, task.y_queries, "down")
    if not len(effect.queries):
        raise NotMeasured("no query is classified correctly, so that no prediction can fall")
    queries = problem.take(effect.queries)
    scale = 1.0
    if task.are_numbers:
        scale = np.std(task.y)

    def values(method):
        picks = method.picks(queries, size, same_class=not task.are_numbers)
        sizes = np.array([size])
        _, drops = remove_ascending(copies, effect, effect.queries, picks[None], sizes, False)
        return effect.mean(drops)[0, :, 0] / scale

    return Measure(values, 0.0)
