"""Explanations of the same queries by several methods, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._utils.tables import data_frame, heads, nan_mean, text_table
from .._utils.types import Axes, DataFrame, Path, Targets
from ._agreement import best_rows, overlaps
from ._checks import check_count
from ._comparison_checks import check_explanations
from ._comparison_page import comparison_page
from ._comparison_plot import comparison_display
from ._comparison_text import summary_table
from ._embedding import check_embedding
from ._explanation import Explanation
from ._page import Page, check_target
from ._plot import ExplanationDisplay
from ._rows import counted
from ._table import columns


def compare(explanations: Mapping[str, Explanation]) -> "Comparison":
    """
    Put explanations of the same queries by several methods side by side.

    Parameters
    ----------
    explanations : mapping of str to Explanation
        At least two, by the name of the method. They must explain the same queries at the same
        labels by the same training rows.

    Returns
    -------
    Comparison
        The explanations, with the share of exemplars that methods have in common.

    Raises
    ------
    TypeError
        If `explanations` is no mapping from names to Explanations.
    ValueError
        If there are fewer than two, or they explain other queries, other labels, or by other
        training rows.

    Examples
    --------
    >>> from sklearn_provenance import Explanation
    >>> from sklearn_provenance.explanation import compare
    >>> one = Explanation([[4, 0, 7]], [[0.9, 0.8, 0.1]])
    >>> other = Explanation([[0, 4, 5]], [[31.0, 25.0, 9.0]])
    >>> compare({"InfoGain": one, "TRAK": other})
    Comparison of 2 methods: 1 query, share of exemplars in common (the first 3 of each)
              InfoGain     TRAK
    InfoGain      1.00     0.67
    TRAK          0.67     1.00
    """
    return Comparison(explanations)


class Comparison:
    """
    Explanations of the same queries by several methods.

    :func:`compare` makes it. `comparison["TRAK"]` is the explanation of a method.

    Parameters
    ----------
    explanations : mapping of str to Explanation
        At least two, by the name of the method.

    Attributes
    ----------
    explanations : dict of str to Explanation
        As they were given.
    methods : list of str
        Names of the methods.
    n_queries : int
        Number of queries.
    k : int
        Exemplars of each query that are compared: as many as every method was asked for.
    overlaps : ndarray of shape (n_methods, n_methods, n_queries)
        Share of the first `k` exemplars that two methods have in common, for each query: of as many
        as the method with more of them names. nan where one of the two names none.
    overlap : ndarray of shape (n_methods, n_methods)
        Mean of `overlaps` over the queries where it is known.
    same_best : ndarray of shape (n_methods, n_methods)
        Share of these queries for which the two best exemplars are one row.
    chance : float
        The `overlap` that methods would have if they named rows at random; nan where the number of
        training rows is unknown.

    Raises
    ------
    TypeError
        If `explanations` is no mapping from names to Explanations.
    ValueError
        If there are fewer than two, or they explain other queries, other labels, or by other
        training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_provenance import InfoGainAttributor
    >>> from sklearn_provenance.attribution import RepSimAttributor
    >>> from sklearn_provenance.explanation import Comparison
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> methods = {"InfoGain": InfoGainAttributor(model), "RepSim": RepSimAttributor(model)}
    >>> comparison = Comparison(
    ...     {name: method.fit(X, y).explain(X[:20], k=5) for name, method in methods.items()}
    ... )
    >>> comparison.methods
    ['InfoGain', 'RepSim']
    >>> bool(0 < comparison.overlap[0, 1] < 1)
    True
    """

    explanations: dict[str, Explanation]

    def __init__(self, explanations: Mapping[str, Explanation]) -> None:
        self.explanations = check_explanations(explanations)
        self.methods = list(self.explanations)
        known = list(self.explanations.values())
        self.n_queries: int = known[0].n_queries
        self.k: int = min(explanation.k for explanation in known)
        self.overlaps = overlaps([explanation.indices[:, : self.k] for explanation in known])
        self.overlap = nan_mean(self.overlaps, axis=-1)
        best = np.stack([best_rows(explanation) for explanation in known])
        same = (best[:, None] == best[None]).astype(np.float64)  # (n_methods, n_methods, n_queries)
        self.same_best = nan_mean(np.where(np.isnan(self.overlaps), np.nan, same), axis=-1)

    @property
    def chance(self) -> float:
        """The overlap of methods that name rows at random."""
        data = self.joined.training_data
        if data is None or data.shape[0] == 0:
            return float("nan")
        return min(1.0, self.k / data.shape[0])

    @property
    def joined(self) -> Explanation:
        """All exemplars of each query in one Explanation, those of the first method first.

        It shares what the methods know of queries and training rows. Scores of different methods
        stand beside each other and cannot be compared.
        """
        known = list(self.explanations.values())
        indices = np.concatenate([explanation.indices for explanation in known], axis=1)
        scores = np.concatenate([explanation.scores for explanation in known], axis=1)
        order = np.argsort(indices < 0, axis=1, kind="stable")  # padding goes to the end
        shared: dict[str, Any] = {}
        for name in ("queries", "training_data", "image_shape", "feature_names", "query_id",
                     "query_labels", "true_labels"):  # fmt: skip
            values = [getattr(explanation, name) for explanation in known]
            shared[name] = next((value for value in values if value is not None), None)
        labels = [explanation.exemplar_labels for explanation in known]
        if all(of_method is not None for of_method in labels):
            shared["exemplar_labels"] = np.take_along_axis(
                np.concatenate(labels, axis=1), order, axis=1
            )
        shared["targets"] = known[0].targets
        return Explanation(
            np.take_along_axis(indices, order, axis=1),
            np.take_along_axis(scores, order, axis=1),
            **shared,
        )

    def __getitem__(self, method: str) -> Explanation:
        if method not in self.explanations:
            raise KeyError(f"{method!r} is none of the methods {', '.join(self.methods)}")
        return self.explanations[method]

    def take(self, queries: Any) -> Self:
        """
        Return the comparison of some queries.

        Parameters
        ----------
        queries : int, slice or array-like
            Queries to keep, as in the brackets of an Explanation.

        Returns
        -------
        Comparison
            Of these queries.
        """
        return type(self)({name: found[queries] for name, found in self.explanations.items()})

    def n_methods_of_each(self) -> dict[str, NDArray[np.int64]]:
        """
        Count the methods that name each exemplar for its query.

        Returns
        -------
        dict of str to ndarray of shape (n_queries, k)
            Counts in the shape of each method's `indices`, 0 at padding.
        """
        counts = {}
        for name, found in self.explanations.items():
            counts[name] = np.zeros(found.indices.shape, dtype=np.int64)
            for other in self.explanations.values():
                equal = found.indices[:, :, None] == other.indices[:, None]
                counts[name] += equal.any(axis=2) & (found.indices >= 0)
        return counts

    def to_frame(self) -> DataFrame:
        """
        Return one line for each exemplar of each query and method.

        Returns
        -------
        pandas.DataFrame
            Column `method`, then those of :meth:`Explanation.to_frame
            <sklearn_provenance.Explanation.to_frame>`, as far as every method knows them, and
            `named_by`, the number of methods that name the exemplar for this query.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        tables = {name: columns(found) for name, found in self.explanations.items()}
        first = next(iter(tables.values()))
        common = [name for name in first if all(name in table for table in tables.values())]
        lines = {
            "method": np.concatenate(
                [np.full(len(table["query"]), name) for name, table in tables.items()]
            )
        }
        for column in common:
            lines[column] = np.concatenate([table[column] for table in tables.values()])
        counts = self.n_methods_of_each()
        lines["named_by"] = np.concatenate(
            [counts[name][found.indices >= 0] for name, found in self.explanations.items()]
        )
        return data_frame(lines, "to_frame")

    def plot(
        self,
        queries: Any = None,
        *,
        k: int = 4,
        ax: Axes = None,
        figsize: tuple[float, float] | None = None,
        max_queries: int = 4,
        true_labels: Targets = None,
        label_names: Mapping | Sequence[str] | None = None,
    ) -> ExplanationDisplay:
        """
        Draw each query once, and beside it a line of exemplars for each method.

        Rows that several methods name for a query carry a ●. Texts and tables are drawn as by
        :meth:`Explanation.plot <sklearn_provenance.Explanation.plot>`, with the lines of one method
        below those of another.

        Parameters
        ----------
        queries : int, slice or array-like, default=None
            Queries to draw, whatever their number; None draws the first `max_queries`.
        k : int, default=4
            Number of exemplars to draw for each query and method, or as many as there are.
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.
        figsize : tuple of float, default=None
            Width and height of a new figure in inches; None fits them to what is drawn.
        max_queries : int, default=4
            Number of queries to draw when `queries` is None.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that all queries should have; None takes those of the explanations.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names for labels from 0.

        Returns
        -------
        ExplanationDisplay
            The display, with `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If the queries or the training rows are unknown, there is nothing to draw, or a label
            has no name.
        ImportError
            If matplotlib is missing.
        """
        display = comparison_display(
            self,
            queries,
            k=k,
            max_queries=max_queries,
            true_labels=true_labels,
            label_names=label_names,
        )
        return display.plot(ax, figsize=figsize)

    def to_html(
        self,
        path: Path | None = None,
        *,
        title: str = "Methods side by side",
        true_labels: Targets = None,
        label_names: Mapping | Sequence[str] | None = None,
        max_features: int = 12,
        embedding: Any = "pca",
    ) -> Page:
        """
        Write each query with the exemplars of all methods as one web page, which opens offline.

        It is a page as :meth:`Explanation.to_html <sklearn_provenance.Explanation.to_html>` writes
        it, with a table of how far methods agree, and is as confidential as the rows it holds.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write, or to replace in one step; None writes none.
        title : str, default="Methods side by side"
            Title of the page.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that the queries should have; None takes those of the explanations.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names for labels from 0.
        max_features : int, default=12
            Columns of a table.
        embedding : {"pca", "tsne", "umap"}, pair of array-like or None, default="pca"
            How the rows are placed on the map of the page, as in `Explanation.to_html`.

        Returns
        -------
        Page
            The page, a string that a notebook shows as a page.

        Raises
        ------
        ValueError
            If `max_features` is below 1, `embedding` is unknown, or a label has no name.
        FileNotFoundError
            If the folder of `path` does not exist.
        IsADirectoryError
            If `path` is a folder.
        """
        check_count("max_features", max_features)
        if path is not None:
            check_target(path)
        joined = self.joined
        if true_labels is not None:
            joined = joined._replace(true_labels=true_labels)
        html = comparison_page(
            self,
            joined,
            title=title,
            label_names=label_names,
            max_features=max_features,
            embedding=check_embedding(embedding, joined),
        )
        if path is not None:
            html.save(path)
        return html

    def __repr__(self) -> str:
        title = f"Comparison of {len(self.methods)} methods: "
        title += f"{counted(self.n_queries, 'query', 'queries')}, share of exemplars in common "
        title += f"(the first {self.k} of each)"
        width = max(9, max(map(len, self.methods)) + 1)
        cells = ["".join(f"{value:{width}.2f}" for value in line) for line in self.overlap]
        return text_table(title, self.methods, cells, heads(self.methods, width))

    def _repr_html_(self) -> str:
        return summary_table(self)
