"""Figure of clusters inside a class: a map, and the exemplars of each cluster."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from .._utils.plotting import COLORS, MARKERS, new_canvas
from .._utils.types import Axes
from ..explanation._rows import format_number
from ._shared import draw_images


class ClustersDisplay:
    """Map of the rows of a class, coloured by cluster, beside the exemplars of each cluster.

    The ``plot`` of what :func:`embedding_clusters` returns makes it. Exemplars are drawn as images
    where rows are images, else by name and distance from the centre.

    Parameters
    ----------
    coordinates : ndarray of shape (n, 2)
        Places on the map.
    clusters : ndarray of shape (n,)
        Cluster of each row, from 0.
    exemplar_names : list of list of str
        Names of the exemplars of each cluster, the closest to its centre first.
    exemplar_distances : ndarray of shape (n_clusters, n_exemplars)
        Distances of these exemplars from the centre; nan where a cluster has fewer exemplars.
    exemplar_images : ndarray of shape (n_clusters * n_exemplars, H, W[, C]), default=None
        The exemplars, cluster by cluster.
    title : str, default=""
        Title of the map.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the map.
    exemplar_axes_ : ndarray of matplotlib Axes
        Shape (n_clusters, n_exemplars) for images, else (n_clusters, 1).
    figure_ : matplotlib Figure
        Figure that holds them.
    """

    def __init__(
        self,
        coordinates: NDArray[np.float64],
        clusters: NDArray[np.int64],
        *,
        exemplar_names: list[list[str]],
        exemplar_distances: NDArray[np.float64],
        exemplar_images: NDArray | None = None,
        title: str = "",
    ) -> None:
        self.coordinates = coordinates
        self.clusters = clusters
        self.exemplar_names = exemplar_names
        self.exemplar_distances = exemplar_distances
        self.exemplar_images = exemplar_images
        self.title = title

    def plot(self, ax: Axes = None) -> Self:
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.

        Returns
        -------
        ClustersDisplay
            The display itself, with ``ax_``, ``exemplar_axes_`` and ``figure_`` set.
        """
        n_clusters, n_exemplars = self.exemplar_distances.shape
        draw_exemplars = self._names
        n_columns = 1
        width = 1.8
        if self.exemplar_images is not None:
            draw_exemplars = self._images
            n_columns = n_exemplars
            width = 0.95 * n_exemplars
        canvas, self.figure_ = new_canvas(ax, (4.6 + width, max(3.6, 1.15 * n_clusters)))
        grid = canvas.add_gridspec(
            n_clusters, 1 + n_columns, width_ratios=[4.6] + [width / n_columns] * n_columns
        )
        self.ax_ = canvas.add_subplot(grid[:, 0])
        self.exemplar_axes_ = np.array(
            [
                [canvas.add_subplot(grid[line, 1 + column]) for column in range(n_columns)]
                for line in range(n_clusters)
            ]
        )
        for cluster in range(n_clusters):
            here = self.coordinates[self.clusters == cluster]
            self.ax_.scatter(
                *here.T,
                s=14,
                color=COLORS[cluster % len(COLORS)],
                marker=MARKERS[cluster % len(MARKERS)],
                linewidths=0,
                alpha=0.8,
                label=f"{cluster}: {len(here)} rows",
            )
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.set_title(self.title, fontsize=9, parse_math=False)
        self.ax_.legend(
            loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=7, frameon=False,
            handletextpad=0.1, columnspacing=1, title="cluster", title_fontsize=7,
        )  # fmt: skip
        draw_exemplars(self.exemplar_axes_)
        return self

    def _images(self, axes):
        """Draw the exemplars of each cluster as images."""
        draw_images(axes.ravel(), self.exemplar_images)
        for cluster, panels in enumerate(axes):
            color = COLORS[cluster % len(COLORS)]
            panels[0].set_ylabel(f"cluster {cluster}", fontsize=8, color=color)
            for panel, name, distance in zip(
                panels, self.exemplar_names[cluster], self.exemplar_distances[cluster], strict=True
            ):
                if np.isnan(distance):
                    panel.clear()
                    panel.set_axis_off()
                    continue
                panel.spines[:].set(color=color, linewidth=2)
                panel.set_xlabel(name, fontsize=6, color="0.45", labelpad=1, parse_math=False)

    def _names(self, axes):
        """Write names and distances of the exemplars of each cluster."""
        for cluster, (panel,) in enumerate(axes):
            panel.set_axis_off()
            color = COLORS[cluster % len(COLORS)]
            lines = [
                f"{name}   {format_number(distance)}"
                for name, distance in zip(
                    self.exemplar_names[cluster], self.exemplar_distances[cluster], strict=True
                )
                if not np.isnan(distance)
            ]
            panel.set_title(f"cluster {cluster}", fontsize=8, color=color, loc="left")
            panel.text(0, 1, "\n".join(lines), fontsize=7, va="top", parse_math=False)
