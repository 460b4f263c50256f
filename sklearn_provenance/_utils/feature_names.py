"""Names of features: columns or words as the user knows them, followed through transformers."""

import copy

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline


def column_names(X):
    """Name the columns of rows as an Explanation does.

    Parameters
    ----------
    X : object
        Rows of any kind.

    Returns
    -------
    ndarray of shape (n_columns,), object, or None
        Names of the columns of a data frame, x0, x1, ... of other tables, and None for texts and
        rows of other shapes, which have no columns.
    """
    if hasattr(X, "columns"):
        return _as_names(map(str, X.columns))
    shape = getattr(X, "shape", ())
    if len(shape) != 2:
        return None
    return _as_names(f"x{column}" for column in range(shape[1]))


def names_out(step, names):
    """Name the columns that a fitted transformer gives.

    A word is named as it stands in the vocabulary, without the name of a step. The columns of an
    encoded column all have its name.

    Parameters
    ----------
    step : transformer, "passthrough", "drop" or None
        Fitted.
    names : ndarray of shape (n_columns,) or None
        Names of the columns that it takes; None where they are not known or there are none.

    Returns
    -------
    ndarray of shape (n_columns_out,), object, or None
        None where columns are neither columns nor words that the user knows, such as hashes and
        principal components, or where the transformer does not name them.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return names
    if isinstance(step, str):  # "drop"
        return _as_names(())
    try:
        return _names_out(step, names)
    except (AttributeError, TypeError, ValueError):  # transformers that cannot name their columns
        return None


def _names_out(step, names):
    """Name the columns of a transformer of any kind."""
    # These take long to import, and are of no use before there is a pipeline.
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomTreesEmbedding
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

    if isinstance(step, FrozenEstimator):
        return names_out(step.estimator, names)
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            names = names_out(inner, names)
        return names
    if isinstance(step, FeatureUnion):
        return _joined([names_out(inner, names) for _, inner in step.transformer_list])
    if isinstance(step, ColumnTransformer):
        return _of_column_transformer(step, names)
    if isinstance(step, ClassNamePrefixFeaturesOutMixin | RandomTreesEmbedding):
        return None  # these names are the transformer's, and tell nothing of the user's columns
    if names is None:
        # Only transformers of other things than columns, such as texts, name their own output.
        if hasattr(step, "n_features_in_"):
            return None
        return _as_names(step.get_feature_names_out())
    if isinstance(step, OneHotEncoder):
        step = copy.copy(step)
        step.feature_name_combiner = lambda feature, category: feature
    if isinstance(step, KBinsDiscretizer) and step.encode != "ordinal":
        return _as_names(np.repeat(names, step.n_bins_))
    seen = getattr(step, "feature_names_in_", names)
    sources = dict(zip(seen, names, strict=True))  # a step may have seen names of a step before it
    return _as_names(sources.get(name, name) for name in step.get_feature_names_out(seen))


def _of_column_transformer(step, names):
    """Name the columns of a ColumnTransformer, part by part."""
    seen = getattr(step, "feature_names_in_", None)
    if seen is not None and set(seen) <= set(names):
        names = _as_names(seen)  # it takes columns by name, in whatever order they come
    parts = []
    for name, inner, _ in step.transformers_:
        columns = step._transformer_to_input_indices[name]
        if len(columns):
            parts.append(names_out(inner, names[columns]))
    return _joined(parts)


def _joined(parts):
    """Join the names of several parts; None if one part has none."""
    if any(part is None for part in parts):
        return None
    return np.concatenate([_as_names(()), *parts])


def _as_names(names):
    """Return names as an array of objects, in which strings may have any length."""
    return np.array([str(name) for name in names], dtype=object)
