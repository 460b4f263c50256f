"""Networks whose rows say themselves what was learned of them, as language models.

``forward`` then gives one number for each row, which is what is measured, and labels of rows are
not used. The attributors must know how likely the network finds a row: training made that larger.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ..._utils.rows import n_rows, take_rows
from ...tangent._run import run

# Rows whose targets are drawn at a time: logits of all tokens are large.
_ROWS_PER_DRAW = 8


class Likelihood(NamedTuple):
    """The probability that a network gives to rows.

    Parameters
    ----------
    forward : callable
        ``forward(module, rows)`` gives the log probability (B,) of each row.
    draw : callable
        ``draw(module, rows, generator)`` gives the rows with targets that are drawn from the
        probabilities of the network, by a torch.Generator.
    """

    forward: Callable
    draw: Callable


_LIKELIHOODS: list[tuple[Callable, Likelihood]] = []


def register_likelihood(forwards, likelihood):
    """Say what the log probability of rows is that are measured by some functions.

    Parameters
    ----------
    forwards : sequence of callable
        Functions ``forward(module, rows)`` that give one number (B,) for each row.
    likelihood : Likelihood
        The probability of those rows.
    """
    _LIKELIHOODS.extend((forward, likelihood) for forward in forwards)


def likelihood_of(forward):
    """Find the likelihood of rows that are measured by a function; None where labels tell it."""
    for known, likelihood in _LIKELIHOODS:
        if known is forward:
            return likelihood
    return None


def value_of_row(outputs, target):
    """Return the numbers (B,) that a registered forward gives: their own measurement."""
    return outputs


def drawn_rows(model, inputs, n_samples, seed):
    """Draw targets of rows from the probabilities of the network.

    Parameters
    ----------
    model : FittedModel
        With a likelihood.
    inputs : mapping of torch.Tensor of shape (n, ...)
        Rows.
    n_samples : int
        How often each row is drawn.
    seed : int
        Seed of the draws.

    Returns
    -------
    dict of torch.Tensor of shape (n_samples * n, ...)
        All rows, with the targets of the first draw, then of the second, and so on.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(module, rows):
        return model.likelihood.draw(module, rows, generator)

    parts = []
    for _ in range(n_samples):
        for start in range(0, n_rows(inputs), _ROWS_PER_DRAW):
            rows = take_rows(inputs, slice(start, start + _ROWS_PER_DRAW))
            parts.append(run(model, rows, draw))
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}
