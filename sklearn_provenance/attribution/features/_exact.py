"""Exact tangent features of a network."""

from functools import partial

import numpy as np
import torch

from ..._utils.rows import n_rows
from ...tangent import TangentFeatures, TangentModel, TangentRows
from ...tangent._batches import as_rows
from ...tangent._cache import Cache
from ...tangent._remembered import RememberedRows
from ..models._sequences import value_of_row
from ._base import Features, some_rows
from ._settings import sketch_of

# Parameters up to which transform() may give the whole Jacobian.
DENSE_LIMIT = 2**16


class ExactFeatures(Features):
    """Exact tangent features of a network, as factors of each layer's gradients.

    Training rows may have a measurement of their own, at their own labels.
    """

    def __init__(self, model, settings, row_measurement=None):
        self.model = model
        self.tangent = TangentModel(
            model.module,
            forward=model.forward,
            measurement=settings.measurement,
            ntk_parameterization=settings.ntk_parameterization,
            parameters=settings.parameters,
        )
        self.rows_tangent = self.tangent
        self.rows_differ = row_measurement is not None
        kind = "exact"
        if self.rows_differ and model.likelihood is not None:
            self.rows_tangent = self.tangent.measuring(value_of_row, model.likelihood.forward)
            kind = "gradients"
        elif self.rows_differ:
            self.rows_tangent = self.tangent.measuring(row_measurement)
            kind = "gradients"
        self.per_label = settings.measurement == "label_logit" and not self.rows_differ
        self.cache = Cache(settings.memory, kind, sketch_of(TangentFeatures(), model, settings))
        self.settings = {
            "decide": model.decide,
            "batch_size": settings.batch_size,
            "verbose": bool(settings.verbose),
            "memory_limit": settings.memory_limit,
        }

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    def plan(self, inputs, targets=None):
        """Examine the network on training rows: which queries come first must not matter."""
        for tangent in {id(t): t for t in (self.tangent, self.rows_tangent)}.values():
            tangent.plan(as_rows(inputs, tangent)[0], targets)
        return self

    def points(self, inputs, labels=None):
        """Measure rows at labels (n,); None takes the predicted ones, in the same pass."""
        return self._rows("points", self.tangent, inputs, labels)

    def training_points(self, inputs, labels):
        """Measure training rows at labels (n,)."""
        return self._rows("training_points", self.rows_tangent, inputs, labels)

    def points_by(self, measurement, inputs, targets):
        """Measure training rows by a callable; see :meth:`Features.points_by`."""
        tangent = self.tangent.measuring(measurement)
        tangent.plan(as_rows(inputs, tangent)[0], targets)
        return TangentRows(tangent, inputs, targets, **self.settings)

    def points_at(self, inputs, labels, together):
        """Measure all rows at several labels; factors share what does not depend on the label."""
        model = self.tangent

        def measured(wanted):
            return TangentRows.at_labels(model, inputs, wanted, together=together, **self.settings)

        if self.cache.memory is None:
            return measured(labels)
        n = n_rows(inputs)
        made = {}

        def make(label):
            if label not in made:
                # Labels whose results are on disk are not asked for.
                wanted = [label, *(one for one in waiting if one != label)]
                made.update(zip(wanted, measured(wanted), strict=False))
            waiting.discard(label)
            return made.pop(label)

        waiting = set(labels)
        points = []
        for label in labels:
            at = np.full(n, label)
            making = partial(make, label)
            rows = RememberedRows(
                model, self.cache, "points", inputs, at, make=making, **self.settings
            )
            points.append(rows)
        return points

    def _rows(self, kind, tangent, inputs, labels):
        if self.cache.memory is None:
            return TangentRows(tangent, inputs, labels, **self.settings)
        return RememberedRows(tangent, self.cache, kind, inputs, labels, **self.settings)

    def mean_norm(self, inputs, labels):
        """Compute the mean squared norm of some training rows, see :func:`some_rows`."""
        return super().mean_norm(*some_rows(inputs, labels))

    def components(self, inputs):
        """Count the parameters with influence, and how many pay to be multiplied out."""
        return self.tangent.n_components, TangentRows.most_components

    def n_features_out(self, inputs):
        """Count the parameters with influence; raise if there are too many for a Jacobian."""
        n_parameters = sum(p.numel() for p in self.tangent.weights.values())
        if n_parameters > DENSE_LIMIT:
            raise ValueError(
                f"the exact tangent features of this model are {n_parameters} numbers a row, and "
                f"transform gives at most {DENSE_LIMIT}; pass features=TangentFeatures(...)"
            )
        return self.tangent.n_components

    def transform(self, X):
        """Compute the Jacobian (n, n_components) at the predicted labels, in the network's type."""
        self.n_features_out(None)
        dtype = np.float32
        if self.tangent.dtype == torch.float64:
            dtype = np.float64
        return super().transform(X).astype(dtype)
