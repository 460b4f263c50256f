"""Tuples and lists of tensors, each of which is a row."""

import torch


def stacked(rows, name):
    """Return tensors, each of which is a row, as one; raise unless their shapes agree."""
    shapes = {tuple(row.shape) for row in rows}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} must have rows of one shape; got a {type(rows).__name__} of {len(rows)} "
            f"tensors, each of which is a row, with the shapes {sorted(shapes)[:3]}. Pad rows to "
            "one length, and pass several inputs of a network as a mapping"
        )
    return torch.stack(list(rows))


def check_count_of_tensors(X, y):
    """Raise if X is as many tensors as a network has inputs, and not as many as there are labels.

    Parameters
    ----------
    X : object
        Rows as users give them: a tuple or list of tensors has one for each row.
    y : array-like
        Labels, which are looked at where X is a tuple or list of tensors.

    Raises
    ------
    ValueError
        If their numbers differ.
    """
    if not isinstance(X, tuple | list) or not all(isinstance(row, torch.Tensor) for row in X):
        return
    n = len(y)
    if len(X) != n:
        shapes = [tuple(row.shape) for row in X[:3]]
        raise ValueError(
            f"X must have one row for each of {n} labels; got a {type(X).__name__} of "
            f"{len(X)} tensors, each of which is a row, with the shapes {shapes}. Pass several "
            "inputs of a network as a mapping, such as "
            '{"input_ids": ..., "attention_mask": ...}'
        )
