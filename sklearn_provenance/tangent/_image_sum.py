"""Sums over layers of what their maps make of gradients, on both sides of one inverse FFT.

Shapes in comments: B rows, b rows of a block, I inputs, O outputs of a layer, K components.
"""

from functools import cached_property
from typing import NamedTuple

import torch

# Numbers in one block of counts: few enough for the processor's cache, but so many that the FFTs of
# a call cost much more than the plan that each call makes anew.
_BLOCK = 2**18


def rows_of_block(n_numbers):
    """Count the rows, of this many numbers each, whose FFTs are computed in one call."""
    return max(1, _BLOCK // n_numbers)


class ImageSum:
    """The sum over layers of the images of the gradients of some rows at one label.

    Parameters
    ----------
    memory : torch.Tensor of shape (B, K)
        Where the sum is when it is finished; its numbers are overwritten.
    """

    def __init__(self, memory):
        self.memory = memory

    @cached_property
    def total(self):
        """What is added up before the sum is finished, (B, K): zero where it is first asked for."""
        return self.memory.zero_()

    @cached_property
    def spectrum(self):
        """The part of the sum that awaits the inverse FFT, (B, K // 2 + 1)."""
        B, K = self.memory.shape
        dtype = self.memory.dtype.to_complex()
        return torch.zeros(B, K // 2 + 1, dtype=dtype, device=self.memory.device)

    @property
    def has_spectrum(self):
        """Whether something was added to the spectrum."""
        return "spectrum" in vars(self)

    def put(self, rows, image):
        """Add the last image (b, K) of some rows."""
        if "total" in vars(self):
            self.total[rows] += image
        else:
            self.memory[rows] = image


class Products(NamedTuple):
    """One outer product a row, g aᵀ, at each of C labels.

    Parameters
    ----------
    inputs : torch.Tensor of shape (B, I)
        Inputs a, with their signs.
    input_buckets : torch.Tensor of shape (I,)
        Buckets of the inputs.
    outputs : list of torch.Tensor of shape (B, O)
        Gradients g at each label, with their signs.
    output_buckets : torch.Tensor of shape (O,)
        Buckets of the gradients.
    places : torch.Tensor of shape (O I,) or None
        Buckets of the products of all pairs; None where it costs less to multiply the spectra of
        inputs and gradients.
    """

    inputs: torch.Tensor
    input_buckets: torch.Tensor
    outputs: list[torch.Tensor]
    output_buckets: torch.Tensor
    places: torch.Tensor | None


def counted_spectrum(values, buckets, counts):
    """Compute the spectra (b, K // 2 + 1) of numbers (b, n) that are counted in buckets (n,).

    ``counts`` (b or more, K) is memory for the counts.
    """
    counted = counts[: len(values)].zero_().index_add_(1, buckets, values)
    return torch.fft.rfft(counted)


def finish(sums, products):
    """Add the products, and the inverse FFTs of all spectra, to the sums.

    Some rows at a time go through all layers, so that what is made of them stays in the processor's
    cache, and their sum is written to memory once.

    Parameters
    ----------
    sums : list of ImageSum
        The sum at each of C labels.
    products : list of Products
        Those of layers, at these labels.
    """
    if not products and not any(one.has_spectrum for one in sums):
        for one in sums:
            one.total  # noqa: B018  (zero, unless there is something)
        return
    memory = sums[0].memory
    B, K = memory.shape
    step = rows_of_block(K)
    # One block of counts for all rows: a new one for each would be new memory each time.
    counts = memory.new_empty(min(step, B), K)
    scattered = [layer for layer in products if layer.places is not None]
    multiplied = [layer for layer in products if layer.places is None]
    for i in range(0, B, step):
        rows = slice(i, i + step)
        spectra = _spectra(sums, multiplied, rows, counts)
        for place, (one, spectrum) in enumerate(zip(sums, spectra, strict=True)):
            if spectrum is None:
                image = counts[: min(step, B - i)].zero_()
            else:
                image = torch.fft.irfft(spectrum, n=K)
            for layer in scattered:
                g = layer.outputs[place][rows]
                pairs = g[:, :, None] * layer.inputs[rows, None]  # (b, O, I)
                image.index_add_(1, layer.places, pairs.flatten(1))
            one.put(rows, image)


def _spectra(sums, products, rows, counts):
    """Compute the spectra (b, K // 2 + 1) of some rows at each label; None where there is none."""
    spectra = [one.spectrum[rows] if one.has_spectrum else None for one in sums]
    for layer in products:
        of_input = counted_spectrum(layer.inputs[rows], layer.input_buckets, counts)
        for place, output in enumerate(layer.outputs):
            of_output = counted_spectrum(output[rows], layer.output_buckets, counts)
            if spectra[place] is None:
                spectra[place] = of_output.mul_(of_input)
            else:
                spectra[place].addcmul_(of_input, of_output)
    return spectra
