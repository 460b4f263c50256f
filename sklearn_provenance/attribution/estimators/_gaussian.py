"""The network as a Gaussian process with the tangent kernel: what every rule in nats shares."""

import numbers

import numpy as np
import torch
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import column_or_1d

from ..._utils.arguments import store_arguments
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.labels import equal_shares, positions
from ..._utils.rows import check_rows, n_rows
from ...information import density_system, density_system_features
from ...tangent._cache import Cache
from ...tangent._outputs import MEASUREMENTS
from ..features import make_features
from ..models import adapt, measured_model
from ._base import BaseAttributor

# noise_variance="scale" in units of the mean kernel diagonal: where rows named by InfoGain were
# removed and networks trained again, predictions suffered most (benchmarks/brittleness.py).
SCALE_CONSTANT = 10.0
# Mean kernel diagonal whose squares neither overflow nor vanish, with room for single rows.
LARGEST_SCALE = 1e140


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


class GaussianAttributor(BaseAttributor):
    """What the rules in nats share: features, coresets and the score for choosing σ²."""

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "noise_variance": [Interval(numbers.Real, 0, None, closed="neither"), str],
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
        "features": [StrOptions({"auto", "exact"}), HasMethods("transform"), callable],
        "ntk_parameterization": ["boolean", Interval(numbers.Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator,
        *,
        noise_variance="scale",
        candidates="auto",
        measurement="label_logit",
        features="auto",
        ntk_parameterization=False,
        forward=None,
        prefit="auto",
        memory=None,
        memory_limit=MEMORY_LIMIT,
        batch_size="auto",
        verbose=0,
    ):
        store_arguments(locals())

    def _check_parameters(self):
        _in_kernel_units(self.noise_variance, 1.0)

    def _check_targets(self, y):
        if not callable(self.measurement):
            return super()._check_targets(y)
        return column_or_1d(y, warn=True)

    def _fitted_model(self, estimator=None):
        if not callable(self.measurement):
            return super()._fitted_model(estimator)
        return measured_model(adapt(self.estimator_), self.forward, self.training_.y)

    def _make_features(self, X, y):
        settings = self._settings(
            measurement=self.measurement, ntk_parameterization=self.ntk_parameterization
        )
        model, kind = self._fitted_model(), self._kind()
        features, inputs = make_features(model, kind, X, y, settings)
        self.features_, self.coverage_ = features.fitted, features.coverage
        return features, inputs

    def _kind(self):
        """Where features come from."""
        return self.features

    def _scale(self, rule):
        """σ² in units of the kernel, for a class of rules."""
        rows, features = self._rows, self._features
        if features.per_label and (rule.needs_all_rows or not self._same_class):
            # Rows are measured at the labels of queries, so points at their own are of no use.
            scale = features.norms(rows.inputs, rows.labels).mean().item()
        else:
            scale = features.scale(rows.own(), rows.inputs)
        if not scale > 0:
            raise ValueError("the tangent features of all training rows are zero")
        if not 1 / LARGEST_SCALE < scale < LARGEST_SCALE:
            raise ValueError(
                f"the mean squared norm of features must lie between {1 / LARGEST_SCALE:.0e} and "
                f"{LARGEST_SCALE:.0e}, so that squares of the kernel are finite; got {scale:.3g}"
            )
        self.noise_variance_ = _in_kernel_units(self.noise_variance, scale)
        return self.noise_variance_

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
        MemoryError
            If the kernel of the rows is larger than ``memory_limit``.

        References
        ----------
        [IT] Eqs. 89-95.
        """
        self._check_fitted()
        k = self._check_k(k)
        queries = self._queries(check_rows(self, X_queries), y)
        allowed = self._check_pool(queries, k)
        options = {"normalize": normalize, "candidates": torch.as_tensor(allowed)}
        if balanced:
            labels = self._rows.labels
            counts = np.bincount(labels[allowed], minlength=len(self.classes_))
            options["labels"] = torch.as_tensor(labels)
            options["quotas"] = torch.as_tensor(equal_shares(counts, k))
        rule = self._rule.fit(*self._rows.at(None))
        return rule.select(queries, k, **options).cpu().numpy()

    def score(self, X, y, sample_weight=None):
        """Mean log predictive density of held-out labels, for choosing ``noise_variance``.

        The density is that of the Gaussian process with the tangent kernel, for one-hot targets
        centred with their training means, with the kernel's amplitude profiled out. With
        ``measurement="label_logit"`` every class has a kernel of its own and their log densities
        add up; a class that all training rows or none belong to has no density and is left out.
        With "margin" the classes share one kernel, and held-out rows are measured at their
        predicted label. Targets of a regressor are used as they are.

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
        self._check_fitted()
        X = check_rows(self, X)
        if sample_weight is not None:
            sample_weight = torch.as_tensor(column_or_1d(sample_weight, dtype=np.float64))
        if self.classes_ is None:
            return self._score_numbers(X, column_or_1d(y, dtype=np.float64), sample_weight)
        truth, own = positions(self.classes_, column_or_1d(y), "y"), self._rows.labels
        check_consistent_length(np.empty(n_rows(X)), truth)
        varying = [c for c in range(len(self.classes_)) if 0 < (own == c).sum() < len(own)]
        if not varying:
            raise ValueError("score needs training rows of at least two classes")
        per_label = self._features.per_label
        inputs = self._features.inputs(X) if per_label else None
        total = 0.0
        for columns in [[c] for c in varying] if per_label else [varying]:
            if per_label:
                queries = self._features.points(inputs, np.full_like(truth, columns[0]))
            else:
                queries = self._features.query(X)
            points, _ = self._rows.at(columns[0])
            targets = torch.as_tensor((own[:, None] == columns).astype(np.float64))
            held_out = torch.as_tensor((truth[:, None] == columns).astype(np.float64))
            system, scale = self._density(points, targets, queries, held_out)
            ratio = self.noise_variance_ / scale
            total += system.log_density(ratio[None], sample_weight).item()
        return total

    def _score_numbers(self, X, y, sample_weight):
        """Mean log predictive density of held-out targets that are numbers."""
        if self._features.needs_targets:
            raise ValueError("score needs classes, but the targets given to fit are numbers")
        check_consistent_length(np.empty(n_rows(X)), y)
        points, _ = self._rows.at(None)
        queries = self._features.query(X)
        targets, held_out = (torch.as_tensor(t)[:, None] for t in (self._rows.labels, y))
        if not (targets != targets[0]).any():
            raise ValueError("score needs training rows with at least two targets")
        system, scale = self._density(points, targets, queries, held_out)
        ratio = self.noise_variance_ / scale
        return system.log_density(ratio[None], sample_weight).item()

    def _density(self, points, targets, queries, held_out):
        """Density of held-out targets; a grid over σ² with a memory makes it once."""

        def make(*_):
            return density_of(points, targets, queries, held_out)

        if self.memory is None:
            return make()
        known = points.identity(), queries.identity(), targets, held_out
        return Cache(self.memory, "density")("density", make, *known)


def density_of(points, targets, queries, query_targets):
    """The density of held-out targets for any σ², and the mean kernel diagonal."""
    if points.n_components < min(len(points), points.most_components):
        phi, phi_queries = points.matrix(), queries.matrix()
        system = density_system_features(phi, targets, phi_queries, query_targets)
        return system, phi.square().sum(1).mean()
    kernel, cross, variance = points.inner(), queries.inner(points), queries.norms()
    targets, query_targets = (t.to(kernel.device) for t in (targets, query_targets))
    variance = variance.to(kernel.device)
    system = density_system(kernel, targets, cross, variance, query_targets)
    return system, kernel.diagonal().mean()
