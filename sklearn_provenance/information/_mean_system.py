"""Rows made ready to say what a ridge regression predicts without them.

A row j that is left out lowers the prediction at a query by c_j r_j / G_jj, and the rows i that
stay get

    c_i <- c_i - G_ij c_j / G_jj     r_i <- r_i - G_ij r_j / G_jj     G <- G - G_:j G_j: / G_jj

This is the recurrence of InfoLoss, in which r takes the place of a second c: there the *variance*
of the query rises by c_j² / G_jj. Two matrices may stand for G, as in :mod:`._selection`:

    kernel     G = (K + λ I)^-1               c = G k_*              r = G t
    features   G = λ (I - Φ H^-1 Φ^T)         c = λ Φ H^-1 φ_*       r = t - Φ θ

with H = Φ^T Φ + λ I. Shapes in comments: B selections at a time, m rows, n_models models.
"""

from functools import cached_property

import torch

from ._candidates import SameClass
from ._mean_selection import MeanState, pick_mean, rounding_of_falls, with_residuals
from ._selection import blocks
from ._systems import FeatureSystem, KernelSystem


class MeanSystem:
    """A ridge system of one model, and the working residuals of its rows.

    Parameters
    ----------
    system : KernelSystem or FeatureSystem
        The rows, ready for InfoLoss with the noise variance λ.
    residuals : Tensor of shape (n_rows,)
        What the targets are above the predictions.
    """

    def __init__(self, system, residuals):
        self.system = system
        self.residuals = residuals
        if isinstance(system, KernelSystem):
            self.residuals = residuals / system.noise_variance  # G t

    @classmethod
    def from_features(cls, features, residuals, ridge, weights=None):
        """Make the system of features (n_rows, n_features), whose rows may have weights."""
        if weights is not None:
            root = weights.sqrt()
            features = features * root[:, None]
            residuals = residuals * root
        return cls(FeatureSystem(features, ridge, "info_loss"), residuals)

    @classmethod
    def from_kernel(cls, kernel, residuals, ridge, weights=None, overwrite=False):
        """Make the system of a kernel (n_rows, n_rows); the caller weights queries."""
        if weights is not None:
            root = weights.sqrt()
            kernel = kernel * root[:, None] * root
            residuals = residuals * root
        system = KernelSystem(kernel, ridge, "info_loss", overwrite=overwrite)
        return cls(system, residuals)

    @cached_property
    def copies(self):
        """First row (n_rows,) with the same features and residual as each row; None if all differ.

        Of these the first that is free is picked, whatever rounding makes of their scores.
        """
        return with_residuals(self.system.copies, self.residuals)

    def prepare(self, queries, rows, n_picks):
        """Start of a selection among rows: G, bytes for a row, c, r and the rounding of falls."""
        start, row_bytes, covariance, variance, _ = self.system._prepare(queries, rows, n_picks)
        ridge = self.system.noise_variance
        residuals = self.residuals
        if isinstance(self.system, KernelSystem):
            residuals = ridge * residuals
        slack = rounding_of_falls(variance, residuals, ridge)
        return start, row_bytes, covariance, self.residuals[rows], slack

    def drops(self, queries, rows):
        """Compute falls (n_queries, m) of predictions at queries without each of m rows alone."""
        covariance, diagonal = self._covariance(queries, rows)
        return covariance * (self.residuals[rows] / diagonal)

    @property
    def device(self):
        """Where products are computed."""
        return self.system.device

    def drops_without_own(self, queries, rows, own):
        """Do as :meth:`drops` for queries that are rows (n_queries,) and leave themselves out."""
        wanted = torch.cat([rows, own]).unique()
        start, row_bytes, covariance, residuals, _ = self.prepare(queries, wanted, len(own))
        at, own = torch.searchsorted(wanted, rows), torch.searchsorted(wanted, own)
        drops = covariance.new_empty(len(own), len(rows))
        for block in blocks(len(own), row_bytes, self.device):
            state = MeanState(start(block.stop - block.start, 1), covariance[block], residuals)
            state.remove(own[block])
            drops[block] = state.gains()[:, at]
        return drops

    def own_drops(self):
        """Compute falls (n_rows,) of the predictions at rows without themselves, M r / (1 - M)."""
        ridge, posterior = self.system.noise_variance, self.system.posterior
        if isinstance(self.system, KernelSystem):
            rows = torch.arange(self.system.n_rows, device=self.device)
            kept = ridge * posterior.columns(rows).square().sum(0)  # 1 - M
            residuals = ridge * self.residuals
        else:
            kept = posterior.rows()[1] / ridge
            residuals = self.residuals
        return (1 - kept) / kept * residuals

    def path(self, queries, sets):
        """Compute falls of predictions with each row of a set, after those before it.

        Parameters
        ----------
        queries : Tensor or tuple of Tensor
            Queries as the system takes them.
        sets : Tensor of shape (n_queries, k), int64
            Rows that go in this order, different ones for each query; -1 is none.

        Returns
        -------
        Tensor of shape (n_queries, k)
            Falls, which add up to that without all rows of the set; 0 at -1.
        """
        wanted, places = sets.clamp(min=0).to(self.residuals.device).unique(return_inverse=True)
        gram, covariance = self._gram(queries, wanted)
        return falls_of_sets(gram, covariance, self.residuals[wanted], places, sets)

    def _covariance(self, queries, rows):
        """Compute c (n_queries, m) of rows, and the diagonal of G (m,)."""
        posterior = self.system.posterior
        if isinstance(self.system, KernelSystem):
            columns = posterior.columns(rows)
            solved, _ = posterior.queries(*queries)
            return solved.mT @ columns, columns.square().sum(0)
        points, diagonal, queries = posterior.rows_and_points(rows, queries)
        return queries @ points.mT, diagonal

    def _gram(self, queries, rows):
        """Make a function of places among rows that gives their part of G, and c (n_queries, m)."""
        posterior = self.system.posterior
        if isinstance(self.system, KernelSystem):
            columns = posterior.columns(rows)
            solved, _ = posterior.queries(*queries)
            return lambda at: columns[:, at].mT @ columns[:, at], solved.mT @ columns
        points, diagonal, queries = posterior.rows_and_points(rows, queries)

        def gram(at):
            part = -(points[at] @ points[at].mT)
            part.diagonal().copy_(diagonal[at])
            return part

        return gram, queries @ points.mT


