"""Features of several models side by side."""

import numpy as np
import torch

from ..._utils.copies import find_copies, join
from ..._utils.rows import n_rows
from ...tangent._points import JoinedPoints
from ._base import Features
from ._rows import predicted
from ._training import TrainingRows


class JoinedFeatures(Features):
    """Features of models that know the same classes, the largest mean of which is predicted.

    Of regressors the mean is predicted.
    """

    def __init__(self, features):
        self.features, self.model = features, features[0].model
        self.needs_targets = features[0].needs_targets
        self.per_label = features[0].per_label
        self.rows_differ = features[0].rows_differ
        self.copies_tie = all(one.copies_tie for one in features)

    @classmethod
    def of(cls, features):
        """Return features of models, which must know the same classes."""
        first = features[0].model
        for number, one in enumerate(features):
            if not np.array_equal(one.model.classes, first.classes):
                raise ValueError(
                    f"the models must know the same classes, but model {number} of the list knows "
                    f"{_listed(one.model.classes)} and the first {_listed(first.classes)}"
                )
        return cls(features)

    def inputs(self, X):
        """Return what each model takes."""
        return [features.inputs(X) for features in self.features]

    def points(self, inputs, labels=None):
        """Return points at labels (n,), which must be given."""
        pairs = zip(self.features, inputs, strict=True)
        return JoinedPoints([features.points(own, labels) for features, own in pairs])

    def training_points(self, inputs, labels):
        """Return points of training rows at labels (n,)."""
        pairs = zip(self.features, inputs, strict=True)
        return JoinedPoints([features.training_points(own, labels) for features, own in pairs])

    def likelihood_points(self, inputs, labels):
        """Measure training rows of language models by their log probability."""
        pairs = zip(self.features, inputs, strict=True)
        return JoinedPoints([features.likelihood_points(own, labels) for features, own in pairs])

    def points_at(self, inputs, labels, together):
        """Measure all rows at several labels, as many as fit for every model."""
        share = together / len(self.features)
        parts = []
        for features, own in zip(self.features, inputs, strict=True):
            parts.append(features.points_at(own, labels, share))
        return [JoinedPoints(list(of_label)) for of_label in zip(*parts, strict=False)]

    @property
    def models(self):
        """The models that features are computed from."""
        return [features.model for features in self.features]

    def query(self, X, labels=None):
        """Return points of queries at labels, or targets; the models predict those not given."""
        if labels is None and len(self.features) == 1:
            return JoinedPoints([self.features[0].query(X)])
        inputs = self.inputs(X)
        if labels is None:
            labels = self.model.label_of_rows(n_rows(X))
        if labels is None:
            labels = self._decide(X, inputs)
        return self.points(inputs, labels)

    def predict(self, X):
        """Return labels, or numbers, that the models predict together."""
        if len(self.features) == 1 and self.model.classes is not None:
            return self.model.predict(X)
        found = self._decide(X, self.inputs(X))
        if self.model.classes is None:
            return found
        return self.model.classes[found]

    def _decide(self, X, inputs):
        """Find positions (n,) of the classes that the models predict together, or mean numbers."""
        if self.model.classes is None:
            models = [getattr(one, "regressor", one.model) for one in self.features]
            return np.mean([predicted(model, X) for model in models], axis=0)
        pairs = zip(self.features, inputs, strict=True)
        return sum(features.probabilities(X, own) for features, own in pairs).argmax(1)

    def n_bytes(self, inputs):
        """Count the bytes of the features of all models."""
        pairs = zip(self.features, inputs, strict=True)
        return sum(features.n_bytes(own) for features, own in pairs)

    def components(self, inputs):
        """Count the columns of the largest φ, and those that pay to be multiplied out."""
        pairs = zip(self.features, inputs, strict=True)
        return max(features.components(own) for features, own in pairs)

    def n_features_out(self, inputs):
        """Count the columns of the features of all models."""
        pairs = zip(self.features, inputs, strict=True)
        return sum(features.n_features_out(own) for features, own in pairs)


class JoinedRows(TrainingRows):
    """Training rows as several models see them.

    Parameters
    ----------
    features : JoinedFeatures
        Make the points of queries.
    parts : list of TrainingRows
        The rows of each model, which keep their points.
    labels : ndarray of shape (n,)
        Positions of the rows' classes; their targets where these are numbers.
    """

    def __init__(self, features, parts, labels):
        self.features, self.labels = features, labels
        self.parts = parts
        self.inputs = [part.inputs for part in parts]
        first = None
        if features.copies_tie:
            first = find_copies(self.inputs)
        self._copies = self._own_copies = None
        if first is not None:
            self._copies = torch.as_tensor(first)
            self._own_copies = torch.as_tensor(join(first, labels))

    def own(self):
        """Measure every row at its own label."""
        return JoinedPoints([part.own() for part in self.parts])

    def at(self, label):
        """Measure all rows at one label, and find copies; see :meth:`TrainingRows.at`."""
        if label is None or not self.features.per_label:
            return self.own(), self._own_copies
        return JoinedPoints([part.at(label)[0] for part in self.parts]), self._copies


def _listed(classes):
    """Write classes for a message."""
    if classes is None:
        return "none"
    return classes.tolist()
