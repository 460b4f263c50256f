"""Backdoor: are the poisoned rows found?"""

import numpy as np

from ..._utils.arguments import real
from ._base import Measure, NotMeasured, criterion
from ._trigger import Trigger


@criterion("backdoor", share=[real(0, 1, "neither")])
def backdoor(task, share=0.1):
    """Mean over queries with a trigger of |R ∩ G| / |G|, where G are the rows that were poisoned
    with this trigger, and R are as many rows, those of largest scores for the attack's label.

    In a share of the rows of each class, the trigger of the class is put and the label becomes that
    of the next class. Queries get the trigger of their class; those that the model gives the label
    of the attack are explained at it. Random scores reach |G| / n.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    share : float, default=0.1
        Share of the smallest class that is poisoned, and as many rows of each other class.

    References
    ----------
    [IT] "A Bayesian information-theoretic approach to data attribution", section 4.2, Eq. 87; Gu,
    Dolan-Gavitt, Garg (2017). BadNets.
    """
    classes = task.classes
    codes = np.searchsorted(classes, task.y)
    X, X_queries = task.numbers()
    rng = task.generator("backdoor")
    trigger = Trigger(X, len(classes), rng)
    n_poisoned = round(share * np.bincount(codes).min())
    if not n_poisoned:
        raise NotMeasured(
            f"share must poison one row or more of the smallest class, which has "
            f"{np.bincount(codes).min()} rows; got {share}"
        )
    base = np.full(len(X), -1)
    for code in range(len(classes)):
        base[rng.choice(np.flatnonzero(codes == code), n_poisoned, replace=False)] = code
    poisoned = np.flatnonzero(base >= 0)
    X[poisoned] = trigger.stamp(X[poisoned], base[poisoned])
    y = classes[np.where(base >= 0, codes + 1, codes) % len(classes)]
    of_queries = np.searchsorted(classes, task.y_queries)
    X_queries = trigger.stamp(X_queries, of_queries)
    y_queries = classes[(of_queries + 1) % len(classes)]
    problem = task.problem("backdoor", X, y, X_queries, y_queries)
    attacked = problem.where_predicted("the backdoor")
    base_queries = (np.searchsorted(classes, attacked.y_queries) - 1) % len(classes)

    def values(method):
        return (base[method.picks(attacked, n_poisoned)] == base_queries[:, None]).mean(1)

    return Measure(values, n_poisoned / len(X))
