"""Labels and their positions among the classes of a model."""

import numpy as np


def positions(classes, labels, name):
    """Find the positions of labels in classes.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels in the order of the logits.
    labels : array-like of shape (n,)
        Labels to find.
    name : str
        Name of the caller's argument.

    Returns
    -------
    ndarray of shape (n,), int64
        Positions.

    Raises
    ------
    ValueError
        If a label is none of the classes.
    """
    labels = np.asarray(labels)
    place = {label: i for i, label in enumerate(classes.tolist())}
    found = np.array([place.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    if (found < 0).any():
        unknown = labels[found < 0].tolist()[0]
        raise ValueError(
            f"{name} holds the label {unknown!r}, which the model does not know; its "
            f"classes are {classes.tolist()}"
        )
    return found


def equal_shares(counts, k):
    """Split k over classes as evenly as their counts allow; larger classes get the remainder."""
    shares = np.zeros_like(counts)
    while shares.sum() < k:
        open_ = np.flatnonzero(shares < counts)
        open_ = open_[np.argsort(-counts[open_], kind="stable")]
        each, left = divmod(k - shares.sum(), len(open_))
        step = np.full(len(open_), each)
        step[:left] += 1
        shares[open_] = np.minimum(shares[open_] + step, counts[open_])
    return shares


def label_columns(y, n_rows, classes):
    """Find the columns of logits that labels stand for."""
    if y is None:
        raise ValueError("Margins are those of labels: give y_eval.")
    y = np.asarray(y)
    if y.shape != (n_rows,):
        raise ValueError(f"{n_rows} evaluation rows, but labels of shape {y.shape}.")
    columns = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    unknown = np.unique(y[classes[columns] != y])
    if len(unknown):
        raise ValueError(f"Labels {unknown.tolist()} are none of the classes {classes.tolist()}.")
    return columns


def majority(labels, valid):
    """Find the most frequent label of each row, of equally frequent ones the first.

    Parameters
    ----------
    labels : ndarray of shape (n, k)
        Labels in order of rank.
    valid : ndarray of shape (n, k), bool
        Labels that count.

    Returns
    -------
    ndarray of shape (n,)
        Places of the labels, from 0 to k - 1.
    """
    votes = ((labels[:, :, None] == labels[:, None]) & valid[:, None]).sum(axis=2)
    return np.where(valid, votes, 0).argmax(axis=1)
