"""Brittleness as the scoring of a grid search."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._utils.arguments import as_seeds, check_sizes, whole
from .._utils.containers import inside, without_frozen
from .._utils.hashing import fingerprint
from .._utils.rows import take_rows
from .._utils.types import Device, Path, Rows, Targets
from ..retraining import Recipe
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._estimators import estimator_copies, is_estimator
from ..retraining._removals import Removals
from ._effects import CHANGES, removal_effect, remove_ascending
from ._protocol import (
    check_direction,
    check_queries,
    check_task,
    explains_numbers,
    picked_rows,
)


@validate_params(
    TRAINING
    | {
        "model": [*MODEL["model"], None],
        "size": [whole()],
        "n_queries": [whole()],
        "direction": [StrOptions(set(CHANGES))],
        "random_state": [whole(0)],  # an integer: all candidates get the same queries
    },
    prefer_skip_nested_validation=False,
)
def brittleness_scorer(
    model: Any = None,
    *,
    size: int = 150,
    n_queries: int = 25,
    recipe: Recipe | None = None,
    seeds: int | Sequence[int] | None = 0,
    random_state: int = 0,
    direction: Literal["down", "up", "any"] = "down",
    forward: Callable | None = None,
    group_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    n_jobs: int | None = None,
    store: Path | None = None,
) -> Callable[[Any, Rows, Targets], float]:
    """Make a scorer: by how much predictions drop without the rows that explain them.

    It is the ``scoring`` of a grid search over a parameter of an attributor, ``noise_variance``
    above all. In each fold, ``n_queries`` of the held-out rows are explained by rows of the fold,
    the first ``size`` are removed, the model is trained on the rest, and the score is the mean drop
    of the queries' margins, or of a regressor's outputs: higher is better.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor, default=None
        What is trained again, as ``retrain`` takes it. None takes the estimator that the
        attributor explains. A network has to be given, with its weights *before* training.
    size : int, default=150
        Rows removed for each query.
    n_queries : int, default=25
        Queries. They are drawn from the held-out rows that a classifier in use gets right; for a
        regressor from all.
    recipe : Recipe, default=None
        How a network is trained.
    seeds : int, sequence of int or None, default=0
        Seeds of training, as in :func:`brittleness`. Several average over its noise, each at the
        price of one.
    random_state : int, default=0
        Seed of the draw of queries: all candidates of a grid are asked about the same ones.
    direction : {"down", "up", "any"}, default="down"
        Which way a regressor's outputs should move, as in :func:`brittleness`.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's logits; None calls the module.
    group_size : int or "auto", default="auto"
        Copies of a network that are trained together, as in ``retrain``.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit copies of an estimator.
    store : path-like, default=None
        Folder in which outputs of copies are kept, for each fold in a folder of its own. A search
        that was interrupted, or has another grid, trains only what is new, and processes share it.

    Returns
    -------
    scorer : callable
        ``scorer(attributor, X, y)`` gives a float, in nats, or in units of a regressor's target.
        The attributor may be the last step of
        a pipeline; the model is then trained on rows as that step sees them.

    Raises
    ------
    ValueError
        If a number is out of range.

    See Also
    --------
    brittleness : The experiment with several methods and sizes.

    Notes
    -----
    The cost is ``n_queries`` trainings for each candidate and fold and seed, and one more for each
    fold and seed, except that a set which several candidates name is removed once. Where
    ``GridSearchCV`` runs in several processes, it is so only with a ``store``.

    Searches of scikit-learn split no mapping of inputs, such as tokenized texts: call the scorer
    with an attributor that was fitted to some rows, and with other rows.

    A module is explained as it stands in every fold: train it without the held-out rows, and give
    the search one split of these and the others (``PredefinedSplit``). A classifier that is not
    fitted is fitted in each fold.

    The score is a mean over few queries and so is noisy: differences between neighbours on a grid
    may say nothing, though all candidates share their queries and the order of training.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", appendix E.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_provenance.attribution import InfoGainAttributor
    >>> from sklearn_provenance.evaluation import brittleness_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> search = GridSearchCV(
    ...     InfoGainAttributor(LogisticRegression(max_iter=1000)),
    ...     {"noise_variance": [0.01, 100.0]},
    ...     scoring=brittleness_scorer(size=10, n_queries=5),
    ...     cv=2,
    ... )
    >>> search.fit(X, y).cv_results_["mean_test_score"].shape
    (2,)
    """
    return BrittlenessScorer(
        model,
        size=size,
        n_queries=n_queries,
        seeds=seeds,
        random_state=random_state,
        direction=direction,
        store=store,
        recipe=recipe,
        forward=forward,
        group_size=group_size,
        device=device,
        n_jobs=n_jobs,
    )


class BrittlenessScorer:
    """What :func:`brittleness_scorer` makes."""

    def __init__(self, model, *, size, n_queries, seeds, random_state, direction, store, **options):
        if model is not None and is_estimator(model):
            estimator_copies(model)  # raises where it cannot be trained again
        self.model = model
        self.size = size
        self.n_queries = n_queries
        self.seeds = as_seeds(seeds)
        self.random_state = random_state
        self.direction = direction
        self.store = store
        self.options = options
        self._folds = {}

    def __repr__(self):
        return f"brittleness_scorer(size={self.size}, n_queries={self.n_queries})"

    def __getstate__(self):
        return vars(self) | {"_folds": {}}  # other processes train their own

    def __call__(self, estimator, X, y):
        """Compute the mean drop of the margin of held-out rows, or of a regressor's output.

        Parameters
        ----------
        estimator : attributor or Pipeline
            Fitted.
        X, y : array-like of shape (n, ...) and (n,)
            Held-out rows and their labels or targets.

        Returns
        -------
        score : float
            Nats, or units of the target.
        """
        check_is_fitted(estimator)
        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X)
            estimator = inside(estimator)
        are_numbers = bool(explains_numbers(estimator))
        method = {type(estimator).__name__: estimator}
        if are_numbers:
            check_direction(method, self.direction)
        y = check_queries(X, y, are_numbers)
        training = estimator.training_
        sizes = check_sizes(self.size, len(training) - 1)
        queries = self._draw(estimator, X, y, are_numbers)
        X = take_rows(X, queries)
        y = y[queries]
        picks = picked_rows(*method, estimator, X, y, self.size)
        copies = self._copies(self._model(estimator), training, X)
        check_task(method, copies.classes is None)
        effect = removal_effect(copies, y, self.direction)
        everyone = np.arange(len(y))
        _, drops = remove_ascending(copies, effect, everyone, picks[None], sizes, early_stop=False)
        if np.isnan(drops).any():  # a copy diverged
            return np.nan
        return float(effect.mean(drops).mean())

    def _draw(self, estimator, X, y, are_numbers):
        """Draw the numbers of held-out rows that are asked about."""
        usable = np.arange(len(y))
        if not are_numbers:
            usable = np.flatnonzero(np.asarray(estimator.predict(X)) == y)
        if len(usable) < self.n_queries:
            raise ValueError(
                f"n_queries must be at most {len(usable)}, the number of the {len(y)} held-out "
                f"rows that can be asked about (a classifier has to be right); got "
                f"{self.n_queries}. Ask for fewer, or make fewer folds"
            )
        # A row's place in the draw does not depend on which others can be asked about.
        place = np.random.default_rng(self.random_state).permutation(len(y))
        return usable[np.argsort(place[usable])][: self.n_queries]

    def _model(self, estimator):
        """Return what is trained again: the model that was given, or the explained one."""
        if self.model is not None:
            return self.model
        model = without_frozen(estimator.estimator)
        if isinstance(model, nn.Module) or not hasattr(model, "fit"):
            raise ValueError(
                f"model must be given to brittleness_scorer for a {type(model).__name__}, because "
                "its weights before training are not known. Pass it with those weights, and a "
                "recipe"
            )
        return model

    def _copies(self, model, training, X):
        """Return what trains for a fold, with what was trained for other candidates of the grid."""
        estimator = None
        if model is not self.model:
            estimator = model
        fold = fingerprint(training.X, training.y, X, estimator)
        known = self._folds.get(fold)
        store = self.store and f"{self.store}/fold-{fold}"
        copies = Removals(
            model, training.X, training.y, X, self.seeds, store, known, **self.options
        )
        if fold is not None:
            self._folds[fold] = copies.known
        return copies
