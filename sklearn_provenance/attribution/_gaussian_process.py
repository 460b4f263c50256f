"""The network as a Gaussian process with the tangent kernel: what every rule in nats shares."""

import numbers

import numpy as np
import torch
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ..information import (
    density_system,
    density_system_features,
    greedy,
    greedy_coreset,
    greedy_coreset_features,
    greedy_features,
)
from ..tangent._measurements import MEASUREMENTS
from ._base import BaseAttributor
from ._link import Link
from ._shares import equal_shares
from ._sources import Points

# noise_variance="scale" in units of the mean kernel diagonal: where rows named by InfoGain were
# removed and networks trained again, predictions suffered most (benchmarks/brittleness.py).
SCALE_CONSTANT = 10.0


def _in_kernel_units(noise_variance, diagonal):
    """σ² of a number, of "scale", or of a multiple of the mean diagonal such as "3*diagonal"."""
    if not isinstance(noise_variance, str):
        return float(noise_variance)
    if noise_variance == "scale":
        return SCALE_CONSTANT * diagonal
    factor, star, word = noise_variance.rpartition("*")
    try:
        factor = float(factor) if star else 1.0
    except ValueError:
        factor = 0.0
    if word.strip() != "diagonal" or not 0 < factor < np.inf:
        raise ValueError(
            "noise_variance must be a positive number, 'scale' or a positive multiple of the mean "
            f"kernel diagonal such as '3*diagonal', got {noise_variance!r}"
        )
    return factor * diagonal


class InformationAttributor(BaseAttributor):
    """What the rules in nats share: selection, coresets and the score for choosing σ²."""

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "noise_variance": [Interval(numbers.Real, 0, None, closed="neither"), str],
        "measurement": [StrOptions(set(MEASUREMENTS))],
        "features": [StrOptions({"auto", "exact"}), HasMethods("transform"), callable],
        "ntk_parameterization": ["boolean", Interval(numbers.Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        *,
        noise_variance="scale",
        candidates="same_class",
        measurement="label_logit",
        features="auto",
        ntk_parameterization=False,
        prefit="auto",
        memory=None,
        batch_size="auto",
        verbose=0,
    ):
        super().__init__(
            estimator,
            candidates=candidates,
            prefit=prefit,
            memory=memory,
            batch_size=batch_size,
            verbose=verbose,
        )
        self.noise_variance = noise_variance
        self.measurement = measurement
        self.features = features
        self.ntk_parameterization = ntk_parameterization

    def _make_link(self, X, y):
        link = Link(
            self.estimator_,
            X,
            y,
            features=self.features,
            measurement=self.measurement,
            ntk_parameterization=self.ntk_parameterization,
            batch_size=self.batch_size,
            verbose=self.verbose,
            memory=self.memory,
            searched=getattr(self, "index", None) is not None,
        )
        self.features_ = link.features
        return link

    def _learn(self):
        diagonal = float(self._link.source.diagonal(self._train).mean())
        if not diagonal > 0:
            raise ValueError("the tangent features of all training rows are zero")
        self.noise_variance_ = _in_kernel_units(self.noise_variance, diagonal)
        self.coverage_ = self._link.coverage()

    def _check_combination(self):
        _in_kernel_units(self.noise_variance, 1.0)

    def _transform(self, X):
        source = self._link.source
        if source.fixed:
            return self._link.inputs(X)
        queries = self._queries(X, None)
        if source.explicit:
            return source.features(queries).cpu().numpy()
        return self._link.jacobian(self._train.inputs).transform(queries.inputs, queries.labels)

    @property
    def _n_features_out(self):
        return self._link.n_features_out(self._train.inputs)

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

        Every row, query or not, is measured at its own label; ``measurement="margin"`` and a small
        noise variance, say "0.01*diagonal", are recommended. The interaction between queries is
        dropped: what is maximised is the change of the sum of their variances, an approximation of
        the joint information.

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
        allowed = self._check_pool(queries, k)
        options = {"normalize": normalize, "candidates": torch.as_tensor(allowed)}
        if balanced:
            counts = np.bincount(labels[allowed], minlength=len(self.classes_))
            options |= {
                "labels": torch.as_tensor(labels),
                "quotas": torch.as_tensor(equal_shares(counts, k)),
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
