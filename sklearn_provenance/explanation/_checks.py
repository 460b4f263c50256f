"""What an explanation is made of, checked."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import issparse

from .._utils.arguments import check_readable, whole
from ._contributions import check_contributions
from ._rows import shorten
from ._targets import check_targets


def check_explanation(explanation):
    """Check the arguments of an explanation, and turn them into arrays that belong together."""
    exp = explanation
    n_queries = exp.n_queries
    exp.sample_id = check_array("sample_id", exp.sample_id, exp.indices.shape)
    exp.exemplar_labels = check_array("exemplar_labels", exp.exemplar_labels, exp.indices.shape)
    exp.query_labels = check_array("query_labels", exp.query_labels, (n_queries,))
    exp.true_labels = check_array("true_labels", exp.true_labels, (n_queries,))
    check_targets(exp)
    exp.query_id = check_array("query_id", exp.query_id, (n_queries,))
    if exp.contributions is not None:
        exp.contributions = check_contributions(exp.contributions, exp.indices)
    exp.n_tied = check_counts("n_tied", exp.n_tied, (n_queries,))
    names = exp.feature_names
    if isinstance(names, str):
        raise ValueError(f"feature_names must be a sequence of names, got the text {names!r}")
    if names is None:
        names = getattr(exp.queries, "columns", None)  # of a data frame
    if names is not None:
        names = list(map(str, names))
    exp.feature_names = names
    exp.image_shape = check_image_shape(exp.image_shape)
    exp.queries = check_shown("queries", exp.queries, exp.image_shape)
    exp.training_data = check_shown("training_data", exp.training_data, exp.image_shape)

    if exp.queries is not None and exp.queries.shape[0] != n_queries:
        raise ValueError(
            f"queries has {exp.queries.shape[0]} rows, but indices explains {n_queries} queries"
        )
    known = {"queries": exp.queries, "training_data": exp.training_data}
    for name, data in known.items():
        if data is not None and names is not None and len(names) != row_size(data):
            raise ValueError(
                f"feature_names has {len(names)} names, but a row of {name} holds "
                f"{row_size(data)} values"
            )
    if exp.training_data is not None and exp.indices.size:
        n_train = exp.training_data.shape[0]
        largest = exp.indices.max()
        if largest >= n_train:
            raise ValueError(
                f"indices point to row {largest}, but training_data has {n_train} rows"
            )


def check_picks(indices, scores):
    """Return indices as int64 and scores as float64, of one shape and with one padding."""
    check_readable(indices, "indices")
    check_readable(scores, "scores")
    indices = np.asarray(indices)
    scores = np.asarray(scores, dtype=np.float64)
    if indices.size == 0:
        indices = indices.astype(np.int64)  # an empty list has no integer type of its own
    if indices.dtype.kind not in "iu":
        raise ValueError(f"indices must be integers, got dtype {indices.dtype}")
    if indices.ndim != 2 or indices.shape != scores.shape:
        raise ValueError(
            "indices and scores must both have shape (n_queries, k), got "
            f"{indices.shape} and {scores.shape}"
        )
    indices = indices.astype(np.int64, copy=False)
    if (indices < -1).any():
        raise ValueError(f"indices must be rows, or -1 for padding, got {indices.min()}")
    valid = indices >= 0
    if (wrong := valid == np.isnan(scores)).any():
        query, rank = np.argwhere(wrong)[0]
        raise ValueError(
            "scores must be nan exactly where indices is -1, got index "
            f"{indices[query, rank]} with score {scores[query, rank]} at query {query}, "
            f"position {rank}"
        )
    if (late := valid[:, 1:] & ~valid[:, :-1]).any():
        raise ValueError(
            "padding must stand at the end of a row, got an exemplar after padding in query "
            f"{np.argwhere(late)[0, 0]}"
        )
    return indices, scores


def check_array(name, values, shape):
    """Return values as an array of a shape, or None."""
    if values is None:
        return None
    check_readable(values, name)
    values = np.asarray(values)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    return values


def check_count(name, value):
    """Raise a ValueError unless a value is an integer of at least 1."""
    if not whole().is_satisfied_by(value):
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def check_counts(name, values, shape):
    """Return values as an array of non-negative integers, or None."""
    values = check_array(name, values, shape)
    if values is None:
        return None
    if values.size == 0:
        values = values.astype(np.int64)  # an empty list has no integer type of its own
    if values.dtype.kind not in "iu" or (values < 0).any():
        raise ValueError(f"{name} must be non-negative integers, got {shorten(str(values), 60)}")
    return values.astype(np.int64, copy=False)


def check_shown(name, data, image_shape=None):
    """Return rows of any kind in a form whose rows can be taken, or refuse them."""
    if data is None:
        return None
    check_readable(data, name)
    if issparse(data):
        data = data.tocsr()  # the kind whose rows can be taken
    elif isinstance(data, list | tuple):
        data = from_list(data)
    elif isinstance(data, Mapping):
        pass  # no rows
    elif not hasattr(data, "shape") or (hasattr(data, "columns") and not hasattr(data, "iloc")):
        data = np.asarray(data)  # among others, data frames that are not pandas'
    if isinstance(data, Mapping) or not getattr(data, "shape", ()):
        kind = type(data.item() if isinstance(data, np.ndarray) else data)
        raise ValueError(
            f"{name} must be an array, a sparse matrix, a data frame or a list of rows, got "
            f"{kind.__name__}; give None where rows cannot be shown"
        )
    if image_shape is not None and np.prod(image_shape) != row_size(data):
        raise ValueError(
            f"image_shape={image_shape} needs {np.prod(image_shape)} values in a row, but a row of "
            f"{name} holds {row_size(data)}"
        )
    return data


def check_image_shape(shape):
    """Return the shape of images as a tuple of int, or None."""
    if shape is None:
        return None
    sizes = ()
    if not isinstance(shape, str):
        sizes = tuple(shape)
    if len(sizes) not in (2, 3) or not all(whole().is_satisfied_by(size) for size in sizes):
        raise ValueError(f"image_shape must be (H, W) or (C, H, W) in pixels, got {shape!r}")
    return tuple(map(int, sizes))


def row_size(data):
    """Return the number of values in a row."""
    return int(np.prod(data.shape[1:]))


def from_list(rows):
    """Return a list of rows as an array; rows of several lengths become objects."""
    try:
        return np.asarray(rows)
    except ValueError:  # rows of several lengths, such as lists of tokens
        data = np.empty(len(rows), dtype=object)
        for number, row in enumerate(rows):
            data[number] = row
        return data
