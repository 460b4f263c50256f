"""Figure of a training: a panel for each metric over epochs, with a line for each estimator."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._utils.plotting import line_style, new_canvas, normalised
from .._utils.types import Axes
from ._histories import check_history, check_mapping, chosen_metrics, entries, history_of, recorded

_LABELS = {
    "index_accuracy": "accuracy of the index",
    "index_accuracy_among_drawn": "accuracy of the index\namong the outputs drawn",
    "sampled_target_accuracy": "accuracy of the target drawn",
    "class_accuracy": "accuracy of the class",
    "train_loss": "total loss",
    "index_loss": "loss of the index (nats)",
    "class_loss": "loss of the class (nats)",
    "output_loss": "loss of the output\n(standardised targets)",
    "reconstruction_loss": "reconstruction loss (nats)",
    "kl_loss": "divergence (nats)",
    "lr": "learning rate",
    "dur": "seconds per epoch",
}
_N_MARKERS = 8  # a marker at each of many epochs would hide the line
_N_COLUMNS = 3


class ConvergenceDisplay:
    """
    Curves of training: a panel for each metric over epochs, a line for each estimator.

    It is recommended to use :meth:`from_estimator`, :meth:`from_estimators` or
    :meth:`from_histories` to create one.

    Metrics are entries of ``history_``, such as mean losses and accuracies of each epoch. Draw the
    accuracies of index and class of networks with different sharing levels, or mixing, to see how
    fast each of them learns.

    Parameters
    ----------
    epochs : sequence of array-like of shape (n_epochs,)
        Epochs of each estimator, from 1. Estimators may have different numbers of epochs.
    values : sequence of sequence of array-like of shape (n_epochs,)
        Values of each metric, those of each estimator in turn. nan is not drawn.
    metrics : sequence of str
        Names of the metrics.
    names : sequence of str
        Names of the estimators in the legend, which is drawn where there are several.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first panel.
    axes_ : ndarray of shape (n_metrics,) of matplotlib Axes
        All panels.
    figure_ : matplotlib Figure
        Figure that holds them.
    lines_ : ndarray of shape (n_metrics, n_estimators) of matplotlib Line2D
        The line of each estimator in each panel.

    See Also
    --------
    sklearn_provenance.inspection.memorisation_curve : Accuracies over a hyperparameter.
    sklearn.model_selection.LearningCurveDisplay : Scores over numbers of training rows.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, Figures 14 to 21.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.inspection import ConvergenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ProvenanceClassifier(width="small", max_epochs=5, random_state=0).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(clf, metrics=["index_loss", "class_loss"])
    >>> display.lines_.shape
    (2, 1)
    """

    def __init__(
        self,
        epochs: Sequence[ArrayLike],
        values: Sequence[Sequence[ArrayLike]],
        *,
        metrics: Sequence[str],
        names: Sequence[str],
    ) -> None:
        self.epochs = epochs
        self.values = values
        self.metrics = metrics
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metrics: str | Sequence[str] | None = None,
        ax: Axes | Sequence[Axes] = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the training of one estimator.

        Parameters
        ----------
        estimator : ProvenanceClassifier, ProvenanceRegressor or ProvenanceVAE
            Fitted; or a pipeline or search that ends in one. After a warm start the curve has the
            epochs of all calls of ``fit``.
        metrics : str or sequence of str, default=None
            Entries of ``history_`` to draw, those that callbacks record included. None draws the
            accuracies of index and class, the ``output_loss`` of regressors, and the
            ``reconstruction_loss`` and ``kl_loss`` of VAEs, as far as the history has them.
        ax : matplotlib Axes or sequence of matplotlib Axes, default=None
            As in :meth:`plot`.
        **kwargs
            Keywords of each line, passed on to ``ax.plot``.

        Returns
        -------
        ConvergenceDisplay
            The display that was drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``history_``.
        ValueError
            If the history has no epochs, or lacks a metric.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        histories = {type(estimator).__name__: history_of(estimator, "estimator")}
        return cls.from_histories(histories, metrics=metrics, ax=ax, **kwargs)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any],
        *,
        metrics: str | Sequence[str] | None = None,
        ax: Axes | Sequence[Axes] = None,
        **kwargs: Any,
    ) -> Self:
        """Compare the trainings of several estimators.

        Parameters
        ----------
        estimators : dict of str to estimator
            Fitted estimators, as :meth:`from_estimator` takes them, by their names in the legend.
        metrics : str or sequence of str, default=None
            Entries of ``history_`` to draw, which all estimators must have. None draws those of
            :meth:`from_estimator` that all have.
        ax : matplotlib Axes or sequence of matplotlib Axes, default=None
            As in :meth:`plot`.
        **kwargs
            Keywords of each line, passed on to ``ax.plot``.

        Returns
        -------
        ConvergenceDisplay
            The display that was drawn.

        Raises
        ------
        TypeError
            If ``estimators`` is no dict, or an estimator has no ``history_``.
        ValueError
            If there are no estimators, a history has no epochs, or lacks a metric.
        sklearn.exceptions.NotFittedError
            If an estimator is not fitted.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_provenance import ProvenanceClassifier
        >>> from sklearn_provenance.inspection import ConvergenceDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> by_mixing = {
        ...     mixing: ProvenanceClassifier(
        ...         width="small", mixing=mixing, max_epochs=5, random_state=0
        ...     ).fit(X, y)
        ...     for mixing in ("expected", "sampled")
        ... }
        >>> ConvergenceDisplay.from_estimators(by_mixing).metrics
        ['index_accuracy', 'class_accuracy']
        """
        check_mapping(estimators, "estimators", "fitted estimators")
        histories = {
            str(name): history_of(estimator, f"estimators[{name!r}]")
            for name, estimator in estimators.items()
        }
        return cls.from_histories(histories, metrics=metrics, ax=ax, **kwargs)

    @classmethod
    def from_histories(
        cls,
        histories: Mapping[str, Sequence[Mapping[str, Any]]],
        *,
        metrics: str | Sequence[str] | None = None,
        ax: Axes | Sequence[Axes] = None,
        **kwargs: Any,
    ) -> Self:
        """Compare histories, such as those that were stored when estimators were fitted.

        Parameters
        ----------
        histories : dict of str to list of dict
            What ``history_`` holds: numbers by their names for each epoch. An entry that some
            epochs lack is not drawn there. Epochs count from 1 where there is no entry "epoch".
        metrics : str or sequence of str, default=None
            Entries to draw, as in :meth:`from_estimators`.
        ax : matplotlib Axes or sequence of matplotlib Axes, default=None
            As in :meth:`plot`.
        **kwargs
            Keywords of each line, passed on to ``ax.plot``.

        Returns
        -------
        ConvergenceDisplay
            The display that was drawn.

        Raises
        ------
        TypeError
            If ``histories`` is no dict of lists of dict.
        ValueError
            If there are no histories, one has no epochs, or lacks a metric.
        """
        check_mapping(histories, "histories", "lists of dict")
        for name, history in histories.items():
            check_history(history, name)
        known = {name: entries(history) for name, history in histories.items()}
        metrics = chosen_metrics(metrics, known)
        epochs = [
            np.array([line.get("epoch", number) for number, line in enumerate(history, 1)])
            for history in histories.values()
        ]
        values = [
            [recorded(history, metric) for history in histories.values()] for metric in metrics
        ]
        display = cls(epochs, values, metrics=metrics, names=list(map(str, histories)))
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | Sequence[Axes] = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of matplotlib Axes, default=None
            One axes for each metric, to draw in; or a subplot whose place the panels take. None
            makes a new figure.
        **kwargs
            Keywords of each line, passed on to ``ax.plot``.

        Returns
        -------
        ConvergenceDisplay
            The display itself, with ``ax_``, ``axes_``, ``figure_`` and ``lines_`` set.

        Raises
        ------
        ValueError
            If there are not as many axes as metrics.
        """
        self.axes_, place_legend = _panels(ax, len(self.metrics))
        from matplotlib.ticker import MaxNLocator

        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure.figure
        self.lines_ = np.empty((len(self.metrics), len(self.names)), dtype=object)
        style = normalised(kwargs)
        for i, (metric, panel) in enumerate(zip(self.metrics, self.axes_, strict=True)):
            self.lines_[i] = self._draw(panel, self.values[i], style)
            panel.set_xlabel("epoch")
            panel.set_ylabel(_LABELS.get(metric, metric), parse_math=False)
            if isinstance(panel.xaxis.get_major_locator(), MaxNLocator):  # not yours
                panel.locator_params("x", integer=True)
        if len(self.names) > 1:
            legend = place_legend(handles=[*self.lines_[0]], frameon=False, fontsize="small")
            for text in legend.get_texts():
                text.set_parse_math(False)
        return self

    def _draw(self, panel, values, style):
        """Draw a line for each estimator; ``style`` replaces the style of each."""
        lines = []
        for number, name in enumerate(self.names):
            epochs = self.epochs[number]
            step = max(1, len(epochs) // _N_MARKERS)
            keywords = {
                **line_style(number),
                "markersize": 4,
                "markevery": (number % step, step),  # of equal lines all markers are seen
                "label": name,
            }
            lines += panel.plot(epochs, values[number], **keywords | style)
        return lines


def _panels(ax, n_metrics):
    """Return one axes for each metric, new ones unless they are given, and what makes a legend."""
    if ax is None or (n_metrics > 1 and hasattr(ax, "plot")):
        n_lines = -(-n_metrics // _N_COLUMNS)
        n_columns = -(-n_metrics // n_lines)
        canvas, _ = new_canvas(ax, (3.4 * n_columns + 1.2, 2.7 * n_lines + 0.3))
        panels = canvas.subplots(n_lines, n_columns, squeeze=False).ravel()
        for panel in panels[n_metrics:]:
            panel.set_axis_off()
        return panels[:n_metrics], partial(canvas.legend, loc="outside right upper")
    panels = np.array([ax], dtype=object).ravel()
    if len(panels) != n_metrics:
        raise ValueError(
            f"ax must be one axes for each of the {n_metrics} metrics, or a single subplot whose "
            f"place they take; got {len(panels)}"
        )
    return panels, panels[-1].legend
