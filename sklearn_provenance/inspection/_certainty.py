"""How sure a classifier is of a row: confidence and entropy, without an n x N matrix."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ..explanation._explain import _open
from ..provenance import ProvenanceClassifier
from ..provenance._inference import _class_sums, _log_proba, batches, store


def open_provenance(estimator):
    """The fitted ProvenanceClassifier in an estimator, and the steps in front of it.

    Parameters
    ----------
    estimator : object
        ProvenanceClassifier, or Pipeline, search or FrozenEstimator around one.

    Returns
    -------
    classifier : ProvenanceClassifier or None
        None where there is none.
    pipelines : list of Pipeline
        What X passes through on the way to it, the first step first.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    """
    try:
        found, pipelines = _open(estimator)
    except TypeError:  # nothing inside explains
        return None, []
    if not isinstance(found, ProvenanceClassifier):
        return None, []
    check_is_fitted(found)
    return found, pipelines


def class_certainty(classifier, X):
    """Log-confidence and entropy of the class probabilities.

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
            f"classifiers must give finite probabilities, but those of {type(classifier).__name__} "
            "are NaN: has its training diverged?"
        )
    return tuple(values.numpy() for values in certainty(torch.as_tensor(log_p)))


def index_certainty(classifier, X=None):
    """Log-confidence and entropy of the index probabilities, a batch of rows at a time.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted.
    X : array-like of shape (n, ...), default=None
        Rows as it takes them. None takes the training rows, each without its own index: the
        probabilities of the others are normalised again.

    Returns
    -------
    log_confidence, entropy : ndarray of shape (n,)
        As :func:`certainty` gives them, of the probabilities that ``index_proba`` has: under hard
        routing those inside the predicted class. nan where no training row is left.
    """
    rows = classifier._fit_X if X is None else classifier._rows(X)
    net, index = classifier.net_, classifier._index
    module = net.module_
    by_class = _class_sums(index, net.device)
    members = torch.as_tensor(index.members, device=net.device)
    values = np.empty((2, len(rows)))
    for batch, numbers, x in batches(module, rows, index.n_outputs):
        own = None
        if X is None:
            own = torch.as_tensor(index.output_of_row[numbers], device=net.device)
        log_p = _log_proba(module, members, by_class, x, classifier.routing, own)[0]
        for target, found in zip(values, certainty(log_p), strict=True):
            store(target, batch, found)
    return tuple(values)


def certainty(log_p):
    """Log-confidence and entropy of rows of probabilities.

    Both are computed from all probabilities but the largest. That one rounds to 1 long before
    what it lacks rounds to 0, and rows would be tied that can be told apart.

    Parameters
    ----------
    log_p : Tensor of shape (n, n_outcomes)
        Log-probabilities in nats, -inf for outcomes that cannot be.

    Returns
    -------
    log_confidence : Tensor of shape (n,), float64
        Log of the largest probability, at most 0.
    entropy : Tensor of shape (n,), float64
        In nats.
    """
    top, at = log_p.max(1, keepdim=True)
    ratio = (log_p - top).exp().scatter_(1, at, 0.0)  # p_j / p_top of all others
    # With r_j = p_j / p_top and R their sum: log p_top = -log(1 + R), and the entropy is
    # log(1 + R) - sum_j r_j log r_j / (1 + R).
    rest = ratio.sum(1, dtype=torch.float64)
    spread = torch.special.entr(ratio).sum(1, dtype=torch.float64)
    return -rest.log1p(), rest.log1p() + spread / (1 + rest)
