"""Label errors: does a method's suspicion point to rows whose label or target is wrong?"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import check_numbers, real
from .._utils.displays import LinesDisplay
from .._utils.indicators import as_indicator
from .._utils.plotting import COLORS
from .._utils.results import Result
from .._utils.tables import Table, text_table
from ..attribution._suspicion import LOSS

# What errors are called, by the kind of targets.
_NAMES = {"labels": "label errors", "numbers": "target errors"}


@validate_params(
    {
        "is_error": ["array-like"],
        "inspected": ["array-like"],
        "targets": [StrOptions(set(_NAMES))],
    },
    prefer_skip_nested_validation=False,
)
def label_error_ranking(
    scores_by_method: Mapping[str, ArrayLike],
    is_error: ArrayLike,
    *,
    inspected: Sequence[float] = (0.1, 0.2),
    targets: Literal["labels", "numbers"] = "labels",
) -> Result:
    """Measure how well methods rank rows whose label or target is known to be wrong.

    Rows are inspected in descending order of suspicion. Ties are broken at random: what is
    reported is the expectation, so that a method gains nothing from the order of rows.

    Parameters
    ----------
    scores_by_method : dict of str to array-like of shape (n_train,)
        Suspicion of each row by method, higher where the label is more likely to be wrong. The
        baseline to beat, :func:`label_loss`, has to be among them under the name "loss"; it needs
        no attribution.
    is_error : array-like of shape (n_train,), bool or 0 and 1
        Rows whose label or target is wrong, such as
        :func:`~sklearn_provenance.datasets.flip_labels` and
        :func:`~sklearn_provenance.datasets.shift_targets` give.
    inspected : sequence of float, default=(0.1, 0.2)
        Shares of all rows after which the errors found are counted.
    targets : {"labels", "numbers"}, default="labels"
        What the errors are errors of, for texts and the figure: labels of classes, or numbers.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method, with ``found@10%`` and the like. Attributes:

        methods : tuple of str
            Names of the methods; "loss" is the baseline.
        auroc : ndarray of shape (n_methods,)
            Probability that a row with a wrong label is more suspicious than one with a right
            label; ties count one half.
        inspected : tuple of float
            Shares of all rows that are inspected, the most suspicious first.
        found : ndarray of shape (n_methods, n_inspected)
            Share of the errors that are among them.
        curves : list of (ndarray, ndarray)
            Share inspected and share found, from 0 to 1, of each method.
        n_errors : int
            Rows whose label or target is wrong.
        n_rows : int
            Rows in all.
        targets : str
            As given.

    Raises
    ------
    ValueError
        If the loss is missing, shapes do not fit, a score is not finite, or ``is_error`` is the
        same for all rows.

    See Also
    --------
    label_error_scores : Suspicion by a fitted attributor or ProvenanceClassifier.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import RepSimAttributor
    >>> from sklearn_provenance.datasets import flip_labels, load_digits
    >>> from sklearn_provenance.evaluation import label_error_ranking, label_error_scores
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X[:400].reshape(400, -1) / 255
    >>> y, flipped = flip_labels(y[:400], 0.1, random_state=0)
    >>> attributor = RepSimAttributor(LogisticRegression(), candidates="all").fit(X, y)
    >>> scores = label_error_scores(attributor, X, y)
    >>> result = label_error_ranking(scores, flipped)
    >>> result.methods
    ('self-influence', 'disagreement', 'loss')
    >>> bool(result.auroc[1] > 0.9)
    True
    """
    if not isinstance(scores_by_method, Mapping):
        raise TypeError(
            "scores_by_method must be a dict from the name of each method to its scores, got "
            f"{type(scores_by_method).__name__}"
        )
    if LOSS not in scores_by_method:
        raise ValueError(
            f"scores_by_method must hold the baseline {LOSS!r}, which is label_loss(model, X, y); "
            f"it has {list(scores_by_method)}"
        )
    errors = as_indicator(is_error, "is_error")
    if errors.ndim != 1 or errors.all() or not errors.any():
        raise ValueError(
            "is_error must have shape (n_train,) and be True for some rows and not for all; got "
            f"shape {errors.shape} with {np.count_nonzero(errors)} of {errors.size}"
        )
    inspected = tuple(inspected)
    if not all(map(real(0, 1, "both").is_satisfied_by, inspected)):
        raise ValueError(f"inspected must be shares from 0 to 1, got {inspected}")
    scores = []
    for name, values in scores_by_method.items():
        scores.append(check_numbers(values, f"scores_by_method[{name!r}]", errors.shape))
    curves = [found_curve(values, errors) for values in scores]
    methods = tuple(scores_by_method)
    auroc = np.array([roc_auc_score(errors, values) for values in scores])
    found = np.array([np.interp(inspected, *curve) for curve in curves])
    shares = {f"found@{100 * s:g}%": f for s, f in zip(inspected, found.T, strict=True)}
    counts = {"n_errors": int(errors.sum()), "n_rows": len(errors)}
    return Result(
        text_table(
            f"{_NAMES[targets].capitalize()}, {counts['n_errors']} of {len(errors)} rows: AUROC",
            methods,
            [f"  {value:.3f}" for value in auroc],
        ),
        Table({"method": methods}, {"auroc": auroc} | shares | counts),
        _figure,
        methods=methods,
        auroc=auroc,
        inspected=inspected,
        found=found,
        curves=curves,
        targets=targets,
        n_errors=counts["n_errors"],
        n_rows=counts["n_rows"],
    )


def found_curve(scores, is_error):
    """Compute the share of errors found by share of rows inspected, the mean over ties' orders.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Suspicion; the highest is inspected first.
    is_error : ndarray of shape (n,), bool
        Errors.

    Returns
    -------
    inspected, found : ndarray of shape (n_distinct + 1,)
        Ends of the groups of equal scores, from 0 to 1. Between them the curve is straight.
    """
    values, group = np.unique(-scores, return_inverse=True)
    rows = np.bincount(group, minlength=len(values))
    errors = np.bincount(group[is_error], minlength=len(values))
    inspected = np.append(0, np.cumsum(rows)) / rows.sum()
    found = np.append(0, np.cumsum(errors)) / errors.sum()
    return inspected, found


def _figure(result, **style):
    """Draw the share of errors found over the share of rows inspected; the loss is dashed."""
    styles = [{"color": COLORS[i % len(COLORS)]} for i in range(len(result.methods))]
    styles[result.methods.index(LOSS)] = {"color": "k", "linestyle": "--"}
    share = result.n_errors / result.n_rows
    x, y = zip(*result.curves, strict=True)
    return LinesDisplay(
        list(x),
        y,
        names=result.methods,
        styles=styles,
        style=style,
        # A random order, and one that knows the errors.
        references=[
            ([0, 1], [0, 1], {"linestyle": ":"}),
            ([0, share, 1], [0, 1, 1], {"linestyle": ":"}),
        ],
        axes={
            "xlabel": "share of rows inspected",
            "ylabel": f"share of {_NAMES[result.targets]} found",
        },
    )
