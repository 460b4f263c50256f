"""Membership inference: does a classifier give away which rows it was trained on?"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import _num_samples
from tqdm.auto import tqdm

from .._utils.arguments import ROWS, real, whole
from .._utils.hashing import row_digests
from .._utils.tables import frame
from ._certainty import class_certainty, index_certainty, open_provenance
from ._membership_display import MembershipDisplay
from ._roc import auc_and_covariance
from ._shared import open_classifier

STATISTICS = ("confidence", "entropy")


@validate_params(
    {"X_members": [ROWS], "X_nonmembers": [ROWS], "verbose": ["verbose"]},
    prefer_skip_nested_validation=False,
)
def membership_inference(classifiers, X_members, X_nonmembers, *, verbose=0):
    """Tell training rows from others by how sure classifiers are of them.

    The attack of [1]_: a row of which the classifier is surer is more likely to be a member. No
    label is used. The index branch was trained to know its rows; what this adds to what any
    classifier gives away is seen beside a classifier without one, trained in the same way, such as
    a ProvenanceClassifier with ``lambda_index=0``.

    Parameters
    ----------
    classifiers : classifier or dict of str to classifier
        Fitted to rows among which are the members. A ProvenanceClassifier, alone or inside a
        Pipeline, search or FrozenEstimator, is attacked through both branches; any other
        classifier with ``predict_proba``, and one with ``lambda_index=0``, through its class
        probabilities.
    X_members : array-like of shape (n_members, ...)
        Rows that the classifiers were trained on; with ``index_subset``, rows in ``index_``.
    X_nonmembers : array-like of shape (n_nonmembers, ...)
        Rows that they were not trained on, from the same source.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    MembershipResult
        Area under the ROC curve of each attack, a classifier, branch and statistic each.

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
    MembershipDisplay.from_estimator : Draws ROC curves at once.

    Notes
    -----
    The statistics are the confidence, the largest probability, and the entropy with its sign
    turned. In a class-conditional network with hard routing, those of the index branch are of the
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
    for name, X in (("X_members", X_members), ("X_nonmembers", X_nonmembers)):
        if _num_samples(X) < 2:
            raise ValueError(f"{name} has {_num_samples(X)} rows; give 2 or more.")
    attacks = []
    for name, classifier in classifiers.items():
        found = open_provenance(classifier)[0]
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
                found += [log_confidence, -entropy]
                progress.update()
            scores.append(np.array(found))
    return MembershipResult.from_scores(
        [(*attack[:2], statistic) for attack in attacks for statistic in STATISTICS], *scores
    )


def _index_certainty(classifier, X):
    return index_certainty(*open_classifier(classifier, X))


def _check_rows(name, classifier, X_members, X_nonmembers):
    """Raise unless members are rows with an output; warn of non-members that are training rows."""
    known = _names(classifier._fit_X)
    named = {known[i] for i in classifier.index_} if classifier.lambda_index > 0 else set(known)
    strangers = sum(row not in named for row in _names(classifier._rows(X_members)))
    if strangers:
        raise ValueError(
            f"{strangers} of {_num_samples(X_members)} rows of X_members are no training rows with "
            f"an output (index_) of {name or type(classifier).__name__!r}. Give rows of the X that "
            "fit got, as they were."
        )
    known = set(known)
    twins = sum(row in known for row in _names(classifier._rows(X_nonmembers)))
    if twins:
        warnings.warn(
            f"{twins} of {_num_samples(X_nonmembers)} rows of X_nonmembers equal training rows of "
            f"{name or type(classifier).__name__!r}",
            UserWarning,
            stacklevel=3,
        )


def _names(rows):
    return [digest.tobytes() for digest in row_digests(rows)]


