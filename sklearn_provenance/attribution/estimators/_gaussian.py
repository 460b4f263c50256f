"""The network as a Gaussian process with the tangent kernel: what every rule in nats shares."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import column_or_1d

from ..._utils.arguments import check_flag, check_readable, real, store_arguments
from ..._utils.budget import budgeted
from ..._utils.cluster import check_use, current_client, using
from ..._utils.kept import MEMORY_LIMIT, check_fits
from ..._utils.labels import equal_shares, positions
from ..._utils.rows import as_given, check_rows, n_rows
from ..._utils.types import Rows, Targets
from ...information import density_system, density_system_features
from ...information._density import density_system_blocks
from ...tangent._cache import Cache
from ...tangent._outputs import MEASUREMENTS
from ...tangent._points import ExplicitPoints
from .._noise_variance import in_kernel_units
from ..features import make_features
from ..models import adapt, measured_model
from ..models._sequences import likelihood_of
from ..rules._by_workers import fewer_rows_by_workers
from ._base import PARAMETERS, BaseAttributor

# A mean kernel diagonal between 1 / LARGEST_SCALE and this has squares that neither overflow nor
# vanish, even where the diagonal of a single row is far from the mean.
LARGEST_SCALE = 1e140
# A noise variance up to this is not compared with the kernel where its diagonal would cost a pass.
USUAL_NUMBER = 1e70


class GaussianAttributor(BaseAttributor):
    """Base of the attributors in nats: features, σ², coresets and the score for choosing σ²."""

    _one_model_because = (
        "it picks rows for the variance of one output given rows, and outputs of several models "
        "have no common variance in which rows could be picked. Average the scores of an "
        "attributor for each model, or take RelatIFAttributor or InfluenceAttributor"
    )

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "noise_variance": [real(closed="neither"), str],
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
        "features": [StrOptions({"auto", "exact"}), HasMethods("transform"), callable],
        "ntk_parameterization": ["boolean", real(closed="neither")],
        "parameters": PARAMETERS,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        noise_variance: float | str = "scale",
        candidates: str = "auto",
        measurement: str | Callable = "label_logit",
        features: Any = "auto",
        ntk_parameterization: bool | float = False,
        parameters: str | type | Sequence[str | type] = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _check_parameters(self):
        # Only for its error: before the rows are measured, the mean diagonal is not known.
        in_kernel_units(self.noise_variance, 1.0)

    def _check_targets(self, y):
        if not callable(self.measurement) or likelihood_of(self.forward) is not None:
            return super()._check_targets(y)
        # A callable measurement decides by itself what targets mean.
        return column_or_1d(y, warn=True)

    def _fitted_model(self, estimator=None):
        if not callable(self.measurement) or likelihood_of(self.forward) is not None:
            return super()._fitted_model(estimator)
        return measured_model(adapt(self.estimator_), self.forward, self.training_.y)

    def _make_features(self, X, y):
        settings = self._settings(
            measurement=self.measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=self.parameters,
        )
        features, inputs = make_features(self._fitted_model(), self._kind(), X, y, settings)
        self.features_ = features.fitted
        self.coverage_ = features.coverage
        return features, inputs

    _stores = True

    def _kind(self):
        """Return where features come from, the ``kind`` that :func:`make_features` takes."""
        return self._explicit_kind(self.features)

    def _choose_noise_variance(self, needs_all_rows):
        """Find σ² in units of the kernel, and store it as ``noise_variance_``.

        ``needs_all_rows`` is that of the rule that will use it.
        """
        rows = self._rows
        features = self._features
        self.noise_scale_ = None
        is_usual = not isinstance(self.noise_variance, str) and self.noise_variance <= USUAL_NUMBER
        # A rule that compares a query with rows of every label measures them at the query's label.
        # Nothing else needs them at their own labels then, which would cost a pass.
        at_own_labels = not features.per_label or (self._same_class and not needs_all_rows)
        if not at_own_labels and self._store is not None:
            rows.at(0)  # says that a store has no rows at the label of a query
        if not at_own_labels and is_usual:
            self.noise_variance_ = float(self.noise_variance)
            return self.noise_variance_
        if at_own_labels:
            scale = rows.own().norms().mean().item()
        else:
            scale = features.mean_norm(rows.inputs, rows.labels)  # of a sample
        if not scale > 0:
            raise ValueError("the tangent features of all training rows are zero")
        if not 1 / LARGEST_SCALE < scale < LARGEST_SCALE:
            raise ValueError(
                f"the mean squared norm of features must lie between {1 / LARGEST_SCALE:.0e} and "
                f"{LARGEST_SCALE:.0e}, so that squares of the kernel are finite; got {scale:.3g}"
            )
        self.noise_scale_ = scale
        noise_variance = in_kernel_units(self.noise_variance, scale)
        if noise_variance > LARGEST_SCALE * scale:
            raise ValueError(
                f"noise_variance must be at most {LARGEST_SCALE:.0e} times the mean squared norm "
                f"of features, {scale:.3g}, beside which the kernel is not lost; got "
                f"{noise_variance:.3g}"
            )
        self.noise_variance_ = noise_variance
        return noise_variance

    @budgeted
    def select(
        self,
        X_queries: Rows,
        k: int,
        y: Targets | None = None,
        balanced: bool = False,
        normalize: bool = True,
        *,
        client: Any = None,
    ) -> NDArray[np.int64]:
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
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers hold the features
            of the rows among them; see :ref:`workers`. It is for explicit features.

        Returns
        -------
        indices : ndarray of shape (k,)
            Rows of the X given to fit, in order of selection.

        Raises
        ------
        ValueError
            If k is larger than the number of candidates: the rows of the queries' classes with
            ``candidates="same_class"``, else all. If a client is given and cannot be used.
        MemoryError
            If the kernel of the rows is larger than ``memory_limit``, or, with explicit features,
            8 bytes for each query and candidate.

        References
        ----------
        [IT] A Bayesian information-theoretic approach to data attribution, Eqs. 89-95.
        """
        self._check_fitted()
        can_share = self._rule.selects_by_workers and self.features_ is not None
        where = "InfoGain or InfoLoss of one model selects from explicit features of the rows"
        check_use(client, can_share, where)
        check_flag(balanced, "balanced")
        check_flag(normalize, "normalize")
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
        with using(client):
            return rule.select(queries, k, **options).cpu().numpy()

    @budgeted
    def score(
        self,
        X: Rows,
        y: Targets,
        sample_weight: Targets | None = None,
        *,
        client: Any = None,
    ) -> float:
        """Compute the log predictive density of held-out labels, to choose ``noise_variance``.

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
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers read pieces of
            explicit features; see :ref:`workers`.

        Returns
        -------
        score : float
            Nats per row; higher is better.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know, the training rows have one class, or
            ``sample_weight`` is negative or all zero, or a client is given and cannot be used.

        References
        ----------
        Rasmussen and Williams (2006). Gaussian processes for machine learning, Eq. 2.25.
        """
        self._check_fitted()
        explicit = self.features_ is not None and not self._members
        check_use(client, explicit, "score is computed from explicit features of the rows")
        with using(client):
            return self._score(X, y, sample_weight)

    def _score(self, X, y, sample_weight):
        """Compute the log predictive density; see :meth:`score`."""
        X = check_rows(self, X)
        y = as_given(y, "y")
        check_readable(sample_weight, "sample_weight")
        if self._members:
            return float(np.mean([part.score(X, y, sample_weight) for part in self._members]))
        if sample_weight is not None:
            sample_weight = torch.as_tensor(column_or_1d(sample_weight, dtype=np.float64))
        if self.classes_ is None:
            return self._score_numbers(X, column_or_1d(y, dtype=np.float64), sample_weight)
        truth = positions(self.classes_, column_or_1d(y), "y")
        check_consistent_length(np.empty(n_rows(X)), truth)
        counts = np.bincount(self._rows.labels, minlength=len(self.classes_))
        varying = np.flatnonzero((counts > 0) & (counts < len(self._rows)))
        if not len(varying):
            raise ValueError("score needs training rows of at least two classes")
        if not self._features.per_label:
            queries = self._features.query(X)
            return self._density_of_classes(queries, None, varying, truth, sample_weight)
        inputs = self._features.inputs(X)
        total = 0.0
        self._expect(varying)
        for label, queries in self._features.each_at(inputs, varying, self.memory_limit / 4):
            total += self._density_of_classes(queries, label, [label], truth, sample_weight)
        return total

    def _density_of_classes(self, queries, label, classes, truth, sample_weight):
        """Compute the log density of one-hot targets, with rows measured at ``label``.

        Each of ``classes`` is a column of targets. ``label`` is None where features are the same
        for all labels.
        """
        targets = one_hot(self._rows.labels, classes)  # (n_train, n_classes)
        held_out = one_hot(truth, classes)  # (n_queries, n_classes)
        return self._log_density(queries, label, targets, held_out, sample_weight)

    def _score_numbers(self, X, y, sample_weight):
        """Compute the log predictive density of held-out targets that are numbers."""
        if self._features.needs_targets:
            raise ValueError("score needs classes, but the targets given to fit are numbers")
        check_consistent_length(np.empty(n_rows(X)), y)
        targets = torch.as_tensor(self._rows.labels)[:, None]
        if not (targets != targets[0]).any():
            raise ValueError("score needs training rows with at least two targets")
        queries = self._features.query(X)
        held_out = torch.as_tensor(y)[:, None]
        return self._log_density(queries, None, targets, held_out, sample_weight)

    def _log_density(self, queries, label, targets, held_out, sample_weight):
        """Compute the mean log density of held-out targets (n_queries, n_targets)."""
        points, _ = self._rows.at(label)

        def make(*_):  # the cache passes the arguments that identify the result
            return density_of(points, targets, queries, held_out, self.memory_limit)

        if self.memory is None:
            system, scale = make()
        else:
            # A grid over σ² makes the system once.
            known = points.identity(), queries.identity(), targets, held_out
            system, scale = Cache(self.memory, "density")("density", make, *known)
        ratio = self.noise_variance_ / scale  # σ² in units of the mean kernel diagonal
        return system.log_density(ratio[None], sample_weight).item()


