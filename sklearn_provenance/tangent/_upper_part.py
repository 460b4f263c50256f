"""The upper part of a network that was cut in two: a module of cached rows."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ._read_logits import call_module

# The entry of cached rows that holds what enters the upper part.
HIDDEN = "hidden"


class UpperPart(nn.Module):
    """The upper part of a network: a module like any other, whose rows are cached.

    Its parameters and their names are those of the network, without those of the lower part.

    Parameters
    ----------
    network : torch.nn.Module
        Copy of the whole network, in which the modules of the lower part do nothing.
    split : str
        Name of the module that the hidden states enter.

    Attributes
    ----------
    network : torch.nn.Module
        As given.
    """

    def __init__(self, network: nn.Module, split: str) -> None:
        super().__init__()
        self.network = network
        self.split = split

    def forward(self, rows: Any) -> Any:
        """Compute the outputs of the whole network.

        Parameters
        ----------
        rows : torch.Tensor or mapping
            Cached rows, as :func:`cached_trunk` makes them.

        Returns
        -------
        object
            What the network returns.
        """
        if isinstance(rows, Mapping):
            rows = dict(rows)
            hidden = rows.pop(HIDDEN)
        else:
            hidden = rows
        for module in self.network.modules():
            if isinstance(module, Skipped):
                module.hidden = hidden
        handle = self.network.get_submodule(self.split).register_forward_pre_hook(
            lambda module, args: (hidden, *args[1:])
        )
        try:
            return call_module(self.network, rows)
        finally:
            handle.remove()
            for module in self.network.modules():
                if isinstance(module, Skipped):
                    module.hidden = None


class Skipped(nn.Module):
    """Stands where a module of the lower part was, and returns the hidden states.

    Parameters
    ----------
    output : object
        What the module returned. Of a tuple or a mapping, the first entry becomes the hidden
        states, and the others, such as caches of keys and values, become None.
    """

    def __init__(self, output):
        super().__init__()
        self.kind = type(output)
        self.names = None
        self.n_entries = None
        if isinstance(output, tuple | list | Mapping):
            self.n_entries = len(output)
        if isinstance(output, Mapping):
            self.names = list(output)
        self.hidden = None

    def forward(self, *args, **kwargs):
        if self.n_entries is None:
            return self.hidden
        entries = [self.hidden] + [None] * (self.n_entries - 1)
        if self.names is not None:
            return self.kind(**dict(zip(self.names, entries, strict=True)))
        if hasattr(self.kind, "_fields"):  # a named tuple
            return self.kind(*entries)
        return self.kind(entries)
