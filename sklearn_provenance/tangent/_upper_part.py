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
    """Stands where a module of the lower part was, and returns the hidden states."""

    def __init__(self, in_tuple):
        super().__init__()
        self.in_tuple = in_tuple
        self.hidden = None

    def forward(self, *args, **kwargs):
        if self.in_tuple:
            return (self.hidden,)
        return self.hidden
