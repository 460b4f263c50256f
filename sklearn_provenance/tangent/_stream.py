"""Factors of rows, batch by batch, joined to long matrices."""

import math

import torch

from ._batches import batch_size_for, take


class Stream:
    """Rows whose factors are computed whenever they are asked for."""

    def __init__(self, model, X, labels, batch_size):
        self.model, self.X, self.labels, self.batch_size = model, X, labels, batch_size

    def __len__(self):
        return len(self.labels)

    def _blocks(self, dtype, numbers, start=0, at_most=math.inf):
        """Give lists of (rows, factors by layer's number), from row ``start`` on.

        A list is as long as ``numbers``, or ``at_most`` rows, allow. Batches are joined to long
        matrices, which multiply faster; a list has several entries only where a layer changed the
        form of its factor, or woke up.
        """
        step = batch_size_for(self.model, self.batch_size)
        run, kept, first, n = Run(), 0, start, len(self)
        for i in range(start, n, step):
            rows = slice(i, min(i + step, n))
            batch = self.model.linearise(take(self.X, rows), i)
            factors = {}
            for layer, factor in batch.factors(self.labels[rows]):
                factors[layer.number] = factor.compact().cast(dtype)
            run.add(rows, factors)
            kept += sum(factor.n_numbers for factor in factors.values())
            if kept >= numbers or rows.stop - first + step > at_most or rows.stop == n:
                del batch, factors
                done, run, kept, first = run.joined(), Run(), 0, rows.stop
                yield done
                del done


class Run:
    """Batches in a row, joined where their factors have the same form."""

    def __init__(self):
        self.done, self.open, self.form = [], [], None

    def add(self, rows, factors):
        form = {number: factor.signature for number, factor in factors.items()}
        if self.open and form != self.form:
            self._close()
        self.open.append((rows, factors))
        self.form = form

    def joined(self):
        self._close()
        return self.done

    def _close(self):
        """Join the open batches, which are emptied layer by layer."""
        if len(self.open) > 1:
            rows = slice(self.open[0][0].start, self.open[-1][0].stop)
            joined = {}
            for number in self.form:
                parts = [factors.pop(number) for _, factors in self.open]
                joined[number] = type(parts[0]).concatenate(parts)
            self.open = [(rows, joined)]
        self.done += self.open
        self.open = []


def taken_rows(kept, numbers):
    """Rows of kept factors in the order of ``numbers``, as few pieces as their blocks allow."""
    edges = torch.tensor([rows.stop for rows, _ in kept])
    owners = torch.bucketize(numbers, edges, right=True)
    start = 0
    for owner, count in zip(
        *(v.tolist() for v in owners.unique_consecutive(return_counts=True)), strict=True
    ):
        rows, factors = kept[owner]
        own = numbers[start : start + count] - rows.start
        picked = {}
        for number, factor in factors.items():
            device = next(iter(factor.tensors().values())).device
            picked[number] = factor[own.to(device)]
        yield slice(start, start + count), picked
        start += count
