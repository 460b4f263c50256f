"""What InfluenceAttributor learns from training rows."""

import copy
import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d
from torch import nn

from ..._utils.arguments import check_readable
from ..._utils.budget import within
from ..._utils.cluster import using
from ..._utils.dask_rows import check_chunks, computed
from ..._utils.fitted import column_of_targets, is_fitted, predicts_numbers, resolve
from ..._utils.rows import as_given, axis_names, check_rows, n_rows, own
from ..._utils.training import TrainingData
from ..._utils.types import Rows, Targets
from ...information._hessians import NoMinimumError
from ...tangent._outputs import warns_of_probabilities_once
from ..models._single_output import check_one_target
from ..objectives import NoObjectiveError, objective
from ..objectives._minima import Minima, RowByRow, distance_from_minimum
from ._influence_network import NetworkInfluence, is_network

# Where workers have something to share.
SHARED = (
    "the rows of a network have explicit features, such as features=TangentFeatures(); other "
    "estimators, and exact gradients, are explained in one process"
)
# Outputs farther from those at the minimum, relative to their spread, are worth a warning.
_FAR = 0.05
# Parameters that say how a network is linearised, and their defaults.
_OF_NETWORKS = {
    "ridge": 1.0,
    "curvature": "mean",
    "measurement": "margin",
    "features": "auto",
    "forward": None,
    "batch_size": "auto",
}


