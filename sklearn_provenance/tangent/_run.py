"""Run the module of a fitted model."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse

from .._utils.modules import evaluation
from ._read_logits import call_module


def as_batch(inputs, module):
    """Convert rows to a copy that a module takes: on its device, floats in its precision."""
    if isinstance(inputs, Mapping):
        return {key: as_batch(value, module) for key, value in inputs.items()}
    if issparse(inputs):
        inputs = inputs.toarray()
    # A copy: modules may write to their input.
    if isinstance(inputs, torch.Tensor):
        x = inputs.detach().clone()
    else:
        x = torch.tensor(np.ascontiguousarray(inputs))  # torch takes no negative strides
    weights = [p for p in module.parameters() if p.is_floating_point()]
    if not weights:
        return x
    if x.is_floating_point():
        x = x.to(weights[0].dtype)
    return x.to(weights[0].device)


def run(model, inputs, function=None):
    """Call ``function(module, x)``, by default the model's forward, in evaluation mode."""
    function = function or model.forward or call_module
    with evaluation(model.module), torch.no_grad():
        return function(model.module, as_batch(inputs, model.module))
