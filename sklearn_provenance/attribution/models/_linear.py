"""Linear classifiers of scikit-learn, rebuilt as one layer."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ..._utils.numeric import as_ndarray
from ..._utils.rows import as_given
from ...tangent._read_logits import binary_logits
from ._base import FittedModel, Linear, adapt


@dataclass(frozen=True, eq=False)
class RebuiltModel(FittedModel):
    """A scikit-learn estimator whose parameters were copied into a module."""

    @property
    def users_module(self):
        """None: nobody else holds the copy, so it cannot change."""
        return None

    def inputs(self, X):
        """Return checked rows in double precision; sparse ones stay sparse."""
        X = as_given(X)
        if isinstance(X, torch.Tensor):
            X = X.cpu().numpy()
        return validate_data(self.estimator, X, reset=False, dtype=np.float64, accept_sparse="csr")


def binary_forward(module, x):
    """Compute logits (B, 2) of a module with one output."""
    return binary_logits(module(x))


def forward_of(n_outputs):
    """Find how a module with so many outputs gives logits: None where they are its outputs."""
    if n_outputs == 1:
        return binary_forward
    return None


def linear_layer(coefficients, intercept):
    """Return a float64 layer with a copy of coefficients (n_out, n_in)."""
    n_out, n_in = coefficients.shape
    bias = intercept is not None
    layer = nn.Linear(n_in, n_out, bias=bias, dtype=torch.float64, device="meta")
    layer = layer.to_empty(device="cpu")  # no draw from the global generator
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.ascontiguousarray(coefficients)))
        if bias:
            layer.bias.copy_(torch.tensor(intercept))
    return layer


def refuse_multilabel(estimator):
    """Raise if an estimator with a label binarizer was fitted on several labels a row."""
    binarizer = getattr(estimator, "_label_binarizer", None)
    if binarizer is not None and binarizer.y_type_.startswith("multilabel"):
        raise TypeError(
            f"{type(estimator).__name__} was fitted on multilabel targets; attribution explains "
            "one class"
        )


def _coefficients(estimator):
    coefficients = estimator.coef_
    if issparse(coefficients):
        coefficients = coefficients.toarray()
    # A binary RidgeClassifier has one axis.
    coefficients = np.atleast_2d(as_ndarray(coefficients).astype(np.float64))
    intercept = np.ravel(as_ndarray(estimator.intercept_)).astype(np.float64)
    intercept = np.array(np.broadcast_to(intercept, len(coefficients)))
    if not np.any(intercept) and not getattr(estimator, "fit_intercept", True):
        intercept = None
    return Linear(coefficients, intercept)


@adapt.register(LinearClassifierMixin)
def _(estimator):
    check_is_fitted(estimator)
    refuse_multilabel(estimator)
    linear = _coefficients(estimator)
    n_outputs = len(linear.coefficients)
    return RebuiltModel(
        estimator,
        classes=as_ndarray(estimator.classes_),
        module=linear_layer(*linear).eval(),
        forward=forward_of(n_outputs),
        n_outputs=n_outputs,
        linear=linear,
    )
