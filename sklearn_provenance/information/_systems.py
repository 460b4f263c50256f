"""Rows made ready for greedy selection once, and asked by any queries.

What a rule needs of the rows alone (a factorisation, posterior coordinates, exact copies) is found
when a system is made; :meth:`pick` answers queries. :mod:`._greedy` and :mod:`._coreset` are these
systems used once, and say what the rules are.
"""

from functools import partial

import torch

from ._candidates import COPY, find_copies, numbers_of, split_candidates
from ._posterior import KernelPosterior
from ._selection import (
    FeatureConditioning,
    KernelConditioning,
    score_scale,
    select,
    select_each,
)
from ._validation import check_resolved, check_scale, nats_of
from ._weight_space import FeaturePosterior, path_reductions

RULES = ("info_gain", "info_loss", "linear_response")
# Rows up to which the matrix among them may be formed where features are given (1 GB).
MATRIX_ROWS = 11_000


class GreedySystem:
    """What systems share: picks of each query, or one subset for all of them.

    Parameters
    ----------
    noise_variance : float
        σ².
    rule : {"info_gain", "info_loss", "linear_response"}
        What is maximised.
    """

    def __init__(self, noise_variance, rule):
        self.noise_variance = noise_variance
        self.rule = rule
        self.removes = rule == "info_loss"
        self._divides = rule != "linear_response"
        self._copies = ()  # not looked for yet

    @property
    def copies(self):
        """First copy of every row, or None."""
        if self._copies == ():
            self._copies = find_copies(*self._likeness())
        return self._copies

    def _copies_among(self, rows):
        """Return the first copy of each of some rows, or None."""
        if self.copies is None:
            return None
        return self.copies[rows]

    def pick(self, queries, k, candidates=None, own=None):
        """Pick k rows for each query; see :func:`greedy` for the parameters.

        Returns
        -------
        indices : Tensor of shape (n_queries, k), int64
            Rows in order of selection; -1 where a query has run out of candidates.
        nats : Tensor of shape (n_queries, k)
            Information of each pick given the picks before it.
        n_tied : Tensor of shape (n_queries,), int64
            Rows left out that tie with the last pick.
        """
        n_queries = self._n_queries(queries)
        rows, blocked, own = split_candidates(candidates, n_queries, self.n_rows, self.device, own)
        n_picks = min(k, len(rows))
        start, row_bytes, covariance, variance, diagonal = self._prepare(
            queries, rows, n_queries * n_picks
        )
        withheld = None
        if self.removes and own is not None:
            withheld, variance = self._without_own(own, variance, diagonal)
        picks, gains, n_tied = select_each(
            start,
            covariance,
            blocked,
            n_picks,
            n_picks * row_bytes,
            scale=score_scale(variance, self.noise_variance, self._divides),
            withheld=withheld,
            divide=self._divides,
            copies=self._copies_among(rows),
        )
        picks = numbers_of(picks, rows)
        nats = self._nats(queries, picks, gains, variance)
        if n_picks < k:
            n_tied.zero_()
            missing = (0, k - n_picks)
            picks = torch.nn.functional.pad(picks, missing, value=-1)
            nats = torch.nn.functional.pad(nats, missing, value=torch.nan)
        return picks, nats, n_tied

    def pick_together(self, queries, k, candidates=None, quotas=None):
        """Pick k rows for all queries together; see :func:`greedy_coreset`."""
        rows, blocked, _ = split_candidates(candidates, 1, self.n_rows, self.device)
        n_picks = min(k, len(rows))
        start, _, covariance, variance, _ = self._prepare(queries, rows, n_picks)
        if quotas is not None:
            of_row, n_allowed = quotas
            quotas = (of_row[rows], n_allowed)
        picks, changes, _ = select(
            start(1, n_picks),
            covariance.clone()[None],
            blocked,
            n_picks,
            scale=score_scale(variance.sum(), self.noise_variance, self._divides),
            divide=self._divides,
            quotas=quotas,
            copies=self._copies_among(rows),
        )
        missing = (0, k - n_picks)
        picks = torch.nn.functional.pad(numbers_of(picks, rows)[0], missing, value=-1)
        changes = torch.nn.functional.pad(changes[0], missing, value=torch.nan)
        return picks, changes

    def loss(self, queries, rows):
        """Compute I_IL({x}; x_*) in nats (n_queries, n_rows) of rows (n,); of "info_loss" alone."""
        return self.posterior.loss(queries, rows)

    def _nats_from_gains(self, gains, variance, prior):
        """Return 1/2 log1p(gain / smaller variance of the two), from the variance at the start."""
        if self.removes:
            return nats_of_removals(gains, variance)
        smaller = variance[:, None] - gains.nan_to_num(0.0).cumsum(1)
        check_resolved(smaller, prior[:, None].expand_as(smaller), self.noise_variance)
        return nats_of(gains, smaller)


