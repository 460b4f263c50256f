"""Recording the lookups of embeddings that a hook on the module would not understand.

The tables of positions of OPT and BART are called with masks or tokens, count positions and look
these up; other tables scale what they look up. T5 and MPNet look up the distance of each pair of
positions. Shapes in comments: B rows, T positions, I numbers of a row of the table.
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


def are_distances(x):
    """Whether ids (T, T') are looked up by the distance of two positions, so for all rows alike."""
    return x.ndim == 2 and len(x) > 1 and torch.equal(x[1:, 1:], x[:-1, :-1])


class DistanceCalls(TorchFunctionMode):
    """Give rows an axis where what tables say of distances gets an axis for them.

    The output (T, T', I) of such a table is permuted, and unsqueezed to an axis for rows. Instead,
    each row of the data gets a copy, whose gradient is that row's.

    Parameters
    ----------
    n_samples : int
        Rows of the data.
    """

    def __init__(self, n_samples):
        super().__init__()
        self.n_samples = n_samples
        self.waiting = {}  # by id of a tensor: it, the output, its axes in the tensor, the call

    def add(self, record, x, output):
        """Wait for the axis of an output; ``record(x, output)`` records the call then."""
        self.waiting[id(output)] = output, output, None, (record, x)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if not args or id(args[0]) not in self.waiting:
            return found
        _, output, axes, (record, x) = self.waiting[id(args[0])]
        if func is torch.Tensor.permute and axes is None and len(args) > 1:
            axes = args[1] if isinstance(args[1], tuple | list) else args[1:]
            self.waiting[id(found)] = found, output, tuple(axes), (record, x)
        elif func is torch.Tensor.unsqueeze and axes is not None and args[1:] == (0,):
            x = x.reshape(1, -1).expand(self.n_samples, -1)  # (B, T T')
            copies = output.expand(self.n_samples, *output.shape).clone()  # (B, T, T', I)
            return record(x, copies).permute(0, *(1 + axis for axis in axes))
        return found
