"""From an estimator to the torch module behind it: all that attribution knows about models.

Shapes in comments: B rows, C classes.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNetClassifier
from torch import nn

from ..provenance import ProvenanceClassifier

SUPPORTED = (
    "a ProvenanceClassifier, a skorch NeuralNetClassifier, a torch.nn.Module that maps a batch to "
    "logits, a scikit-learn linear classifier or MLPClassifier, or a Pipeline, search or "
    "FrozenEstimator around one of these; any other classifier needs features=, a transformer or "
    "callable that gives its feature rows"
)
_ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}


@dataclass(frozen=True)
class Model:
    """A fitted model as attribution sees it.

    Parameters
    ----------
    module : torch.nn.Module
        Holds the parameters; the user's own where there is one.
    forward : callable or None
        ``forward(module, x)`` gives logits (B, C); None calls the module.
    inputs : callable
        From the X of the estimator to an array or tensor that the module takes.
    classes : ndarray of shape (C,) or None
        Label of each column of the logits; None counts them from 0.
    """

    module: nn.Module
    forward: Callable | None
    inputs: Callable
    classes: np.ndarray | None


def adapt(estimator):
    """Find the torch module of a fitted estimator, or rebuild it as one.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        Fitted; see the module's SUPPORTED.

    Returns
    -------
    Model
        The module and how to call it. The estimator is not changed.

    Raises
    ------
    TypeError
        If no module is known for the estimator.
    """
    if isinstance(estimator, FrozenEstimator):
        return adapt(estimator.estimator)
    if hasattr(estimator, "best_estimator_"):  # a search
        return adapt(estimator.best_estimator_)
    if isinstance(estimator, nn.Module):
        return Model(estimator, first_output, array_input, None)
    if isinstance(estimator, Pipeline):
        inner = adapt(estimator.steps[-1][1])
        inputs = inner.inputs
        if len(estimator.steps) > 1:
            inputs = partial(_piped, estimator[:-1], inner.inputs)
        return Model(inner.module, inner.forward, inputs, inner.classes)
    if isinstance(estimator, ProvenanceClassifier):
        return _provenance(estimator)
    if isinstance(estimator, NeuralNetClassifier):
        log = isinstance(estimator.criterion_, nn.NLLLoss)
        forward = log_output if log else first_output
        return Model(estimator.module_, forward, array_input, None)
    if isinstance(estimator, MLPClassifier):
        return _mlp(estimator)
    if isinstance(estimator, LinearClassifierMixin) and hasattr(estimator, "coef_"):
        return _linear(estimator)
    raise TypeError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")


def first_output(module, x):
    """Logits of a module that may return more than them, logits first."""
    output = module(x)
    return output[0] if isinstance(output, tuple | list) else output


def log_output(module, x):
    """Log-probabilities, as logits, of a module that ends in a softmax.

    skorch trains such modules with NLLLoss and adds the same constant.
    """
    p = first_output(module, x)
    return torch.log(p + torch.finfo(p.dtype).eps)


def binary_logits(module, z):
    """Two logits (-z/2, z/2) of a model with one output z = log(p / (1 - p)).

    Their softmax is the model's probability and both depend on its parameters; with (0, z) the
    first class would have no tangent features at all.
    """
    z = module(z)  # (B, 1)
    return torch.cat([-z / 2, z / 2], 1)


def class_branch(module, x):
    """Class logits of a provenance network with two branches."""
    with _single_precision(module):
        return module.class_logits(x)


@dataclass(frozen=True)
class SingleBranch:
    """Class logits of a single-branch network: logsumexp over each class's index logits.

    Parameters
    ----------
    labels : ndarray of shape (n_outputs,)
        Class of each output.
    n_classes : int
        Number of classes.
    """

    labels: np.ndarray
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
    try:
        module.amp_dtype = None
        yield
    finally:
        module.amp_dtype = amp_dtype


def _provenance(estimator):
    module = estimator.net_.module_
    forward = class_branch
    if estimator.architecture == "single_branch":
        forward = SingleBranch(estimator._index.labels, len(estimator.classes_))
    return Model(module, forward, estimator._rows, estimator.classes_)


def _linear(estimator):
    coefficients = estimator.coef_
    if issparse(coefficients):
        coefficients = coefficients.toarray()
    intercepts = np.broadcast_to(estimator.intercept_, len(coefficients))
    if not np.any(intercepts) and not getattr(estimator, "fit_intercept", True):
        intercepts = None
    module = _linear_layer(coefficients.T, intercepts)
    return _rebuilt(estimator, module, len(coefficients))


def _mlp(estimator):
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise TypeError(
            "MLPClassifier was fitted on multilabel targets; attribution explains one class"
        )
    layers = []
    for weights, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True):
        layers += [_linear_layer(weights, bias), _ACTIVATIONS[estimator.activation]()]
    # The last activation, softmax or logistic, turns logits into probabilities.
    return _rebuilt(estimator, nn.Sequential(*layers[:-1]), estimator.n_outputs_)


def _linear_layer(weights, bias):
    """A float64 layer with a copy of weights (n_in, n_out)."""
    layer = nn.Linear(*weights.shape, bias=bias is not None, dtype=torch.float64, device="meta")
    layer = layer.to_empty(device="cpu")  # no draw from the global generator
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.ascontiguousarray(weights.T)))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def _rebuilt(estimator, module, n_outputs):
    module.eval()
    forward = binary_logits if n_outputs == 1 else None
    return Model(module, forward, partial(_checked, estimator), estimator.classes_)


def _checked(estimator, X):
    return validate_data(estimator, X, reset=False, dtype=np.float64)


def _piped(steps, inputs, X):
    return inputs(steps.transform(X))


def array_input(X):
    """Tensors as they are; arrays as floats, since most modules take nothing else."""
    if isinstance(X, torch.Tensor):
        return X.detach()
    X = np.asarray(X)
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric, got an array of {X.dtype}")
    # Token ids and the like are passed as a tensor of integers.
    return X if X.dtype == np.float64 else X.astype(np.float32)


def is_fitted(estimator):
    """Whether an estimator can be used as it stands; modules always can."""
    if isinstance(estimator, nn.Module):
        return True
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except TypeError:  # no scikit-learn estimator: nothing says that it is not fitted
        return not isinstance(estimator, BaseEstimator)
    return True
