"""Membership inference: does a classifier give away which rows it was trained on?"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import _num_samples
from tqdm.auto import tqdm

from .._utils.arguments import ROWS
from .._utils.types import Rows
from ._certainty import class_certainty, open_provenance
from ._membership_result import MembershipResult
from ._shared import open_classifier

STATISTICS = ("confidence", "entropy")


@validate_params(
    {"X_members": [ROWS], "X_nonmembers": [ROWS], "verbose": ["verbose"]},
    prefer_skip_nested_validation=False,
)
def membership_inference(
    classifiers: Any, X_members: Rows, X_nonmembers: Rows, *, verbose: bool = False
) -> MembershipResult:
    """Tell training rows from others by how sure classifiers are of them.

    This is the attack of [1]_: a row of which the classifier is surer is more likely to be a
    member. No label is used. The index branch was trained to recognise its rows. To see how much
    more it gives away than any classifier does, compare with a classifier without an index branch
    that was trained in the same way, such as a ProvenanceClassifier with ``lambda_index=0``.

    Parameters
    ----------
    classifiers : classifier or dict of str to classifier
        Classifiers that were fitted to rows among which are the members. A ProvenanceClassifier,
        alone or inside a Pipeline, search or FrozenEstimator, is attacked through both branches.
        Any other classifier with ``predict_proba``, and one with ``lambda_index=0``, is attacked
        through its class probabilities.
    X_members : array-like of shape (n_members, ...)
        Rows that the classifiers were trained on; with ``index_subset``, rows in ``index_``.
    X_nonmembers : array-like of shape (n_nonmembers, ...)
        Rows that they were not trained on, from the same source.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    MembershipResult
        Area under the ROC curve of each attack, which is one statistic of one branch of one
        classifier.

    Raises
    ------
    TypeError
        If a classifier has no ``predict_proba``.
    ValueError
        If there are fewer than two members or non-members, or a bare ProvenanceClassifier was not
        trained on some members or has no output for them.

    Warns
    -----
    UserWarning
        If some non-members equal training rows of a bare ProvenanceClassifier. Equal rows cannot be
        told apart, which draws areas towards one half.

    See Also
    --------
    MembershipResult.from_predictions : Measures scores of other attacks.

    Notes
    -----
    The statistics are the confidence, which is the largest probability, and the negative entropy.
    In a class-conditional network with hard routing, those of the index branch are of the
    probabilities inside the predicted class, as in the paper. A single branch has no class branch:
    its class probabilities are sums of index probabilities.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, sections 5.4 and 7.7.

    Examples
    --------
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.datasets import load_digits
    >>> from sklearn_provenance.inspection import membership_inference
    >>> X, y = load_digits("test", return_X_y=True)
    >>> X = X.reshape(len(X), -1)
    >>> clf = ProvenanceClassifier(width="small", max_epochs=30, random_state=0)
    >>> result = membership_inference(clf.fit(X[::2], y[::2]), X[::2], X[1::2])
    >>> index, class_ = result.select(statistic="confidence")
    >>> bool(result.auc[index] > 0.8 > result.auc[class_])
    True
    """
    if not isinstance(classifiers, Mapping):
        classifiers = {"": classifiers}
    if not classifiers:
        raise ValueError("classifiers must hold one or more classifiers, got none")
    for name, X in {"X_members": X_members, "X_nonmembers": X_nonmembers}.items():
        if _num_samples(X) < 2:
            raise ValueError(f"{name} must have 2 or more rows, got {_num_samples(X)}")
    attacks = []
    for name, classifier in classifiers.items():
        found, _ = open_provenance(classifier)
        if isinstance(classifier, type) or not hasattr(classifier, "predict_proba"):
            raise TypeError(
                "classifiers must have predict_proba, through which they are attacked, got "
                f"{classifier!r} as {name!r}"
            )
        if found is classifier:
            _check_rows(name, found, X_members, X_nonmembers)
        if found is not None and found.lambda_index > 0:
            attacks.append((name, "index", classifier, _index_certainty))
        attacks.append((name, "class", classifier, class_certainty))

    scores = []
    with tqdm(total=2 * len(attacks), desc="attacks", disable=not verbose) as progress:
        for X in (X_members, X_nonmembers):
            found = []
            for _, _, classifier, certainty in attacks:
                log_confidence, entropy = certainty(classifier, X)
                found += [log_confidence, -entropy]  # in the order of STATISTICS
                progress.update()
            scores.append(np.array(found))  # (n_attacks, n_rows)
    names = [
        (name, branch, statistic) for name, branch, _, _ in attacks for statistic in STATISTICS
    ]
    members, nonmembers = scores
    return MembershipResult(names, members, nonmembers)


def _index_certainty(classifier, X):
    """Compute log-confidence and entropy of the index probabilities."""
    classifier, X = open_classifier(classifier, X)
    return classifier.index_certainty(X)


def _check_rows(name, classifier, X_members, X_nonmembers):
    """Raise unless members are rows with an output; warn of non-members that are training rows."""
    members = classifier.find_training_rows(X_members)
    trained = classifier.find_training_rows(classifier.training_.X)  # of equal rows the first
    if classifier.lambda_index > 0:
        trained = trained[classifier.index_]
    n_others = int((~np.isin(members, trained)).sum())
    if n_others:
        raise ValueError(
            f"X_members must hold training rows, but {n_others} of {_num_samples(X_members)} rows "
            f"of X_members have no output (index_) in {name or type(classifier).__name__!r}. Pass "
            "rows of the X that fit got, unchanged"
        )
    twins = int((classifier.find_training_rows(X_nonmembers) >= 0).sum())
    if twins:
        warnings.warn(
            f"{twins} of {_num_samples(X_nonmembers)} rows of X_nonmembers equal training rows of "
            f"{name or type(classifier).__name__!r}",
            UserWarning,
            stacklevel=3,
        )
