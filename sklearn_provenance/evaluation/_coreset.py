"""Coreset selection: how accurate is a model that is trained on the selected rows alone?"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints, validate_params
from sklearn.utils.validation import _num_samples

from .._utils.arguments import ROWS, as_seeds, check_labels, check_sizes
from .._utils.displays import LinesDisplay
from .._utils.fitted import check_fitted
from .._utils.labels import label_columns
from .._utils.plotting import COLORS, MARKERS
from .._utils.results import Result
from .._utils.tables import Table, heads, mean_and_error, number_cells, text_table
from ..attribution._training_rows import check_rows
from ..attribution.estimators._pointwise import PointwiseSelection
from ..retraining import Recipe, retrain
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._copies import check_retrainable, is_estimator


@validate_params(
    MODEL
    | {
        "X": [ROWS],
        "y": [ROWS],
        "X_queries": [ROWS],
        "X_test": [ROWS],
        "y_test": [ROWS],
        "y_queries": [ROWS, None],
        "recipe": TRAINING["recipe"],
    },
    prefer_skip_nested_validation=False,
)
def coreset_selection(
    attributors,
    X,
    y,
    X_queries,
    X_test,
    y_test,
    *,
    model,
    sizes,
    y_queries=None,
    balanced=(False, True),
    recipe=None,
    seeds=0,
    **options,
):
    """Train models on selected rows and compare their accuracy.

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
        Their labels; a network counts classes from 0.
    X_queries : array-like of shape (n_queries, ...)
        Rows to select for, none of them among those of the test.
    X_test : array-like of shape (n_test, ...)
        Rows to test on.
    y_test : array-like of shape (n_test,)
        Their labels.
    model : torch.nn.Module, callable or classifier
        What is trained, as ``retrain`` takes it: a module with its weights *before* training,
        a function that makes one, or a scikit-learn classifier.
    sizes : sequence of int
        How many rows are selected.
    y_queries : array-like of shape (n_queries,), default=None
        Labels of the queries; None leaves them to the attributor, which predicts them.
    balanced : bool or sequence of bool, default=(False, True)
        Whether classes get equal shares of each subset; a sequence does both.
    recipe : Recipe, default=None
        How a network is trained. None is ``Recipe(batches="own")``: full batches of the rows kept.
        With ``batches="common"`` a small subset would be cut into as many batches as all rows,
        most of them of one row.
    seeds : int, sequence of int or None, default=0
        Seed of every training: of the order of rows, of dropout, of the initialisation if ``model``
        is a function, and a classifier's ``random_state`` (None leaves it as it is). With several
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
            Share of test rows whose label is predicted; nan where training diverged.
        subsets : dict of (str, bool, int) to list of ndarray
            Rows selected, best first, by method, balanced or not, and size; one array for each
            seed.

    Raises
    ------
    TypeError
        If an attributor cannot select, or the model is a FrozenEstimator.
    ValueError
        If attributors were fitted on other rows, a size is larger than the number of candidates, or
        sizes or labels do not fit.

    See Also
    --------
    AttributionSampler : Selects rows inside of a pipeline.

    Notes
    -----
    In [IT] 500 images of the test set are the queries and the rest is the test, the copies start
    from the weights from which the model of the attributors started, and information attributors
    use ``measurement="margin"``. ``candidates="same_class"`` selects from the classes of the
    queries.

    Rankings of single rows and InfoLoss tend to fill small subsets with one class. A scikit-learn
    classifier, of which many refuse such rows, is then not fitted but taken to predict that class.

    References
    ----------
    .. [1] [IT] "Bayesian information-theoretic training data attribution", section 4.3.

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
    if is_estimator(model):
        check_retrainable(model)
    validate_parameter_constraints(TRAINING, options, "coreset_selection")
    reserved = {"masks", "X_eval", "y_eval", "evaluate"} & options.keys()
    if reserved:
        raise TypeError(f"{', '.join(sorted(reserved))}: coreset_selection sets these by itself.")
    seeds = as_seeds(seeds)
    methods = _as_methods(attributors, len(seeds))
    for name, selectors in methods.items():
        for selector in selectors:
            y = check_rows({name: selector}, X, y)
    sizes = check_sizes(sizes, len(y)).tolist()
    balanced = np.atleast_1d(np.asarray(balanced))
    if (
        balanced.ndim != 1
        or balanced.dtype != bool
        or not 1 <= len(balanced) == len(set(balanced.tolist()))
    ):
        raise ValueError(f"balanced must be False, True or both, got {balanced.tolist()}.")
    balanced = balanced.tolist()
    y_test = check_labels(y_test, "y_test", _num_samples(X_test), "X_test")
    if y_queries is not None:
        y_queries = check_labels(y_queries, "y_queries", _num_samples(X_queries), "X_queries")
    label_columns(y_test, _num_samples(X_test), np.unique(y))  # before anything takes time

    labels = {} if y_queries is None else {"y": y_queries}
    subsets = {}
    for name, selectors in methods.items():
        chosen = [_select(name, s, X_queries, labels, sizes, balanced, len(y)) for s in selectors]
        chosen *= len(seeds) // len(selectors)
        subsets |= {(name, *key): [one[key] for one in chosen] for key in chosen[0]}
    chosen = [rows for per_seed in subsets.values() for rows in per_seed]
    accuracy = np.empty(len(chosen))
    copies = np.arange(len(chosen))
    if is_estimator(model):
        single = np.array([len(np.unique(y[rows])) == 1 for rows in chosen])
        accuracy[single] = [np.mean(y_test == y[chosen[i][0]]) for i in np.flatnonzero(single)]
        copies = np.flatnonzero(~single)
    elif recipe is None:
        recipe = Recipe(batches="own")
    if len(copies):
        masks = np.zeros((len(copies), len(y)), dtype=bool)
        for mask, copy in zip(masks, copies, strict=True):
            mask[chosen[copy]] = True
        copy_seeds = np.tile(seeds, len(subsets))[copies].tolist()
        retrained = retrain(
            model,
            X,
            y,
            masks,
            X_eval=X_test,
            recipe=recipe,
            seeds=None if seeds == (None,) else copy_seeds,
            **options,
        )
        columns = label_columns(y_test, len(y_test), retrained.classes)
        for copy, logits in zip(copies, retrained.outputs, strict=True):
            right = np.mean(logits.argmax(1) == columns)
            accuracy[copy] = np.nan if np.isnan(logits).any() else right
    methods = tuple(methods)
    balanced = tuple(balanced)
    accuracy = accuracy.reshape(len(methods), len(balanced), len(sizes), len(seeds))
    dims = {"method": methods, "balanced": balanced, "size": sizes}
    means = mean_and_error("accuracy", accuracy, -1)
    return Result(
        text_table(
            f"Test accuracy of models trained on coresets, means over {len(seeds)} seeds",
            [f"{name}, balanced" if quotas else name for name in methods for quotas in balanced],
            number_cells(means["accuracy"].reshape(-1, len(sizes)), 7, 3),
            head=heads(sizes, 7),
        ),
        Table(dims | {"seed": seeds}, {"accuracy": accuracy}),
        _figure,
        summary=Table(dims, means | {"n_seeds": len(seeds)}),
        methods=methods,
        balanced=balanced,
        sizes=np.array(sizes),
        seeds=seeds,
        accuracy=accuracy,
        subsets=subsets,
    )


