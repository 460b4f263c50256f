"""Random projections of the rows' gradients to K numbers: linear, unbiased for inner products.

Every layer has a map of its own, fixed by the seed and the layer's number, and the layers' images
are added: one sketch of the concatenated gradient. Equal signs in all layers would bias the kernel.

Shapes in comments: B rows, T positions, I inputs, O outputs of a layer, K components.
"""

import math
from itertools import pairwise

import numpy as np
import torch

from ._image_sum import ImageSum, Products, counted_spectrum, finish, rows_of_block
from ._outer import Outer

# Numbers in one temporary block: buckets are filled in random order, which is slow outside the
# processor's cache.
_BLOCK = 2**17
_COLUMNS = 2**13
# Signs of a dense projection drawn at a time.
_DRAWN = 2**22
# Signs of a dense projection that are kept instead of drawn again for every batch (256 MB).
_KEPT_SIGNS = 2**28
# Numbers of a matrix up to which their buckets are kept instead of computed for every batch (2 MB).
_KEPT_PLACES = 2**18
# Numbers of counts whose spectra are kept for other labels of the same rows (64 MB).
_KEPT_SPECTRA = 2**24
# Nanoseconds per number, in single precision on one CPU thread. Only their ratios matter.
_FFT = 0.08  # per K log2 K
_ZERO = 0.05  # a count that is set to zero
_PRODUCT = 0.3  # of two spectra, per K
_SCATTER = 1.0  # an addition to a bucket
_GEMM = 0.025  # a multiplication inside a matrix product


class _Draws:
    """Random numbers of one layer, drawn on the CPU so that devices agree."""

    def __init__(self, *seed):
        seed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator().manual_seed(int(seed % 2**63))

    def signs(self, *size):
        return torch.randint(0, 2, size, generator=self.generator, dtype=torch.int8) * 2 - 1

    def buckets(self, n, n_buckets):
        """Draw uniform buckets, filled as evenly as possible: no two of K numbers share one.

        Two numbers then collide with probability at most 1 / K, so the variance is at most that of
        an ordinary hash. It is smaller where no numbers of a factor collide.
        """
        rounds = math.ceil(n / n_buckets)
        return torch.randperm(rounds * n_buckets, generator=self.generator)[:n] % n_buckets


