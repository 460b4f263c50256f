"""The Fisher matrix itself, through its products with vectors: what EK-FAC approximates.

A vector holds a matrix for each layer, side by side, in the eigenbases of EK-FAC. Shapes in
comments: Q vectors, P numbers in each, B rows, D directions, I inputs, O outputs of a layer.
"""

import torch
from tqdm.auto import tqdm

from ..information._conjugate_gradients import conjugate_gradients
from ._batches import as_rows, take_batch
from ._directions import pays_to_form, rotated_directions
from ._network_layers import batch_size_for

# Numbers that the gradients of a batch in all directions may hold, and products for a while.
_BUDGET = 2**26
_TEMPORARY = 2**24
# Vectors, of the size of a query's gradient, that are held at a time while systems are solved.
N_VECTORS = 6


class GaussNewton:
    """The damped Fisher matrix F + λ of a network, with all that EK-FAC leaves out.

    F is the mean of s² G Gᵀ over rows and directions, with gradients G of all layers: those of the
    log probabilities of every label with s² = p make it the Gauss-Newton Hessian of the
    cross-entropy. A product takes as many multiplications as the network's own layers do for each
    vector. Directions of a batch take a backward pass each, once if their factors fit ``n_bytes``,
    otherwise in every product.

    Parameters
    ----------
    model : TangentModel
        The network, linearised for the log probability.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Rows that F is the mean over.
    draw : callable
        Targets and their weights s², as for :func:`fit_fisher`.
    n_directions : int
        D, how many targets ``draw`` yields for a batch.
    fisher : dict
        LayerFisher by number of the layer: EK-FAC, the preconditioner.
    damping : dict
        λ by number of the layer. Layers without one are left out.
    n_iterations : int
        Steps of conjugate gradients after the first, which is a multiple of EK-FAC's inverse.
    batch_size : int or "auto", default="auto"
        Rows per pass.
    n_bytes : float, default=2**29
        Bytes that factors of rows may take between products.
    verbose : bool, default=False
        Whether to show progress.
    """

    def __init__(
        self,
        model,
        X,
        draw,
        n_directions,
        fisher,
        damping,
        n_iterations,
        *,
        batch_size="auto",
        n_bytes=2**29,
        verbose=False,
    ):
        self.model = model
        self.x, self.n_rows = as_rows(X, model)
        self.draw = draw
        self.fisher = fisher
        self.damping = damping
        self.n_iterations = n_iterations
        self.step = batch_size_for(model, batch_size)
        if batch_size == "auto":
            numbers = sum(_numbers(model.layers[n], n_directions) for n in damping)
            self.step = max(1, min(self.step, _BUDGET // numbers))
        self.n_bytes = n_bytes
        self.verbose = verbose
        self.shapes = {n: tuple(fisher[n].moments.shape) for n in damping}
        # With one λ for all layers, F / λ + 1 keeps single precision from overflowing where the
        # network is certain; layers of another λ are scaled to it.
        self.largest = max(damping.values())
        self.scales = {n: (self.largest / value) ** 0.5 for n, value in damping.items()}
        self._kept = None

    def solve(self, gradients):
        """Compute λ (F + λ)⁻¹ ∇m for matrices ∇m (Q, O, I) by layer, all in the eigenbases."""
        scaled = [(gradients[n] * self.scales[n]).flatten(1) for n in self.shapes]
        vectors = torch.cat(scaled, 1)  # (Q, P)
        del scaled
        n_products = self.n_iterations + 1
        with tqdm(
            total=n_products * self.n_rows, desc="conjugate gradients", disable=not self.verbose
        ) as progress:
            solved = conjugate_gradients(
                lambda v: self.product(v, progress), self.precondition, vectors, n_products
            )
        return {n: matrices / self.scales[n] for n, matrices in self._by_layer(solved).items()}

    def product(self, vectors, progress=None):
        """Multiply F / λ + 1, layers scaled to one λ, by vectors (Q, P)."""
        result = vectors.clone()
        totals = self._by_layer(result)
        matrices = self._by_layer(vectors)
        for directions, weights in self._batches():
            n_temporary = max(layer.n_temporary for layer in directions.values())
            step = max(1, _TEMPORARY // n_temporary)
            for start in range(0, len(vectors), step):
                part = slice(start, start + step)
                inner = 0.0  # (B, Q, D), of all layers together
                for n, layer in directions.items():
                    inner = inner + self.scales[n] * layer.inner(matrices[n][part])
                inner = inner * weights[:, None]
                for n, layer in directions.items():
                    totals[n][part] += self.scales[n] * layer.totals(inner)
            if progress is not None:
                progress.update(len(weights))
        return result

    def precondition(self, vectors):
        """Multiply EK-FAC's inverse by vectors (Q, P)."""
        result = vectors.clone()
        for n, matrices in self._by_layer(result).items():
            shrunk = self.damping[n] / (self.fisher[n].moments + self.damping[n])
            matrices *= shrunk.to(matrices)
        return result

    def _by_layer(self, vectors):
        """View vectors (Q, P) as matrices (Q, O, I) by number of the layer."""
        sizes = [n_out * n_in for n_out, n_in in self.shapes.values()]
        parts = zip(self.shapes.items(), vectors.split(sizes, 1), strict=True)
        return {n: part.unflatten(1, shape) for (n, shape), part in parts}

    def _batches(self):
        """Yield gradients by number of the layer, and weights (B, D); keep them if they fit."""
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        size = 0
        for start in range(0, self.n_rows, self.step):
            rows = slice(start, min(start + self.step, self.n_rows))
            batch = self._batch(rows)
            if kept is not None:
                kept.append(batch)
                size += sum(layer.nbytes for layer in batch[0].values())
                if size * self.n_rows / rows.stop > self.n_bytes:
                    kept = None
            yield batch
        self._kept = kept

    def _batch(self, rows):
        """Compute the gradients of rows, a slice, in all directions."""
        batch = self.model.linearise(take_batch(self.x, rows), rows.start)
        forms = []
        weights = []
        for targets, squares in self.draw(batch.outputs.detach(), rows):
            factors = batch.factors(targets)
            forms.append({layer.number: form for layer, form in factors})
            weights.append(squares.double() / (self.n_rows * self.largest))
        directions = {}
        for n in self.shapes:
            of_layer = [by_number.get(n) for by_number in forms]
            if any(form is not None for form in of_layer):
                directions[n] = rotated_directions(self.fisher[n], of_layer)
        return directions, torch.stack(weights, 1).to(self.model.device, self.model.dtype)


def _numbers(layer, n_directions):
    """Count the numbers that the gradients of a row take in all directions."""
    n_out, n_in = layer.shape
    if layer.one_hot:
        return n_directions * layer.positions * n_in
    if layer.low_rank and not pays_to_form(layer.positions, n_directions):
        return layer.positions * (n_in + n_directions * n_out)
    return n_directions * n_out * n_in
