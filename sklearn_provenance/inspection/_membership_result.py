"""What membership inference found: areas under ROC curves, and their figure."""

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import roc_curve

from .._utils.arguments import real, whole
from .._utils.displays import LinesDisplay
from .._utils.plotting import COLORS
from .._utils.results import Result
from .._utils.tables import Table, plus_minus, text_table
from ._roc import auc_and_covariance


class MembershipResult(Result):
    """How well members are told from non-members, for several attacks on the same rows.

    :func:`membership_inference` and :meth:`from_predictions` make it.
    ``to_frame()`` has a line for each attack, with DeLong's standard error of the area.
    ``plot(statistic="entropy")`` draws other ROC curves than those of the confidence; curves of
    index branches are solid, all others dashed.

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

    Attributes
    ----------
    auc : ndarray of shape (n_attacks,)
        Share of pairs of a member and a non-member in which the member has the higher score; ties
        count one half.
    covariance : ndarray of shape (n_attacks, n_attacks)
        DeLong's estimate of the covariance of the areas, over draws of members and non-members.
        Trainings with other seeds are not in it.
    standard_errors : ndarray of shape (n_attacks,)
        Standard errors of the areas; 0 where members and non-members part.
    """

    def __init__(self, attacks, members, nonmembers):
        attacks = tuple(attacks)
        auc, covariance = auc_and_covariance(members, nonmembers)
        errors = np.sqrt(np.diag(covariance))
        n_members, n_nonmembers = members.shape[1], nonmembers.shape[1]
        names = zip(*attacks, strict=True)
        columns = dict(zip(("classifier", "branch", "statistic"), names, strict=True))
        columns |= {
            "auc": auc,
            "auc_se": errors,
            "tpr@1%fpr": [
                np.interp(0.01, *_curve(*scores))
                for scores in zip(members, nonmembers, strict=True)
            ],
            "n_members": n_members,
            "n_nonmembers": n_nonmembers,
        }
        text = text_table(
            f"Membership inference, {n_members} members, {n_nonmembers} non-members: "
            "AUC ± standard error",
            [", ".join(filter(None, (c, b and f"{b} branch", s))) for c, b, s in attacks],
            plus_minus(auc, errors),
        )
        super().__init__(
            text,
            Table({}, columns),
            _figure,
            attacks=attacks,
            members=members,
            nonmembers=nonmembers,
            auc=auc,
            covariance=covariance,
            standard_errors=errors,
        )

    @classmethod
    def from_scores(cls, attacks, members, nonmembers):
        """Measure scores, as the constructor does.

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
        return cls(attacks, members, nonmembers)

    @classmethod
    def from_predictions(cls, is_member, scores):
        """Measure scores of any attack.

        Parameters
        ----------
        is_member : array-like of shape (n,), bool
            Rows that are members.
        scores : array-like of shape (n,) or dict of str to array-like
            Scores, higher where membership is more likely; a dict has those of several attacks.

        Returns
        -------
        MembershipResult
            With areas and their covariance.

        Raises
        ------
        ValueError
            If shapes do not fit, or there are fewer than two members or non-members.

        Examples
        --------
        >>> from sklearn_provenance.inspection import MembershipResult
        >>> result = MembershipResult.from_predictions(
        ...     [True, True, False, False], {"loss": [0.9, 0.4, 0.5, 0.1]}
        ... )
        >>> result.auc.tolist()
        [0.75]
        """
        is_member = np.asarray(is_member)
        scores = scores if isinstance(scores, Mapping) else {"": scores}
        stacked = np.array([np.asarray(s, dtype=np.float64) for s in scores.values()])
        n_members = np.count_nonzero(is_member)
        if is_member.dtype != bool or not 2 <= n_members <= len(is_member) - 2:
            raise ValueError(
                "is_member must be bool with 2 or more members and 2 or more others; got "
                f"{is_member.dtype} with {n_members} of {is_member.size}"
            )
        if stacked.shape[1:] != is_member.shape:
            raise ValueError(
                f"each attack needs {len(is_member)} scores, one for each entry of is_member; got "
                f"shape {stacked.shape[1:]}"
            )
        attacks = [(name, "", "") for name in scores]
        return cls(attacks, stacked[:, is_member], stacked[:, ~is_member])

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
        return _curve(self.members[attack], self.nonmembers[attack])

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


def _curve(members, nonmembers):
    """ROC curve of one attack."""
    is_member = np.arange(len(members) + len(nonmembers)) < len(members)
    return roc_curve(is_member, np.concatenate([members, nonmembers]))[:2]


def _figure(result, statistic="confidence", **style):
    """ROC curves of one statistic; a colour for each classifier."""
    named = any(known for *_, known in result.attacks)
    chosen = result.select(statistic=statistic if named else None)
    attacks = [result.attacks[number] for number in chosen]
    classifiers = list(dict.fromkeys(name for name, *_ in attacks))
    names, styles = [], []
    for (name, branch, _), auc in zip(attacks, result.auc[chosen], strict=True):
        label = ", ".join(filter(None, (name, branch and f"{branch} branch")))
        names.append(f"{label} (AUC = {auc:.2f})".strip())
        color = COLORS[classifiers.index(name) % len(COLORS)]
        styles.append({"color": color, "linestyle": "--" if branch == "class" else "-"})
    x, y = zip(*(result.curve(number) for number in chosen), strict=True)
    axes = {
        "xlabel": "share of non-members taken for members",
        "ylabel": "share of members found",
        "xlim": (-0.01, 1.01),
        "ylim": (-0.01, 1.01),
        "aspect": "equal",
    }
    return LinesDisplay(
        list(x),
        y,
        names=names,
        styles=styles,
        style=style,
        references=[([0, 1], [0, 1], {"linestyle": ":"})],
        axes=axes,
        legend={"loc": "lower right", "fontsize": "small"},
    )
