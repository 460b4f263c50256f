"""The rows that a model was trained on, as one object for every kind of estimator."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .rows import take_rows


@dataclass(frozen=True, eq=False, repr=False)
class TrainingData:
    """Rows that an estimator was fitted on, with their labels.

    Fitted attributors and provenance estimators have it as ``training_``. It holds copies, which do
    not change with the arrays given to ``fit``; memory maps are not copied.

    Parameters
    ----------
    X : array-like of shape (n_train, ...) or None
        The rows in a form that the methods of the estimator take; None of an attributor that was
        loaded from a store.
    y : ndarray of shape (n_train,)
        Their labels as they were given to ``fit``, or their targets in a regression.
    sample_id : ndarray of shape (n_train,), default=None
        Your identifiers of the rows.
    row_shape : tuple of int, default=None
        Shape of one row: that of an image also where ``X`` holds flat images. None takes it from
        ``X``, and stays None where rows have no shape, as texts.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance import InfoGainAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> training = InfoGainAttributor(LogisticRegression(max_iter=1000)).fit(X, y).training_
    >>> training
    TrainingData(n_rows=150, row_shape=(4,))
    >>> training.of_class(2)[:3]
    array([100, 101, 102])
    >>> training.take([0, 50]).y
    array([0, 1])
    """

    X: Any
    y: np.ndarray
    sample_id: np.ndarray | None = None
    row_shape: tuple | None = None

    def __post_init__(self):
        if self.row_shape is None and len(getattr(self.X, "shape", ())) > 1:
            object.__setattr__(self, "row_shape", tuple(self.X.shape[1:]))

    def __len__(self) -> int:
        return len(self.y)

    def of_class(self, label: object) -> np.ndarray:
        """Return the rows with a label.

        Parameters
        ----------
        label : object
            One label.

        Returns
        -------
        ndarray of shape (n,), int64
            Row numbers, ascending; empty where no row has the label.
        """
        return np.flatnonzero(self.y == label)

    def take(self, rows: ArrayLike) -> "TrainingData":
        """Return some of the rows.

        Parameters
        ----------
        rows : array-like of shape (n,)
            Row numbers, or a mask of shape (n_train,).

        Returns
        -------
        TrainingData
            These rows, with their labels and identifiers.
        """
        rows = np.asarray(rows)
        if rows.dtype != bool:
            rows = rows.astype(np.int64)
        sample_id = self.sample_id
        if sample_id is not None:
            sample_id = sample_id[rows]
        X = None
        if self.X is not None:
            X = take_rows(self.X, rows)
        return TrainingData(X, self.y[rows], sample_id, self.row_shape)

    def __repr__(self):
        return f"TrainingData(n_rows={len(self)}, row_shape={self.row_shape})"
