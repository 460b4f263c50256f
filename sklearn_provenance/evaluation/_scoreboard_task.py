"""What the scoreboard is asked about: rows, queries, a model, and a truth, checked."""

import numpy as np

from .._utils.arguments import check_labels
from .._utils.containers import without_frozen
from .._utils.rows import n_rows
from ..retraining._estimators import check_targets, is_estimator
from ..retraining._schedule import check_masks
from ._lds_truth import check_margins
from ._protocol import check_queries, is_regression
from .criteria._task import Task

_DATA = ("X", "y", "X_queries", "y_queries")
_TRUTH = ("data", "target", "queries", "query_target", "estimator", "masks", "margins")


def make_task(attributors, data, model, truth, seed, training, retraining):
    """Check rows, queries and model, and make the task of them.

    Parameters
    ----------
    attributors : dict of str to method
        Methods by name, whose estimator is the model where none is given.
    data : tuple of array-like
        ``X``, ``y``, ``X_queries`` and ``y_queries``; None where they are not given.
    model, truth : object
        As the scoreboard takes them.
    seed : int
        Seed of training and of everything that is drawn.
    training, retraining : dict
        Arguments of training, and of training copies.

    Returns
    -------
    Task
        Of arrays that fit each other.
    """
    if not attributors:
        raise ValueError("attributors must hold one or more methods, got none")
    shipped = None
    if truth is not None:
        if any(part is not None for part in (*data, model)):
            raise ValueError(
                "truth holds rows, queries and an estimator; X, y, X_queries, y_queries and model "
                "must be None with it"
            )
        missing = [key for key in _TRUTH if key not in truth]
        if missing:
            raise ValueError(f"truth must hold {', '.join(_TRUTH)}; it has no {missing}")
        *data, model = (truth[key] for key in _TRUTH[:5])
        shipped = truth["masks"], truth["margins"]
    X, y, X_queries, y_queries = data
    absent = [name for name, part in zip(_DATA, data, strict=True) if part is None]
    if model is None:
        model = _common_model(attributors)
    are_numbers = is_regression(model, training["recipe"])
    if are_numbers and absent == ["y_queries"]:
        absent = []
    if absent:
        raise ValueError(f"{', '.join(absent)} must be given, or truth in place of all data")
    n = n_rows(X)
    y = check_targets(y, n) if are_numbers else check_labels(y, "y", n)
    y_queries = check_queries(X_queries, y_queries, are_numbers)
    if not are_numbers and not np.isin(y_queries, y).all():
        raise ValueError(
            f"y_queries must hold labels that y has, {np.unique(y)}; got {np.unique(y_queries)}"
        )
    if shipped is not None:
        shipped = _check_truth(*shipped, n, n_rows(X_queries))
    return Task(
        X,
        y,
        X_queries,
        y_queries,
        model=model,
        are_numbers=are_numbers,
        seed=int(seed),
        training=training,
        retraining=retraining,
        truth=shipped,
    )


def _check_truth(masks, margins, n_rows, n_queries):
    """Return masks, and margins (n_masks, n_queries) as means over repetitions."""
    masks = check_masks(masks, n_rows)
    margins = np.asarray(margins, dtype=np.float64)
    if margins.ndim == 3:
        margins = margins.mean(1)
    return masks, check_margins(margins, len(masks), n_queries)


def _common_model(attributors):
    """Return the estimator that all attributors explain, to be trained again."""
    models = [
        without_frozen(attributor.estimator)
        for attributor in attributors.values()
        if hasattr(attributor, "estimator")
    ]
    if not models or not all(map(is_estimator, models)):
        raise ValueError(
            "model must be given, because the attributors hold no estimator that can be trained "
            "again. Pass an estimator, or a network with its weights before training and a recipe"
        )
    settings = {(type(m), repr(m.get_params())) for m in models}
    if len(settings) > 1:
        raise ValueError(
            f"model must be given where attributors explain different estimators, got "
            f"{len(settings)}"
        )
    return models[0]
