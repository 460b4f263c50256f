"""RelatIF: influence relative to what a row does to all predictions."""

from functools import cached_property

import torch

from ...information._posterior import KernelPosterior
from ...information._weight_space import FeaturePosterior
from ._gaussian import GaussianRule


class RelatIFRule(GaussianRule):
    """Score rows by their posterior correlation with the query.

    References
    ----------
    "Bayesian information-theoretic training data attribution" (2026), Eq. 86.
    """

    name = "RelatIF"
    unit = "posterior cosine"
    needs_all_rows = True
    rule = "info_loss"

    def check(self, points):
        """Refuse rows whose kernel would not fit the budget."""
        if not self.by_features(points):
            self.check_kernel_fits(points, n_kernels=2)

    @cached_property
    def posterior(self):
        """The posterior given all rows."""
        if self.by_features(self.points):
            return FeaturePosterior(self.features(self.points, 3), self.noise_variance)
        self.check(self.points)
        return KernelPosterior(self.points.inner(), self.noise_variance)

    def scores(self, queries, rows=None, own=None):
        """Cosines of every row and query."""
        known, rows = self.query_system(queries), self.every(rows)
        cosine = self.posterior.cosine(known, rows)
        if own is None:
            return cosine
        # Without the query's own row x, covariances grow by C(z, x) C(x, *) / (σ² - v_x): with
        # r = σ² / (σ² - v_x), the cosine c of z and x becomes c sqrt(r) / sqrt(1 + c² (r - 1)).
        # The nats that are lost about x with x itself are 1/2 log r.
        distinct, place = own.unique(return_inverse=True)
        lost = self.posterior.loss(known, distinct)
        grown = torch.expm1(2 * lost.gather(1, place[:, None].to(lost.device)))  # r - 1
        return cosine * ((1 + grown) / (1 + cosine.square() * grown)).sqrt()
