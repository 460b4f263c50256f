"""How suspicious the label of every training row is, in several ways."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import validate_params
from torch import nn

from .._utils.arguments import (
    ROWS,
    Instance,
    check_labels,
    check_numbers,
    check_weights,
    whole,
)
from .._utils.fitted import check_fitted, predicts_numbers
from .._utils.labels import label_columns
from .._utils.rows import n_rows, take_rows
from .._utils.types import Rows, Targets
from ..explanation import Explanation
from ..tangent import TangentModel
from ._training_rows import check_same_rows
from .models import adapt

# The name of the baseline.
LOSS = "loss"
# Scores that are held at once, as float64.
_BLOCK = 2**24


@validate_params(
    {"fitted": [Instance("explain")], "X": [ROWS], "y": [ROWS], "k": [whole()]},
    prefer_skip_nested_validation=False,
)
def label_error_scores(
    fitted: Any, X: Rows, y: Targets, *, k: int = 10
) -> dict[str, NDArray[np.float64]]:
    """Score every training row by how suspicious its label or target is, in several ways.

    Parameters
    ----------
    fitted : attributor, ProvenanceClassifier or ProvenanceRegressor
        Fitted to ``X`` and ``y``; an attributor of a classifier with ``candidates="all"``, since
        exemplars of the row's own class never disagree.
    X : array-like of shape (n_train, ...)
        Its training rows.
    y : array-like of shape (n_train,)
        Their labels or targets as given, wrong or not.
    k : int, default=10
        Exemplars of each row that are asked for their labels.

    Returns
    -------
    dict of str to ndarray of shape (n_train,)
        Suspicion as :func:`self_influence` ("self-influence"), :func:`label_disagreement`
        ("disagreement") and :func:`label_loss` ("loss") give it, higher where the label is more
        likely to be wrong. Where targets are numbers, :func:`target_disagreement` takes the place
        of the second. With an InfluenceAttributor it does not find wrong targets, because
        influence names rows that pull the output up, and not similar rows.

    Raises
    ------
    ValueError
        If ``fitted`` was fitted to other rows, or its candidates are of the same class.

    See Also
    --------
    sklearn_provenance.evaluation.label_error_ranking : Measures such scores where errors are known.
    """
    check_fitted(fitted)
    if getattr(fitted, "candidates_", "all") == "same_class":
        raise ValueError(
            "With candidates=\"same_class\" no exemplar's label differs from the row's: use "
            'candidates="all".'
        )
    influence = self_influence(fitted, X, y)
    explanation = fitted.explain(k=k)
    if explanation.targets == "numbers":
        disagreement = target_disagreement(explanation, y)
    else:
        disagreement = label_disagreement(explanation, y)
    return {
        "self-influence": influence,
        "disagreement": disagreement,
        LOSS: label_loss(fitted, X, y),
    }


@validate_params(
    {"fitted": [Instance("attribute"), Instance("index_proba")], "X": [ROWS], "y": [ROWS]},
    prefer_skip_nested_validation=False,
)
def self_influence(fitted: Any, X: Rows, y: Targets) -> NDArray[np.float64]:
    """Score of every training row for its own prediction, at its given label.

    A row with a wrong label is fitted without the help of others. What that does to the score is
    up to the method: influence (TRAK, LastLayer) is large where the loss is; the label logit's
    information and the cosine of RepSim do not depend on the given label, and say nothing.

    What a row does to a regressor's output has the sign of its residual. A target that is too large
    is as suspicious as one that is too small, so that the size is returned.

    Parameters
    ----------
    fitted : attributor, ProvenanceClassifier or ProvenanceRegressor
        Fitted to ``X`` and ``y``.
    X : array-like of shape (n_train, ...)
        Its training rows.
    y : array-like of shape (n_train,)
        Their labels as given.

    Returns
    -------
    ndarray of shape (n_train,)
        Suspicion: ``attribute(X, y)`` of each row to itself, its absolute value for a regressor,
        or the probability that a provenance network gives to the row's own index.

    Raises
    ------
    ValueError
        If ``fitted`` was fitted to other rows, as far as their number, and the labels and some of
        the rows that it holds, tell; or if it is a network with ``index_subset``.

    Notes
    -----
    A provenance network that mixes the targets of a class (``alpha`` near 1) shares the probability
    of a row among those like it, of which a row with a wrong label has few. This takes training
    until the network knows its rows; before that, rows with a wrong label have the smallest
    probabilities, and the ranking is upside down.
    """
    check_fitted(fitted)
    n = n_rows(X)
    y = check_same_rows({type(fitted).__name__: fitted}, X, y)
    if len(getattr(fitted, "index_", range(n))) < n:
        raise ValueError(
            f"{len(fitted.index_)} of the {n} training rows have an output of the index branch, "
            "which says nothing of the others: fit with index_subset=None"
        )
    suspicion = np.empty(n)
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        part = take_rows(X, rows)
        if hasattr(fitted, "attribute"):
            scores = fitted.attribute(part, y[rows])
        else:
            scores = fitted.index_proba(part)
        if scores.shape[1] != n:
            raise ValueError(
                f"X has {n} rows, but {type(fitted).__name__} was fitted to {scores.shape[1]}: "
                "give all of its training rows."
            )
        suspicion[rows] = scores[np.arange(len(rows)), rows]
    if _predicts_numbers(fitted):
        return np.abs(suspicion)
    return suspicion


def _predicts_numbers(fitted):
    """Whether the targets of a fitted attributor or model are numbers."""
    if hasattr(fitted, "attribute") and hasattr(fitted, "training_"):
        return getattr(fitted, "classes_", None) is None
    return predicts_numbers(fitted)


@validate_params(
    {"explanation": [Explanation], "y": [ROWS], "weighted": ["boolean"]},
    prefer_skip_nested_validation=False,
)
def label_disagreement(
    explanation: Explanation, y: Targets, *, weighted: bool = True
) -> NDArray[np.float64]:
    """Compute the share of each row's exemplars whose label differs from the row's.

    Parameters
    ----------
    explanation : Explanation
        Of every training row by the others, ``explain(k=...)`` without queries, with
        ``candidates="all"``.
    y : array-like of shape (n_train,)
        Labels of the rows as given.
    weighted : bool, default=True
        Whether exemplars count by their scores. Negative scores count nothing; where no score is
        positive, all exemplars count the same.

    Returns
    -------
    ndarray of shape (n_train,)
        From 0 to 1; nan for a row without exemplars.

    Raises
    ------
    ValueError
        If there is not one label for each row explained, or the explanation has no labels, or
        numbers.
    """
    y = check_labels(y, "y", explanation.n_queries, "the explanation")
    if explanation.exemplar_labels is None:
        raise ValueError("The explanation has no exemplar_labels to compare with y.")
    if explanation.targets == "numbers":
        raise ValueError(
            "label_disagreement compares labels, but the targets of the explanation are numbers; "
            "use target_disagreement"
        )
    differs = explanation.exemplar_labels != y[:, None]
    return (_shares(explanation, weighted) * differs).sum(axis=1)


@validate_params(
    {"explanation": [Explanation], "y": [ROWS], "weighted": ["boolean"]},
    prefer_skip_nested_validation=False,
)
def target_disagreement(
    explanation: Explanation, y: Targets, *, weighted: bool = True
) -> NDArray[np.float64]:
    """Measure how far each row's target is from the mean of its exemplars' targets.

    Parameters
    ----------
    explanation : Explanation
        Of every training row by the others, ``explain(k=...)`` without queries, by a regressor's
        attributor.
    y : array-like of shape (n_train,)
        Targets of the rows as given.
    weighted : bool, default=True
        Whether exemplars count by their scores. Negative scores count nothing; where no score is
        positive, all exemplars count the same.

    Returns
    -------
    ndarray of shape (n_train,)
        Absolute differences, in units of the target; nan for a row without exemplars.

    Raises
    ------
    ValueError
        If there is not one target for each row explained, or the explanation has labels, or no
        targets.

    See Also
    --------
    label_disagreement : The same for labels of classes.

    Notes
    -----
    Rows that are similar, as forests, RepSim and information name them, have similar targets.
    Influence names the rows that pull the output up, whose targets are larger than the row's.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance import Explanation
    >>> from sklearn_provenance.evaluation import target_disagreement
    >>> explanation = Explanation([[1, 2]], [[3.0, 1.0]], exemplar_labels=[[10.0, 20.0]])
    >>> target_disagreement(explanation, [15.0])  # their mean is 12.5
    array([2.5])
    """
    y = check_labels(y, "y", explanation.n_queries, "the explanation")
    y = check_numbers(y, "y", (explanation.n_queries,))
    if explanation.exemplar_labels is None or explanation.targets != "numbers":
        raise ValueError(
            "explanation must have numbers as exemplar_labels, to compare with y; use "
            "label_disagreement for labels of classes"
        )
    shares = _shares(explanation, weighted)
    targets = np.where(explanation.indices >= 0, explanation.exemplar_labels, 0.0)
    return np.abs((shares * targets).sum(axis=1) - y)


def _shares(explanation, weighted):
    """Compute shares (n_queries, k) of exemplars, which add up to 1; nan where there are none."""
    valid = explanation.indices >= 0
    weights = valid.astype(np.float64)
    if weighted:
        positive = np.where(valid, explanation.scores, 0).clip(min=0)
        usable = positive.any(axis=1)
        weights[usable] = positive[usable]
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(axis=1, keepdims=True)


@validate_params(
    {
        "model": [
            nn.Module,
            Instance("predict_proba"),
            Instance("attribute"),
            Instance("predict"),
        ],
        "X": [ROWS],
        "y": [ROWS],
    },
    prefer_skip_nested_validation=False,
)
def label_loss(model: Any, X: Rows, y: Targets) -> NDArray[np.float64]:
    """Compute the loss of every row at its given label or target, the baseline of label errors.

    Parameters
    ----------
    model : classifier, regressor, torch.nn.Module or attributor
        A fitted classifier with ``predict_proba``, a fitted regressor, a network that maps a batch
        to logits, with classes counted from 0, or an attributor of one of these.
    X : array-like of shape (n, ...)
        Rows as the model takes them.
    y : array-like of shape (n,)
        Their labels or targets as given.

    Returns
    -------
    ndarray of shape (n,)
        -log p(y | x) in nats. Probabilities below the smallest normal number of their type count
        as that. For a regressor, squares of the residuals.

    Raises
    ------
    TypeError
        If the model is a classifier that gives no probabilities.
    ValueError
        If a label is none of the model's classes.
    """
    y = check_labels(y, "y", n_rows(X))
    if hasattr(model, "attribute"):
        check_fitted(model)
    if _predicts_numbers(model) and hasattr(model, "predict"):
        return _squared_residuals(model, X, y)
    classes = getattr(model, "classes_", None)
    model = getattr(model, "estimator_", model) if hasattr(model, "attribute") else model
    if isinstance(model, nn.Module):
        check_weights(model, "model")
        fitted = adapt(model)
        inputs = fitted.inputs(X)
        fitted = fitted.examined(inputs)
        inputs = take_rows(inputs, np.arange(n_rows(X)))  # a module may write to its input
        logits = TangentModel(fitted.module, forward=fitted.forward).logits(inputs)
        log_p = torch.log_softmax(logits.double(), 1).cpu().numpy()
        classes = fitted.classes
    elif hasattr(model, "predict_proba"):
        p = np.asarray(model.predict_proba(X))
        log_p = np.log(np.maximum(p, np.finfo(p.dtype).tiny)).astype(np.float64)
        classes = model.classes_ if classes is None else classes
    else:
        raise TypeError(
            f"model must give probabilities, but {type(model).__name__} has no predict_proba"
        )
    if np.isnan(log_p).any():
        raise ValueError(
            "model must give finite outputs, but those of "
            f"{np.isnan(log_p).any(1).sum()} rows are NaN or infinite: has its training diverged?"
        )
    columns = label_columns(y, len(log_p), np.asarray(classes))
    return -log_p[np.arange(len(log_p)), columns]


def _squared_residuals(model, X, y):
    """Compute squares (n,) of differences between targets and what a regressor predicts."""
    predicted = np.asarray(model.predict(X), dtype=np.float64)
    if predicted.size != len(y):
        raise ValueError(
            f"model must predict one number for each row, got predictions of shape "
            f"{predicted.shape}"
        )
    residuals = check_numbers(y, "y", y.shape) - predicted.ravel()
    if not np.isfinite(residuals).all():
        raise ValueError(
            f"model must predict finite numbers, got {(~np.isfinite(residuals)).sum()} that are "
            "nan or infinite: has its training diverged?"
        )
    return np.square(residuals)
