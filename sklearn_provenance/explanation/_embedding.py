"""Rows in the plane: where queries and training rows lie on the map of a page."""

from typing import NamedTuple

import numpy as np

from .._utils.arguments import check_readable
from ._rows import as_images, as_numbers, as_table, block_means, dense, gather, row_kind, text_of

METHODS = ("pca", "tsne", "umap")
MAX_OTHERS = 1000  # training rows that no query names, and that are drawn all the same
_MAX_SIDE = 32  # pixels of an image; larger ones are shrunk before they are compared
_MAX_WORDS = 1000
_MAX_CATEGORIES = 20


class Places(NamedTuple):
    """Places of rows in the plane.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, 2)
        Of each query.
    rows : ndarray of int of shape (n_rows,)
        Training rows that have a place, in increasing order: all exemplars, and some others.
    training : ndarray of shape (n_rows, 2)
        Their places.
    name : str
        What the two directions are.
    """

    queries: np.ndarray
    rows: np.ndarray
    training: np.ndarray
    name: str


def check_embedding(embedding, explanation):
    """Return an embedding as a name, None, or a pair of arrays of rows.

    Parameters
    ----------
    embedding : {"pca", "tsne", "umap"}, pair of array-like or None
        As in :meth:`Explanation.to_html`.
    explanation : Explanation
        Explanation that has the rows.

    Returns
    -------
    str, tuple of ndarray or None
        Arrays have shape (n_queries, d) and (n_train, d).

    Raises
    ------
    ValueError
        If it is unknown, or arrays have another shape or hold nan or infinity.
    ImportError
        If it is "umap", and umap-learn is missing.
    """
    if embedding is None:
        return None
    if isinstance(embedding, str):
        if embedding not in METHODS:
            raise ValueError(
                f"embedding must be None, one of {', '.join(METHODS)}, or a pair of arrays, got "
                f"{embedding!r}"
            )
        if embedding == "umap":
            _umap()
        return embedding
    try:
        of_queries, of_training = embedding
    except (TypeError, ValueError) as error:
        raise ValueError(
            "embedding must be None, the name of a method, or a pair of arrays: the points of the "
            f"queries and those of the training rows; got {type(embedding).__name__}"
        ) from error
    arrays = []
    for name, points in {"queries": of_queries, "training rows": of_training}.items():
        check_readable(points, "embedding")
        points = np.asarray(dense(points), dtype=np.float64)
        if points.ndim != 2 or not np.isfinite(points).all():
            raise ValueError(
                f"embedding must have finite points of shape (n, d) for the {name}, got shape "
                f"{points.shape}"
            )
        arrays.append(points)
    n_train = explanation.indices.max(initial=-1) + 1
    if explanation.training_data is not None:
        n_train = explanation.training_data.shape[0]
    of_queries, of_training = arrays
    n_expected = (explanation.n_queries, n_train)
    if (len(of_queries), len(of_training)) != n_expected or (
        of_queries.shape[1] != of_training.shape[1]
    ):
        raise ValueError(
            f"embedding must have {n_expected[0]} points for the queries and {n_expected[1]} for "
            f"the training rows, in one space; got shapes {of_queries.shape} and "
            f"{of_training.shape}"
        )
    return of_queries, of_training


def places(explanation, embedding):
    """Place queries and training rows in the plane.

    Parameters
    ----------
    explanation : Explanation
        Queries, exemplars, and the data.
    embedding : str, pair of ndarray or None
        As :func:`check_embedding` returns it.

    Returns
    -------
    Places or None
        None where there is no embedding, no data to compare, or fewer than three rows.
    """
    if embedding is None or explanation.n_queries == 0:
        return None
    given = not isinstance(embedding, str)
    if not given and (explanation.queries is None or explanation.training_data is None):
        return None
    n_train = len(embedding[1]) if given else explanation.training_data.shape[0]
    others = np.linspace(0, n_train - 1, min(n_train, MAX_OTHERS)).astype(np.int64)
    exemplars = explanation.indices[explanation.indices >= 0]
    rows = np.union1d(others, exemplars)
    if explanation.n_queries + len(rows) < 3:
        return None
    if given:
        points = np.concatenate([embedding[0], embedding[1][rows]])
        method = "pca"
    else:
        points = _as_points(explanation, rows)
        method = embedding
    if points.shape[1] == 0:
        return None
    placed, name = _METHODS[method](points, explanation.n_queries)
    if given and points.shape[1] == 2:
        placed = points
        name = "the embedding given"
    elif given:
        name += " of the embedding given"
    return Places(placed[: explanation.n_queries], rows, placed[explanation.n_queries :], name)


