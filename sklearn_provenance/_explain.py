"""explain: the natural method for any fitted estimator."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._utils.containers import inside
from ._utils.types import Rows
from .attribution import (
    BM25Attributor,
    BoostInAttributor,
    EKFACAttributor,
    EnsembleAttributor,
    ForestAttributor,
    GradDotAttributor,
    InfluenceAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    LastLayerAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
    single_output,
)
from .attribution.ensembles import UnknownEnsembleError
from .attribution.estimators._influence_network import is_network
from .attribution.features._words import check_words
from .attribution.models._single_output import SingleOutput
from .explanation import Explanation
from .explanation._explain import explain_by_itself, explains_itself
from .explanation._given_training import with_training
from .explanation._instead import Instead

METHODS = {
    "forest_weights": ForestAttributor,
    "influence": InfluenceAttributor,
    "boostin": BoostInAttributor,
    "ensemble": EnsembleAttributor,
    "info_gain": InfoGainAttributor,
    "info_loss": InfoLossAttributor,
    "relatif": RelatIFAttributor,
    "trak": TRAKAttributor,
    "ekfac": EKFACAttributor,
    "last_layer": LastLayerAttributor,
    "grad_dot": GradDotAttributor,
    "repsim": RepSimAttributor,
    "bm25": BM25Attributor,
}
# The first that takes the estimator is natural; the reason says what it has that the others lack.
NATURAL = {
    "forest_weights": "the predictions of {} are weighted sums over its training rows",
    "influence": "{} minimises a smooth objective, so its fit without a row can be computed",
    "boostin": "{} adds up steps of which the share of each training row is known",
    "ensemble": "each part of {} can be computed without a row, and with the parts the whole",
    "info_gain": "it works for any model with gradients or leaves, such as {}",
}


def explain(
    estimator: Any,
    X: Rows,
    k: int = 5,
    *,
    training: tuple | None = None,
    method: str = "auto",
    output: int | None = None,
    show: Rows | None = None,
    show_queries: Rows | None = None,
) -> Explanation:
    """Explain predictions of any fitted estimator by the method that is natural for it.

    An estimator with an ``explain`` method, such as a ProvenanceClassifier, explains itself, also
    inside pipelines, searches and frozen estimators. Any other estimator is explained by an
    attributor, which needs the training rows: a forest by the weights of its training rows, a
    model that minimises a smooth objective by influence, boosting by BoostIn, ensembles of such
    models and neighbors through their parts, and networks by information gain.

    Where an estimator explains itself inside of a pipeline whose steps can be undone, the
    explanation shows the user's units: its ``queries`` are X, and its ``training_data`` maps rows
    back when they are asked for. Where they cannot be undone, both stay in the space of the
    estimator, so that a query and its exemplars remain comparable. Samplers of imbalanced-learn are
    passed over, as they are at prediction.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        Fitted. It is not changed.
    X : array-like of shape (n_queries, ...) or None
        Rows to explain, as the estimator takes them. None explains the training rows, each by the
        others, where the method can.
    k : int, default=5
        Number of exemplars of each query.
    training : tuple, default=None
        The rows that the estimator was fitted on: (X_train, y_train), or with their names
        (X_train, y_train, sample_id). Estimators that explain themselves keep them, and need none;
        rows that are given are compared with those that they name.
    method : {"auto", "forest_weights", "influence", "boostin", "ensemble", "info_gain", \
            "info_loss", "relatif", "trak", "ekfac", "last_layer", "grad_dot", "repsim", "bm25"}, \
            default="auto"
        Method to use; "bm25" needs rows that hold words. Parameters of a method are those of its
        attributor in :mod:`sklearn_provenance.attribution`; use that to change them.
    output : int, default=None
        Which output is explained, from 0, of an estimator that was fitted on several targets, with
        y_train of shape (n_train, n_outputs). As a class is explained by the label that was
        predicted, a number is explained by its output; outputs have no common unit in which they
        could be explained together. A provenance network that explains itself names the same rows
        for all of its outputs, and takes none.
    show : array-like of shape (n_train, ...), default=None
        What the explanation shows in place of the training rows, such as their texts.
    show_queries : array-like of shape (n_queries, ...), default=None
        What it shows in place of the queries, rows like those that are shown of training rows.

    Returns
    -------
    Explanation
        Its ``method`` says which was used, and its ``reason`` why it was chosen.

    Raises
    ------
    TypeError
        If no method takes the estimator, or ``show`` or ``show_queries`` holds no rows, such as a
        single text.
    ValueError
        If ``training`` is missing, or are not the rows that the estimator was fitted on, ``show``
        or ``show_queries`` has another number of rows or lacks some, the method is
        unknown, or it is "bm25" and rows hold no words.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    See Also
    --------
    InfluenceAttributor : What a prediction would be without rows.
    InfoGainAttributor : Rows that a prediction has its certainty from.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance import explain
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(random_state=0).fit(X, y)
    >>> explain(forest, X[:2], k=3, training=(X, y)).method
    'Forest'
    >>> exp = explain(LogisticRegression(max_iter=500).fit(X, y), X[:2], k=3, training=(X, y))
    >>> exp.method
    'influence'
    >>> print(exp.reason)
    LogisticRegression minimises a smooth objective, so its fit without a row can be computed
    """
    name = type(estimator).__name__
    if method != "auto" and method not in METHODS:
        raise ValueError(f"method must be 'auto' or one of {list(METHODS)}, got {method!r}")
    if method == "auto" and explains_itself(estimator):
        if output is not None:
            raise ValueError(
                f"output must be None, because {name} explains itself and names the same rows for "
                f"all of its outputs; got {output!r}. A method explains one output"
            )
        explanation = explain_by_itself(estimator, X, k)
        n_train = None
        if explanation.training_data is not None:
            n_train = explanation.training_data.shape[0]
        instead = Instead.of(X, show, show_queries, n_train, explanation.n_queries)
        if training is not None:
            _check_training(training)
            explanation = with_training(explanation, X, training, name)
        return instead.applied_to(explanation)
    if training is None:
        raise ValueError(
            f"explain needs the rows that {name} was fitted on, which it does not keep; pass "
            "training=(X_train, y_train)"
        )
    _check_training(training)
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    estimator, training = _one_output(estimator, training, output)
    if method == "bm25":
        advice = 'Other rows are compared by a method that looks at the model, such as "repsim"'
        check_words(training[0], 'X_train of method="bm25"', advice)
    if method != "auto":
        attributor = METHODS[method](estimator).fit(*training)
        reason = f'method="{method}" was asked for'
    else:
        attributor, natural = _natural(estimator, training)
        reason = _reason(attributor, natural, output)
    explanation = attributor.explain(X, k=k, show=show, show_queries=show_queries)
    return explanation._replace(reason=reason)


def _check_training(training):
    if not isinstance(training, tuple) or len(training) not in (2, 3):
        raise ValueError(
            "training must be a tuple (X_train, y_train) or (X_train, y_train, sample_id), got "
            f"{_shape_of(training)}"
        )


def _natural(estimator, training):
    """Return the fitted attributor that is natural for an estimator, and its name."""
    *specific, general = NATURAL
    refusal = None  # why an ensemble cannot be explained through its parts
    for name in specific:
        try:
            # Influence of rows on a network is a prediction, and no fit without them.
            if name == "influence" and is_network(estimator):
                continue
            return METHODS[name](estimator).fit(*training), name
        except UnknownEnsembleError:
            continue
        except TypeError as error:  # of another family
            if name == "ensemble":
                refusal = error
        except ValueError as error:
            if name != "ensemble":
                error.add_note('method="info_gain" is another method for this estimator')
            raise
    try:
        return METHODS[general](estimator).fit(*training), general
    except TypeError as error:
        # What stands in the way of an ensemble says more than that it is no network.
        raise refusal or error from None


def _one_output(estimator, training, output):
    """Return the output of an estimator that is explained, and training rows with its targets."""
    X, y, *names = training
    n_outputs = 1
    if np.ndim(y) == 2:
        n_outputs = np.shape(y)[1]
    if output is None:
        if n_outputs > 1:
            raise ValueError(
                f"{type(estimator).__name__} was fitted on {n_outputs} targets; pass output=, the "
                "number from 0 of the one to explain"
            )
        return estimator, training
    if n_outputs < 2:
        raise ValueError(
            f"output={output!r} needs training=(X_train, y_train) with y_train of shape (n_train, "
            f"n_outputs); got shape {np.shape(y)}"
        )
    return single_output(estimator, output), (X, np.asarray(y)[:, output], *names)


def _reason(attributor, method, output):
    """Say why a method was chosen, and what it holds fixed."""
    name = type(_innermost(attributor.estimator_)).__name__
    if output is not None:
        name = f"output {output} of {name}"
    if method != "ensemble":
        return NATURAL[method].format(name)
    if attributor.kind_ == "weights":  # as in a forest
        return NATURAL["forest_weights"].format(name)
    reason = NATURAL["ensemble"].format(name)
    if not attributor.assumptions_:
        return reason
    fixed = [
        assumption.removesuffix(" are held fixed").removesuffix(" is held fixed")
        for assumption in attributor.assumptions_
    ]
    return f"{reason}; held fixed: {', '.join(fixed)}"


def _innermost(estimator):
    """Return what predicts inside of pipelines, searches and frozen estimators."""
    inner = inside(estimator)
    if isinstance(estimator, SingleOutput):
        inner = estimator.estimator
    if inner is None:
        return estimator
    return _innermost(inner)


def _shape_of(training):
    """Say what was given as training rows."""
    if isinstance(training, tuple):
        return f"a tuple of {len(training)}"
    return f"a {type(training).__name__}"
