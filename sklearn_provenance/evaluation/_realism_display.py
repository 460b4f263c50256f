"""Figure of realism."""

import numpy as np

from .._utils.arguments import check_kind
from .._utils.plotting import COLORS, new_axes


class RealismDisplay:
    """Distance to the nearest real row over index confidence, beside Fréchet distances.

    It is recommended to use :meth:`RealismDisplay.from_result` or :meth:`RealismResult.plot` to
    create one.

    Parameters
    ----------
    confidence, distance : ndarray of shape (n_samples,)
        Places of the points on the left.
    frechet : ndarray of shape (n_groups, 3)
        Estimates and ends of their intervals on the right. Groups with nan are left out.
    groups : sequence of str
        Names of the groups.
    threshold : float, default=None
        Where a line parts low from high confidence.
    n_bins : int, default=10
        Groups of equally many samples, next to each other in confidence, whose mean distance is
        drawn.
    title : str, default=""
        Above the points.

    Attributes
    ----------
    axes_ : ndarray of shape (2,) of matplotlib Axes
        Points, and Fréchet distances.
    figure_ : matplotlib Figure
        Figure that holds them.
    means_ : matplotlib Line2D
        The mean distances.
    errorbars_ : matplotlib ErrorbarContainer
        The Fréchet distances.
    """

    def __init__(
        self, confidence, distance, frechet, *, groups, threshold=None, n_bins=10, title=""
    ):
        self.confidence = confidence
        self.distance = distance
        self.frechet = frechet
        self.groups = groups
        self.threshold = threshold
        self.n_bins = n_bins
        self.title = title

    @classmethod
    def from_estimator(cls, vae, features, *, ax=None, **kwargs):
        """Measure with :func:`realism` and draw.

        Parameters
        ----------
        vae : ProvenanceVAE
            Fitted.
        features : callable or transformer
            As in :func:`realism`.
        ax : matplotlib Axes, default=None
            Subplot to divide; None makes a new figure.
        **kwargs
            Passed on to :func:`realism`.

        Returns
        -------
        RealismDisplay
            Drawn.
        """
        from ._realism import realism  # which has the display of its result

        return cls.from_result(realism(vae, features, **kwargs), ax=ax)

    @classmethod
    def from_result(cls, result, *, ax=None):
        """Draw a result: distances by features, and the Fréchet distances of one split.

        It is the split at the threshold, or that in halves if a side of the threshold has too few
        samples.

        Parameters
        ----------
        result : RealismResult
            What :func:`realism` returned.
        ax : matplotlib Axes, default=None
            Subplot to divide; None makes a new figure.

        Returns
        -------
        RealismDisplay
            Drawn.

        Raises
        ------
        ValueError
            If ``ax`` is no subplot.
        ImportError
            If matplotlib is missing.
        """
        check_kind(result, "RealismResult", "result")
        from ._realism import GROUPS

        split = int(np.isnan(result.frechet[0, 0, 0]))
        names = (
            f"confidence ≥ {result.thresholds[split]:.2g}" if split == 0 else "upper half",
            f"confidence < {result.thresholds[split]:.2g}" if split == 0 else "lower half",
            "training rows",
            "held out",
            "reconstructions",
        )
        shown = [GROUPS.index(g) for g in ("high", "low", "train", "test", "reconstruction")]
        rho, lower, upper = result.spearman[0]
        display = cls(
            result.confidence,
            result.feature_distance,
            result.frechet[split, shown],
            groups=names,
            threshold=result.thresholds[split],
            title=f"Spearman {rho:.2f} ({lower:.2f} to {upper:.2f})",
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Subplot to divide; None makes a new figure.

        Returns
        -------
        RealismDisplay
            The display itself, with ``axes_``, ``figure_``, ``means_`` and ``errorbars_`` set.

        Raises
        ------
        ValueError
            If ``ax`` is no subplot.
        ImportError
            If matplotlib is missing.
        """
        given, ax = ax, new_axes(ax)
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError("ax must be a subplot, such as plt.subplots makes")
        self.figure_ = ax.figure
        if given is None:
            self.figure_.set_size_inches(8, 3.6)
        ax.set_axis_off()
        grid = place.subgridspec(1, 2, width_ratios=(3, 2))
        self.axes_ = np.array([self.figure_.add_subplot(part) for part in grid])
        self._draw_points(self.axes_[0])
        self._draw_groups(self.axes_[1])
        return self

    def _draw_points(self, ax):
        ax.plot(self.confidence, self.distance, ".", color="0.6", markersize=3, alpha=0.5)
        order = np.argsort(self.confidence, kind="stable")
        bins = [rows for rows in np.array_split(order, self.n_bins) if len(rows)]
        means = [(self.confidence[rows].mean(), self.distance[rows].mean()) for rows in bins]
        style = {"color": COLORS[0], "marker": "o", "label": "mean of equal groups"}
        (self.means_,) = ax.plot(*np.transpose(means), **style)
        if self.threshold is not None:
            ax.axvline(self.threshold, color="0.3", linewidth=0.8, linestyle=":")
        ax.set(xlabel="index confidence", ylabel="distance to the nearest training row")
        ax.set_title(self.title, fontsize="medium")
        ax.legend(frameon=False, fontsize="small")

    def _draw_groups(self, ax):
        frechet = np.asarray(self.frechet)
        known = np.flatnonzero(~np.isnan(frechet[:, 0]))
        places = np.arange(len(known))
        estimate, lower, upper = frechet[known].T
        # An interval need not hold the estimate exactly.
        bars = np.clip([estimate - lower, upper - estimate], 0, None)
        self.errorbars_ = ax.errorbar(
            estimate, places, xerr=bars, linestyle="none", color=COLORS[1], marker="s", capsize=3
        )
        ax.set_yticks(places, [self.groups[i] for i in known], parse_math=False)
        ax.set_ylim(max(len(places), 1) - 0.5, -0.5)
        ax.set_xlim(left=0)
        ax.set(xlabel="Fréchet distance (not FID)")
