"""Rows of data, labels and scores as they are shown: words, images, tables."""

import numbers

import numpy as np
from scipy.sparse import issparse

from .._utils.rows import take_rows

_SAMPLE_ROWS = 2000
_SAMPLE_VALUES = 2**24


def dense(data):
    """Turn a block of rows of any kind into an ndarray."""
    if issparse(data):
        return data.toarray()
    if hasattr(data, "detach"):  # a tensor, maybe on a device, with a graph or in half precision
        data = data.detach().cpu()
        if data.is_floating_point() and data.element_size() < 4:
            data = data.float()
    return np.asarray(data)


def is_missing(value):
    """Return whether a value is None or pandas' NA, which comparisons do not tell."""
    return value is None or type(value).__name__ == "NAType"


def row_kind(blocks, image_shape):
    """Choose how rows are shown.

    Parameters
    ----------
    blocks : list of ndarray of shape (n, ...)
        Some rows.
    image_shape : tuple of int or None
        Shape of images.

    Returns
    -------
    {"images", "texts", "table", "nothing"}
        Rows of one value that is neither a number nor a date are texts.
    """
    if not blocks:
        return "nothing"
    if image_shape is not None:
        return "images"
    tables = [as_table(block) for block in blocks]
    if any(table.shape[1] != 1 or table.dtype.kind in "biufcmM" for table in tables):
        return "table"
    values = np.concatenate([table[:, 0] for table in tables])
    if all(isinstance(value, numbers.Number) or is_missing(value) for value in values):
        return "table"
    return "texts"


def text_of(row):
    """Return the text of a row that is a text, or holds a single one."""
    if isinstance(row, np.ndarray) and row.size == 1:
        row = row.ravel()[0]
    return str(row)


def format_number(value):
    """Write a number in few characters: 0.93, 12.3, 1.2e-4."""
    size = abs(value)
    if size == 0:
        return "0"
    if not np.isfinite(size):
        return str(float(value))
    if size < 1e-3 or size >= 1e4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 1:
        return f"{value:.3g}"
    return f"{value:.2g}"


def shorten(text, width, ellipsis="…"):
    """Shorten a text to a width, marking that it was shortened."""
    if len(text) <= width:
        return text
    return text[: width - len(ellipsis)] + ellipsis


def one_line(value):
    """Write a label or an id on one line, without NumPy's scalar names."""
    return " ".join(str(as_python(value)).split())


def quote(value):
    """Write a label or an id for the terminal, a string in quotes, in at most 20 characters."""
    value = as_python(value)
    if isinstance(value, str):
        return repr(shorten(value, 15, "..."))[:20]
    return shorten(one_line(value), 20, "...")


def as_python(value):
    """Turn a scalar of NumPy into one of Python."""
    if isinstance(value, np.generic):
        return value.item()
    return value


def counted(n, word, plural=None):
    """Write a number of things, such as "1 query" or "2 rows"."""
    if n == 1:
        return f"1 {word}"
    return f"{n} {plural or word + 's'}"


def tied_text(n_tied, rank):
    """Write how many rows that were left out have the score of the last exemplar."""
    rows = counted(n_tied, "more row is", "more rows are")
    return f"{rows} tied with exemplar {rank}"


def gather(data, indices):
    """Take rows at indices of any shape; entries at index -1 are undefined.

    Parameters
    ----------
    data : array, sparse matrix or data frame of shape (n, ...)
        Rows.
    indices : ndarray of int
        Rows to take; each is taken from the data once.

    Returns
    -------
    ndarray of shape (*indices.shape, ...)
        Rows.
    """
    rows, where = np.unique(indices.clip(min=0), return_inverse=True)
    return dense(take_rows(data, rows))[where.reshape(indices.shape)]


def as_images(rows, image_shape):
    """Shape rows, flat or shaped, as (n, H, W) or, with colour, (n, H, W, C)."""
    if len(image_shape) == 2:
        return np.reshape(rows, (-1, *image_shape))
    n_channels, height, width = image_shape
    if n_channels not in (1, 3, 4):
        raise ValueError(
            f"image_shape={image_shape} has {n_channels} channels; 1 (grey), 3 (RGB) or 4 (RGBA) "
            "can be drawn"
        )
    shape = rows.shape[1:]
    if shape != image_shape and shape == (height, width, n_channels):
        images = rows
    else:
        images = np.moveaxis(rows.reshape(-1, *image_shape), 1, -1)
    if n_channels == 1:
        return images[..., 0]
    return images


