"""Greedy selection from features that are read block by block, for rows that memory does not hold.

It is the selection of :mod:`._selection` with G = σ² I + Φ Φ^T. In memory are two numbers for each
pair of a query and a row, the covariance c and the diagonal G_xx. A round reads all rows once, for
many queries together: with the direction d = S_A^-1 φ_x / sqrt(σ² + v_x) of the row x that was
picked last, the column of G is l = Φ d, and c and G_xx change by l.
"""

import torch

from ._candidates import CopyTable
from ._selection import NOTHING, TIE
from ._validation import nats_of
from ._weight_space import path_reductions

# Bytes for each query and row: c and the diagonal.
STATE_BYTES = 16


class StreamedSystem:
    """Rows by their features, which are read some rows at a time.

    Parameters
    ----------
    points : points
        Rows, which know ``len()``, ``norms()``, ``_numbered_blocks()`` (slices of rows, and their
        features in double precision), ``take(rows)`` and ``matrix()``.
    noise_variance : float
        σ².
    rule : {"info_gain", "linear_response"}
        What is maximised.
    memory_limit : float
        Bytes that numbers of queries and rows may take.
    copies : Tensor of shape (n_rows,), default=None
        The first row that each row is a copy of; of copies the first that is free is picked.
    """

    def __init__(self, points, noise_variance, rule, memory_limit, copies=None):
        self.points = points
        self.noise_variance = noise_variance
        self.divide = rule != "linear_response"
        self.diagonal = points.norms() + noise_variance  # (n_rows,)
        self.copies = None
        if copies is not None:
            self.copies = CopyTable(copies.to(self.diagonal.device))
        self.together = int(memory_limit // (STATE_BYTES * len(points)))

    def pick(self, queries, k, candidates=None, own=None):
        """Pick k rows for each query; see :meth:`GreedySystem.pick`.

        ``candidates`` is a mask (n_rows,) for all queries, or None.
        """
        n_allowed = len(self.points)
        if candidates is not None:
            candidates = candidates.to(queries.device)
            n_allowed = int(candidates.sum())
        n_picks = min(k, n_allowed)
        excluded = queries.new_empty(len(queries), 0, dtype=torch.int64)
        if own is not None:
            excluded = own[:, None].to(queries.device)
        picks = queries.new_full((len(queries), k), -1, dtype=torch.int64)
        n_tied = picks.new_zeros(len(queries))
        step = max(1, self.together)
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            rows, tied = self._pick_block(queries[block], n_picks, candidates, excluded[block])
            picks[block, :n_picks] = rows
            if n_picks == k:
                n_tied[block] = tied
        return picks, self._nats(queries, picks), n_tied

    def _pick_block(self, queries, n_picks, candidates, excluded):
        """Pick rows (n_queries, n_picks) for queries whose numbers fit, but none of ``excluded``.

        Returns
        -------
        picks : Tensor of shape (n_queries, n_picks)
            Rows in order of selection; -1 where a query has run out of candidates.
        n_tied : Tensor of shape (n_queries,)
            Rows left out that tie with the last pick.
        """
        n_queries, n_features = queries.shape
        n_excluded = excluded.shape[1]
        # Made before any block is read, so that freed blocks leave no holes between them.
        covariance = queries.new_empty(len(self.points), n_queries)  # c
        diagonal = self.diagonal[:, None].repeat(1, n_queries)  # G_xx
        directions = queries.new_empty(n_queries, n_picks, n_features)  # d
        for rows, block in self.points._numbered_blocks():
            torch.mm(block, queries.mT, out=covariance[rows])
        n_tied = None
        nothing = None
        for done in range(n_picks):
            if done:
                self._condition(covariance, diagonal, directions[:, :done], excluded[:, -1])
            scores = _Scores(self, covariance, diagonal, candidates, excluded)
            if nothing is None:
                nothing = NOTHING * scores.best.clamp(min=0)
            pick, n_tied = scores.first(nothing)
            directions[:, done] = self._direction(directions[:, :done], pick)
            excluded = torch.cat([excluded, pick[:, None]], 1)
        return excluded[:, n_excluded:], n_tied

    def _direction(self, before, pick):
        """Compute d (n_queries, n_features) of the row that each query picks, given those before.

        S_A^-1 φ_x = φ_x - Σ_j d_j (d_j·φ_x), whose product with φ_x is v_x.
        """
        distinct, place = pick.clamp(min=0).unique(return_inverse=True)
        row = self.points.take(distinct.cpu()).matrix()[place]  # (n_queries, n_features)
        solved = row - ((row[:, None] @ before.mT) @ before)[:, 0]
        variance = (row * solved).sum(1, keepdim=True).clamp_(min=0.0)
        return solved / (variance + self.noise_variance).sqrt_()

    def _condition(self, covariance, diagonal, directions, pick):
        """Condition c and G_xx of all rows on the last pick of each query."""
        direction = directions[:, -1]  # (n_queries, n_features)
        pick = pick.clamp(min=0)[None]  # a query without candidates has no use for its numbers
        root = diagonal.gather(0, pick).sqrt()  # (1, n_queries)
        at_pick = covariance.gather(0, pick) / root  # c_x / sqrt(G_xx)
        for rows, block in self.points._numbered_blocks():
            column = block @ direction.mT  # (n_block, n_queries): l
            covariance[rows].addcmul_(column, at_pick, value=-1)
            # Rounding may lower σ² + v below σ²: the bound is known, so the entry is set to it.
            diagonal[rows].addcmul_(column, column, value=-1).clamp_(min=self.noise_variance)

    def _nats(self, queries, picks):
        """Compute the nats of picks (n_queries, k), from an orthonormal basis of their features."""
        distinct, places = picks.clamp(min=0).unique(return_inverse=True)
        features = self.points.take(distinct.cpu()).matrix()
        places = torch.where(picks >= 0, places, -1)
        reductions, after = path_reductions(features, queries, self.noise_variance, places)
        return nats_of(reductions, after).masked_fill(picks < 0, torch.nan)


class _Scores:
    """The scores of all rows in a round, block by block, and the largest of each query."""

    def __init__(self, system, covariance, diagonal, candidates, excluded):
        self.system = system
        self.covariance = covariance
        self.diagonal = diagonal
        self.candidates = candidates
        self.excluded = excluded
        n_rows, n_queries = covariance.shape
        step = max(1, 2**20 // n_queries)
        self.blocks = [slice(a, min(a + step, n_rows)) for a in range(0, n_rows, step)]
        self.of_blocks = torch.stack([self._scores(rows).amax(0) for rows in self.blocks])
        self.best = self.of_blocks.amax(0)  # (n_queries,)

    def _scores(self, rows):
        """Compute the scores (n_block, n_queries) of some rows; -inf where none may be picked."""
        scores = self.covariance[rows].square()
        if self.system.divide:
            scores.div_(self.diagonal[rows])
        if self.candidates is not None:
            scores[~self.candidates[rows]] = -torch.inf
        inside = (self.excluded >= rows.start) & (self.excluded < rows.stop)
        query, _ = inside.nonzero(as_tuple=True)
        scores[self.excluded[inside] - rows.start, query] = -torch.inf
        return scores

    def first(self, nothing):
        """Find the first row whose score ties with the best, and count the others that do.

        Returns
        -------
        pick : Tensor of shape (n_queries,)
            Rows, of copies the first that is free; -1 where there is none.
        n_tied : Tensor of shape (n_queries,)
            Number of other rows with the score of the best.
        """
        threshold = torch.where(self.best > nothing, self.best * (1 - TIE), 0.0)
        pick = torch.full_like(self.best, -1, dtype=torch.int64)
        n_tied = torch.full_like(pick, -1)  # the pick itself does not count
        for rows, best in zip(self.blocks, self.of_blocks, strict=True):
            if not (best >= threshold).any():
                continue
            tied = self._scores(rows) >= threshold
            found = tied.any(0) & (pick < 0)
            pick[found] = tied.int().argmax(0)[found] + rows.start
            n_tied += tied.sum(0)
        if self.system.copies is not None:
            pick = self.system.copies.first_free(pick, self.excluded, self.candidates)
        return pick, n_tied.clamp_(min=0)