def _as_methods(attributors, n_seeds):
    """Lists of attributors by name, of one or of one for each seed."""
    if not isinstance(attributors, Mapping):
        name = getattr(attributors, "method_", "") or type(attributors).__name__
        attributors = {name: attributors}
    if not attributors:
        raise ValueError("attributors must hold one or more attributors, got none")
    methods = {}
    for name, given in attributors.items():
        selectors = list(given) if isinstance(given, Sequence) else [given]
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


def _select(name, selector, X_queries, labels, sizes, balanced, n_train):
    """Subsets of every size, by (balanced, size)."""
    subsets = {}
    for quotas in balanced:
        if isinstance(selector, PointwiseSelection):  # one ranking for all sizes
            chosen = selector.select_sizes(X_queries, sizes, balanced=quotas, **labels)
        elif quotas:
            chosen = [selector.select(X_queries, k=k, balanced=True, **labels) for k in sizes]
        else:  # greedy selection begins with the smaller subsets
            rows = selector.select(X_queries, k=sizes[-1], **labels)
            rows = _check_rows(name, rows, sizes[-1], n_train)
            chosen = [rows[:size] for size in sizes]
        for size, rows in zip(sizes, chosen, strict=True):
            subsets[quotas, size] = _check_rows(name, rows, size, n_train)
    return subsets


def _check_rows(name, rows, size, n_train):
    rows = np.asarray(rows)
    if rows.shape != (size,) or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name!r} was asked to select {size} rows and gave {rows.dtype} of shape {rows.shape}."
        )
    if rows.min() < 0 or rows.max() >= n_train or len(np.unique(rows)) < size:
        raise ValueError(
            f"{name!r} must select {size} different rows from 0 to {n_train - 1}; it gave "
            f"{len(np.unique(rows))} from {rows.min()} to {rows.max()}. Was it fitted to this X?"
        )
    return rows.astype(np.int64)


def _figure(result, **style):
    return coreset_lines(result.sizes, *result.means(), result.methods, result.balanced, style)


def coreset_lines(sizes, means, errors, methods, balanced, style=None):
    """Accuracy over size, a line for each method; dashed where classes have equal shares.

    Parameters
    ----------
    sizes : ndarray of shape (n_sizes,)
        Rows selected.
    means, errors : ndarray of shape (n_methods, n_balanced, n_sizes)
        Accuracies, and half the heights of their bars.
    methods : sequence of str
        Names of the methods.
    balanced : sequence of bool
        Whether classes have equal shares.
    style : dict, default=None
        Keywords of each line.

    Returns
    -------
    LinesDisplay
        Not drawn yet.
    """
    names = []
    styles = []
    for number, name in enumerate(methods):
        again, color = divmod(number, len(COLORS))  # colours that come again have hollow markers
        solid, dashed = ("-.", ":") if again else ("-", "--")
        for place, quotas in enumerate(balanced):
            names.append("_" if place else name)
            styles.append(
                {
                    "color": COLORS[color],
                    "linestyle": dashed if quotas else solid,
                    "marker": MARKERS[(number + again) % len(MARKERS)],
                    "markerfacecolor": "none" if again else None,
                }
            )
    return LinesDisplay(
        sizes,
        means.reshape(-1, len(sizes)),
        errors.reshape(-1, len(sizes)),
        names=names,
        styles=styles,
        style=style,
        keys={"classes balanced": "--"} if any(balanced) else None,
        ticks=[str(size) for size in sizes],
        axes={"xscale": "log", "xlabel": "training rows selected", "ylabel": "test accuracy"},
        legend={"fontsize": "small"},
    )
