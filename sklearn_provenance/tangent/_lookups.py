"""Recording the lookups of embeddings with a ``forward`` of their own.

The tables of positions of OPT and BART are called with masks or tokens, count positions and look
these up; other tables scale what they look up.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def looks_up_inside(module):
    """Whether a module is an embedding whose input may not be what it looks up."""
    return isinstance(module, nn.Embedding) and type(module).forward is not nn.Embedding.forward


class LookupCalls(TorchFunctionMode):
    """Record what is looked up in some tables.

    Parameters
    ----------
    layers : dict
        Layer and module by the id of the weight that is their table.
    record : callable
        ``record(layer, module, x, output)`` gives the output to go on with.
    """

    def __init__(self, layers, record):
        super().__init__()
        self.layers = layers
        self.record = record

    def __torch_function__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func is not F.embedding or len(args) < 2 or not torch.is_grad_enabled():
            return output
        place = self.layers.get(id(args[1]))
        if place is None:
            return output
        return self.record(*place, args[0], output)