def _as_points(explanation, rows):
    """Turn queries and training rows into points of one space, in which they can be compared."""
    queries = dense(explanation.queries)
    training = gather(explanation.training_data, rows)
    kind = row_kind([queries, training], explanation.image_shape)
    both = np.concatenate([as_table(queries), as_table(training)])
    if kind == "images":
        return _shrunk(both, explanation.image_shape)
    if kind == "texts":
        from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import

        words = TfidfVectorizer(max_features=_MAX_WORDS, token_pattern=r"(?u)\b\w+\b")
        texts = [text_of(row) for row in both]
        try:
            return words.fit_transform(texts).toarray()
        except ValueError:  # no text has a word
            return np.zeros((len(texts), 1))
    return _standardised(both)


def _shrunk(images, image_shape):
    """Average images over blocks, so that a side has at most 32 pixels, and flatten them."""
    images = images.astype(np.float64)
    images = np.where(np.isfinite(images), images, 0.0)
    if len(image_shape) == 3 and image_shape[0] not in (1, 3, 4):
        return as_table(images)
    images = as_images(images, image_shape)  # (n, H, W) or (n, H, W, C)
    for axis in (1, 2):
        factor = -(-images.shape[axis] // _MAX_SIDE)
        images = np.moveaxis(block_means(np.moveaxis(images, axis, 0), factor), 0, axis)
    return as_table(images)


def _standardised(table):
    """Scale columns of numbers to unit variance, and give each frequent category a column."""
    values = as_numbers(table)
    values[~np.isfinite(values)] = np.nan
    is_number = np.isfinite(values).any(axis=0)
    numbers = values[:, is_number]
    # Halves, because the difference of two large numbers may be infinite.
    numbers = numbers / np.nanmax(np.abs(numbers), axis=0, initial=1e-300) / 2
    numbers -= np.nanmean(numbers, axis=0)
    spread = np.nanstd(numbers, axis=0)
    spread[spread == 0] = 1.0
    numbers = np.nan_to_num(numbers / spread)  # a missing value lies in the middle
    blocks = [numbers]
    if not is_number.all():
        from sklearn.preprocessing import OneHotEncoder

        names = _AS_TEXT(table[:, ~is_number])
        encoder = OneHotEncoder(
            max_categories=_MAX_CATEGORIES, sparse_output=False, handle_unknown="ignore"
        )
        blocks.append(encoder.fit_transform(names) / np.sqrt(2))
    return np.concatenate(blocks, axis=1)


_AS_TEXT = np.frompyfunc(str, 1, 1)


def _pca(points, n_queries):
    """Project points on the two directions in which training rows vary most."""
    from sklearn.decomposition import PCA  # slow to import

    n_components = min(2, points.shape[1], len(points) - n_queries)
    with np.errstate(invalid="ignore", divide="ignore"):  # rows that are all alike
        pca = PCA(n_components, random_state=0).fit(points[n_queries:])
    placed = pca.transform(points)
    if n_components < 2:
        placed = np.column_stack([placed, np.zeros(len(placed))])
    share = np.nan_to_num(pca.explained_variance_ratio_).sum()
    return placed, f"the first two principal components, {share:.0%} of the variance"


def _tsne(points, n_queries):
    """Place points so that near neighbours stay near, by t-SNE."""
    from sklearn.manifold import TSNE  # slow to import

    perplexity = min(30.0, (len(points) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    return tsne.fit_transform(points), "t-SNE, which keeps near neighbours together"


def _umap_places(points, n_queries):
    """Place points by UMAP."""
    reducer = _umap()(n_neighbors=min(15, len(points) - 1), random_state=0, n_jobs=1)
    return reducer.fit_transform(points), "UMAP, which keeps near neighbours together"


def _umap():
    """Import UMAP, or say how to install it."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            'embedding="umap" needs umap-learn; install it with "pip install umap-learn", or use '
            '"pca" or "tsne"'
        ) from error
    return UMAP


_METHODS = {"pca": _pca, "tsne": _tsne, "umap": _umap_places}
