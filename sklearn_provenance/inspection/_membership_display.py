"""Figure of membership inference: ROC curves."""

from collections.abc import Mapping

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, new_axes


class MembershipDisplay:
    """ROC curves of membership inference, one for each attack.

    It is recommended to use :meth:`MembershipDisplay.from_estimator`,
    :meth:`MembershipDisplay.from_predictions` or :meth:`MembershipResult.plot` to create one. The
    curves of index branches are solid, all others dashed.

    Parameters
    ----------
    curves : list of (ndarray, ndarray)
        False and true positive rates, from 0 to 1, of each attack.
    auc : sequence of float
        Areas under the curves.
    names : sequence of str
        Names of the attacks.
    styles : sequence of dict, default=None
        Keywords of ``ax.plot`` for each curve; None gives each its own colour.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : list of matplotlib Line2D
        A curve for each attack.

    See Also
    --------
    sklearn.metrics.RocCurveDisplay : ROC curves of classifiers.
    """

    def __init__(self, curves, auc, *, names, styles=None):
        self.curves = curves
        self.auc = auc
        self.names = names
        self.styles = styles

    @classmethod
    def from_estimator(
        cls, classifiers, X_members, X_nonmembers, *, statistic="confidence", ax=None, **kwargs
    ):
        """Attack classifiers, and draw.

        Parameters
        ----------
        classifiers : classifier or dict of str to classifier
            Fitted, as :func:`membership_inference` takes them.
        X_members, X_nonmembers : array-like of shape (n_members, ...) and (n_nonmembers, ...)
            Rows that they were trained on, and others.
        statistic : {"confidence", "entropy"}, default="confidence"
            What tells members from others.
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

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_provenance import ProvenanceClassifier
        >>> from sklearn_provenance.inspection import MembershipDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ProvenanceClassifier(width="small", max_epochs=20, random_state=0)
        >>> clf = clf.fit(X[::2], y[::2])
        >>> display = MembershipDisplay.from_estimator(clf, X[::2], X[1:90:2])
        >>> display.names
        ['index branch', 'class branch']
        """
        from ._membership import membership_inference

        result = membership_inference(classifiers, X_members, X_nonmembers)
        return cls.from_result(result, statistic=statistic, ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, is_member, scores, *, ax=None, **kwargs):
        """Draw scores of any attack.

        Parameters
        ----------
        is_member : array-like of shape (n,), bool
            Rows that are members.
        scores : array-like of shape (n,) or dict of str to array-like
            Scores, higher where membership is more likely; a dict has those of several attacks.
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
        ValueError
            If shapes do not fit, or there are fewer than two members or non-members.
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> from sklearn_provenance.inspection import MembershipDisplay
        >>> display = MembershipDisplay.from_predictions(
        ...     [True, True, False, False], {"loss": [0.9, 0.4, 0.5, 0.1]}
        ... )
        >>> display.auc.tolist()
        [0.75]
        """
        from ._membership import MembershipResult

        is_member = np.asarray(is_member)
        scores = scores if isinstance(scores, Mapping) else {"": scores}
        stacked = np.array([np.asarray(s, dtype=np.float64) for s in scores.values()])
        n_members = np.count_nonzero(is_member)
        if is_member.dtype != bool or not 2 <= n_members <= len(is_member) - 2:
            raise ValueError(
                "is_member must be bool with 2 or more members and 2 or more others; got "
                f"{is_member.dtype} with {n_members} of {is_member.size}."
            )
        if stacked.shape[1:] != is_member.shape:
            raise ValueError(
                f"Each attack needs {len(is_member)} scores, one for each entry of is_member; got "
                f"shape {stacked.shape[1:]}."
            )
        result = MembershipResult.from_scores(
            [(name, "", "") for name in scores], stacked[:, is_member], stacked[:, ~is_member]
        )
        return cls.from_result(result, statistic=None, ax=ax, **kwargs)

    @classmethod
    def from_result(cls, result, *, statistic="confidence", ax=None, **kwargs):
        """Draw a result.

        Parameters
        ----------
        result : MembershipResult
            What :func:`membership_inference` returned.
        statistic : {"confidence", "entropy"}, default="confidence"
            What tells members from others.
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
        ValueError
            If the result has no such statistic.
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "MembershipResult", "result")
        chosen = result.select(statistic=statistic)
        attacks = [result.attacks[number] for number in chosen]
        classifiers = list(dict.fromkeys(name for name, *_ in attacks))
        names, styles = [], []
        for name, branch, _ in attacks:
            names.append(", ".join(filter(None, (name, branch and f"{branch} branch"))))
            color = COLORS[classifiers.index(name) % len(COLORS)]
            styles.append({"color": color, "linestyle": "--" if branch == "class" else "-"})
        curves = [result.curve(number) for number in chosen]
        return cls(curves, result.auc[chosen], names=names, styles=styles).plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.plot``.

        Returns
        -------
        MembershipDisplay
            The display itself, with ``ax_``, ``figure_`` and ``lines_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        ax.plot([0, 1], [0, 1], ":", color="0.6")
        self.lines_ = []
        for number, (curve, auc, name) in enumerate(
            zip(self.curves, self.auc, self.names, strict=True)
        ):
            style = {"color": COLORS[number % len(COLORS)]}
            if self.styles is not None:
                style = self.styles[number]
            label = f"{name} (AUC = {auc:.2f})".strip()
            self.lines_ += ax.plot(*curve, **{"label": label} | style | kwargs)
        ax.set(
            xlabel="share of non-members taken for members",
            ylabel="share of members found",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        ax.legend(loc="lower right", frameon=False, fontsize="small")
        return self