@dataclass(frozen=True, eq=False, repr=False)
class MembershipResult:
    """How well members are told from non-members, for several attacks on the same rows.

    Parameters
    ----------
    attacks : tuple of (str, str, str)
        Classifier ("" if it came alone), branch ("index" or "class") and statistic ("confidence"
        or "entropy") of each attack.
    members : ndarray of shape (n_attacks, n_members)
        Scores of members, higher where membership is more likely: the logarithm of the confidence,
        or the negative entropy, in nats.
    nonmembers : ndarray of shape (n_attacks, n_nonmembers)
        Scores of non-members.
    auc : ndarray of shape (n_attacks,)
        Share of pairs of a member and a non-member in which the member has the higher score; ties
        count one half.
    covariance : ndarray of shape (n_attacks, n_attacks)
        DeLong's estimate of the covariance of the areas, over draws of members and non-members.
        Trainings with other seeds are not in it.
    """

    attacks: tuple
    members: np.ndarray
    nonmembers: np.ndarray
    auc: np.ndarray
    covariance: np.ndarray

    @classmethod
    def from_scores(cls, attacks, members, nonmembers):
        """Measure scores.

        Parameters
        ----------
        attacks : sequence of (str, str, str)
            Classifier, branch and statistic of each attack.
        members : ndarray of shape (n_attacks, n_members)
            Scores of members, higher where membership is more likely.
        nonmembers : ndarray of shape (n_attacks, n_nonmembers)
            Scores of non-members.

        Returns
        -------
        MembershipResult
            With areas and their covariance.
        """
        return cls(tuple(attacks), members, nonmembers, *auc_and_covariance(members, nonmembers))

    @property
    def standard_errors(self):
        """Standard errors of the areas (n_attacks,); 0 where members and non-members part."""
        return np.sqrt(np.diag(self.covariance))

    def select(self, *, classifier=None, branch=None, statistic=None):
        """Return the numbers of attacks.

        Parameters
        ----------
        classifier, branch, statistic : str, default=None
            What the attacks have to be; None takes all.

        Returns
        -------
        list of int
            Their places in ``attacks``.
        """
        wanted = (classifier, branch, statistic)
        for place, name in enumerate(("classifier", "branch", "statistic")):
            known = {attack[place] for attack in self.attacks}
            if wanted[place] is not None and wanted[place] not in known:
                raise ValueError(f"{name} must be among {sorted(known)}, got {wanted[place]!r}")
        return [
            number
            for number, attack in enumerate(self.attacks)
            if all(w in (None, a) for w, a in zip(wanted, attack, strict=True))
        ]

    def difference(self, first, second):
        """Return the difference of two areas, with the standard error for the same rows.

        Parameters
        ----------
        first, second : int
            Numbers of attacks.

        Returns
        -------
        difference, standard_error : float
            AUC of the first less that of the second.
        """
        contrast = np.zeros(len(self.auc))
        contrast[self._number(first, "first")] += 1
        contrast[self._number(second, "second")] -= 1
        variance = contrast @ self.covariance @ contrast
        return float(contrast @ self.auc), float(np.sqrt(max(variance, 0.0)))

    def curve(self, attack):
        """Return the ROC curve of an attack.

        Parameters
        ----------
        attack : int
            Its number.

        Returns
        -------
        false_positive_rate, true_positive_rate : ndarray of shape (n_thresholds,)
            Shares of non-members and of members whose score reaches a threshold, from 0 to 1.
        """
        attack = self._number(attack, "attack")
        scores = np.concatenate([self.members[attack], self.nonmembers[attack]])
        is_member = np.arange(len(scores)) < self.members.shape[1]
        return roc_curve(is_member, scores)[:2]

    def _number(self, number, name):
        if not whole(0, len(self.attacks)).is_satisfied_by(number) or number == len(self.attacks):
            raise ValueError(
                f"{name} must be the number of an attack, from 0 to {len(self.attacks) - 1}, got "
                f"{number!r}"
            )
        return number

    def true_positive_rate(self, false_positive_rate=0.01):
        """Return the share of members found while few non-members are taken for members.

        Parameters
        ----------
        false_positive_rate : float, default=0.01
            Share of non-members taken for members. Few members, whom an attack is sure of, may be
            in danger while the area under the curve is near one half.

        Returns
        -------
        ndarray of shape (n_attacks,)
            Shares, between the points of the curve by a straight line.
        """
        if not real(0, 1, "both").is_satisfied_by(false_positive_rate):
            raise ValueError(
                f"false_positive_rate must be a number from 0 to 1, got {false_positive_rate!r}"
            )
        curves = map(self.curve, range(len(self.attacks)))
        return np.array([np.interp(false_positive_rate, *curve) for curve in curves])

    def to_frame(self):
        """Return one line for each attack.

        Returns
        -------
        pandas.DataFrame
            Columns `classifier`, `branch`, `statistic`, `auc`, `auc_se` (DeLong), `tpr@1%fpr`,
            `n_members` and `n_nonmembers`.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        names = zip(*self.attacks, strict=True)
        columns = dict(zip(("classifier", "branch", "statistic"), map(list, names), strict=True))
        columns |= {
            "auc": self.auc,
            "auc_se": self.standard_errors,
            "tpr@1%fpr": self.true_positive_rate(0.01),
            "n_members": self.members.shape[1],
            "n_nonmembers": self.nonmembers.shape[1],
        }
        return frame(columns, "to_frame")

    def plot(self, *, statistic="confidence", ax=None, **kwargs):
        """Draw the ROC curves of one statistic.

        Parameters
        ----------
        statistic : {"confidence", "entropy"}, default="confidence"
            Which.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.plot``.

        Returns
        -------
        MembershipDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        return MembershipDisplay.from_result(self, statistic=statistic, ax=ax, **kwargs)

    def __repr__(self):
        lines = [
            f"Membership inference, {self.members.shape[1]} members, "
            f"{self.nonmembers.shape[1]} non-members: AUC ± standard error"
        ]
        names = [", ".join(filter(None, (c, f"{b} branch", s))) for c, b, s in self.attacks]
        width = max(map(len, names))
        for name, auc, error in zip(names, self.auc, self.standard_errors, strict=True):
            lines.append(f"{name:<{width}}  {auc:.3f} ± {error:.3f}")
        return "\n".join(lines)
