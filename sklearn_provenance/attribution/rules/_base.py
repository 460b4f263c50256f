"""A rule: from the points of training rows to scores and picks."""

import copy
from abc import ABC, abstractmethod
from functools import cached_property

import torch

from ..._utils.cluster import current_client
from ..._utils.kept import check_fits
from ...information import greedy_coreset, greedy_coreset_features
from ...information._candidates import SameClass, mask_of
from ...information._coreset import check_quotas, scale_of_queries
from ...information._ranking import first_of, largest
from ...information._systems import FeatureSystem
from ...tangent._points import ExplicitPoints
from ._greedy_by_workers import SharedRows
from ._greedy_in_blocks import (
    block_system,
    bytes_of_blocks,
    check_blocks_fit,
    check_queries_fit,
)

# Copies of explicit features that a coreset takes in memory.
_SELECTING = 3
_ADVICE = "pass features=TangentFeatures(n_components=4096), whose rows take less"


class Rule(ABC):
    """Scores training rows for queries.

    :meth:`fit` takes the points of the rows and returns a fitted copy. A subclass writes
    :meth:`_fit` and :meth:`scores`; one whose picks are not those of the largest scores writes
    :meth:`pick` too. ``rows`` are numbers (n_rows,) of the rows that queries may name, or None for
    all; :meth:`pick` takes SameClass, too, where :meth:`takes_classes` says so. ``own`` is the row
    (n_queries,) that each query is, if queries are rows, which is then left out of everything.

    Attributes
    ----------
    name, unit : str
        What an Explanation calls the method and its scores.
    needs_all_rows : bool
        Whether scores depend on rows that may not be named.
    counts_ties : bool
        Whether :meth:`pick` sees all rows, and so the ties with the last.
    is_inner_product : bool
        Whether queries and rows are compared by the inner product of their features alone, so that
        features have parts in it.
    has_pair_parts : bool
        Whether features have parts in a score that is no such inner product.
    picks_by_workers, selects_by_workers : bool
        Whether workers of a Dask cluster share the work of :meth:`pick`, or of ``select``.
    """

    name = ""
    unit = "score"
    needs_all_rows = False
    counts_ties = True
    is_inner_product = False
    has_pair_parts = False
    picks_by_workers = False
    selects_by_workers = False

    def check(self, n_rows, n_components, most_components):  # noqa: B027
        """Refuse rows that cannot be fitted within the budget."""

    def n_bytes(self, n_rows, n_components, most_components):
        """Count the bytes that a rule fitted on rows takes beside their points."""
        return 0

    def fit(self, points, copies=None):
        """Learn what scores need of the rows.

        Parameters
        ----------
        points : points
            Training rows, see :class:`~sklearn_provenance.attribution.features.Features`.
        copies : Tensor of shape (n_rows,), default=None
            The same number for rows that are exact copies of each other; None where all differ.

        Returns
        -------
        Rule
            A fitted copy.
        """
        fitted = copy.copy(self)
        fitted.points = points
        fitted.copies = copies
        fitted._fit()
        return fitted

    def _fit(self):  # noqa: B027
        """Learn from ``self.points``."""

    def takes_classes(self):
        """Return whether queries of all classes are better answered together than one by one.

        So it is where workers hold all rows, whatever the class of the query.
        """
        return False

    def picked_together(self):
        """Count the queries that :meth:`pick` takes at once, whatever the number of rows.

        None where each takes memory for all rows.
        """
        return None

    @abstractmethod
    def scores(self, queries, rows=None, own=None):
        """Score rows for every query.

        Returns
        -------
        Tensor of shape (n_queries, n_rows)
            Scores of the rows, of which larger is more important.
        """

    def settled(self, scores, rows=None):
        """Make scores (n_queries, n_rows) of copies equal to the last bit."""
        if self.copies is None:
            return scores
        kinds = self.copies
        if rows is not None:
            kinds = kinds[rows]
        return scores[:, first_of(kinds).to(scores.device)]

    def pair_factors(self, queries, picks):
        """Return what products of features are multiplied by in the inner products of picked pairs.

        Only for rules with ``is_inner_product``, and points whose features have names.

        Returns
        -------
        Tensor of shape (n_queries, k)
            Factors; undefined where picks is -1.
        """
        raise NotImplementedError

    def pair_parts(self, queries, picks, own=None):
        """Compute the part of each feature in the scores of picked pairs.

        Only for rules with ``has_pair_parts``, and points whose features have names.

        Returns
        -------
        parts : list of {ndarray, csr_array} of shape (k, n_features)
            Parts for each query; undefined where picks is -1.
        intercepts : ndarray of shape (n_queries, k)
            Parts of the intercept.
        """
        raise NotImplementedError

    def total(self, queries, together):
        """Add up the scores of all rows over queries, of which so many are scored together."""
        total = 0.0
        for part in torch.arange(len(queries)).split(together):
            asked = queries if len(part) == len(queries) else queries.take(part)
            total = total + self.settled(self.scores(asked)).sum(0)
        return total

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query.

        Returns
        -------
        picks : Tensor of shape (n_queries, k), int64
            Rows, best first; -1 where there are no more.
        scores : Tensor of shape (n_queries, k)
            Their scores; nan where the row is -1.
        n_tied : Tensor of shape (n_queries,), int64
            Rows left out that score as the last pick does.
        """
        found = []
        for part in torch.arange(len(queries)).split(max(1, self.together(len(queries)))):
            asked = queries, rows, own
            if len(part) < len(queries):
                asked = queries.take(part), rows, None if own is None else own[part]
                if isinstance(rows, SameClass):
                    asked = asked[0], rows._replace(asked=rows.asked[part]), asked[2]
            scores, numbers = self.scores_to_rank(*asked)
            found.append(named(numbers, *largest(scores, k)))
        return tuple(torch.cat(column) for column in zip(*found, strict=True))

    def together(self, n_queries):
        """Count the queries whose scores are ranked together, so that their numbers fit."""
        return n_queries

    def scores_to_rank(self, queries, rows, own, sign=1):
        """Score rows, times ``sign``; -inf where a query may not name one.

        Returns
        -------
        scores : Tensor of shape (n_queries, n_rows)
            Scores, of copies to the last bit the same.
        rows : Tensor of shape (n_rows,)
            Their numbers.
        """
        same_class = None
        if isinstance(rows, SameClass):
            rows, same_class = None, rows
        scores = sign * self.settled(self.scores(queries, rows, own), rows)
        scores = scores.to("cpu", torch.float64)
        if rows is None:
            rows = torch.arange(scores.shape[1])
        if own is not None:
            scores = scores.masked_fill(rows == own[:, None], -torch.inf)
        if same_class is not None:
            scores = scores.masked_fill(~same_class.masks(), -torch.inf)
        return scores, rows


def named(rows, picks, values, n_tied):
    """Turn picks (n_queries, k) among some rows (n_rows,) into the numbers of these rows."""
    return torch.where(picks >= 0, rows[picks], -1), values, n_tied


class GaussianRule(Rule):
    """Base of rules that see the network as a Gaussian process with the tangent kernel.

    Rows are handed to :mod:`sklearn_provenance.information` as features or as a kernel, whichever
    is smaller. A kernel may take ``memory_limit`` bytes.
    """

    is_inner_product = True
    rule = ""  # name in sklearn_provenance.information
    n_copies = 3  # of explicit features that its systems take
    n_kernels = 1  # that they take otherwise

    def __init__(self, noise_variance, memory_limit):
        self.noise_variance = noise_variance
        self.memory_limit = memory_limit

    def _fit(self):
        self.n_components = self.points.n_components
        most = min(len(self.points.labels), self.points.most_components)
        self.explicit = self.n_components < most

    def n_bytes(self, n_rows, n_components, most_components):
        """Count the bytes of what systems make of features, or of kernels."""
        if n_components < min(n_rows, most_components):
            return 8 * n_components * (self.n_copies * n_rows + n_components)
        return 8 * self.n_kernels * n_rows**2

    def asked(self, queries):
        """Turn queries into what systems take: features, or kernel with the rows and variances."""
        if self.explicit:
            return queries.matrix()
        cross = queries.inner(self.points)
        return cross, queries.norms().to(cross.device)

    def features(self, n_copies):
        """Give φ of the rows, which must fit the budget so many times."""
        n = len(self.points.labels)
        needed = 8.0 * n_copies * n * self.n_components
        what = f"working with {n} rows of {self.n_components} features takes"
        check_fits(needed, what, self.memory_limit, "sketch them to fewer components")
        return self.points.matrix()

    def fits(self, n_copies):
        """Return whether features of all rows fit the budget so many times."""
        return self.features_fit(n_copies, len(self.points), self.n_components)

    def features_fit(self, n_copies, n_rows, n_components):
        """Return whether so many features fit the budget so many times."""
        return 8.0 * n_copies * n_rows * n_components <= self.memory_limit

    def check_kernel_fits(self, n, n_kernels=1):
        """Refuse a kernel of n rows that would not fit."""
        needed = 8 * n_kernels * n**2
        check_fits(needed, f"the kernel of {n} rows takes", self.memory_limit, _ADVICE)

    def pair_factors(self, queries, picks):
        """Give the factors of features in the kernel; see :class:`Rule`."""
        return queries.pair_factors(self.points, picks)

    def every(self, rows):
        """Replace None, which stands for all rows, by their numbers."""
        if rows is None:
            return torch.arange(len(self.points))
        return rows

    def select(self, queries, k, *, normalize, candidates, labels=None, quotas=None):
        """Pick k rows for all queries together; see :func:`greedy_coreset`."""
        settings = {
            "noise_variance": self.noise_variance,
            "k": k,
            "rule": self.rule,
            "normalize": normalize,
            "candidates": candidates,
            "labels": labels,
            "quotas": quotas,
        }
        if self.explicit:
            rows = self.features(_SELECTING)
            return greedy_coreset_features(rows, queries.matrix(), **settings)[0]
        self.check_kernel_fits(len(self.points))
        kernel = self.points.inner()
        return greedy_coreset(kernel, *self.asked(queries), **settings)[0]


class GreedyRule(GaussianRule):
    """Base of rules that pick rows one after the other; a subclass makes ``kernel_system``."""

    picks_by_workers = True
    selects_by_workers = True

    @cached_property
    def system(self):
        """The rows, ready to pick from; made when a pick is asked for."""
        if not self.explicit:
            return self.kernel_system()
        if not self.fits(self.n_copies):
            return self.block_system
        return FeatureSystem(self.features(self.n_copies), self.noise_variance, self.rule)

    @cached_property
    def block_system(self):
        """The rows by features that are read in blocks, once for each round of picks."""
        settings = self.noise_variance, self.rule, self.memory_limit
        return block_system(self.points, *settings, self.copies)

    def n_bytes(self, n_rows, n_components, most_components):
        """Count the bytes that systems take; less where features are read in blocks."""
        explicit = n_components < min(n_rows, most_components)
        if explicit and not self.features_fit(self.n_copies, n_rows, n_components):
            return bytes_of_blocks(n_rows, n_components, self.rule)
        return super().n_bytes(n_rows, n_components, most_components)

    def check_blocks_fit(self, n_rows, n_components):
        """Refuse rows that cannot be read in blocks either, where they do not fit as a whole."""
        if not self.features_fit(self.n_copies, n_rows, n_components):
            check_blocks_fit(n_rows, n_components, self.rule, self.memory_limit)

    @abstractmethod
    def kernel_system(self):
        """Return the rows by their kernel."""

    @cached_property
    def shared_rows(self):
        """The rows as workers share them."""
        return SharedRows(self.points, self.noise_variance, self.rule, self.copies)

    def can_be_shared(self):
        """Return whether workers can hold the rows: by explicit features.

        A posterior given fewer rows than features is that of their kernel, which is small and more
        accurate, and stays here.
        """
        if not isinstance(self.points, ExplicitPoints):
            return False
        return self.explicit or not self.needs_all_rows

    def takes_classes(self):
        """Return whether workers hold all rows, and not those of the query's class alone."""
        return self.needs_all_rows and current_client() is not None and self.can_be_shared()

    def picked_together(self):
        """Count the queries whose features are an eighth of the budget, where rows are in blocks.

        The selection from blocks keeps to the budget by itself.
        """
        if current_client() is not None or not self.explicit or self.fits(self.n_copies):
            return None
        return max(1, int(self.memory_limit / 64 / self.n_components))

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query, by workers where there is a client; see :class:`Rule`."""
        allowed = mask_of(rows, len(self.points.labels))
        client = current_client()
        if client is not None and self.can_be_shared():
            features = queries.matrix()
            return self.shared_rows.pick(client, features, k, allowed, own, self.memory_limit)
        return self.system.pick(self.asked(queries), k, allowed, own)

    def select(self, queries, k, **settings):
        """Pick k rows for all queries together, by workers where there is a client."""
        client = current_client()
        if client is not None and self.can_be_shared():
            return self.shared_rows.select(client, queries.matrix(), k, **settings)
        if self.explicit and not self.fits(_SELECTING):
            return self._select_in_blocks(queries.matrix(), k, **settings)
        return super().select(queries, k, **settings)

    def _select_in_blocks(self, queries, k, *, normalize, candidates, labels=None, quotas=None):
        """Pick k rows for all queries (n_queries, n_features) from rows that are read in blocks."""
        if normalize:
            queries = queries / scale_of_queries(queries.square().sum(1))
        if len(queries) > queries.shape[1]:
            # As many rows as features have the same sum of squared products with any direction.
            queries = torch.linalg.qr(queries, mode="r").R
        quotas = check_quotas(labels, quotas, len(self.points), queries.device)
        n_rows = len(self.points), int(candidates.sum())
        check_queries_fit(*queries.shape, *n_rows, self.rule, self.memory_limit)
        return self.block_system.pick_together(queries, k, candidates, quotas)[0]
