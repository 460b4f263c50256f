"""Features of several models side by side."""

import numpy as np

from ...tangent._points import JoinedPoints
from ._base import Features
from ._rows import predicted


class JoinedFeatures(Features):
    """Sketches of models that know the same classes, the largest mean of which is predicted.

    Of regressors the mean is predicted.
    """

    def __init__(self, features):
        self.features, self.model = features, features[0].model
        self.needs_targets = features[0].needs_targets

    @classmethod
    def of(cls, features):
        """Features of models, which must know the same classes."""
        first = features[0].model
        for number, sketch in enumerate(features):
            if not np.array_equal(sketch.model.classes, first.classes):
                raise ValueError(
                    f"the models must know the same classes, but model {number} of the list knows "
                    f"{sketch.model.classes.tolist()} and the first {first.classes.tolist()}"
                )
        return cls(features)

    def inputs(self, X):
        """What each network takes."""
        return [features.inputs(X) for features in self.features]

    def points(self, inputs, labels=None):
        """Points at labels (n,); None takes the predicted ones."""
        if labels is None and len(self.features) > 1:
            labels = self._decide(inputs)
        parts = []
        for features, own in zip(self.features, inputs, strict=True):
            parts.append(features.points(own, labels))
        return JoinedPoints(parts)

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
        """Points of queries at labels, or targets; the models predict those not given."""
        if labels is None and self.model.classes is None:
            labels = self.predict(X)
        return super().query(X, labels)

    def predict(self, X):
        """Labels, or numbers, that the models predict together."""
        if self.model.classes is None:
            return np.mean([predicted(one.regressor, X) for one in self.features], axis=0)
        if len(self.features) == 1:
            return self.model.predict(X)
        return self.model.classes[self._decide(self.inputs(X)).numpy()]

    def _decide(self, inputs):
        """Positions of the classes (n,) that the models predict together."""
        p = 0.0
        for features, own in zip(self.features, inputs, strict=True):
            logits = features.tangent.logits(own, features.fitted.batch_size)
            p += logits.double().cpu().softmax(1)
        return p.argmax(1)

    def n_bytes(self, inputs):
        """Bytes of all sketches."""
        pairs = zip(self.features, inputs, strict=True)
        return sum(features.n_bytes(own) for features, own in pairs)

    def n_features_out(self, inputs):
        """Components of all sketches."""
        return sum(features.n_features_out(None) for features in self.features)
