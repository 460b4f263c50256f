"""The scoreboard: several attributors by all criteria, in one call."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sklearn.utils._param_validation import validate_params
from tqdm.auto import tqdm

from .._utils.arguments import ROWS, Instance, whole
from .._utils.hashing import fingerprint
from .._utils.results import Result
from .._utils.rows import n_rows
from .._utils.types import Device, Path, Rows, Targets
from ..retraining import Recipe
from ..retraining._constraints import MODEL, TRAINING
from ._scoreboard_cells import Cell, Cells
from ._scoreboard_methods import AttributorMethod, as_methods
from ._scoreboard_result import as_result
from ._scoreboard_task import make_task
from .criteria import CRITERIA, NotMeasured

_FORMAT = "sklearn_provenance scoreboard, version 1"
# What an attributor raises where it does not take a model or rows.
_REFUSALS = (TypeError, ValueError, NotImplementedError, MemoryError)


@validate_params(
    {name: TRAINING[name] for name in ("recipe", "forward", "device", "n_jobs", "store", "verbose")}
    | {
        "attributors": [Mapping, Instance("attribute")],
        "X": [ROWS, None],
        "y": [ROWS, None],
        "X_queries": [ROWS, None],
        "y_queries": [ROWS, None],
        "model": [*MODEL["model"], None],
        "truth": [Mapping, None],
        "criteria": ["array-like", Mapping, None],
        "baselines": ["boolean"],
        "random_state": [whole(0)],
    },
    prefer_skip_nested_validation=False,
)
def scoreboard(
    attributors: Any,
    X: Rows | None = None,
    y: Targets | None = None,
    X_queries: Rows | None = None,
    y_queries: Targets | None = None,
    *,
    model: Any = None,
    truth: Mapping[str, Any] | None = None,
    criteria: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None,
    baselines: bool = True,
    recipe: Recipe | None = None,
    random_state: int = 0,
    forward: Callable | None = None,
    device: Device = "auto",
    n_jobs: int | None = None,
    store: Path | None = None,
    verbose: bool = False,
) -> Result:
    """Judge several attributors by all criteria, beside baselines.

    Each criterion makes the rows that it needs, with wrong labels, a backdoor, a shortcut or
    foreign rows among them, trains the model on them, and asks a fresh clone of each attributor
    about that model. All clones score all rows (``candidates="all"``), but for "brittleness", which
    removes rows of the query's class.

    Parameters
    ----------
    attributors : attributor, or dict of str to attributor, callable or array-like
        Methods by name:

        - an attributor, fitted or not, whose parameters are kept and whose estimator is replaced by
          the model of each criterion;
        - a function ``f(model, X, y, X_queries, y_queries)`` of a trained model that gives scores
          of shape (n_queries, n_rows), larger for rows that speak for the label of a query;
        - scores of that shape, computed elsewhere for the rows and queries given. Criteria that
          train on other rows cannot be measured with these.
    X, y : array-like of shape (n_rows, ...) and (n_rows,)
        Training rows, and their labels or targets. Not given with ``truth``.
    X_queries, y_queries : array-like of shape (n_queries, ...) and (n_queries,)
        Queries, none of them among the training rows, with their true labels or targets.
    model : torch.nn.Module, callable, classifier or regressor, default=None
        What is trained, as :func:`~sklearn_provenance.retraining.retrain` takes it: a module with
        its weights *before* training, a function that makes one, or an estimator. None takes the
        estimator of the attributors, which must all have the same.
    truth : Bunch, default=None
        Rows, queries, estimator, and margins of models trained on subsets, as
        :func:`~sklearn_provenance.datasets.load_counterfactual_truth` gives them. They take the
        place of X, y, X_queries, y_queries and model, and nothing is trained for "lds".
    criteria : sequence of str or dict of str to dict, default=None
        Names of criteria, or options by name, such as ``{"lds": {"n_masks": 100}}``. None takes
        all: "lds", "brittleness", "backdoor", "shortcut", "mixed", "subclass", "label_errors",
        "label_disagreement", "randomisation" and "stability".
    baselines : bool, default=True
        Whether what every method should beat is measured beside them: "random" scores, the "loss"
        of each training row, the same for all queries, and "similarity", the cosine of rows and
        queries less the mean row, which does not look at the model.
    recipe : Recipe, default=None
        How a network is trained.
    random_state : int, default=0
        Seed of training and of everything that criteria draw. Other seeds give other classes,
        triggers and subsets.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's outputs in training; None calls the module.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit copies of an estimator for "lds" and "brittleness".
    store : path-like, default=None
        Folder in which scores and outputs of copies are kept as they come. A run that was
        interrupted goes on where it was, and one with further methods or criteria measures only
        what is new.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method and criterion: ``score``, ``score_se``, ``n``, the
        ``chance`` level, ``lowest``, ``highest`` and ``best`` score, the ``definition``, and the
        ``reason`` where nothing was measured. ``summary()`` has a line for each method, with two
        columns for each criterion. ``plot()`` draws all scores as a table, darker where they are
        better; ``plot(what="lds")`` one criterion with standard errors. Attributes:

        methods : tuple of str
            Names, the baselines last.
        criteria : dict of str to Criterion
            With ``definition``, ``lowest``, ``highest`` and ``best``.
        scores : ndarray of shape (n_methods, n_criteria)
            nan where nothing was measured.
        standard_errors : ndarray of shape (n_methods, n_criteria)
            Over queries, or rows with wrong labels, with the model and what was drawn as they are.
        chance : ndarray of shape (n_criteria,)
            What random scores are expected to reach; nan where nothing was measured.
        values : dict of str to ndarray of shape (n_methods, n)
            What scores are the means of, for paired comparisons.
        reasons : dict of (str, str) to str
            Why a method was not measured by a criterion. Where the criterion does not suit the
            model or the rows, it is so for every method.

    Raises
    ------
    TypeError
        If a method is none of the above.
    ValueError
        If shapes do not fit, scores are not finite, a criterion or option is unknown, or the model
        is missing.

    See Also
    --------
    linear_datamodeling_score : The criterion "lds" alone, for attributors that are fitted.
    brittleness : The criterion "brittleness" alone, for several sizes.
    backdoor_retrieval : The criterion "backdoor" for an attack of your own.

    Notes
    -----
    No criterion is the truth. "lds" asks for additive scores with a sign, "brittleness" for sets;
    "backdoor", "shortcut", "mixed" and "subclass" are also won by a good nearest-neighbour search,
    and "randomisation" and "stability" can only fail a method. Compare with the baselines before
    you compare methods.

    Queries that do not show what was planted, such as those with a trigger that the model does not
    follow, are left out; where fewer than 5 are left, nothing is measured.

    What an attributor refuses (a model, targets, memory) becomes a reason, and is tried again by a
    later run with the same store. Errors of functions are raised.

    References
    ----------
    .. [1] Bareeva, Yolcu, Hedström, Schmolenski, Wiegand, Samek, Lapuschkin (2024). Quanda: An
       interpretability toolkit for training data attribution evaluation and beyond.
    .. [2] Hanawa, Yokoi, Hara, Inui (2021). Evaluation of similarity-based explanations.
    .. [3] Hammoudeh, Lowd (2022). Identifying a training-set attack's target using renormalized
       influence estimation.
    .. [4] Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim (2018). Sanity checks for saliency maps.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance import InfluenceAttributor
    >>> from sklearn_provenance.evaluation import scoreboard
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> def nearest(model, X, y, X_queries, y_queries):
    ...     return -((X_queries[:, None] - X) ** 2).sum(2)
    >>> methods = {"influence": InfluenceAttributor(model), "nearest": nearest}
    >>> result = scoreboard(
    ...     methods, X[::2], y[::2], X[1::8], y[1::8], criteria=["lds", "subclass"]
    ... )
    >>> result.methods
    ('influence', 'nearest', 'random', 'loss', 'similarity')
    >>> bool(result.scores[0, 0] > 0.6 > 0.5 > result.scores[2, 0])
    True
    """
    if not isinstance(attributors, Mapping):
        attributors = {type(attributors).__name__: attributors}
    training = {"recipe": recipe, "forward": forward, "device": device}
    task = make_task(
        attributors,
        (X, y, X_queries, y_queries),
        model,
        truth,
        random_state,
        training,
        {"n_jobs": n_jobs, "verbose": verbose},
    )
    options = _check_criteria(criteria)
    shape = n_rows(task.X_queries), len(task.y)
    methods = as_methods(attributors, shape, baselines)
    cells, keys = _kept_cells(store, task, options, methods)
    rows = {}
    with tqdm(
        desc="scoreboard", total=len(options) * len(methods), disable=not verbose, leave=False
    ) as bar:
        for name, given in options.items():
            rows[name] = _measure(CRITERIA[name], given, task, methods, cells, keys, bar)
    return as_result(task, methods, rows)


def _check_criteria(criteria):
    """Return the options of each criterion by its name, in the order of the register."""
    if criteria is None:
        criteria = _ORDER
    if not isinstance(criteria, Mapping):
        criteria = {str(name): {} for name in criteria}
    unknown = [name for name in criteria if name not in CRITERIA]
    if unknown or not criteria:
        raise ValueError(f"criteria must be one or more of {_ORDER}, got {list(criteria)}")
    return {name: CRITERIA[name].options(given) for name, given in criteria.items()}


# What is known to be of use together stands together; further criteria follow.
_FIRST = (
    *("lds", "brittleness", "backdoor", "shortcut", "mixed", "subclass"),
    *("label_errors", "label_disagreement", "randomisation", "stability"),
)
_ORDER = [*_FIRST, *sorted(set(CRITERIA) - set(_FIRST))]


def _kept_cells(store, task, options, methods):
    """Return cells, and the key of each criterion and method; no keys where nothing is kept."""
    if store is None:
        return Cells(None), {}
    data = [task.X, task.y, task.X_queries, task.y_queries, task.truth]
    whole_task = fingerprint(_FORMAT, data, task.model, task.training, task.seed)
    if whole_task is None:
        return Cells(None), {}  # the fingerprint has warned
    cells = Cells(f"{store}/{whole_task[:16]}")
    task.folder = cells.folder
    keys = {}
    for method in methods:
        identity = fingerprint(type(method).__name__, method.identity)
        for name, given in options.items():
            if identity is not None:
                keys[name, method.name] = fingerprint(name, given, identity)[:32]
    return cells, keys


def _measure(criterion, options, task, methods, cells, keys, bar):
    """Return the cells of all methods by one criterion; nothing is trained if all are known."""
    found = []
    measure = None
    for method in methods:
        key = keys.get((criterion.name, method.name))
        cell = cells.read(key)
        if cell is None:
            bar.set_postfix_str(f"{criterion.name}, {method.name}")
            try:
                if measure is None:
                    measure = criterion.function(task, **options)
                cell = Cell.measured(measure, method)
            except NotMeasured as reason:
                cell = Cell.skipped(reason)
            except _REFUSALS as error:
                if not isinstance(method, AttributorMethod) or measure is None:
                    error.add_note(f"While measuring {method.name!r} by {criterion.name!r}.")
                    raise
                # Not kept: another run may have more memory, or a new version of the attributor.
                key = None
                cell = Cell.skipped(f"{type(error).__name__}: {error}")
            cells.write(key, cell)
        found.append(cell)
        bar.update()
    for method in methods:
        method.forget()
    return found