class InfluenceFitMixin:
    """``fit`` of InfluenceAttributor."""

    # The estimator is an estimator of its own, whose parameters are validated when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    @warns_of_probabilities_once()
    def fit(
        self,
        X: Rows,
        y: Targets,
        sample_id: Targets | None = None,
        sample_weight: Targets | None = None,
        *,
        client: Any = None,
    ) -> Self:
        """Take the rows that the estimator was trained on, and fit it if it is not fitted.

        Parameters
        ----------
        X : array-like of shape (n_train, ...)
            Rows as the estimator takes them, all those that it was fitted on.
        y : array-like of shape (n_train,)
            Their labels or targets.
        sample_id : array-like of shape (n_train,), default=None
            Your own identifiers of the rows, handed on to every :class:`Explanation`. None takes
            the index of a data frame, unless it just counts the rows.
        sample_weight : array-like of shape (n_train,), default=None
            The weights that the estimator was fitted with, or is to be fitted with.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers measure the rows
            of a network that has explicit features; see :ref:`workers`. The system of the rows is
            left to :meth:`explain` and :meth:`attribute`, with the client that they are given.

        Returns
        -------
        self : object
            The fitted attributor.

        Raises
        ------
        TypeError
            If the estimator is no network, and no smooth convex objective of it is known.
        MemoryError
            If the Hessian of the parameters, or the kernel of the rows, and what is computed from
            them would take more than ``memory_limit``; of a network, if what must be kept of the
            rows would; or if a chunk of a Dask array does.
        ValueError
            If the objective is not smooth, or has no minimum or more than one, or a client is
            given and cannot be used.
        sklearn.exceptions.NotFittedError
            With ``prefit=True`` or a FrozenEstimator, if the estimator is not fitted.

        Warns
        -----
        ConvergenceWarning
            If the estimator is not at the minimum of its objective over these rows: it did not
            converge, or was fitted on other rows.
        """
        # What fit learns goes to a copy, so that a fit that fails changes nothing.
        fresh = copy.copy(self)
        for name in getattr(self, "_learned", ()):
            vars(fresh).pop(name, None)
        before = set(vars(fresh))
        with using(client), within(self.memory_limit):
            fresh._fit(X, y, sample_id, sample_weight)
        fresh._check_use(client)
        fresh._learned = {"_learned", *vars(fresh)} - before
        self.__dict__ = fresh.__dict__
        return self

    def _fit(self, X, y, sample_id, sample_weight):
        y = own(as_given(y, "y"))
        check_one_target(y)
        X = own(check_rows(self, X, reset=True))
        check_chunks(X, self.memory_limit)
        column = column_of_targets(self.estimator, y)
        y = column_or_1d(y, warn=column is None)
        check_consistent_length(np.empty(n_rows(X)), y)
        if sample_id is None:
            sample_id, _ = axis_names(X)
        else:
            check_readable(sample_id, "sample_id")
            sample_id = column_or_1d(own(computed(sample_id, "sample_id")))
            check_consistent_length(y, sample_id)
        if sample_weight is not None:
            check_readable(sample_weight, "sample_weight")
            sample_weight = _check_sample_weight(
                own(computed(sample_weight, "sample_weight")),
                np.empty((len(y), 1)),
                dtype=np.float64,
                ensure_non_negative=True,
            )
        self._network = None
        self._weighted = sample_weight is not None
        if isinstance(self.estimator, nn.Module | list | tuple):
            return self._fit_network(self.estimator, X, y, sample_id, sample_weight)
        if not hasattr(self.estimator, "predict"):
            raise TypeError(
                "estimator must be a torch.nn.Module, or have fit and predict; got "
                f"{type(self.estimator).__name__}"
            )
        if predicts_numbers(self.estimator):
            y = check_array(y, ensure_2d=False, dtype="numeric", input_name="y")
        else:
            check_classification_targets(y)
        self.training_ = TrainingData(X, y, sample_id)
        if column is None:
            column = y
        self.estimator_ = self._resolve(X, column, sample_weight)
        try:
            stated = objective(self.estimator_, X, y, sample_weight)
        except NoObjectiveError:
            if not is_network(self.estimator_):
                raise
            return self._fit_network(self.estimator_, X, y, sample_id, sample_weight)
        self._fit_convex(stated)

    def _fit_network(self, estimator, X, y, sample_id, sample_weight):
        """Let the part for networks learn, and say what it has learned."""
        if sample_weight is not None:
            raise ValueError(
                "sample_weight must be None for a network, in whose gradients weights have no "
                "part; got weights"
            )
        if self.n_steps != "auto":
            raise ValueError(
                f'n_steps must be "auto" for a network, whose drops are those of one step; got '
                f"{self.n_steps!r}"
            )
        if self.curvature != "mean" and predicts_numbers(estimator):
            raise ValueError(
                'curvature must be "mean" for a regressor, all of whose rows have the same; got '
                f"{self.curvature!r}"
            )
        if self.measurement != "margin" and predicts_numbers(estimator):
            raise ValueError(
                'measurement must be "margin" for a regressor, whose output is explained as it '
                f"is; got {self.measurement!r}"
            )
        self._network = NetworkInfluence(
            estimator,
            direction=self.direction,
            candidates=self.candidates,
            selection=self.selection,
            ridge=self.ridge,
            curvature=self.curvature,
            measurement=self.measurement,
            features=self.features,
            forward=self.forward,
            prefit=self.prefit,
            memory=self.memory,
            memory_limit=self.memory_limit,
            batch_size=self.batch_size,
            verbose=self.verbose,
        ).fit(X, y, sample_id)
        for name in ("estimator_", "training_", "candidates_", "ridge_", "features_", "coverage_"):
            setattr(self, name, getattr(self._network, name))
        self.assumptions_ = ("the network is linear in its parameters around those that it has",)
        if self._network.classes_ is not None:
            self.classes_ = self._network.classes_

    def _fit_convex(self, stated):
        """Find the minimum of an objective, and what it takes to leave rows out."""
        for name, default in _OF_NETWORKS.items():
            value = getattr(self, name)
            if value is not default and value != default:
                raise ValueError(
                    f"{name} is a parameter for networks, and must be {default!r} for "
                    f"{type(self.estimator_).__name__}; got {value!r}"
                )
        if stated.classes is not None:
            self.classes_ = stated.classes
        elif self.candidates == "same_class":
            raise ValueError(
                'candidates="same_class" needs classes, but y holds numbers; pass candidates="all"'
            )
        self.candidates_ = self.candidates
        if self.candidates == "auto":
            self.candidates_ = "all"
        self.assumptions_ = stated.assumptions
        try:
            self._minima = Minima.of(stated)
            self._minima.leave_one_out  # noqa: B018  what cannot be computed is refused here
        except NoMinimumError as error:
            raise ValueError(
                f"the objective of {type(self.estimator_).__name__} must have exactly one minimum "
                f"over these rows: {error}. Without a penalty there is none where classes can be "
                "separated, and many where columns depend on each other or outnumber the rows. "
                "Use a penalty, or leave out such columns"
            ) from error
        self._warn_of_distance()
        self.n_steps_ = self.n_steps
        n_solved = 0
        if self.n_steps == "auto":
            self.n_steps_ = self._minima.affordable_steps()
            n_solved = self._minima.affordable_solutions(self.n_steps_)
        self._rows = RowByRow(
            self._minima, self.n_steps_, n_solved, self.memory_limit, self.verbose
        )

    def _resolve(self, X, y, sample_weight):
        """Return the model in use, which is fitted here if it is not fitted yet."""
        if sample_weight is None or (self.prefit is not False and is_fitted(self.estimator)):
            return resolve(self.estimator, self.prefit, X, y, self.memory)
        name = "sample_weight"
        if isinstance(self.estimator, Pipeline):
            name = f"{self.estimator.steps[-1][0]}__sample_weight"
        return clone(self.estimator).fit(X, y, **{name: sample_weight})

    def _warn_of_distance(self):
        """Warn if the estimator is far from the minimum of its objective."""
        pairs = zip(self._minima.objective.parts, self._minima.points, strict=True)
        found = [distance_from_minimum(part, minimum) for part, minimum in pairs]
        self.gradient_norm_ = float(np.linalg.norm([norm for norm, _ in found]))
        self.distance_ = max(distance for _, distance in found)
        if not self.distance_ <= _FAR:
            warnings.warn(
                f"{type(self.estimator_).__name__} is not at the minimum of its objective over the "
                f"rows given to fit: the norm of the gradient is {self.gradient_norm_:.3g}, and "
                f"its outputs differ from those at the minimum by {100 * self.distance_:.3g} % of "
                "their spread. Influence is that of the minimum. Lower tol and raise max_iter, and "
                "give all rows and weights that it was fitted with",
                ConvergenceWarning,
                stacklevel=6,  # where fit was called
            )
