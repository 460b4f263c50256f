"""The provenance network in an estimator, and how sure any classifier is of a row."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ..explanation._explain import unwrap
from ..information._certainty import certainty
from ..provenance import ProvenanceClassifier


def open_provenance(estimator):
    """Return the fitted ProvenanceClassifier in an estimator, and the steps in front of it.

    Parameters
    ----------
    estimator : object
        ProvenanceClassifier, or Pipeline, search or FrozenEstimator around one.

    Returns
    -------
    classifier : ProvenanceClassifier or None
        None where there is none.
    pipelines : list of Pipeline
        Steps that X passes through on the way to it, in their order.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    try:
        found, pipelines = unwrap(estimator)
    except TypeError:  # nothing inside explains
        return None, []
    if not isinstance(found, ProvenanceClassifier):
        return None, []
    check_is_fitted(found)
    return found, pipelines


def class_certainty(classifier, X):
    """Compute log-confidence and entropy of the class probabilities.

    Parameters
    ----------
    classifier : classifier
        Fitted, with ``predict_proba``.
    X : array-like of shape (n, ...)
        Rows as it takes them.

    Returns
    -------
    log_confidence, entropy : ndarray of shape (n,)
        As :func:`certainty` gives them.
    """
    with np.errstate(divide="ignore"):
        log_p = np.log(classifier.predict_proba(X))
    if np.isnan(log_p).any():
        raise ValueError(
            f"classifiers must give finite probabilities, got NaN from "
            f"{type(classifier).__name__}. Its training may have diverged: fit it again, with a "
            "smaller learning rate"
        )
    return tuple(values.numpy() for values in certainty(torch.as_tensor(log_p)))