def nats_of_removals(gains, variance):
    """Compute nats (n_queries, k) of removals, from gains and the variance (n_queries,) at first.

    A removal's gain raises the variance that came before it, which is the smaller of the two.
    """
    total = gains.nan_to_num(0.0).cumsum(1)
    return nats_of(gains, variance[:, None] + total - gains)


class KernelSystem(GreedySystem):
    """Rows by their kernel (n_rows, n_rows); queries are pairs of cross kernel and variances.

    Parameters
    ----------
    kernel : Tensor of shape (n_rows, n_rows)
        Kernel of the rows, finite and in double precision.
    noise_variance : float
        σ².
    rule : str
        As :class:`GreedySystem`.
    overwrite : bool, default=False
        Whether the kernel's memory may be used; "info_loss" needs no other matrix of its size then.
    """

    def __init__(self, kernel, noise_variance, rule, *, overwrite=False):
        super().__init__(noise_variance, rule)
        self.row_variance = kernel.diagonal().clone()
        check_scale(self.row_variance, noise_variance)
        self.n_rows = len(kernel)
        self.device = kernel.device
        self.kernel = kernel
        self._restricted = None  # rows asked for last, and the matrix among them
        if self.removes:
            self._copies = find_copies(*self._likeness())  # while there is a kernel
            self.posterior = KernelPosterior(kernel, noise_variance, overwrite=overwrite)
            self.kernel = None

    def _likeness(self):
        kernel = self.kernel
        variance = self.row_variance
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(len(kernel), generator=generator, dtype=kernel.dtype)

        def same(row, others):
            gap = variance[row] + variance[others] - 2 * kernel[row, others]
            return gap <= COPY * variance[row]

        return kernel @ direction.to(kernel.device), same

    def _n_queries(self, queries):
        return len(queries[0])

    def _prepare(self, queries, rows, n_picks):
        cross, variance = queries
        if self.removes:
            floor = 1 / (self.noise_variance + self.row_variance[rows])
            columns = self.posterior.columns(rows)
            kept = self._restricted  # read once: other threads may ask for other rows
            if kept is None or not torch.equal(kept[0], rows):
                kept = (rows, columns.mT @ columns)
                self._restricted = kept
            matrix = kept[1]
            solved, variance = self.posterior.queries(cross, variance)
            covariance = solved.mT @ columns
            diagonal = matrix.diagonal().clone()
        else:
            matrix = self.kernel
            if len(rows) < self.n_rows:  # a matrix of all rows need not be copied
                matrix = self.kernel[rows[:, None], rows]
            covariance = cross[:, rows]
            diagonal = matrix.diagonal() + self.noise_variance
            floor = torch.full_like(diagonal, self.noise_variance)
        start = partial(KernelConditioning, matrix, diagonal, floor)
        return start, 8 * len(rows), covariance, variance, diagonal

    def _without_own(self, own, variance, precision):
        """Return v_i given D without i, from v_i given D and P_ii.

        It is 1 / P_ii - σ², or v_i / (σ² P_ii): the form is taken that does not cancel.
        """
        noise_variance = self.noise_variance
        precision = precision[own]
        explained = noise_variance * precision  # σ² P_ii = (σ² - v_i) / σ²
        variance = torch.where(
            explained < 0.5, 1 / precision - noise_variance, variance / explained
        )
        return (own, 1.0), variance

    def _nats(self, queries, picks, gains, variance):
        return self._nats_from_gains(gains, variance, queries[1])


