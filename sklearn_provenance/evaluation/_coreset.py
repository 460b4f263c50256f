"""Coreset selection: how good is a model that is trained on the selected rows alone?"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints, validate_params

from .._utils.arguments import ROWS, as_seeds, check_sizes
from .._utils.fitted import check_fitted
from .._utils.results import Result
from .._utils.types import Rows, Targets
from ..attribution.estimators._pointwise import PointwiseSelection
from ..retraining import Recipe, retrain
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._estimators import is_estimator
from ._coreset_result import coreset_result, measure_on_test
from ._protocol import check_queries, check_task, check_training_rows, is_regression


@validate_params(
    MODEL
    | {
        "X": [ROWS],
        "y": [ROWS],
        "X_queries": [ROWS],
        "X_test": [ROWS],
        "y_test": [ROWS],
        "y_queries": [ROWS, None],
        "normalize": ["boolean", None],
        "recipe": TRAINING["recipe"],
    },
    prefer_skip_nested_validation=False,
)
def coreset_selection(
    attributors: Any,
    X: Rows,
    y: Targets,
    X_queries: Rows,
    X_test: Rows,
    y_test: Targets,
    *,
    model: Any,
    sizes: int | Sequence[int],
    y_queries: Targets = None,
    balanced: bool | Sequence[bool] | None = None,
    normalize: bool | None = None,
    recipe: Recipe | None = None,
    seeds: int | Sequence[int] | None = 0,
    **options: Any,
) -> Result:
    """Train models on selected rows and compare their accuracy, or their errors in a regression.

    Every attributor selects subsets for all queries together; a copy of the model is trained on
    each subset and nothing else, once per seed, and tested. With ``balanced=False`` the smaller
    subsets are the beginnings of the largest one, as greedy selection and ranking give them; with
    class quotas each size is selected anew.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on X and y. Anything with ``select(X_queries, k)`` will do that gives k rows of X,
        best first, and takes ``balanced=True`` if that is asked for, and ``y`` if ``y_queries`` is
        given. In place of one attributor a list may hold one for each seed: RandomAttributors of
        different ``random_state``, or attributors of models trained with these seeds. Otherwise
        the same rows are used with every seed, and errors do not count the luck of selection.
    X : array-like of shape (n_train, ...)
        Training rows, as ``model`` takes them: those that the attributors were fitted on.
    y : array-like of shape (n_train,)
        Their labels; a network counts classes from 0. For a regressor their targets.
    X_queries : array-like of shape (n_queries, ...)
        Rows to select for, none of them among those of the test.
    X_test : array-like of shape (n_test, ...)
        Rows to test on.
    y_test : array-like of shape (n_test,)
        Their labels or targets.
    model : torch.nn.Module, callable, classifier or regressor
        What is trained, as ``retrain`` takes it: a module with its weights *before* training,
        a function that makes one, or a classifier or regressor of scikit-learn. A network is a
        regressor if the recipe has a loss of numbers, such as "squared_error".
    sizes : sequence of int
        How many rows are selected.
    y_queries : array-like of shape (n_queries,), default=None
        Labels of the queries; None leaves them to the attributor, which predicts them.
    balanced : bool or sequence of bool, default=None
        Whether classes get equal shares of each subset; a sequence does both. None is
        (False, True), or False for a regressor, which has no classes.
    normalize : bool, default=None
        Whether queries count the same whatever the norm of their features, for attributors whose
        ``select`` takes ``normalize``; the others are not asked. None leaves the default of each.
        False is [IT] Eq. 94 as it stands.
    recipe : Recipe, default=None
        How a network is trained. None is ``Recipe(batches="own")``: full batches of the rows kept.
        With ``batches="common"`` a small subset would be cut into as many batches as all rows,
        most of them of one row.
    seeds : int, sequence of int or None, default=0
        Seed of every training: of the order of rows, of dropout, of the initialisation if ``model``
        is a function, and an estimator's ``random_state`` (None leaves it as it is). With several
        seeds there is a training for each.
    **options
        Further arguments of ``retrain``: ``forward``, ``group_size``, ``device``, ``n_jobs``,
        ``store`` (with which an interrupted call resumes) and ``verbose``.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each model that was trained. ``summary()`` has one for each
        method and size, balanced or not, with means over seeds. Attributes:

        methods : tuple of str
            Names of the attributors.
        balanced : tuple of bool
            Whether classes got equal shares.
        sizes : ndarray of shape (n_sizes,)
            Rows selected.
        seeds : tuple of int or None
            Seeds of training.
        accuracy : ndarray of shape (n_methods, n_balanced, n_sizes, n_seeds)
            Share of test rows whose label is predicted; nan where training diverged. A regressor
            has two measures in its place, ``r2`` and ``rmse``.
        r2 : ndarray of shape (n_methods, n_balanced, n_sizes, n_seeds)
            Coefficients of determination on the test rows.
        rmse : ndarray of shape (n_methods, n_balanced, n_sizes, n_seeds)
            Root mean squared errors on the test rows, in units of the target;
            ``plot(what="rmse")`` draws them.
        subsets : dict of (str, bool, int) to list of ndarray
            Rows selected, best first, by method, balanced or not, and size; one array for each
            seed.

    Raises
    ------
    TypeError
        If an attributor cannot select, or the model is a FrozenEstimator.
    ValueError
        If attributors were fitted on other rows or explain numbers where the model predicts
        classes, or the other way round, a size is larger than the number of candidates, or sizes,
        labels or targets do not fit.

    See Also
    --------
    AttributionSampler : Selects rows inside of a pipeline.

    Notes
    -----
    In "A Bayesian information-theoretic approach to data attribution" [IT]_, 500 images of the test
    set are the queries and the rest is the test, the copies start from the weights from which the
    model of the attributors started, and information attributors use ``measurement="margin"`` and
    ``normalize=False``. ``candidates="same_class"`` selects from the classes of the
    queries.

    Rankings of single rows and InfoLoss tend to fill small subsets with one class. A scikit-learn
    classifier, of which many refuse such rows, is then not fitted but taken to predict that class.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 4.3 and Eq. 94.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_provenance.attribution import InfoGainAttributor, RandomAttributor
    >>> from sklearn_provenance.evaluation import coreset_selection
    >>> X, X_rest, y, y_rest = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> model = LogisticRegression(max_iter=1000)
    >>> methods = {"InfoGain": InfoGainAttributor(model, measurement="margin")}
    >>> methods["Random"] = RandomAttributor(model)
    >>> methods = {name: attributor.fit(X, y) for name, attributor in methods.items()}
    >>> result = coreset_selection(
    ...     methods, X, y, X_rest[:15], X_rest[15:], y_rest[15:], model=model, sizes=[6, 12, 24]
    ... )
    >>> result.accuracy.shape  # methods, balanced or not, sizes, seeds
    (2, 2, 3, 1)
    """
    are_numbers = is_regression(model, recipe)
    validate_parameter_constraints(TRAINING, options, "coreset_selection")
    reserved = {"masks", "X_eval", "y_eval", "evaluate"} & options.keys()
    if reserved:
        raise TypeError(
            f"options must be further arguments of retrain, but {', '.join(sorted(reserved))} are "
            "set by coreset_selection"
        )
    repetitions = as_seeds(seeds)
    methods = _as_methods(attributors, len(repetitions))
    for name, selectors in methods.items():
        for selector in selectors:
            check_task({name: selector}, are_numbers)
            labels, targets = check_training_rows({name: selector}, X, y, are_numbers)
    n_selected = check_sizes(sizes, len(labels)).tolist()
    with_quotas = _as_balanced(balanced, are_numbers)
    if y_queries is not None:
        y_queries = check_queries(X_queries, y_queries, are_numbers)
    classes = None if are_numbers else np.unique(labels)
    test = measure_on_test(y_test, X_test, classes)

    known = {"y": y_queries, "normalize": normalize}
    known = {name: value for name, value in known.items() if value is not None}
    subsets: dict = {}
    for name, selectors in methods.items():
        chosen = [
            _select(name, s, X_queries, known, n_selected, with_quotas, len(labels))
            for s in selectors
        ]
        chosen *= len(repetitions) // len(selectors)
        subsets |= {(name, *key): [one[key] for one in chosen] for key in chosen[0]}
    chosen = [rows for per_seed in subsets.values() for rows in per_seed]
    measured = np.empty((len(chosen), len(test.names)))
    copies = np.arange(len(chosen))
    if is_estimator(model) and not are_numbers:
        # Many classifiers refuse rows of a single class, which they would predict for every row.
        single = np.array([len(np.unique(labels[rows])) == 1 for rows in chosen])
        for i in np.flatnonzero(single):
            measured[i] = np.mean(test.y == labels[chosen[i][0]])
        copies = np.flatnonzero(~single)
    elif not is_estimator(model):
        recipe = recipe or Recipe(batches="own")
    if len(copies):
        masks = np.zeros((len(copies), len(labels)), dtype=bool)
        for mask, copy in zip(masks, copies, strict=True):
            mask[chosen[copy]] = True
        copy_seeds = np.tile(repetitions, len(subsets))[copies].tolist()
        if repetitions == (None,):
            copy_seeds = None
        retrained = retrain(
            model,
            X,
            targets,
            masks,
            X_eval=X_test,
            recipe=recipe,
            seeds=copy_seeds,
            **options,
        )
        for copy, outputs in zip(copies, retrained.outputs, strict=True):
            measured[copy] = np.nan
            if not np.isnan(outputs).any():  # the copy has not diverged
                measured[copy] = test.measure(outputs, retrained.classes)
    return coreset_result(
        tuple(methods), tuple(with_quotas), n_selected, repetitions, subsets, test, measured
    )


def _as_balanced(balanced, are_numbers):
    """Whether classes get equal shares, as a list of different bools."""
    if balanced is None and are_numbers:
        return [False]
    if balanced is None:
        return [False, True]
    balanced = np.atleast_1d(np.asarray(balanced))
    if (
        balanced.ndim != 1
        or balanced.dtype != bool
        or not 1 <= len(balanced) == len(set(balanced.tolist()))
    ):
        raise ValueError(f"balanced must be False, True or both, got {balanced.tolist()}")
    if are_numbers and balanced.any():
        raise ValueError(
            f"balanced must be False for a regressor, because there are no classes to get equal "
            f"shares; got {balanced.tolist()}"
        )
    return balanced.tolist()


def _as_methods(attributors, n_seeds):
    """Return lists of attributors by name, of one or of one for each seed."""
    if not isinstance(attributors, Mapping):
        name = getattr(attributors, "method_", "") or type(attributors).__name__
        attributors = {name: attributors}
    if not attributors:
        raise ValueError("attributors must hold one or more attributors, got none")
    methods = {}
    for name, given in attributors.items():
        selectors = [given]
        if isinstance(given, Sequence):
            selectors = list(given)
        if len(selectors) not in (1, n_seeds):
            raise ValueError(
                f"attributors must be one a method, or a list with one for each of {n_seeds} "
                f"seeds; {name!r} is a list of {len(selectors)}"
            )
        for selector in selectors:
            if isinstance(selector, type) or not hasattr(selector, "select"):
                raise TypeError(
                    "attributors must be fitted attributors with a method select, got "
                    f"{selector!r} as {name!r}"
                )
            check_fitted(selector)
        methods[str(name)] = selectors
    return methods


def _select(name, selector, X_queries, known, sizes, balanced, n_train):
    """Return subsets of every size, by (balanced, size)."""
    if "normalize" in known and "normalize" not in signature(selector.select).parameters:
        known = {key: value for key, value in known.items() if key != "normalize"}
    subsets = {}
    for quotas in balanced:
        if isinstance(selector, PointwiseSelection):  # one ranking for all sizes
            chosen = selector.select_sizes(X_queries, sizes, balanced=quotas, **known)
        elif quotas:
            chosen = [selector.select(X_queries, k=k, balanced=True, **known) for k in sizes]
        else:  # greedy selection begins with the smaller subsets
            rows = selector.select(X_queries, k=sizes[-1], **known)
            rows = _check_rows(name, rows, sizes[-1], n_train)
            chosen = [rows[:size] for size in sizes]
        for size, rows in zip(sizes, chosen, strict=True):
            subsets[quotas, size] = _check_rows(name, rows, size, n_train)
    return subsets


def _check_rows(name, rows, size, n_train):
    """Return selected rows as int64; raise where they are not ``size`` different training rows."""
    rows = np.asarray(rows)
    if rows.shape != (size,) or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name!r} must select {size} row numbers, got {rows.dtype} of shape {rows.shape}"
        )
    if rows.min() < 0 or rows.max() >= n_train or len(np.unique(rows)) < size:
        raise ValueError(
            f"{name!r} must select {size} different rows from 0 to {n_train - 1}; it gave "
            f"{len(np.unique(rows))} from {rows.min()} to {rows.max()}. Was it fitted to this X?"
        )
    return rows.astype(np.int64)
