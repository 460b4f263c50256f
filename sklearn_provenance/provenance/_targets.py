"""What a provenance estimator learns about y: class labels, or numbers."""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

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
        self._check_labels(y)
        y = column_or_1d(y, warn=True)
        encoder = LabelEncoder()
        self._fit_y = encoder.fit_transform(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < self._LEAST_CLASSES:
            raise ValueError(
                f"y has one class, {self.classes_[0]!r}; a classifier needs at least 2 classes"
            )

    def _check_labels(self, y):
        check_classification_targets(y)

    @property
    def _strata(self):
        """The group of outputs that each training row belongs to, and the number of groups."""
        return self._fit_y, len(self.classes_)

    def _training_rows(self):
        """Arguments of the network and targets of the loss, by training row."""
        index = self._index
        label, output = torch.as_tensor(self._fit_y), torch.as_tensor(index.output_of_row)
        local = torch.as_tensor(index.local)[output.clamp(min=0)].where(output >= 0, 0)
        inputs = {"x": torch.tensor(self._fit_X), "label": label}
        return inputs, {"label": label, "output": output, "local": local}

    @staticmethod
    def _decide(scores):
        """Encoded classes (B,) from class scores (B, C)."""
        return scores.argmax(1)

    @property
    def _given_targets(self):
        """Labels of all training rows, as fit was given them."""
        return self.classes_[self._fit_y]

    def _labels_of(self, rows):
        """Labels of training rows."""
        return self.classes_[self._fit_y[rows]]

    def _predicted_labels(self, predicted):
        """Labels from what :meth:`_decide` gives."""
        return self.classes_[predicted]

    def _restore_targets(self, state):
        self._fit_y, self.classes_ = state["fit_y"], state["classes"]

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
        if y.ndim > 2 or 0 in y.shape:
            raise ValueError(
                f"y must have shape (n,) or (n, n_targets) with at least one target; got {y.shape}"
            )
        y.flags.writeable = False  # warm starts and explanations rely on it
        self._fit_y = y
        self._learn_scale()

    def _learn_scale(self):
        """Mean and standard deviation of each target, without overflow on the way."""
        y = self._columns
        largest = np.abs(y).max(0)
        unit = np.where(largest > 0, largest, 1.0)
        mean, deviation = (y / unit).mean(0), (y / unit).std(0)
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
        """Arguments of the network and targets of the loss, by training row."""
        values = torch.tensor(self._standardised, dtype=torch.float32)
        output = torch.as_tensor(self._index.output_of_row)
        return {"x": torch.tensor(self._fit_X)}, {"values": values, "output": output}

    @staticmethod
    def _decide(values):
        """Standardised targets (B, T) as they are."""
        return values

    def _in_units(self, values):
        """Predictions in the units and the shape of y, from standardised targets (n, T)."""
        predicted = self._target_mean + self._target_scale * values.astype(np.float64)
        return predicted[:, 0] if self._fit_y.ndim == 1 else predicted

    @property
    def _given_targets(self):
        """Targets of all training rows, as fit was given them."""
        return self._fit_y

    def _labels_of(self, rows):
        """Targets of training rows; None where rows have several, which are no label."""
        return self._columns[rows, 0] if self._columns.shape[1] == 1 else None

    def _predicted_labels(self, predicted):
        """Predictions from what :meth:`_decide` gives; None where there are several targets."""
        if self._columns.shape[1] > 1:
            return None
        return self._in_units(predicted).reshape(-1)

    def _restore_targets(self, state):
        self._fit_y = state["fit_y"]
        self._learn_scale()

    @classmethod
    def _check_saved_targets(cls, state):
        check_saved_numbers(state)