def one_hot(labels, classes):
    """Indicate classes among labels (n,), as numbers (n, n_classes) in double precision."""
    return torch.as_tensor((labels[:, None] == classes).astype(np.float64))


# Matrices of the size of the kernel, or of the features, that their decompositions take.
_COPIES = 5


def density_of(points, targets, queries, query_targets, memory_limit):
    """Make the density of held-out targets for any σ², and the mean kernel diagonal."""
    n_train = len(points)
    client = current_client()
    if client is not None and isinstance(points, ExplicitPoints):

        def reduce(targets, scale):
            return fewer_rows_by_workers(client, points, targets, scale)

        matrix = queries.matrix().cpu()
        system = density_system_blocks(points, targets, matrix, query_targets, reduce)
        return system, points.norms().mean()
    # With fewer features than rows, the features themselves cost less than the kernel.
    if points.n_components < min(n_train, points.most_components):
        is_large = 8 * _COPIES * n_train * points.n_components > memory_limit
        if is_large and isinstance(points, ExplicitPoints):
            targets, query_targets = (part.to(points.device) for part in (targets, query_targets))
            system = density_system_blocks(points, targets, queries.matrix(), query_targets)
            return system, points.norms().mean()
        phi = points.matrix()  # (n_train, n_components)
        system = density_system_features(phi, targets, queries.matrix(), query_targets)
        return system, phi.square().sum(1).mean()
    needed = 8 * _COPIES * n_train**2
    what = f"the eigenvectors of the kernel of {n_train} rows take"
    advice = "pass features=TangentFeatures(n_components=512), or score with fewer training rows"
    check_fits(needed, what, memory_limit, advice)
    kernel = points.inner()  # (n_train, n_train)
    cross = queries.inner(points)  # (n_queries, n_train)
    device = kernel.device
    system = density_system(
        kernel, targets.to(device), cross, queries.norms().to(device), query_targets.to(device)
    )
    return system, kernel.diagonal().mean()
