"""What membership inference found: areas under ROC curves, and their figure."""

from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from .._utils.arguments import check_readable, real, whole
from .._utils.displays import LinesDisplay
from .._utils.indicators import as_indicator
from .._utils.plotting import COLORS
from .._utils.results import Result
from .._utils.tables import Table, plus_minus, text_table
from ._histograms_display import HistogramsDisplay
from ._roc import auc_and_covariance


class MembershipResult(Result):
    """How well members are told from non-members, for several attacks on the same rows.

    :func:`membership_inference` and :meth:`from_predictions` make it.
    ``to_frame()`` has a line for each attack, with DeLong's standard error of the area.
    ``plot(statistic="entropy")`` draws other ROC curves than those of the confidence; curves of
    index branches are solid, all others dashed. ``plot(kind="histogram")`` draws histograms of
    members and non-members in place of them, a panel for each attack; ``statistic=None`` both
    statistics, one above the other. Scores of other attacks have a line each, since their units may
    differ.

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
        Share of pairs of a member and a non-member in which the member has the higher score. A tie
        counts one half.
    covariance : ndarray of shape (n_attacks, n_attacks)
        DeLong's estimate of the covariance of the areas, over draws of members and non-members.
        It leaves out that trainings with other seeds would differ.
    standard_errors : ndarray of shape (n_attacks,)
        Standard errors of the areas; 0 where each member scores above each non-member.
    """

    def __init__(
        self,
        attacks: Iterable[tuple[str, str, str]],
        members: NDArray[np.float64],
        nonmembers: NDArray[np.float64],
    ) -> None:
        attacks = tuple(attacks)
        auc, covariance = auc_and_covariance(members, nonmembers)
        errors = np.sqrt(np.diag(covariance))
        n_members = members.shape[1]
        n_nonmembers = nonmembers.shape[1]
        classifiers, branches, statistics = zip(*attacks, strict=True)
        curves = map(_curve, members, nonmembers)
        columns = {
            "classifier": classifiers,
            "branch": branches,
            "statistic": statistics,
            "auc": auc,
            "auc_se": errors,
            "tpr@1%fpr": [np.interp(0.01, *curve) for curve in curves],
            "n_members": n_members,
            "n_nonmembers": n_nonmembers,
        }
        text = text_table(
            f"Membership inference, {n_members} members, {n_nonmembers} non-members: "
            "AUC ± standard error",
            [_attack_name(*attack) for attack in attacks],
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
    def from_scores(
        cls,
        attacks: Iterable[tuple[str, str, str]],
        members: NDArray[np.float64],
        nonmembers: NDArray[np.float64],
    ) -> Self:
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
    def from_predictions(
        cls, is_member: ArrayLike, scores: ArrayLike | Mapping[str, ArrayLike]
    ) -> Self:
        """Measure scores of any attack.

        Parameters
        ----------
        is_member : array-like of shape (n,), bool or 0 and 1
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
            If shapes do not fit, ``is_member`` holds something else than booleans or the integers
            0 and 1, or there are fewer than two members or non-members.

        Examples
        --------
        >>> from sklearn_provenance.inspection import MembershipResult
        >>> result = MembershipResult.from_predictions(
        ...     [True, True, False, False], {"loss": [0.9, 0.4, 0.5, 0.1]}
        ... )
        >>> result.auc.tolist()
        [0.75]
        """
        member = as_indicator(is_member, "is_member")
        if not isinstance(scores, Mapping):
            scores = {"": scores}
        for name, values in scores.items():
            check_readable(values, f"scores of {name!r}" if name else "scores")
        stacked = np.array([np.asarray(s, dtype=np.float64) for s in scores.values()])
        n_members = np.count_nonzero(member)
        if member.ndim != 1:
            raise ValueError(f"is_member must have shape (n,), got {member.shape}")
        if not 2 <= n_members <= len(member) - 2:
            raise ValueError(
                "is_member must say of 2 or more rows that they are members, and of 2 or more that "
                f"they are not; got {n_members} members of {len(member)} rows"
            )
        if stacked.shape[1:] != member.shape:
            raise ValueError(
                f"scores must have {len(member)} numbers for each attack, one for each entry of "
                f"is_member; got shape {stacked.shape[1:]}"
            )
        attacks = [(name, "", "") for name in scores]
        return cls(attacks, stacked[:, member], stacked[:, ~member])

    def select(
        self,
        *,
        classifier: str | None = None,
        branch: str | None = None,
        statistic: str | None = None,
    ) -> list[int]:
        """Return the numbers of attacks.

        Parameters
        ----------
        classifier, branch, statistic : str, default=None
            Property that the attacks must have; None takes all.

        Returns
        -------
        list of int
            Their places in ``attacks``.
        """
        selected = list(range(len(self.attacks)))
        wanted = {"classifier": classifier, "branch": branch, "statistic": statistic}
        properties = zip(*self.attacks, strict=True)
        for (name, value), of_attacks in zip(wanted.items(), properties, strict=True):
            if value is None:
                continue
            if value not in of_attacks:
                raise ValueError(f"{name} must be among {sorted(set(of_attacks))}, got {value!r}")
            selected = [number for number in selected if of_attacks[number] == value]
        return selected

    def difference(self, first: int, second: int) -> tuple[float, float]:
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

    def curve(self, attack: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
        """Return the number of an attack, or raise a ValueError where it is none."""
        if not whole(0, len(self.attacks)).is_satisfied_by(number) or number == len(self.attacks):
            raise ValueError(
                f"{name} must be the number of an attack, from 0 to {len(self.attacks) - 1}, got "
                f"{number!r}"
            )
        return number

    def true_positive_rate(self, false_positive_rate: float = 0.01) -> NDArray[np.float64]:
        """Return the share of members found while few non-members are taken for members.

        Parameters
        ----------
        false_positive_rate : float, default=0.01
            Share of non-members taken for members. An attack may recognise a few members with
            certainty while the area under its curve is near one half.

        Returns
        -------
        ndarray of shape (n_attacks,)
            Shares, interpolated between the points of the curve.
        """
        if not real(0, 1, "both").is_satisfied_by(false_positive_rate):
            raise ValueError(
                f"false_positive_rate must be a number from 0 to 1, got {false_positive_rate!r}"
            )
        curves = map(self.curve, range(len(self.attacks)))
        return np.array([np.interp(false_positive_rate, *curve) for curve in curves])


def _curve(members, nonmembers):
    """Return the false and the true positive rates of one attack."""
    is_member = np.arange(len(members) + len(nonmembers)) < len(members)
    false_positive_rate, true_positive_rate, _ = roc_curve(
        is_member, np.concatenate([members, nonmembers])
    )
    return false_positive_rate, true_positive_rate


def _attack_name(classifier, branch, statistic=""):
    """Write what an attack is, as far as it is known."""
    if branch:
        branch = f"{branch} branch"
    return ", ".join(filter(None, (classifier, branch, statistic)))


def _figure(result, statistic="confidence", kind="roc", **style):
    """Draw the attacks by a statistic: ROC curves, or histograms of their scores."""
    if kind not in ("roc", "histogram"):
        raise ValueError(f"kind must be 'roc' or 'histogram', got {kind!r}")
    if not any(known for _, _, known in result.attacks):  # of scores from elsewhere
        statistic = None
    if kind == "roc":
        return _curves(result, statistic, style)
    if style:
        raise TypeError(
            f"plot of histograms takes ax, statistic and kind, got {sorted(style)}. Pass other "
            "keywords to .plot() of the display again"
        )
    return _histograms(result, statistic)


def _curves(result, statistic, style):
    """Draw ROC curves of one statistic, with a colour for each classifier."""
    # Not by scikit-learn's RocCurveDisplay: it draws several curves only since version 1.7, in
    # which its arguments changed.
    chosen = result.select(statistic=statistic)
    classifiers = list(dict.fromkeys(result.attacks[number][0] for number in chosen))
    names = []
    styles = []
    for number in chosen:
        name, branch, _ = result.attacks[number]
        names.append(f"{_attack_name(name, branch)} (AUC = {result.auc[number]:.2f})".strip())
        color = COLORS[classifiers.index(name) % len(COLORS)]
        styles.append({"color": color, "linestyle": "--" if branch == "class" else "-"})
    x, y = zip(*map(result.curve, chosen), strict=True)
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


# What the scores are of, and the ends of their axis.
_MEASURES = {
    "confidence": (np.exp, "confidence", (0, 1)),
    "entropy": (np.negative, "entropy (nats)", None),
}


def _measure(statistic):
    """Return what is drawn of scores, what it is called, and the ends of its axis."""
    return _MEASURES.get(statistic, (np.asarray, statistic or "score", None))


def _histograms(result, statistic):
    """Draw what the attacks measure of members and others, a line for each statistic."""
    wanted = dict.fromkeys(known for _, _, known in result.attacks)
    lines = []
    for known in wanted:
        if statistic not in (None, known):
            continue
        line = result.select(statistic=known)
        # Scores of which nothing is known have units of their own.
        lines += [line] if known else [[number] for number in line]
    if not lines:
        result.select(statistic=statistic)  # raises
    of_lines = [_measure(result.attacks[line[0]][2]) for line in lines]
    values, titles = [], []
    for line, (measure, *_) in zip(lines, of_lines, strict=True):
        groups = [(result.members[number], result.nonmembers[number]) for number in line]
        values.append([tuple(map(measure, group)) for group in groups])
        titles.append([_attack_name(*result.attacks[number][:2]) for number in line])
    return HistogramsDisplay(
        values,
        ("members", "non-members"),
        titles,
        [xlabel for _, xlabel, _ in of_lines],
        [ends for _, _, ends in of_lines],
    )