class ColumnSystem(GreedySystem):
    """Rows whose kernel is computed a column at a time, where all of it would not fit in memory.

    Parameters
    ----------
    columns : callable
        ``columns(rows)`` gives the kernel (n_wanted, n_rows) of some rows with all.
    row_variance : Tensor of shape (n_rows,)
        Diagonal of the kernel.
    noise_variance : float
        σ².
    rule : {"info_gain", "linear_response"}
        What is maximised.
    """

    def __init__(self, columns, row_variance, noise_variance, rule):
        super().__init__(noise_variance, rule)
        self.columns = columns
        self.row_variance = row_variance
        self.n_rows = len(row_variance)
        self.device = row_variance.device
        check_scale(row_variance, noise_variance)

    def _likeness(self):
        probe = self.columns(torch.arange(min(8, self.n_rows), device=self.device))
        weights = torch.linspace(1, 2, len(probe), dtype=probe.dtype, device=self.device)

        def same(row, others):
            gap = self.row_variance[row] + self.row_variance[others]
            gap = gap - 2 * self.columns(row[None])[0, others]
            return gap <= COPY * self.row_variance[row]

        return weights @ probe, same

    def _n_queries(self, queries):
        return len(queries[0])

    def _prepare(self, queries, rows, n_picks):
        cross, variance = queries
        diagonal = self.row_variance[rows] + self.noise_variance
        floor = torch.full_like(diagonal, self.noise_variance)
        start = partial(KernelConditioning, _Columns(self.columns, rows), diagonal, floor)
        return start, 8 * len(rows), cross[:, rows], variance, diagonal

    def _nats(self, queries, picks, gains, variance):
        return self._nats_from_gains(gains, variance, queries[1])


class _Columns:
    """Stands for the matrix of :class:`KernelConditioning`: rows of it are computed when asked."""

    def __init__(self, columns, rows):
        self.columns = columns
        self.rows = rows

    def __getitem__(self, picks):
        distinct, place = picks.unique(return_inverse=True)
        return self.columns(self.rows[distinct])[:, self.rows][place]

    def new_empty(self, *shape):
        return torch.empty(*shape, dtype=torch.float64, device=self.rows.device)


class FeatureSystem(GreedySystem):
    """Rows by their features (n_rows, n_features); queries are features.

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features)
        Φ, finite and in double precision.
    noise_variance : float
        σ².
    rule : str
        As :class:`GreedySystem`.
    """

    def __init__(self, features, noise_variance, rule):
        super().__init__(noise_variance, rule)
        self.features = features
        self.n_rows = len(features)
        self.device = features.device
        self.posterior = None
        if self.removes:
            self.posterior = FeaturePosterior(features, noise_variance)

    def _likeness(self):
        features = self.features
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(features.shape[1], generator=generator, dtype=features.dtype)

        def same(row, others):
            return (features[others] == features[row]).all(1)

        return features @ direction.to(features.device), same

    def rows_and_points(self, rows, points):
        """Compute coordinates; see :meth:`FeaturePosterior.rows_and_points`; of "info_loss"."""
        return self.posterior.rows_and_points(rows, points)

    def _n_queries(self, queries):
        return len(queries)

    def _prepare(self, queries, rows, n_picks):
        if self.removes:
            variance = self.features[rows].square().sum(1)
            floor = self.noise_variance * (self.noise_variance / (self.noise_variance + variance))
            points, diagonal, queries = self.posterior.rows_and_points(rows, queries)
            sign = -1
        else:
            points = self.features
            if len(rows) < self.n_rows:  # features of all rows need not be copied
                points = self.features[rows]
            sign = 1
            diagonal = self.noise_variance + points.square().sum(1)
            floor = torch.full_like(diagonal, self.noise_variance)
        n_rows, n_features = points.shape
        system = (queries @ points.mT, queries.square().sum(1), diagonal)
        # A pick costs n_rows n_features from features and n_rows k from the matrix among the rows,
        # which costs n_rows² n_features once, in one product that is several times as fast.
        if n_rows < min(8 * n_picks, MATRIX_ROWS):
            matrix = sign * (points @ points.mT)
            return partial(KernelConditioning, matrix, diagonal, floor), 8 * n_rows, *system
        start = partial(FeatureConditioning, points, sign, diagonal, floor)
        return start, 8 * n_features, *system

    def _without_own(self, own, variance, margin):
        noise_variance = self.noise_variance
        return (own, noise_variance), variance * (noise_variance / margin[own])

    def _nats(self, queries, picks, gains, variance):
        if self.removes:
            return self._nats_from_gains(gains, variance, queries.square().sum(1))
        reductions, after = path_reductions(self.features, queries, self.noise_variance, picks)
        return nats_of(reductions, after).masked_fill(picks < 0, torch.nan)
