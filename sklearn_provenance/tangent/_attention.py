"""Recording the projections of ``torch.nn.MultiheadAttention``, which calls no module for them.

Shapes in comments: B rows, L positions, E features.
"""

import inspect

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


class ProjectionCalls(TorchFunctionMode):
    """Compute the projections of attention outside of it, and record them.

    The function ``multi_head_attention_forward`` multiplies by its weights inside. Here it gets
    what they give, and identity matrices in their place, which changes no number.

    Parameters
    ----------
    layers : dict
        Layer and module by the id of the weight that is their projection's.
    record : callable
        ``record(layer, module, x, output)`` gives the output to go on with.
    """

    def __init__(self, layers, record):
        super().__init__()
        self.layers = layers
        self.record = record

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not F.multi_head_attention_forward or args[0].ndim != 3:
            return func(*args, **kwargs)
        call = _SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        project_in = self.layers.get(id(given["in_proj_weight"]))
        project_out = self.layers.get(id(given["out_proj_weight"]))
        weight, bias = given["out_proj_weight"], given["out_proj_bias"]
        if project_in is not None and not given["use_separate_proj_weight"]:
            self._project_in(given, project_in)
        if project_out is None:
            return func(*call.args, **call.kwargs)
        given["out_proj_weight"] = _identity(weight.shape[1], weight)
        given["out_proj_bias"] = None
        attended, attention = func(*call.args, **call.kwargs)
        return self._projected(attended, project_out, weight, bias), attention

    def _project_in(self, given, place):
        """Replace query, key and value by their projections, and the weight by identities."""
        weight = given["in_proj_weight"]
        inputs = [given[name] for name in ("query", "key", "value")]
        projected = {}  # whole projections (L, B, 3E); self-attention has a single one
        for x in inputs:
            if id(x) not in projected:
                projected[id(x)] = self._projected(x, place, weight, given["in_proj_bias"])
        for number, (name, letter) in enumerate([("query", "q"), ("key", "k"), ("value", "v")]):
            given[name] = projected[id(inputs[number])].chunk(3, 2)[number]
            given[f"{letter}_proj_weight"] = _identity(weight.shape[1], weight)
        given |= {"use_separate_proj_weight": True, "in_proj_weight": None, "in_proj_bias": None}

    def _projected(self, x, place, weight, bias):
        """Multiply x (L, B, E), and record the call with rows on the first axis."""
        x = x.transpose(0, 1)
        return self.record(*place, x, F.linear(x, weight, bias)).transpose(0, 1)


def _identity(size, like):
    return torch.eye(size, dtype=like.dtype, device=like.device)
