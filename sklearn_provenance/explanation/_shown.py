"""How an Explanation shows itself: as a table, a figure, a page and a text."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from .._utils.tables import data_frame
from .._utils.types import Axes, DataFrame, Path, Targets
from ._checks import check_array, check_count
from ._embedding import check_embedding
from ._export import check_folder, export
from ._notebook import summary_table
from ._page import Page, check_target, write_page
from ._plot import ExplanationDisplay
from ._sections import explanation_page
from ._table import columns
from ._text import write_text

_REPR_QUERIES = 8


class ShownExplanation:
    """What an Explanation has to show itself with."""

    def to_frame(self) -> DataFrame:
        """
        Return one line for each exemplar of each query, without padding.

        Returns
        -------
        pandas.DataFrame
            Columns `query` (from 0), `query_id` if known, `rank` (from 1, the best), `index`,
            `sample_id` if known, `score`, and as far as they are known `query_label`, `true_label`
            (of the query), `label` (of the exemplar), `query_text` and `text` (of the exemplar)
            where rows are texts, `shared`, the words or columns of the largest parts (see
            :meth:`Explanation.shared_features`), and `n_tied` (of the query). Where targets are
            numbers, the labels are called `query_target`, `true_target` and `target`, with
            `residual` (of the query) and `difference` (of the exemplar's target from
            `query_target`).

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return data_frame(columns(self), "to_frame")

    def plot(
        self,
        queries: Any = None,
        *,
        k: int = 5,
        ax: Axes = None,
        figsize: tuple[float, float] | None = None,
        max_queries: int = 8,
        true_labels: Targets = None,
        image_shape: Sequence[int] | None = None,
        label_names: Mapping | Sequence[str] | None = None,
    ) -> ExplanationDisplay:
        """
        Draw queries beside their exemplars: images as images, texts as texts, others as tables.

        An exemplar whose label differs from the query's is coloured and carries a ≠. Targets that
        are numbers colour squares, or frames of images, and stand with their differences from the
        query's. See :class:`ExplanationDisplay` for how tables are coloured and which features they
        hold. Float images are drawn over the common range of a query and its exemplars, except for
        RGB images in [0, 1], which are drawn as they are.

        Parameters
        ----------
        queries : int, slice or array-like, default=None
            Queries to draw, whatever their number; None draws the first `max_queries`.
        k : int, default=5
            Number of exemplars to draw for each query, or as many as there are.
        ax : matplotlib Axes, default=None
            Subplot whose place is used; None makes a new figure.
        figsize : tuple of float, default=None
            Width and height of a new figure in inches; None fits them to what is drawn.
        max_queries : int, default=8
            Number of queries to draw when `queries` is None.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that all queries should have; those explained are marked with a ✗ where they
            differ. Numbers are shown with their residuals. None takes the explanation's.
        image_shape : tuple of int, default=None
            `(H, W)` or `(C, H, W)` of rows that are flattened images; None takes the explanation's.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names, such as a Bunch's
            `target_names`, for labels counted from 0.

        Returns
        -------
        ExplanationDisplay
            The display, with `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If `queries` or `training_data` is unknown, there is nothing to draw, or a label has no
            name.
        ImportError
            If matplotlib is missing.
        """
        return ExplanationDisplay.from_explanation(
            self._seen_as(image_shape=image_shape),
            queries,
            k=k,
            ax=ax,
            figsize=figsize,
            max_queries=max_queries,
            true_labels=true_labels,
            label_names=label_names,
        )

    def to_html(
        self,
        path: Path | None = None,
        *,
        title: str = "Explanation",
        query_id: ArrayLike | None = None,
        true_labels: Targets = None,
        label_names: Mapping | Sequence[str] | None = None,
        max_features: int = 12,
        image_shape: Sequence[int] | None = None,
        embedding: str | tuple[ArrayLike, ArrayLike] | None = "pca",
    ) -> Page:
        """
        Write queries beside their exemplars as one web page, which opens offline.

        Images are pictures, texts are texts, and other rows are tables as in :meth:`plot`. The page
        loads nothing, and nothing in the data can run in it. It holds rows of the data, and is as
        confidential as they are.

        Parameters
        ----------
        path : str or path-like, default=None
            File to write, or to replace in one step; None writes none.
        title : str, default="Explanation"
            Title of the page.
        query_id : array-like of shape (n_queries,), default=None
            Your own names of the queries; None takes the explanation's `query_id`, or counts them
            from 0.
        true_labels : array-like of shape (n_queries,), default=None
            Labels that the queries should have; those explained are marked where they differ.
            Numbers are shown with their residuals. None takes the explanation's.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names, such as a Bunch's
            `target_names`, for labels counted from 0.
        max_features : int, default=12
            Columns of a table: the features in which exemplars differ most from their queries.
        image_shape : tuple of int, default=None
            `(H, W)` or `(C, H, W)` of rows that are flattened images; None takes the explanation's.
        embedding : {"pca", "tsne", "umap"}, pair of array-like or None, default="pca"
            How the rows are placed on the map of the page: on their first two principal components,
            by scikit-learn's t-SNE, or by UMAP, which needs umap-learn. Columns of numbers are
            scaled to unit variance, texts are compared by their words. A pair holds points of your
            own, such as a network's features, of shapes (n_queries, d) and (n_train, d); PCA turns
            more than two dimensions into two. None draws no map.

        Returns
        -------
        Page
            The page, a string that a notebook shows as a page.

        Raises
        ------
        ValueError
            If a shape does not fit, `max_features` is below 1, `embedding` is unknown, a label has
            no name, or labels have names and are numbers.
        ImportError
            If `embedding` is "umap", and umap-learn is missing.
        FileNotFoundError
            If the folder of `path` does not exist.
        IsADirectoryError
            If `path` is a folder.

        See Also
        --------
        sklearn_provenance.inspection.report : Page about a fitted classifier or attributor.

        Examples
        --------
        >>> from sklearn_provenance import Explanation
        >>> exp = Explanation([[4, 0]], [[0.93, 0.07]], query_labels=["<b>cat</b>"])
        >>> page = exp.to_html(title="Cats")
        >>> "&lt;b&gt;cat&lt;/b&gt;" in page
        True
        """
        check_count("max_features", max_features)
        if path is not None:
            check_target(path)
        embedding = check_embedding(embedding, self)
        html = explanation_page(
            self._seen_as(true_labels=true_labels, image_shape=image_shape),
            title=title,
            query_id=check_array("query_id", query_id, (self.n_queries,)),
            label_names=label_names,
            max_features=max_features,
            embedding=embedding,
        )
        if path is not None:
            write_page(html, path)
        return html

    def export(
        self,
        path: Path,
        *,
        label_names: Mapping | Sequence[str] | None = None,
        embedding: str | tuple[ArrayLike, ArrayLike] | None = "pca",
    ) -> None:
        """
        Write a folder that FiftyOne and Spotlight open: `labels.csv`, and images in `data`.

        The table has a line for each query and each exemplar, once each, with the columns

        - `name`, such as `query_3` or `row_17`; `kind`, query or exemplar; `number`; `own_id`, your
          own name of it, if known;
        - `label` (of a query: the one explained), `true_label` and `is_wrong` of queries; of a
          regression `target` and `true_target`;
        - `exemplars` and `scores` of queries, best first, separated by spaces;
        - `queries` and `n_queries` of exemplars: the queries that it serves;
        - `text`, where rows are texts; `embedding`, the place on the map as `[x, y]`; and
          `filepath`, where rows are images: the name of a PNG file in `data`, at full size.

        FiftyOne reads it with `fiftyone.Dataset.from_dir(path,
        dataset_type=fiftyone.types.CSVDataset)`, Spotlight by
        `spotlight.show(table, dtype={"filepath": spotlight.Image, "embedding":
        spotlight.Embedding})` of the table that pandas reads, with `data/` before each `filepath`.

        Parameters
        ----------
        path : str or path-like
            Folder to make: a new one, an empty one, or one that an earlier export made. Images
            that the earlier table lists and this one does not are removed.
        label_names : mapping or sequence, default=None
            What to call each label: names by label, or a sequence of names for labels from 0.
        embedding : {"pca", "tsne", "umap"}, pair of array-like or None, default="pca"
            How the rows are placed, as in :meth:`to_html`; None writes no places.

        Raises
        ------
        ValueError
            If `embedding` is unknown, or a label has no name.
        FileNotFoundError
            If the folder around `path` does not exist.
        FileExistsError
            If `path` is a file, or a folder that holds something else.

        See Also
        --------
        to_frame : One line for each exemplar of each query.
        """
        folder = check_folder(path)
        export(self, folder, label_names=label_names, embedding=check_embedding(embedding, self))

    def _seen_as(self, **changes):
        """Return a copy with what is given in place of its own, or itself if nothing is."""
        given = {name: value for name, value in changes.items() if value is not None}
        if given:
            return self._replace(**given)
        return self

    def __repr__(self) -> str:
        return write_text(self, _REPR_QUERIES)

    def _repr_html_(self) -> str:
        return summary_table(self, _REPR_QUERIES, 5)
