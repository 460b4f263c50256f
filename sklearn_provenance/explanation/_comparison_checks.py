"""Whether explanations by several methods can be put side by side."""

from collections.abc import Mapping

import numpy as np

from ._explanation import Explanation
from ._rows import are_equal, dense, gather


def check_explanations(explanations):
    """Return explanations by name, if they explain the same queries by the same training rows.

    Parameters
    ----------
    explanations : mapping of str to Explanation
        At least two.

    Returns
    -------
    dict of str to Explanation
        The same.

    Raises
    ------
    TypeError
        If it is no mapping from names to Explanations.
    ValueError
        If there are fewer than two, or they explain other queries, other labels, or by other
        training rows.
    """
    if not isinstance(explanations, Mapping):
        raise TypeError(
            "explanations must be a mapping from names of methods to Explanations, such as "
            f'{{"InfoGain": one, "TRAK": other}}; got {type(explanations).__name__}'
        )
    for name, explanation in explanations.items():
        if not isinstance(name, str) or not isinstance(explanation, Explanation):
            raise TypeError(
                "explanations must map names of methods to Explanations, got "
                f"{type(explanation).__name__} under the name {name!r}"
            )
    if len(explanations) < 2:
        raise ValueError(f"explanations must hold at least two methods, got {len(explanations)}")
    explanations = dict(explanations)
    first, *others = explanations
    for other in others:
        difference = _difference(explanations[first], explanations[other])
        if difference:
            raise ValueError(
                "explanations must be of the same queries, at the same labels and by the same "
                f"training rows, but those of {first} and {other} {difference}"
            )
    return explanations


def _difference(one, other):
    """Write in what two explanations differ that must be the same; "" if in nothing."""
    if one.n_queries != other.n_queries:
        return f"have {one.n_queries} and {other.n_queries} queries"
    if one.targets != other.targets:
        return f"have targets that are {one.targets} and {other.targets}"
    if _both(one, other, "query_id") and not np.array_equal(one.query_id, other.query_id):
        return "have other query_id"
    if _both(one, other, "queries"):
        n_other = _n_different(dense(one.queries), dense(other.queries))
        if n_other:
            return f"differ in {n_other} of {one.n_queries} queries"
    if _both(one, other, "query_labels"):
        n_other = int(np.count_nonzero(~_same_labels(one, other)))
        if n_other:
            return (
                f"differ in the label that is explained for {n_other} of {one.n_queries} queries; "
                "pass the same labels to explain"
            )
    if _both(one, other, "training_data"):
        if one.training_data.shape[0] != other.training_data.shape[0]:
            n_one = one.training_data.shape[0]
            return f"have {n_one} and {other.training_data.shape[0]} training rows"
        if one.training_data is not other.training_data:
            named = np.concatenate([one.indices.ravel(), other.indices.ravel()])
            rows = np.unique(named[named >= 0])
            n_other = 0
            if len(rows):
                pair = [gather(exp.training_data, rows) for exp in (one, other)]
                n_other = _n_different(*pair)
            if n_other:
                return f"differ in {n_other} of {len(rows)} training rows that are named"
    return ""


def _both(one, other, name):
    """Return whether both explanations know something."""
    return getattr(one, name) is not None and getattr(other, name) is not None


def _same_labels(one, other):
    """Return for which queries the labels explained are equal; numbers may differ by rounding."""
    if one.targets == "numbers":
        return np.isclose(one.query_labels, other.query_labels, rtol=1e-5, equal_nan=True)
    return np.asarray(one.query_labels == other.query_labels)


def _n_different(rows, others):
    """Count rows that differ, where numbers may differ by rounding; all of them in other shapes."""
    if rows.shape != others.shape:
        return len(rows)
    rows = rows.reshape(len(rows), -1)
    others = others.reshape(len(rows), -1)
    if rows.dtype.kind in "biuf" and others.dtype.kind in "biuf":
        equal = np.isclose(rows, others, rtol=1e-5, equal_nan=True)
    else:
        equal = are_equal(rows, others)
    return int(np.count_nonzero(~equal.all(axis=1)))
