"""ProvenanceClassifier.

Shapes in comments: B rows, C classes.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from ..._utils.numeric import as_given
from ..._utils.rows import shown
from ...provenance import ProvenanceClassifier
from ...provenance._input import image_layout
from ._base import FittedModel, adapt


@dataclass(frozen=True, eq=False)
class ProvenanceModel(FittedModel):
    """Predicts from probabilities, where logits that differ may be equal."""

    def inputs(self, X):
        """Rows that the estimator has checked and flattened."""
        return self.estimator._rows(as_given(X))

    def shown(self, X):
        """Images as they were given to fit."""
        if self.estimator._user_shape is None:
            return super().shown(X)
        layout, _ = image_layout(self.estimator._user_shape)
        return np.asarray(shown(X)).reshape(-1, *layout), self.estimator.input_shape_

    def decide(self, logits):
        """Positions of the largest probability."""
        return logits.softmax(1).argmax(1)


def class_branch(module, x):
    """Class logits (B, C) of a provenance network with two branches."""
    with _single_precision(module):
        return module.class_logits(x)


@dataclass(frozen=True)
class SingleBranch:
    """Class logits of a single-branch network: logsumexp over each class's index logits."""

    labels: np.ndarray  # (n_outputs,), the class of each output
    n_classes: int

    def __call__(self, module, x):
        """Logits (B, C)."""
        with _single_precision(module):
            logits = module(x).index_logits  # (B, n_outputs)
        columns = [torch.as_tensor(self.labels == c) for c in range(self.n_classes)]
        return torch.stack([logits[:, own].logsumexp(1) for own in columns], 1)


@contextmanager
def _single_precision(module):
    """Without the automatic mixed precision that a provenance network switches on by itself."""
    amp_dtype = module.amp_dtype
    if amp_dtype is None:
        yield
        return
    try:
        module.amp_dtype = None
        yield
    finally:
        module.amp_dtype = amp_dtype


@adapt.register(ProvenanceClassifier)
def _(estimator):
    check_is_fitted(estimator)
    n_outputs, forward = len(estimator.classes_), class_branch
    if estimator.architecture == "single_branch":
        labels = estimator._index.labels
        n_outputs, forward = len(labels), SingleBranch(labels, len(estimator.classes_))
    return ProvenanceModel(
        estimator,
        classes=estimator.classes_,
        module=estimator.net_.module_,
        forward=forward,
        n_outputs=n_outputs,
    )