def _in_parts(factor, n_components):
    """Yield some rows at a time, so that their buckets stay in the cache."""
    step = max(1, _BLOCK // n_components // 2)
    for i in range(0, len(factor), step):
        yield slice(i, i + step), factor[i : i + step]


def _are_outer(forms):
    """Whether all forms are sums of outer products with the same inputs."""
    first = forms[0]
    if not isinstance(first, Outer):
        return False
    return all(form is first or (form is not None and first.shares_input(form)) for form in forms)


def _same_memory(x, y):
    """Whether two tensors are the same numbers at the same place."""
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.stride() == y.stride()


class Map:
    """A linear map of one layer's gradients to K numbers.

    A form of gradients calls the method that suits it; see :meth:`Form.sketch`. A subclass must
    have ``add_matrix(total, matrix)``, which adds the image of gradients (B, O, I) to (B, K).
    """

    def products(self, forms):
        """Return forms at C labels as Products, if that is how they cost least; otherwise None."""
        return None

    def add_to(self, image_sum, factor):
        """Add the image of a factor to an ImageSum."""
        factor.sketch(self, image_sum)

    def add_several(self, sums, forms, shared):
        """Add the images of forms of the same rows at C labels, to an ImageSum each.

        A form is None where a layer has no influence. ``shared`` is a dict that is filled with what
        other forms of the same inputs can use.
        """
        for image_sum, form in zip(sums, forms, strict=True):
            if form is not None:
                self.add_to(image_sum, form)

    def add_formed(self, total, factor):
        """Add the image of any form: its gradients are written out, some rows at a time."""
        for rows, part in _in_parts(factor, total.shape[1]):
            self.add_matrix(total[rows], part.matrix())

    def add_outer(self, image_sum, factor):
        """Add the image of an Outer."""
        self.add_formed(image_sum.total, factor)

    def add_lookup(self, total, factor):
        """Add the image of a Lookup."""
        self.add_formed(total, factor)


class TensorMap(Map):
    """TensorSketch: entry (o, i) of G goes to bucket h(o) + h'(i) with sign s(o) s'(i).

    The image of an outer product g aᵀ is the circular convolution of two count sketches, so it
    needs no G; positions are summed between the FFTs. A formed G is scattered to the same buckets:
    one map, two ways of computing it, whichever costs less.
    """

    def __init__(self, shape, n_components, draws, device):
        self.n_components = n_components
        n_out, n_in = shape
        self.row = draws.buckets(n_out, n_components).to(device)
        self.row_sign = draws.signs(n_out).to(device)
        self.column = draws.buckets(n_in, n_components).to(device)
        self.column_sign = draws.signs(n_in).to(device)
        self._kept = {}  # buckets and signs of whole matrices, by the order of their columns

    def products(self, forms):
        if not _are_outer(forms) or forms[0].positions > 1:
            return None
        a, order = forms[0].ordered_inputs()
        places = None
        if not self.cheaper_by_fft(forms[0], len(forms)):
            if math.prod(forms[0].shape) > _KEPT_PLACES:
                return None
            places, _ = self._all_places(order)
        buckets, signs = self._columns(order)
        outputs = [form.g[:, 0] * self.row_sign for form in forms]
        return Products(a[:, 0] * signs, buckets, outputs, self.row, places)

    def add_outer(self, image_sum, factor):
        self.add_several([image_sum], [factor], {})

    def add_several(self, sums, forms, shared):
        if not _are_outer(forms):
            super().add_several(sums, forms, shared)
        elif self.cheaper_by_fft(forms[0], len(forms)):
            self._convolve(sums, forms, shared)
        else:
            self._form(sums, forms)

    def _form(self, sums, forms):
        """Form the gradients G of some rows at a time, and scatter them."""
        for rows, matrices, order in forms[0].formed_together(forms):
            for image_sum, matrix in zip(sums, matrices, strict=True):
                self._scatter(image_sum.total[rows], matrix, order, overwrite=True)

    def cheaper_by_fft(self, factor, n_labels=1):
        """Whether FFTs per position cost less than forming and scattering G.

        Each position takes one FFT for every label, and one that the labels share.
        """
        K = self.n_components
        T = factor.positions
        n_out, n_in = factor.shape
        shared = 1 / n_labels
        fft = (1 + shared) * (_FFT * math.log2(max(K, 2)) + _ZERO) * K + _PRODUCT * K
        fft += _SCATTER * (shared * n_in + n_out)
        return T * fft < n_in * n_out * (_SCATTER + _GEMM * T)

    def _convolve(self, sums, forms, shared):
        """Add forms that share their inputs to the spectra of their sums."""
        first = forms[0]
        T = first.positions
        step = rows_of_block(T * self.n_components)
        # One block of counts for all rows: a new one for each would be new memory each time.
        counts = sums[0].memory.new_empty(min(step, len(first)) * T, self.n_components)
        spectra = self._shared_spectra(first, shared)
        for i in range(0, len(first), step):
            rows = slice(i, i + step)
            of_input = spectra.get(i)
            if of_input is None:
                a, order = first[rows].ordered_inputs()
                of_input = self._spectrum(a, *self._columns(order), counts)
                if len(first) * T * self.n_components <= _KEPT_SPECTRA:
                    spectra[i] = of_input
            for image_sum, form in zip(sums, forms, strict=True):
                of_output = self._spectrum(form[rows].g, self.row, self.row_sign, counts)
                image_sum.spectrum[rows] += of_output.mul_(of_input).sum(1)  # (b, T, ...)

    def _shared_spectra(self, form, shared):
        """Return the spectra of a form's inputs that another label needed, by first row."""
        known, spectra = shared.get(self, (None, None))
        if known is None or not _same_memory(known, form.source):
            spectra = {}
            shared[self] = form.source, spectra  # a living tensor, whose memory stays its own
        return spectra

    def _columns(self, order):
        """Return buckets and signs (I,) of columns whose numbers are given; None for 0, 1, ..."""
        if order is None:
            return self.column, self.column_sign
        return self.column[order], self.column_sign[order]

    def _spectrum(self, x, buckets, signs, counts):
        flat = x.reshape(-1, x.shape[-1]) * signs
        return counted_spectrum(flat, buckets, counts).view(*x.shape[:2], -1)

    def add_matrix(self, total, matrix):
        self._scatter(total, matrix, None)

    def _scatter(self, total, matrix, order, overwrite=False):
        """Add the image of gradients (B, O, I), with the columns ``order``, to ``total`` (B, K)."""
        n_out, n_in = matrix.shape[1:]
        if n_out * n_in <= _KEPT_PLACES:
            buckets, signs = self._all_places(order)
            values = matrix.flatten(1)
            values = values.mul_(signs) if overwrite else values * signs
            total.index_add_(1, buckets, values)
            return
        step = max(1, _COLUMNS // n_in)
        for i in range(0, n_out, step):
            rows = slice(i, i + step)
            buckets, signs = self._places(rows, order)
            total.index_add_(1, buckets, matrix[:, rows].flatten(1) * signs)

    def _all_places(self, order):
        """Return the buckets and signs of G, flattened, which are kept."""
        known = self._kept.get(order is None)
        if known is None:
            known = self._kept[order is None] = self._places(slice(None), order)
        return known

    def _places(self, rows, order):
        """Compute the buckets and signs of some rows of G, flattened."""
        column, column_sign = self._columns(order)
        buckets = (self.row[rows, None] + column) % self.n_components
        return buckets.flatten(), (self.row_sign[rows, None] * column_sign).flatten()

    def add_lookup(self, total, factor):
        signs = self.row_sign[factor.index][..., None] * self.column_sign
        buckets = (self.row[factor.index][..., None] + self.column) % self.n_components
        total.scatter_add_(1, buckets.flatten(1), (factor.g * signs).flatten(1))


class SparseMap(Map):
    """Sparse Johnson-Lindenstrauss transform: each number goes to one bucket in each of s blocks.

    This is Kane and Nelson's block construction, with signs ±1/√s, on formed gradients. More blocks
    protect against gradients of few large entries, at a proportional cost; the variance is the
    same.
    """

    nonzeros = 1

    def __init__(self, shape, n_components, draws, device):
        n = math.prod(shape)
        s = min(self.nonzeros, n_components)
        edges = [n_components * j // s for j in range(s + 1)]
        self.maps = []
        for low, high in pairwise(edges):
            buckets = low + draws.buckets(n, high - low)
            self.maps.append((buckets.to(device), draws.signs(n).to(device)))
        self.scale = 1 / math.sqrt(s)

    def add_lookup(self, total, factor):
        d = factor.g.shape[2]
        entries = factor.index[..., None] * d + torch.arange(d, device=total.device)
        for buckets, signs in self.maps:
            values = factor.g * (signs[entries] * self.scale)
            total.scatter_add_(1, buckets[entries].flatten(1), values.flatten(1))

    def add_matrix(self, total, matrix):
        flat = matrix.flatten(1)
        for i in range(0, flat.shape[1], _COLUMNS):
            columns = slice(i, i + _COLUMNS)
            for buckets, signs in self.maps:
                values = flat[:, columns] * (signs[columns] * self.scale)
                total.index_add_(1, buckets[columns], values)


class DenseMap(Map):
    """Dense signs ±1/√K: the reference, slower by orders of magnitude."""

    def __init__(self, shape, n_components, draws, device):
        n = math.prod(shape)
        self.n_components = n_components
        self.step = max(1, _DRAWN // n_components)
        self.state = draws.generator.get_state()
        self.draws = draws
        self.kept = None
        if n * n_components <= _KEPT_SIGNS:
            self.kept = [signs.to(device) for signs in self._drawn(n)]

    def _drawn(self, n):
        """Draw the signs of n numbers, some at a time; the same whenever it is called."""
        self.draws.generator.set_state(self.state)
        for i in range(0, n, self.step):
            yield self.draws.signs(min(self.step, n - i), self.n_components)

    def add_formed(self, total, factor):
        self.add_matrix(total, factor.matrix())  # drawn signs are used for all rows at once

    def add_matrix(self, total, matrix):
        flat = matrix.flatten(1)
        drawn = self.kept or self._drawn(flat.shape[1])
        for part, signs in zip(flat.split(self.step, 1), drawn, strict=True):
            signs = signs.to(total.device, total.dtype)
            total.addmm_(part, signs, alpha=1 / math.sqrt(self.n_components))


SKETCHES = {"tensor": TensorMap, "sjlt": SparseMap, "rademacher": DenseMap}


class Sketch:
    """The sum of independent maps of every layer.

    Parameters
    ----------
    kind : {"tensor", "sjlt", "rademacher"}
        Which maps.
    n_components : int
        K, numbers per row.
    seed : int
        Seed; the same seed gives the same maps on any device and for any batches.
    """

    def __init__(self, kind, n_components, seed):
        self.kind = kind
        self.n_components = n_components
        self.seed = seed
        self.maps = {}

    def __getstate__(self):
        return vars(self) | {"maps": {}}  # the seed draws them again

    def __call__(self, factors, n_samples, dtype, device):
        """Compute the sketch (n_samples, K) of gradients, given as pairs of layer and factor."""
        out = torch.empty(n_samples, self.n_components, dtype=dtype, device=device)
        self.several([((layer, [factor]) for layer, factor in factors)], [out])
        return out

    def several(self, groups, out):
        """Compute sketches of the same rows at several labels.

        Parameters
        ----------
        groups : iterable
            For some labels at a time, pairs of a layer and a list of factors.
        out : list of torch.Tensor of shape (n_samples, K)
            Where the sketches are written, one tensor for each label.
        """
        kind = SKETCHES[self.kind]
        sums = [ImageSum(total) for total in out]
        shared: dict = {}
        start = 0
        for factors in groups:
            size = 0
            products = []
            for layer, forms in factors:
                if layer.number not in self.maps:
                    draws = _Draws(self.seed, layer.number)
                    shape = next(form.shape for form in forms if form is not None)
                    self.maps[layer.number] = kind(shape, self.n_components, draws, out[0].device)
                size = len(forms)
                layer_map = self.maps[layer.number]
                multiplied = layer_map.products(forms)
                if multiplied is not None:
                    products.append(multiplied)
                else:
                    layer_map.add_several(sums[start : start + size], forms, shared)
            if size:
                finish(sums[start : start + size], products)
            start += size
        for rest in sums[start:]:
            finish([rest], [])  # no gradient at all
