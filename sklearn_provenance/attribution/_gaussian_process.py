"""The network as a Gaussian process with the tangent kernel: what every rule in nats shares."""

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..information import (
    density_system,
    density_system_features,
    greedy,
    greedy_coreset,
    greedy_coreset_features,
    greedy_features,
)
from ._base import BaseAttributor
from ._sources import Points


class InformationAttributor(BaseAttributor):
    """What the rules in nats share: selection, coresets and the score for choosing σ²."""

    @property
    def _rule(self):
        raise NotImplementedError

    def _features_pay(self, n_rows):
        """Whether explicit features are fewer than rows, so that no kernel is needed."""
        return self._link.source.explicit and self._n_features_out < n_rows

    def _features(self, train, queries):
        source = self._link.source
        return source.features(train), source.features(queries)

    def _kernels(self, train, queries):
        """Kernel of the rows, kernel of queries and rows, prior variances of the queries."""
        source = self._link.source
        if source.explicit:
            phi, phi_queries = self._features(train, queries)
            return phi @ phi.T, phi_queries @ phi.T, phi_queries.square().sum(1)
        return source.kernel(train), source.kernel(queries, train), source.diagonal(queries)

    def _pick(self, group, k):
        pays = self._features_pay(len(group.rows))
        rule, system = (greedy_features, self._features) if pays else (greedy, self._kernels)
        points = system(group.train, group.queries)
        return rule(*points, self.noise_variance_, k, self._rule, group.allowed, group.own)

    def select(self, X_queries, k, y=None, balanced=False, normalize=True):
        """Pick one subset of the training rows for all queries together.

        Every row, query or not, is measured at its own label; ``measurement="margin"`` is
        recommended. The interaction between queries is dropped: what is maximised is the change
        of the sum of their variances, an approximation of the joint information.

        Parameters
        ----------
        X_queries : array-like of shape (n_queries, ...)
            Queries.
        k : int
            Training rows to pick.
        y : array-like of shape (n_queries,), default=None
            Labels of the queries; None takes the predicted ones.
        balanced : bool, default=False
            Whether the classes among the candidates get equal shares of k, as far as they have
            rows. What k leaves over goes to the largest classes.
        normalize : bool, default=True
            Whether queries count the same whatever the norm of their features, which comes closer
            to the joint information.

        Returns
        -------
        indices : ndarray of shape (k,)
            Rows of the X given to fit, in order of selection.

        Raises
        ------
        ValueError
            If k is larger than the number of candidates: the rows of the queries' classes with
            ``candidates="same_class"``, else all.

        References
        ----------
        [IT] Eqs. 89-95.
        """
        check_is_fitted(self)
        k = self._check_k(k)
        queries = self._queries(self._check_X(X_queries), y)
        labels = self._train.labels
        allowed = np.ones(len(labels), dtype=bool)
        if self.candidates == "same_class":
            allowed = np.isin(labels, queries.labels)
        if k > allowed.sum():
            raise ValueError(
                f"k={k} rows were asked for, but only {allowed.sum()} training rows are of the "
                'queries\' classes. candidates="all" allows every training row'
            )
        options = {"normalize": normalize, "candidates": torch.as_tensor(allowed)}
        if balanced:
            counts = np.bincount(labels[allowed], minlength=len(self.classes_))
            options |= {
                "labels": torch.as_tensor(labels),
                "quotas": torch.as_tensor(_equal_shares(counts, k)),
            }
        pays = self._features_pay(len(labels))
        rule = greedy_coreset_features if pays else greedy_coreset
        points = (self._features if pays else self._kernels)(self._train, queries)
        return rule(*points, self.noise_variance_, k, self._rule, **options)[0].cpu().numpy()

    def score(self, X, y, sample_weight=None):
        """Mean log predictive density of held-out labels, for choosing ``noise_variance``.

        The density is that of the Gaussian process with the tangent kernel, for one-hot targets
        centred with their training means, with the kernel's amplitude profiled out. With
        ``measurement="label_logit"`` every class has a kernel of its own and their log densities
        add up; a class that all training rows or none belong to has no density and is left out.
        With "margin" the classes share one kernel, and held-out rows are measured at their
        predicted label.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Held-out rows.
        y : array-like of shape (n,)
            Their labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the held-out rows in the mean.

        Returns
        -------
        score : float
            Nats per row; higher is better.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know, the training rows have one class, or
            ``sample_weight`` is negative or all zero.

        References
        ----------
        Rasmussen and Williams (2006). Gaussian processes for machine learning, Eq. 2.25.
        """
        check_is_fitted(self)
        X = self._check_X(X)
        if sample_weight is not None:
            sample_weight = torch.as_tensor(column_or_1d(sample_weight, dtype=np.float64))
        truth, own = self._queries(X, y), self._train.labels
        varying = [c for c in range(len(self.classes_)) if 0 < (own == c).sum() < len(own)]
        if not varying:
            raise ValueError("score needs training rows of at least two classes")
        blocks = [(c, [c]) for c in varying]
        if self._link.label_independent:
            blocks = [(None, varying)]
        total = 0.0
        for c, columns in blocks:
            if c is None:
                queries, train = self._queries(X, None), self._train
            else:
                queries = Points(truth.inputs, np.full_like(truth.labels, c))
                train = Points(self._train.inputs, np.full_like(own, c))
            targets = (own[:, None] == columns).astype(np.float64)
            held_out = (truth.labels[:, None] == columns).astype(np.float64)
            # Nothing in it depends on the noise variance: a grid with a memory makes it once.
            cache = self._link.source.cache
            system, scale = cache(self._density_system, train, targets, queries, held_out)
            ratio = self.noise_variance_ / scale
            total += system.log_density(ratio[None], sample_weight).item()
        return total

    def _density_system(self, train, targets, queries, held_out):
        """The density of held-out targets for any σ², and the mean kernel diagonal."""
        device = self._link.source.device
        targets, held_out = (torch.as_tensor(t, device=device) for t in (targets, held_out))
        if self._features_pay(len(targets)):
            phi, phi_queries = self._features(train, queries)
            system = density_system_features(phi, targets, phi_queries, held_out)
            return system, phi.square().sum(1).mean()
        kernel, cross, variance = self._kernels(train, queries)
        system = density_system(kernel, targets, cross, variance, held_out)
        return system, kernel.diagonal().mean()


def _equal_shares(counts, k):
    """Split k over classes as evenly as their counts allow; larger classes get the remainder."""
    shares = np.zeros_like(counts)
    while shares.sum() < k:
        open_ = np.flatnonzero(shares < counts)
        open_ = open_[np.argsort(-counts[open_], kind="stable")]
        each, left = divmod(k - shares.sum(), len(open_))
        step = np.full(len(open_), each)
        step[:left] += 1
        shares[open_] = np.minimum(shares[open_] + step, counts[open_])
    return shares
