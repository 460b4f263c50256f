"""What rules share that see the network as a Gaussian process with the tangent kernel."""

from functools import cached_property

import torch

from ..._utils.kept import check_fits
from ...information import (
    density_system,
    density_system_features,
    greedy_coreset,
    greedy_coreset_features,
)
from ._base import Rule

_ADVICE = "pass features=TangentFeatures(n_components=4096), whose rows take less"


class GaussianRule(Rule):
    """Base of rules in a posterior.

    A kernel of the rows or their features: whichever is smaller decides how rows are handed to the
    functions of :mod:`sklearn_provenance.information`. A kernel may take ``memory_limit`` bytes.
    """

    rule = ""  # name in sklearn_provenance.information

    def __init__(self, noise_variance, memory_limit):
        self.noise_variance, self.memory_limit = noise_variance, memory_limit

    @staticmethod
    def by_features(points):
        """Whether features are fewer than rows, so that no kernel is needed."""
        return points.n_components < min(len(points), points.most_components)

    @cached_property
    def explicit(self):
        """:meth:`by_features` of the rows."""
        return self.by_features(self.points)

    def check(self, n_rows, n_components, most_components):
        """Refuse rows that cannot be fitted within the budget."""

    def features(self, points, n_copies):
        """φ of points, which must fit the budget so many times."""
        n, n_components = len(points), points.n_components
        needed = 8.0 * n_copies * n * n_components
        what = f"working with {n} rows of {n_components} features"
        check_fits(needed, self.memory_limit, what, "sketch them to fewer components")
        return points.matrix()

    def check_kernel_fits(self, n, n_kernels=1):
        """Refuse a kernel of n rows that would not fit."""
        needed = 8 * n_kernels * n**2
        check_fits(needed, self.memory_limit, f"the kernel of {n} rows", _ADVICE)

    def query_system(self, queries):
        """Queries as systems take them: features, or the kernel with the rows and variances."""
        if self.explicit:
            return queries.matrix()
        cross = queries.inner(self.points)
        return cross, queries.norms().to(cross.device)

    def every(self, rows):
        """Row numbers, of all rows where None."""
        return torch.arange(len(self.points)) if rows is None else rows

    def mask(self, rows):
        """Bool (n,) of the rows, or None for all."""
        if rows is None:
            return None
        return torch.zeros(len(self.points), dtype=torch.bool).index_fill(0, rows, True)

    def select(self, queries, k, *, normalize, candidates, labels=None, quotas=None):
        """Pick k rows for all queries together; see :func:`greedy_coreset`."""
        options = {"normalize": normalize, "candidates": candidates}
        options |= {"labels": labels, "quotas": quotas}
        settings = self.noise_variance, k, self.rule
        if self.explicit:
            phi, phi_queries = self.features(self.points, 3), queries.matrix()
            return greedy_coreset_features(phi, phi_queries, *settings, **options)[0]
        self.check_kernel_fits(len(self.points))
        kernel = self.points.inner()
        return greedy_coreset(kernel, *self.query_system(queries), *settings, **options)[0]


def density_of(points, targets, queries, query_targets):
    """The density of held-out targets for any σ², and the mean kernel diagonal."""
    if GaussianRule.by_features(points):
        phi, phi_queries = points.matrix(), queries.matrix()
        system = density_system_features(phi, targets, phi_queries, query_targets)
        return system, phi.square().sum(1).mean()
    kernel, cross, variance = points.inner(), queries.inner(points), queries.norms()
    targets, query_targets = (t.to(kernel.device) for t in (targets, query_targets))
    variance = variance.to(kernel.device)
    system = density_system(kernel, targets, cross, variance, query_targets)
    return system, kernel.diagonal().mean()
