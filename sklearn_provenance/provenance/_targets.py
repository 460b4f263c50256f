"""What a provenance estimator learns about y: class labels, or numbers.

Shapes in comments and docstrings: B rows, C classes, T targets.
"""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .._utils.arguments import missing_labels
from ._persistence import check_saved_labels, check_saved_numbers


class ClassTargets:
    """Targets that are class labels; ``_fit_y`` holds them encoded.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    """

    _LEAST_CLASSES = 1
    _KIND = "labels"  # as an Explanation says
    _Y_CHECKS: dict = {}  # of scikit-learn's validate_data

    def _learn_targets(self, y):
        _check_missing(y, missing_labels(np.asarray(y)))
        self._check_labels(y)
        y = column_or_1d(y, warn=True)
        encoder = LabelEncoder()
        self._fit_y = encoder.fit_transform(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < self._LEAST_CLASSES:
            raise ValueError(
                f"a classifier needs at least 2 classes; y has one class, {self.classes_[0]!r}"
            )

    def _check_labels(self, y):
        check_classification_targets(y)

    @property
    def _strata(self):
        """The group of outputs that each training row belongs to, and the number of groups."""
        return self._fit_y, len(self.classes_)

    def _training_rows(self):
        """Return arguments of the network and targets of the loss, by training row."""
        label = torch.as_tensor(self._fit_y)  # (n_train,), as all that follow
        output = torch.as_tensor(self._index.output_of_row)
        local = torch.as_tensor(self._index.local)[output.clamp(min=0)].where(output >= 0, 0)
        inputs = {"x": torch.tensor(self._fit_X), "label": label}
        return inputs, {"label": label, "output": output, "local": local}

    @staticmethod
    def _decide(scores):
        """Decide for encoded classes (B,) by class scores (B, C)."""
        return scores.argmax(1)

    @property
    def _given_targets(self):
        """Labels of all training rows, as fit was given them."""
        return self.classes_[self._fit_y]

    def _labels_of(self, rows):
        """Look up the labels of training rows."""
        return self.classes_[self._fit_y[rows]]

    def _predicted_labels(self, predicted):
        """Return the labels of what :meth:`_decide` gives."""
        return self.classes_[predicted]

    def _restore_targets(self, state):
        self._fit_y = state["fit_y"]
        self.classes_ = state["classes"]

    @classmethod
    def _check_saved_targets(cls, state):
        check_saved_labels(state, cls._LEAST_CLASSES)


class NumericTargets:
    """Targets that are numbers; ``_fit_y`` holds them in their units, as float64."""

    _KIND = "numbers"  # as an Explanation says
    _Y_CHECKS: dict = {"multi_output": True, "y_numeric": True}

    def _learn_targets(self, y):
        if issparse(y):
            raise TypeError("y must be dense; got a sparse matrix. y.toarray() makes it dense")
        y = np.array(y, dtype=np.float64)
        _check_missing(y, np.isnan(y))  # None among objects is no number
        y.flags.writeable = False  # warm starts and explanations rely on it
        self._fit_y = y
        self._learn_scale()

    def _learn_scale(self):
        """Compute mean and standard deviation of each target, without overflow on the way."""
        y = self._columns  # (n_train, T)
        largest = np.abs(y).max(0)
        unit = np.where(largest > 0, largest, 1.0)  # (T,)
        mean = (y / unit).mean(0)
        deviation = (y / unit).std(0)
        # Rounding alone makes a constant target deviate from its mean.
        constant = deviation <= 8 * np.finfo(np.float64).eps
        self._target_mean = unit * mean
        self._target_scale = np.where(constant, 0.0, unit * deviation)

    @property
    def _columns(self):
        """Targets of shape (n_train, n_targets)."""
        return self._fit_y.reshape(len(self._fit_y), -1)

    @property
    def _standardised(self):
        """Targets of shape (n_train, n_targets) with mean 0 and standard deviation 1 or 0."""
        scale = self._target_scale
        return (self._columns - self._target_mean) / np.where(scale > 0, scale, np.inf)

    @property
    def _strata(self):
        """The group of outputs that each training row belongs to, and the number of groups."""
        return np.zeros(len(self._fit_y), dtype=np.int64), 1

    def _training_rows(self):
        """Return arguments of the network and targets of the loss, by training row."""
        values = torch.tensor(self._standardised, dtype=torch.float32)
        output = torch.as_tensor(self._index.output_of_row)
        return {"x": torch.tensor(self._fit_X)}, {"values": values, "output": output}

    @staticmethod
    def _decide(values):
        """Return standardised targets (B, T) as they are."""
        return values

    def _in_units(self, values):
        """Return standardised targets (B, T) in the units and the shape of y."""
        predicted = self._target_mean + self._target_scale * values.astype(np.float64)
        if self._fit_y.ndim == 1:
            return predicted[:, 0]
        return predicted

    @property
    def _given_targets(self):
        """Targets of all training rows, as fit was given them."""
        return self._fit_y

    def _labels_of(self, rows):
        """Look up the targets of training rows; None where there are several targets."""
        if self._columns.shape[1] > 1:
            return None
        return self._columns[rows, 0]

    def _predicted_labels(self, predicted):
        """Return the predictions of what :meth:`_decide` gives; None with several targets."""
        if self._columns.shape[1] > 1:
            return None
        return self._in_units(predicted).reshape(-1)

    def _restore_targets(self, state):
        self._fit_y = state["fit_y"]
        self._learn_scale()

    @classmethod
    def _check_saved_targets(cls, state):
        check_saved_numbers(state)


def _check_missing(y, missing):
    if missing.any():
        raise ValueError(
            f"y must have a value for every row; {missing.sum()} of {missing.size} are missing "
            "(nan or None)"
        )
