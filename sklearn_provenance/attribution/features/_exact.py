"""Exact tangent features of a network, as factors of each layer's gradients."""

import numpy as np
import torch

from ...tangent import TangentFeatures, TangentModel, TangentRows
from ...tangent._batches import as_rows
from ...tangent._remembered import RememberedRows
from ._base import Features

# Parameters up to which transform() may give the whole Jacobian.
DENSE_LIMIT = 2**16


class ExactFeatures(Features):
    """Exact tangent features of a network.

    Parameters
    ----------
    model : FittedModel
        With a module.
    tangent : TangentModel
        Its linearisation.
    row_measurement : str, default=None
        What training rows are measured by, at their own labels; None as queries are.
    batch_size, verbose
        Parameters of the attributor.
    memory_limit : float
        Bytes of factors that may be kept.
    cache : Cache, default=None
        Keeps kernels on disk.
    """

    def __init__(
        self,
        model,
        tangent,
        *,
        row_measurement=None,
        batch_size="auto",
        verbose=0,
        memory_limit=0,
        cache=None,
    ):
        self.model, self.tangent, self.cache = model, tangent, cache
        self.per_label = tangent.measurement == "label_logit" and row_measurement is None
        self.rows_tangent, self.rows_differ = tangent, row_measurement is not None
        if row_measurement is not None:
            self.rows_tangent = tangent.measuring(row_measurement)
        self.settings = {
            "batch_size": batch_size,
            "verbose": bool(verbose),
            "memory_limit": memory_limit,
        }

    @property
    def coverage(self):
        """How the gradient of each parameter is computed."""
        return self.tangent.coverage

    def plan(self, inputs, targets=None):
        """Examine the network on training rows: which queries come first must not matter."""
        for tangent in {id(t): t for t in (self.tangent, self.rows_tangent)}.values():
            tangent.plan(as_rows(inputs, tangent), targets)
        return self

    def points(self, inputs, labels=None):
        """Points of rows at labels (n,); None takes the predicted ones, in the same pass."""
        return self._rows("points", self.tangent, inputs, labels)

    def training_points(self, inputs, labels):
        """Points of training rows at labels (n,)."""
        return self._rows("training_points", self.rows_tangent, inputs, labels)

    def _rows(self, kind, tangent, inputs, labels):
        settings = self.settings | {"decide": self.model.decide}
        if self.cache is None or self.cache.memory is None:
            return TangentRows(tangent, inputs, labels, **settings)
        return RememberedRows(tangent, self.cache, kind, inputs, labels, **settings)

    def n_features_out(self, inputs):
        """Parameters with influence; an error where there are too many for a Jacobian."""
        n_parameters = sum(p.numel() for p in self.tangent.weights.values())
        if n_parameters > DENSE_LIMIT:
            raise ValueError(
                f"the exact tangent features of this model are {n_parameters} numbers a row, and "
                f"transform gives at most {DENSE_LIMIT}; pass features=TangentFeatures(...)"
            )
        return self.tangent.n_components

    def transform(self, X):
        """The Jacobian (n, n_components) at the predicted labels, in the network's precision."""
        self.n_features_out(None)
        dtype = np.float64 if self.tangent.dtype == torch.float64 else np.float32
        return super().transform(X).astype(dtype)


def linearised(model, measurement, ntk_parameterization):
    """TangentModel of a fitted model."""
    return TangentModel(
        model.module,
        forward=model.forward,
        measurement=measurement,
        ntk_parameterization=ntk_parameterization,
    )


def sketch_of(template, model, measurement, ntk_parameterization, batch_size, verbose):
    """An unfitted TangentFeatures for this model with the settings of a template.

    Parameters
    ----------
    template : TangentFeatures
        Not changed. Its measurement, parameterisation and module are the attributor's.
    model : FittedModel
        The network.
    measurement, ntk_parameterization, batch_size, verbose
        Parameters of the attributor.

    Returns
    -------
    TangentFeatures
        Unfitted.

    Raises
    ------
    ValueError
        If the template contradicts the attributor.
    """
    params = template.get_params(deep=False)
    defaults = TangentFeatures().get_params(deep=False)
    own = {"measurement": measurement, "ntk_parameterization": ntk_parameterization}
    for name, value in own.items():
        if params[name] not in (defaults[name], value):
            raise ValueError(
                f"features has {name}={params[name]!r} and the attributor {name}={value!r}; "
                f"give {name} to the attributor, which hands it on"
            )
    if params["module"] is not None and params["module"] is not model.module:
        raise ValueError(
            "features must be a TangentFeatures without a module, because the estimator's is "
            "taken; got one with a module"
        )
    own |= {"module": model.module, "forward": params["forward"] or model.forward}
    own["verbose"] = params["verbose"] or bool(verbose)
    if params["batch_size"] == "auto":
        own["batch_size"] = batch_size
    # Whatever the user's configuration makes of other transformers, arrays are computed with.
    return TangentFeatures(**params | own).set_output(transform="default")