class SystemMeans:
    """The same rows in memory as several models see them.

    Parameters
    ----------
    systems : list of MeanSystem
        One for each model.
    n_rows : int
        Number of the rows. Systems may have more behind them, which never go.
    """

    def __init__(self, systems, n_rows):
        self.systems = systems
        self.n_rows = n_rows

    def drops(self, queries, rows, own=None):
        """Compute mean falls (n_queries, m) without each of m rows alone.

        Parameters
        ----------
        queries : list of Tensor or of tuple of Tensor
            The queries as each system takes them.
        rows : Tensor of shape (m,)
            Rows.
        own : Tensor of shape (n_queries,), default=None
            The row that each query is, which is left out before.
        """
        total = 0.0
        for system, asked in zip(self.systems, queries, strict=True):
            at = rows.to(system.device)
            if own is None:
                drops = system.drops(asked, at)
            else:
                drops = system.drops_without_own(asked, at, own.to(system.device))
            total = total + drops.cpu()
        return total / len(self.systems)

    def pick(self, queries, k, sign=1, candidates=None, own=None):
        """Pick k rows for each query greedily; see :func:`pick_mean`."""
        if isinstance(candidates, SameClass):
            candidates = candidates.masks()
        n_more = self.systems[0].system.n_rows - self.n_rows
        if n_more:
            if candidates is None:
                candidates = torch.ones(self.n_rows, dtype=torch.bool)
            candidates = torch.nn.functional.pad(candidates, (0, n_more), value=False)
        return pick_mean(self.systems, queries, k, sign, candidates, own)

    def paths(self, queries, sets):
        """Compute falls (n_queries, k) of each model; see :meth:`MeanSystem.path`."""
        pairs = zip(self.systems, queries, strict=True)
        return [system.path(asked, sets) for system, asked in pairs]

    def own_drops(self):
        """Compute falls (n_rows,) of each model; see :meth:`MeanSystem.own_drops`."""
        return [system.own_drops() for system in self.systems]


def falls_of_sets(gram, covariance, residuals, places, sets):
    """Compute falls (n_queries, k) with each row of a set, after those before it.

    Parameters
    ----------
    gram : callable
        ``gram(places)`` gives G (m, m) of some of the rows that go.
    covariance : Tensor of shape (n_queries, n_rows)
        c of each query with rows that go.
    residuals : Tensor of shape (n_rows,)
        Their r.
    places : Tensor of shape (n_queries, k)
        Places of the rows of each set among them.
    sets : Tensor of shape (n_queries, k)
        Rows that go; -1 is none.
    """
    present = (sets >= 0).to(residuals.device)
    falls = covariance.new_zeros(sets.shape)
    for number, (place, here) in enumerate(zip(places, present, strict=True)):
        at = place[here]
        # The first m entries of L^-1 c and L^-1 r depend on the first m rows alone.
        factor = torch.linalg.cholesky(gram(at))
        right = torch.stack([covariance[number, at], residuals[at]], 1)
        solved = torch.linalg.solve_triangular(factor, right, upper=False)
        falls[number, here] = solved[:, 0] * solved[:, 1]
    return falls
