"""Linear datamodeling score: do sums of scores predict what training on fewer rows does?"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS, real, whole
from .._utils.displays import PointsDisplay
from .._utils.results import Result
from .._utils.rows import n_rows
from .._utils.tables import Table, nan_mean, plus_minus, text_table
from .._utils.types import Device, Path, RandomState, Rows, Targets
from ..retraining import Recipe
from ..retraining._constraints import MODEL, TRAINING
from ..retraining._schedule import check_masks
from ._lds_truth import (
    check_margins,
    draw_masks,
    lds_from_truth,
    lds_standard_error,
    margins_on_subsets,
)
from ._protocol import (
    as_attributors,
    check_queries,
    check_task,
    check_training_rows,
    explains_numbers,
    is_regression,
)


@validate_params(
    TRAINING
    | {
        "X": [ROWS],
        "y": [ROWS],
        "X_queries": [ROWS],
        "y_queries": [ROWS, None],
        "model": [*MODEL["model"], None],
        "masks": ["array-like", None],
        "margins": ["array-like", None],
        "n_masks": [whole(3)],
        "share": [real(0, 1, "neither")],
        "n_repeats": [whole()],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def linear_datamodeling_score(
    attributors: Any,
    X: Rows,
    y: Targets,
    X_queries: Rows,
    y_queries: Targets,
    *,
    model: Any = None,
    masks: ArrayLike | None = None,
    margins: ArrayLike | None = None,
    n_masks: int = 100,
    share: float = 0.5,
    n_repeats: int = 5,
    recipe: Recipe | None = None,
    random_state: RandomState = 0,
    forward: Callable | None = None,
    group_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    n_jobs: int | None = None,
    store: Path | None = None,
    verbose: bool = False,
) -> Result:
    """Rank agreement of scores, summed over random subsets, with models trained on the subsets.

    The model is trained on random subsets of the rows. For each query, the sum of a method's scores
    over the rows of a subset is its prediction of the query's margin there; the score of the method
    is the Spearman correlation of predictions and margins over subsets, the mean over queries. In a
    regression the outputs of the models take the place of margins.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on X and y with ``candidates="all"``. What ``attribute`` gives for the true labels of
        the queries is summed.
    X : array-like of shape (n_rows, ...)
        Training rows, as ``model`` takes them, which may be a mapping of inputs: those that the
        attributors were fitted on.
    y : array-like of shape (n_rows,)
        Their labels, or the targets of a regressor.
    X_queries : array-like of shape (n_queries, ...)
        Queries.
    y_queries : array-like of shape (n_queries,) or None
        Their true labels. For a regressor, targets at which attributors that need them explain the
        outputs; None leaves it to the attributors.
    model : torch.nn.Module, callable, classifier or regressor, default=None
        What is trained, as ``retrain`` takes it: a module with its weights *before* training, a
        function that makes one, or a classifier or regressor of scikit-learn. A network is a
        regressor if the recipe has a loss of numbers. Not needed with ``margins``.
    masks : array-like of shape (n_masks, n_rows), bool or 0 and 1, default=None
        The subsets, True where a row is trained on. None draws them.
    margins : array-like of shape (n_masks, n_queries), default=None
        Margins of models that were trained on ``masks`` before, or outputs of regressors, the mean
        over repetitions; nothing is trained then.
    n_masks : int, default=100
        Subsets to draw.
    share : float, default=0.5
        Share of the rows in each of them.
    n_repeats : int, default=5
        Models trained on each subset, whose margins are averaged: seeds 0 to ``n_repeats`` - 1, the
        same for every subset. 1 is enough for an estimator whose training is not random.
    recipe : Recipe, default=None
        How a network is trained; ``batches="own"`` halves the cost of training on half of the rows.
    random_state : int, RandomState instance or None, default=0
        Seed of the subsets.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's logits; None calls the module.
    group_size : int or "auto", default="auto"
        Copies of a network that are trained together, as in ``retrain``.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit copies of an estimator.
    store : path-like, default=None
        Folder in which margins are kept as they come. A run that was interrupted goes on where it
        was, and other methods are measured without training again.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method and query. ``summary()`` has one for each method,
        with ``lds``, the mean over queries, and ``n_queries``, those whose margin was not always
        the same. Attributes:

        methods : tuple of str
            Names of the attributors.
        scores : ndarray of shape (n_methods,)
            Linear datamodeling score of each method: the mean over queries.
        correlations : ndarray of shape (n_methods, n_queries)
            Spearman correlation over subsets; nan for a query whose margin was always the same.
        standard_errors : ndarray of shape (n_methods,)
            Standard error of each method's score: over queries, and by the jackknife over subsets,
            which all queries share. It compares with 0 or with a score that was measured elsewhere;
            methods measured together share queries and subsets, and differ more surely than it
            says.
        masks : ndarray of shape (n_masks, n_rows), bool
            The subsets.
        margins : ndarray of shape (n_masks, n_queries)
            Margins of the models trained on them, the mean over repetitions; in a regression this
            is called ``outputs``, in units of the target.

    Raises
    ------
    TypeError
        If an attributor gives no pointwise scores.
    ValueError
        If attributors were fitted on other rows, score not all of them or explain numbers where
        the model predicts classes, or the other way round, arguments do not fit, or
        ``store`` holds another experiment.

    See Also
    --------
    lds_from_truth : The same for arrays.
    brittleness : What removing the rows of largest scores does.

    Notes
    -----
    The score asks for a signed and additive account of the margin. For attributors whose sets are
    not additive, InfoGain and InfoLoss, the pointwise scores are summed, not the information of the
    subset; information also has no sign, so that rows which speak against the label count as rows
    which speak for it. A low score does not say that the sets they pick are poor.

    Rows that are no candidates have no score, and taking it for 0 would judge another method, so
    ``candidates="same_class"`` is an error here.

    References
    ----------
    .. [1] Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale,
       section 2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import LastLayerAttributor
    >>> from sklearn_provenance.evaluation import linear_datamodeling_score
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> influence = LastLayerAttributor(model, candidates="all")
    >>> arguments = X[::2], y[::2], X[1::15], y[1::15]
    >>> result = linear_datamodeling_score(
    ...     influence.fit(X[::2], y[::2]), *arguments, model=model, n_masks=20, n_repeats=1
    ... )
    >>> bool(result.scores[0] > 0.5)
    True
    """
    attributors = as_attributors(attributors, "attribute")
    if model is None:
        are_numbers = any(map(explains_numbers, attributors.values()))
    else:
        are_numbers = is_regression(model, recipe)
    check_task(attributors, are_numbers)
    labels, y = check_training_rows(attributors, X, y, are_numbers)
    y_queries = check_queries(X_queries, y_queries, are_numbers)
    n_queries = n_rows(X_queries)
    if masks is None:
        if margins is not None:
            raise ValueError(
                "masks must be given with margins, since they say what the models were trained on"
            )
        masks = draw_masks(n_masks, share, len(labels), random_state)
    subsets = check_masks(masks, len(labels))
    if len(subsets) < 3:
        raise ValueError(
            f"masks must hold 3 subsets or more, because margins are ranked over them; got "
            f"{len(subsets)}"
        )
    shape = n_queries, len(labels)
    scores = [_scores(name, a, X_queries, y_queries, shape) for name, a in attributors.items()]
    if margins is None:
        if model is None:
            raise ValueError("model must be given to be trained, or margins that were measured")
        margins = margins_on_subsets(
            model,
            X,
            y,
            X_queries,
            y_queries,
            subsets,
            n_repeats,
            are_numbers,
            recipe=recipe,
            forward=forward,
            group_size=group_size,
            device=device,
            n_jobs=n_jobs,
            store=store,
            verbose=verbose,
        )
    truth = subsets, check_margins(margins, len(subsets), n_queries)
    methods = tuple(attributors)
    correlations = np.stack([lds_from_truth(s, *truth) for s in scores])
    errors = np.array([lds_standard_error(s, *truth) for s in scores])
    means = {"lds": nan_mean(correlations, 1), "lds_se": errors}
    counts = {"n_queries": (~np.isnan(correlations)).sum(1), "n_masks": len(subsets)}
    return Result(
        text_table(
            f"Linear datamodeling score, {n_queries} queries, {len(subsets)} subsets",
            methods,
            plus_minus(*means.values()),
        ),
        Table({"method": methods, "query": range(n_queries)}, {"spearman": correlations}),
        _figure,
        summary=Table({"method": methods}, means | counts),
        methods=methods,
        scores=means["lds"],
        standard_errors=errors,
        correlations=correlations,
        masks=subsets,
        **{"outputs" if are_numbers else "margins": truth[1]},
    )


def _scores(name, attributor, X_queries, y_queries, shape):
    """Return scores (n_queries, n_rows) of all rows; raise if their shape is wrong or one open."""
    scores = np.asarray(attributor.attribute(X_queries, y_queries))
    if scores.shape != shape:
        raise ValueError(
            f"{name!r} must give scores of shape {shape}, for each query and row; got shape "
            f"{scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{name!r} must score every row, because subsets hold all of them, but "
            f"{np.mean(~np.isfinite(scores)):.0%} of its scores are nan or infinite. Fit it with "
            'candidates="all"'
        )
    return scores


def _figure(result, **style):
    """Draw scores, a point for each method, the first on top."""
    return PointsDisplay(
        [result.scores],
        [result.standard_errors],
        rows=result.methods,
        style=style,
        references=[(0.0, None, {"linewidth": 1, "zorder": 0})],
        axes={"xlabel": "linear datamodeling score"},
    )
