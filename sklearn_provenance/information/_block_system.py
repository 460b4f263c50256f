"""Greedy selection from rows that are read in blocks, for rows that memory does not hold.

It is the selection of :mod:`._sharded` from shards in this process, which keep nothing of pairs of
queries and rows (:mod:`._scanned_shards`) or, where these do not find the best row, two numbers for
each (:mod:`._local_shards`). Picks are those of :class:`._systems.FeatureSystem`. InfoLoss needs
the root R of all rows in addition, a square matrix of the number of features, which is summed over
blocks.
"""

import torch

from .._utils.budget import block_numbers
from ._candidates import find_copies, numbers_of
from ._local_shards import LocalShards, RowBlocks
from ._ranking import first_of
from ._scanned_shards import ScannedShards, can_scan, scanned_together
from ._shard_root import ShardRoots, squares_of
from ._sharded import STATE_BYTES, ShardedSystem
from ._shards import ShardRule
from ._validation import check_scale, check_scale_of, nats_of

# Bytes for each row, whatever is asked: the diagonal of G before any pick, and its bound.
ROW_BYTES = 16
# Numbers of features that are compared at a time.
_COMPARED = 2**20


def bytes_of_rows(n_rows, n_features):
    """Count the bytes of what is kept of rows: two numbers for each, and R (0 features: none)."""
    return ROW_BYTES * n_rows + 8 * n_features**2


