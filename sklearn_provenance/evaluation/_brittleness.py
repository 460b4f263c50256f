"""Leave-subset-out brittleness: does a prediction fall without the rows that explain it?"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import ROWS, as_seeds, check_sizes, real
from .._utils.results import Result
from .._utils.rows import take_rows
from .._utils.tables import Table, nan_mean
from .._utils.types import Device, Path, Rows, Targets
from ..retraining import Recipe
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._removals import Removals
from ._effects import CHANGES, removal_effect, remove_ascending
from ._protocol import (
    as_attributors,
    check_direction,
    check_queries,
    check_task,
    check_training_rows,
    is_regression,
    picked_rows,
)


@validate_params(
    MODEL
    | TRAINING
    | {
        "X": [ROWS],
        "y": [ROWS],
        "X_queries": [ROWS],
        "y_queries": [ROWS, None],
        "early_stop": ["boolean"],
        "direction": [StrOptions(set(CHANGES))],
        "threshold": [real(closed="neither"), None],
    },
    prefer_skip_nested_validation=False,
)
def brittleness(
    attributors: Any,
    X: Rows,
    y: Targets,
    X_queries: Rows,
    y_queries: Targets,
    *,
    model: Any,
    sizes: int | Sequence[int] = (50, 100, 150, 200, 250, 300),
    recipe: Recipe | None = None,
    seeds: int | Sequence[int] | None = 0,
    early_stop: bool = True,
    direction: Literal["down", "up", "any"] = "down",
    threshold: float | None = None,
    forward: Callable | None = None,
    group_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    n_jobs: int | None = None,
    store: Path | None = None,
    verbose: bool = False,
) -> Result:
    """Remove the rows that explain a prediction, train again, and see whether it falls.

    For every query that the model trained on all rows gets right, each attributor names the rows
    behind its label. The first 50 are removed, the model is trained on the rest, from the same
    initialisation and in the same order of rows, and asked about the query; then the first 100,
    and so on. A method that names what the prediction rests on makes it fall early.

    A regressor's output falls, in the units of its target. All queries are asked about, and
    nothing is right or wrong.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on X and y. Their ``explain`` is asked for the true labels of the queries. A
        :class:`~sklearn_provenance.attribution.RandomAttributor` among them says what removing any
        rows does. A ProvenanceClassifier will do, too; it explains the label that it predicts.
    X : array-like of shape (n_rows, ...)
        Training rows, as ``model`` takes them, which may be a mapping of inputs: those that the
        attributors were fitted on.
    y : array-like of shape (n_rows,)
        Their labels, or the targets of a regressor.
    X_queries : array-like of shape (n_queries, ...)
        Queries, none of them among the training rows.
    y_queries : array-like of shape (n_queries,) or None
        Their true labels. For a regressor, targets at which attributors that need them explain the
        outputs; None leaves it to the attributors.
    model : torch.nn.Module, callable, classifier or regressor
        What is trained again, as ``retrain`` takes it: a module with its weights *before*
        training, a function that makes one, or a classifier or regressor of scikit-learn. A
        network is a regressor if the recipe has a loss of numbers, such as "squared_error".
    sizes : sequence of int, default=(50, 100, 150, 200, 250, 300)
        How many rows are removed, ascending.
    recipe : Recipe, default=None
        How a network is trained.
    seeds : int, sequence of int or None, default=0
        Seed of every training: of the order of rows, of dropout, of the initialisation if ``model``
        is a function, and an estimator's ``random_state`` (None leaves it as it is). With several
        seeds everything is repeated and averaged; queries are those that are right with all.
    early_stop : bool, default=True
        Whether a query that has fallen is left alone at larger sizes, as the paper does. It counts
        as fallen there, so that the curve can only rise. False tries every size for every query.
        A regressor's queries fall where there is a ``threshold``.
    direction : {"down", "up", "any"}, default="down"
        Whether a regressor's outputs should drop or rise without the rows, or move either way. It
        must be that of attributors which have one. Information has no sign: use "any".
    threshold : float, default=None
        Change of a regressor's output, in units of its target, that the share ``moved`` counts.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's logits; None calls the module.
    group_size : int or "auto", default="auto"
        Copies of a network that are trained together, as in ``retrain``.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit copies of an estimator.
    store : path-like, default=None
        Folder in which outputs of copies are kept as they come. A run that was interrupted goes on
        where it was, and a later run with other methods, sizes or seeds trains only what is new.
    verbose : bool, default=False
        Whether to show progress, with a bar for each size.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method, query and size. ``summary()`` has one for each
        method and size: the fraction of the queries that fell, the mean drop of those for which a
        model was trained at this size, ``n_trained``, and their standard errors, which count
        queries as independent draws, and the full model and the order of training as given.
        ``plot(what="margin_drop")`` draws the drops. Attributes:

        methods : tuple of str
            Names of the attributors.
        sizes : ndarray of shape (n_sizes,)
            Rows removed.
        queries : ndarray of shape (n_queries,)
            Which of the queries given the full model classifies correctly; the others are left out.
        n_given : int
            Number of queries given.
        flipped : ndarray of shape (n_methods, n_queries, n_sizes)
            1 where the query was misclassified, else 0; with several seeds the share of them. With
            early stopping it stays 1 at larger sizes, where nothing was trained. nan where training
            diverged.
        margin_drop : ndarray of shape (n_methods, n_queries, n_sizes)
            Nats by which the margin of the true label dropped, the mean over seeds; nan where
            nothing was trained.
        early_stop : bool
            Whether queries that fell were left alone at larger sizes.
        n_copies : int
            Different models trained, those on all rows included.

        With a regressor, in place of ``flipped`` and ``margin_drop``:

        output_drop, output_rise or output_change : ndarray of shape (n_methods, n_queries, n_sizes)
            By how much the output moved, in units of the target: the name says the direction. Of
            several seeds the mean; a change is the size of that.
        moved : ndarray of shape (n_methods, n_queries, n_sizes)
            1 where it moved by more than the threshold, as ``flipped``; only with a threshold.
        outputs : ndarray of shape (n_queries,)
            Outputs of the full model.
        direction : str
            Which way outputs should move.
        threshold : float or None
            As given.

    Raises
    ------
    TypeError
        If an attributor cannot explain, or the model is a FrozenEstimator.
    ValueError
        If attributors were fitted on other rows or explain numbers where the model predicts
        classes, or the other way round, a query has fewer candidates than are to be removed, sizes
        or labels do not fit, no query is classified correctly, or ``store`` holds another
        experiment.

    See Also
    --------
    brittleness_scorer : The drop of margins as ``scoring`` of a grid search.
    linear_datamodeling_score : Whether scores predict what removing any rows does.

    Notes
    -----
    "Misclassified" means that another class has the largest logit. Margins are log odds of the true
    label, log(p / (1 - p)), in nats; a drop is the margin of the full model minus that of the copy.
    It is infinite where a classifier's copy has lost all rows of the label.

    The paper leaves a query alone once it is misclassified ("terminated early") and reports the
    proportion of all queries that are misclassified; we read this as the fraction that fell at this
    size or a smaller one. Training is noisy, and a query that fell by chance stays fallen: the
    fraction is biased upwards for every method, Random included, and drops at larger sizes are
    those of the queries that held out. ``early_stop=False`` is free of both, for up to
    ``len(sizes)`` trainings for each query and method; the paper's fraction is then the mean of
    ``np.maximum.accumulate(result.flipped, -1)``.

    Copies of one size are trained in one call, those of all methods and queries together, and a set
    that two methods name is removed once.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 4.1 and
       appendix E.
    .. [1] Singla, Sandoval-Segura, Goldblum, Geiping, Goldstein (2023). A simple and efficient
       baseline for data attribution on images.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
    >>> from sklearn_provenance.evaluation import brittleness
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> methods = {"RepSim": RepSimAttributor(model), "Random": RandomAttributor(model)}
    >>> methods = {name: method.fit(X[::2], y[::2]) for name, method in methods.items()}
    >>> queries = X[71:90:2], y[71:90:2]
    >>> result = brittleness(methods, X[::2], y[::2], *queries, model=model, sizes=(8, 16))
    >>> result.flipped.shape
    (2, 9, 2)
    """
    attributors = as_attributors(attributors, "explain")
    are_numbers = is_regression(model, recipe)
    check_task(attributors, are_numbers)
    if are_numbers:
        check_direction(attributors, direction)
    elif direction != "down" or threshold is not None:
        raise ValueError(
            "direction and threshold are for models that predict numbers, because margins drop; "
            f"got direction={direction!r} and threshold={threshold} for classes"
        )
    labels, y = check_training_rows(attributors, X, y, are_numbers)
    y_queries = check_queries(X_queries, y_queries, are_numbers)
    n_removed = check_sizes(sizes, len(labels) - 1)  # one row has to be left
    copies = Removals(
        model,
        X,
        y,
        X_queries,
        as_seeds(seeds),
        store,
        recipe=recipe,
        forward=forward,
        group_size=group_size,
        device=device,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    effect = removal_effect(copies, y_queries, direction, threshold)
    effect.check_queries()
    queries = effect.queries
    rows = take_rows(X_queries, queries)
    if y_queries is not None:
        y_queries = y_queries[queries]
    k = int(n_removed[-1])
    picks = np.stack([picked_rows(name, a, rows, y_queries, k) for name, a in attributors.items()])
    fallen, drops = remove_ascending(copies, effect, queries, picks, n_removed, early_stop)
    fallen = nan_mean(fallen, 1)  # over seeds
    drops = effect.mean(drops)
    methods = tuple(attributors)
    values = effect.attributes(drops, fallen)
    means = effect.summary(drops, fallen)
    counts = {"n_queries": len(queries), "n_trained": (~np.isnan(drops)).sum(1)}
    details = {}
    if are_numbers:
        details = {"outputs": effect.outputs, "direction": direction, "threshold": threshold}
    return Result(
        effect.text(methods, n_removed, means),
        Table({"method": methods, "query": queries, "size": n_removed}, values),
        effect.figure,
        summary=Table({"method": methods, "size": n_removed}, means | counts),
        methods=methods,
        sizes=n_removed,
        queries=queries,
        n_given=copies.full.shape[1],
        early_stop=early_stop,
        n_copies=copies.n_copies,
        **values,
        **details,
    )
