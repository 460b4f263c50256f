"""Figure of memorisation against generalisation."""

from numbers import Real

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, MARKERS, new_axes

# Figure 2 of the paper, and the predicted class.
MEASURES = ("index_accuracy", "train_top1", "test_top1", "test_class_accuracy")
_LINES = ("-", "--", ":", "-.")


class MemorisationDisplay:
    """Accuracies over a hyperparameter, with standard errors over seeds.

    It is recommended to use :meth:`MemorisationDisplay.from_estimator` or
    :meth:`MemorisationResult.plot` to create one. Measures differ in colour, variants in the kind
    of line.

    Parameters
    ----------
    values : sequence
        Values of the parameter; those that are no numbers stand side by side.
    means, errors : ndarray of shape (n_measures, n_variants, n_values)
        Height of the points, and half the height of their bars. nan is not drawn.
    measures, variants : sequence of str
        Names of the measures and of the variants.
    xlabel : str, default=""
        Label of the horizontal axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure that holds them.
    errorbars_ : list of matplotlib ErrorbarContainer
        A line for each measure and variant.
    """

    def __init__(self, values, means, errors, *, measures, variants=("",), xlabel=""):
        self.values = values
        self.means = means
        self.errors = errors
        self.measures = measures
        self.variants = variants
        self.xlabel = xlabel

    @classmethod
    def from_estimator(
        cls, estimator, X, y, X_test, y_test, *, measures=MEASURES, ax=None, **options
    ):
        """Fit an estimator over a hyperparameter, and draw.

        Parameters
        ----------
        estimator : ProvenanceClassifier
            Or a Pipeline that ends in one.
        X, y : array-like of shape (n_train, ...) and (n_train,)
            Training rows and their classes.
        X_test, y_test : array-like of shape (n_test, ...) and (n_test,)
            Other rows and their classes.
        measures : sequence of str
            What is drawn, as :func:`memorisation_scores` names it.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **options
            Further arguments of :func:`memorisation_curve`.

        Returns
        -------
        MemorisationDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn_provenance import ProvenanceClassifier
        >>> from sklearn_provenance.inspection import MemorisationDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = ProvenanceClassifier("single_branch", width="small", max_epochs=5)
        >>> display = MemorisationDisplay.from_estimator(
        ...     clf, X[::2], y[::2], X[1::2], y[1::2], param_range=(0.1, 0.9), seeds=0
        ... )
        >>> display.means.shape  # measures, variants, values
        (4, 1, 2)
        """
        from ._memorisation import memorisation_curve

        result = memorisation_curve(estimator, X, y, X_test, y_test, **options)
        return cls.from_result(result, measures=measures, ax=ax)

    @classmethod
    def from_result(cls, result, *, measures=MEASURES, ax=None, **kwargs):
        """Draw a result.

        Parameters
        ----------
        result : MemorisationResult
            What :func:`memorisation_curve` returned.
        measures : sequence of str
            Keys of its ``scores``.
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        MemorisationDisplay
            Drawn.

        Raises
        ------
        ValueError
            If a measure is unknown.
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "MemorisationResult", "result")
        unknown = [name for name in measures if name not in result.scores]
        if unknown:
            raise ValueError(f"measures must be among {list(result.scores)}; got {unknown}.")
        means, errors = np.swapaxes([result.means(name) for name in measures], 0, 1)
        display = cls(
            result.values,
            means,
            errors,
            measures=measures,
            variants=result.variants,
            xlabel=result.param_name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        MemorisationDisplay
            The display itself, with ``ax_``, ``figure_`` and ``errorbars_`` set.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = new_axes(ax)
        self.figure_ = ax.figure
        numeric = all(isinstance(v, Real) and not isinstance(v, bool) for v in self.values)
        x = self.values if numeric else range(len(self.values))
        self.errorbars_ = []
        for i, measure in enumerate(self.measures):
            for j, _ in enumerate(self.variants):
                style = {
                    "color": COLORS[i % len(COLORS)],
                    "marker": MARKERS[i % len(MARKERS)],
                    "linestyle": _LINES[j % len(_LINES)],
                    "markersize": 5,
                    "capsize": 2,
                    "label": "_" if j else measure.replace("_", " "),
                }
                drawn = ax.errorbar(x, self.means[i, j], self.errors[i, j], **style | kwargs)
                self.errorbars_.append(drawn)
        if len(self.variants) > 1:
            for j, variant in enumerate(self.variants):
                ax.plot([], [], _LINES[j % len(_LINES)], color="0.4", label=variant)
        ax.set_xticks(x, [str(value) for value in self.values])
        ax.set(xlabel=self.xlabel, ylabel="accuracy")
        ax.legend(frameon=False, fontsize="small")
        return self