class BlockSystem:
    """Rows by their features, which are read some rows at a time.

    Parameters
    ----------
    points : points
        Rows, see :class:`._local_shards.RowBlocks`.
    noise_variance : float
        σ².
    rule : {"info_gain", "info_loss", "linear_response"}
        What is maximised.
    memory_limit : float
        Bytes that numbers of queries and rows, and R, may take.
    copies : Tensor of shape (n_rows,), default=None
        The same number for rows whose inputs are copies of each other; others may have the same
        features. Of copies the first that is free is picked.
    roots : ShardRoots, default=None
        How R is found, see :func:`roots_of_blocks`; None finds it out.
    """

    def __init__(self, points, noise_variance, rule, memory_limit, copies=None, roots=None):
        self.rows = RowBlocks(points)
        self.memory_limit = memory_limit
        root = None
        if rule == "info_loss":
            if roots is None:
                roots = roots_of_blocks(self.rows, noise_variance)
            root = roots.root(roots.of(self.rows))
        self.rule = ShardRule(noise_variance, root, rule != "linear_response")
        self.diagonal, self.floor, probe = diagonal_of_blocks(self.rule, self.rows)
        if root is None:
            check_scale(self.diagonal - noise_variance, noise_variance)
        self.copies = copies_of_blocks(self.rows, probe, copies)

    def pick(self, queries, k, candidates=None, own=None):
        """Pick k rows for each query; see :meth:`GreedySystem.pick`.

        ``candidates`` is a mask (n_rows,) for all queries, or None.
        """
        rows, free, own = among(candidates, own, len(self.rows), queries.device)
        together = 0
        if can_scan(self.rows, queries.device):
            together = scanned_together(min(k, len(self.rows)), queries.shape[1], self._left())
        found = []
        for part in torch.arange(len(queries)).split(together or max(1, len(queries))):
            asked = queries[part], k, free, None if own is None else own[part]
            found.append(self._pick(rows, bool(together), *asked))
        picks, nats, n_tied = (torch.cat(column) for column in zip(*found, strict=True))
        return picks if rows is None else numbers_of(picks, rows), nats, n_tied

    def _pick(self, rows, scans, queries, k, free, own):
        """Pick from some rows (n,): by a scan for each pick and, where that finds none, from c."""
        if not scans:
            return self._system(rows).pick(queries, k, free, own, self._left())
        system = self._system(rows, ScannedShards)
        budget = STATE_BYTES * max(1, system.n_rows) * max(1, len(queries))  # all together
        found = system.pick(queries, k, free, own, budget)
        lost = system.shards.lost
        if lost.any():
            asked = queries[lost], k, free, None if own is None else own[lost]
            again = self._system(rows).pick(*asked, self._left())
            for values, others in zip(found, again, strict=True):
                values[lost] = others
        return found

    def pick_together(self, queries, k, candidates=None, quotas=None):
        """Pick k rows for all queries together; see :func:`greedy_coreset`."""
        rows, free, _ = among(candidates, None, len(self.rows), queries.device)
        if rows is not None and quotas is not None:
            quotas = (quotas[0][rows], quotas[1])
        picks, changes = self._system(rows).pick_together(queries, k, free, quotas)
        return picks if rows is None else numbers_of(picks, rows), changes

    def loss(self, queries, rows):
        """Compute I_IL({x}; x_*) in nats (n_queries, n_rows) of rows (n,)."""
        mask = torch.zeros(len(self.rows), dtype=torch.bool).index_fill(0, rows.cpu(), True)
        wanted, *_ = among(mask, None, len(self.rows), queries.device)
        system = self._system(wanted)
        at = rows.to(queries.device)
        if wanted is not None:
            at = torch.searchsorted(wanted, at)
        points = self.rule.coordinates(queries)  # ψ_*
        variance = points.square().sum(1)
        nats = queries.new_empty(len(queries), len(rows))
        step = max(1, int(self._left() // (STATE_BYTES * max(1, system.n_rows))))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            system.shards.begin(self.rule.weights(points[block])[:, None], None, None)
            gains = system.shards.gains()[:, at]
            nats[block] = nats_of(gains, variance[block, None])
        return nats

    def rows_and_points(self, rows, points):
        """Compute coordinates; see :meth:`FeaturePosterior.rows_and_points`; of "info_loss"."""
        coordinates = self.rule.coordinates(self.rows.features(rows))
        return coordinates, self.diagonal[rows], self.rule.coordinates(points)

    def _left(self):
        """Count the bytes that are left for numbers of queries and rows."""
        root = self.rule.root
        return self.memory_limit - bytes_of_rows(len(self.rows), 0 if root is None else len(root))

    def _system(self, rows, kind=LocalShards):
        """Make the system of some rows (n,), or of all; calls from threads have one each."""
        blocks, diagonal, floor, copies = self.rows, self.diagonal, self.floor, self.copies
        if rows is not None:
            blocks, diagonal, floor = blocks.take(rows), diagonal[rows], floor[rows]
            copies = None if copies is None else copies[rows]
        shards = kind(self.rule, blocks, diagonal, floor)
        return ShardedSystem(self.rule, shards, blocks.features, len(blocks), copies)


def among(candidates, own, n_rows, device):
    """Find the rows that have a part in a selection.

    Parameters
    ----------
    candidates : Tensor of shape (n_rows,), bool, or None
        Rows that may be picked; None allows all.
    own : Tensor of shape (n_queries,) or None
        Row of each query.
    n_rows : int
        Number of all rows.
    device : torch.device
        Where results are.

    Returns
    -------
    rows : Tensor of shape (n,), or None
        Candidates and rows of queries, ascending; None for all rows.
    free : Tensor of shape (n,), bool, or None
        Which of them are candidates; None for all.
    own : Tensor of shape (n_queries,) or None
        Places of the rows of queries among them.
    """
    if own is not None:
        own = own.to(device)
    if candidates is None:
        return None, None, own
    candidates = candidates.to(device)
    needed = candidates
    if own is not None:
        needed = candidates.clone()
        needed[own] = True
    if needed.all():
        return None, candidates, own
    rows = needed.nonzero()[:, 0]
    if own is not None:
        own = torch.searchsorted(rows, own)
    return rows, candidates[rows], own


def roots_of_blocks(rows, noise_variance, more=()):
    """Find out how R is computed, by one look at all rows; ``more`` are blocks of others."""
    total, largest = squares_of(rows)
    check_scale_of(largest, noise_variance)
    return ShardRoots(total + squares_of(more)[0], noise_variance)


def diagonal_of_blocks(rule, rows):
    """Compute G_xx of rows (n,), its bound (n,), and products of φ with one direction (n,)."""
    found = None
    for part, block in rows.numbered():
        if found is None:
            found = block.new_empty(3, len(rows))
            generator = torch.Generator().manual_seed(0)
            direction = torch.randn(block.shape[1], generator=generator, dtype=block.dtype)
            direction = direction.to(block.device)
        diagonal, floor, probe = found
        floor[part] = rule.floor(block)
        diagonal[part] = rule.diagonal(rule.coordinates(block).square().sum(1), floor[part])
        probe[part] = block @ direction
    return found


def copies_of_blocks(rows, probe, inputs):
    """Return the first row (n,) that each row is a copy of, or None where all differ.

    Parameters
    ----------
    rows : RowBlocks
        Rows, which are copies where all their features are the same.
    probe : Tensor of shape (n,)
        Products of their features with one direction.
    inputs : Tensor of shape (n,), default=None
        The same number for rows whose inputs are copies of each other.
    """

    def same(row, others):
        first = rows.features(row[None])
        step = max(1, block_numbers(_COMPARED) // first.shape[1])
        return torch.cat([(rows.features(part) == first).all(1) for part in others.split(step)])

    first = find_copies(probe, same)
    if inputs is None:
        return first
    of_inputs = first_of(inputs.cpu()).to(probe.device)
    return of_inputs if first is None else first[of_inputs]