def sample_rows(data):
    """Take at most 2000 rows, evenly spaced; fewer of long ones."""
    n_rows = data.shape[0]
    row_size = int(np.prod(data.shape[1:]))
    n_taken = min(n_rows, _SAMPLE_ROWS, max(1, _SAMPLE_VALUES // max(1, row_size)))
    return dense(take_rows(data, np.linspace(0, n_rows - 1, n_taken).astype(np.int64)))


def feature_scale(rows):
    """Compute the standard deviation of each feature, nan where a feature is no number."""
    return np.ma.masked_invalid(as_numbers(as_table(rows))).std(axis=0).filled(np.nan)


def as_table(rows, n_leading=1):
    """Flatten the axes after the leading ones, so that each feature has a column."""
    size = int(np.prod(rows.shape[n_leading:]))
    return np.reshape(rows, (*rows.shape[:n_leading], size))


def as_numbers(table):
    """Read a table as float64, column by column, with nan for values that are no numbers."""
    if table.dtype.kind in "biuf":
        return table.astype(np.float64)
    if table.dtype.kind == "O":
        table = np.where(_ARE_MISSING(table).astype(bool), np.nan, table)
    read = np.full(table.shape, np.nan)
    for column in range(table.shape[-1]):
        try:
            read[..., column] = table[..., column].astype(np.float64)
        except (TypeError, ValueError):
            continue
    return read


def feature_differences(queries, exemplars, scale):
    """Subtract queries from their exemplars.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features)
        Tables, as :func:`as_table` makes them.
    exemplars : ndarray of shape (n_queries, k, n_features)
        Tables of the same features.
    scale : ndarray of shape (n_features,) or None
        Unit of each feature; None is 1.

    Returns
    -------
    ndarray of shape (n_queries, k, n_features)
        In units of scale, from -10 to 10; 0 where the two are equal, nan where they differ and are
        no numbers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        differences = as_numbers(exemplars) - as_numbers(queries)[:, None]
        if scale is not None:
            differences /= scale  # infinite where scale is 0
    differences = np.clip(differences, -10, 10)
    return np.where(are_equal(exemplars, queries[:, None]), 0.0, differences)


def are_equal(values, others):
    """Return whether values of any kind are equal, or both missing, one by one.

    Parameters
    ----------
    values, others : ndarray
        Arrays whose shapes fit together.

    Returns
    -------
    ndarray of bool
        Of their common shape.
    """
    kinds = {values.dtype.kind, others.dtype.kind}
    if kinds <= set("biufc") or (len(kinds) == 1 and "O" not in kinds):
        return (values == others) | ((values != values) & (others != others))
    return _ARE_EQUAL(values, others).astype(bool)


def _is_equal(one, other):
    """Return whether two objects are equal or both missing, also where == gives no truth value."""
    try:
        return bool(one == other) or bool(one != one and other != other)
    except (TypeError, ValueError):
        return one is other


_ARE_EQUAL = np.frompyfunc(_is_equal, 2, 1)
_ARE_MISSING = np.frompyfunc(is_missing, 1, 1)


def differing_features(differences, valid, n_features, shared=None):
    """Choose the features in which exemplars differ most from their queries, on average.

    Parameters
    ----------
    differences : ndarray of shape (n_queries, k, n_all)
        In standard deviations; one that is no number (another category, a missing value) counts
        as one.
    valid : ndarray of shape (n_queries, k), bool
        Exemplars that are no padding.
    n_features : int
        How many to choose.
    shared : ndarray of shape (n_all,), default=None
        Sizes of the parts of features in inner products; those that have any come first.

    Returns
    -------
    ndarray of int
        Features in their own order.
    """
    sizes = np.nan_to_num(np.abs(differences), nan=1.0)
    spread = np.zeros(sizes.shape[-1])  # (n_all,)
    if valid.any():
        spread = sizes[valid].mean(axis=0)
    if shared is None:
        shared = np.zeros_like(spread)
    return np.sort(np.lexsort((-spread, -shared))[:n_features])  # the last key counts first


def cell_text(value, width=8):
    """Write a feature's value so that it fits in a cell."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return shorten(one_line(value), width)
    if 1e4 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return format_number(value)


def block_means(values, n):
    """Average each n lines of an array; the last lines may be fewer."""
    starts = np.arange(0, len(values), n)
    sizes = np.diff(np.append(starts, len(values)))
    sums = np.add.reduceat(values, starts, axis=0)
    return sums / sizes.reshape(-1, *[1] * (values.ndim - 1))
