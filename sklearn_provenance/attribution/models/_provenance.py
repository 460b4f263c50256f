"""ProvenanceClassifier and ProvenanceRegressor."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..._utils.rows import as_given, image_layout, shown
from ...provenance import ProvenanceClassifier, ProvenanceRegressor
from ...provenance._class_logits import OutputBranch, SingleBranch, class_branch
from ._base import FittedModel, adapt


@dataclass(frozen=True, eq=False)
class ProvenanceModel(FittedModel):
    """Predicts from probabilities, where logits that differ may be equal."""

    def inputs(self, X):
        """Return rows that the estimator has checked and flattened."""
        return self.estimator._rows(as_given(X))

    def preprocessing(self):
        """Return the scale of the rows."""
        return (self.estimator._input_scale,)

    def shown(self, *parts):
        """Return images as they were given to fit."""
        given = shown(*parts)
        if self.estimator._user_shape is None:
            return given
        layout, _ = image_layout(self.estimator._user_shape)
        images = []
        for rows in given.parts:
            if rows is not None:
                rows = np.asarray(rows).reshape(-1, *layout)
            images.append(rows)
        return given._replace(parts=images, image_shape=self.estimator.input_shape_)

    def decide(self, logits):
        """Return positions of the largest probability."""
        return logits.softmax(1).argmax(1)


@adapt.register(ProvenanceClassifier)
def _(estimator):
    check_is_fitted(estimator)
    n_outputs, forward = len(estimator.classes_), class_branch
    if not estimator.net_.module_.has_class_branch:
        labels = estimator._index.labels
        n_outputs, forward = len(labels), SingleBranch(labels, len(estimator.classes_))
    return ProvenanceModel(
        estimator,
        classes=estimator.classes_,
        module=estimator.net_.module_,
        forward=forward,
        n_outputs=n_outputs,
    )


@adapt.register(ProvenanceRegressor)
def _(estimator):
    check_is_fitted(estimator)
    branch = OutputBranch(estimator._target_mean, estimator._target_scale)
    return ProvenanceModel(estimator, network=estimator.net_.module_, forward=branch)
