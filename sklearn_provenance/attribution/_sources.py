"""Where kernels come from: exact layer factors, or explicit rows of features.

Both kinds know the squared norms of φ; one gives kernels, the other (``explicit``) the rows.
Everything returned is float64, on the GPU where the network is on one.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from ..tangent import TangentFeatures, tangent_diagonal, tangent_kernel


class Points(NamedTuple):
    """Rows and the column of the logits that each is measured at."""

    inputs: Any  # (n, ...), as the source takes them
    labels: np.ndarray  # (n,)


class ExactSource:
    """Exact tangent kernels of a network.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    batch_size : int or "auto"
        Rows per pass.
    cache : Cache
        Keeps results.
    """

    explicit = fixed = False

    def __init__(self, model, batch_size, cache):
        self.model, self.batch_size, self.cache = model, batch_size, cache
        self.device = selection_device(model)

    def kernel(self, left, right=None):
        """Kernel (n_left, n_right); of left with itself without right."""
        return self.cache(self._kernel, left, right).to(self.device)

    def diagonal(self, points):
        """Squared norms of φ (n,)."""
        return self.cache(self._diagonal, points).to(self.device)

    def _kernel(self, left, right):
        others = () if right is None else (right.inputs, right.labels)
        return tangent_kernel(
            self.model, left.inputs, left.labels, *others, batch_size=self.batch_size
        )

    def _diagonal(self, points):
        return tangent_diagonal(self.model, points.inputs, points.labels, self.batch_size)


def selection_device(model):
    """Where rows are picked: on the network's GPU, else on the CPU (others lack float64)."""
    return model.device if model.device.type == "cuda" else torch.device("cpu")


class RowSource:
    """Explicit feature rows, the same for every label.

    ``inputs`` of its points are the rows φ themselves.

    Parameters
    ----------
    cache : Cache
        Keeps what is computed from the rows.
    """

    explicit = fixed = True
    device = torch.device("cpu")

    def __init__(self, cache):
        self.cache = cache

    def rows(self, points):
        """Rows φ (n, n_components) as they are stored."""
        return points.inputs

    def features(self, points):
        """Rows φ (n, n_components)."""
        return torch.tensor(np.asarray(self.rows(points)), dtype=torch.float64, device=self.device)

    def diagonal(self, points):
        """Squared norms of φ (n,)."""
        return self.features(points).square().sum(1)


class TangentSource(RowSource):
    """Rows of a TangentFeatures transformer, which depend on the labels.

    Parameters
    ----------
    transformer : TangentFeatures
        Fitted.
    cache : Cache
        Keeps results.
    """

    fixed = False

    def __init__(self, transformer, cache):
        self.transformer, self.cache = transformer, cache
        self.device = selection_device(transformer.model_)

    def rows(self, points):
        """Rows φ (n, n_components) as they are stored."""
        return self.cache(self.transformer.transform, points.inputs, points.labels)

    def diagonal(self, points):
        """Squared norms of the network's φ (n,), which the sketch has on average: far cheaper."""
        return self.cache(self._diagonal, points).to(self.device)

    def _diagonal(self, points):
        model, batch_size = self.transformer.model_, self.transformer.batch_size
        return tangent_diagonal(model, points.inputs, points.labels, batch_size)


def tangent_transformer(template, model, measurement, ntk_parameterization, batch_size, verbose):
    """An unfitted TangentFeatures for this model with the settings of a template.

    Parameters
    ----------
    template : TangentFeatures
        Not changed. Its measurement, parameterisation and module are the attributor's.
    model : Model
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
    own = {"measurement": measurement, "ntk_parameterization": ntk_parameterization}
    defaults = TangentFeatures().get_params(deep=False)
    for name, value in own.items():
        if params[name] not in (defaults[name], value):
            raise ValueError(
                f"features has {name}={params[name]!r} and the attributor {name}={value!r}; "
                f"give {name} to the attributor, which hands it on"
            )
    if params["module"] is not None and params["module"] is not model.module:
        raise ValueError(
            "features holds a module, but the estimator's is taken: use TangentFeatures() without"
        )
    own |= {"module": model.module, "forward": params["forward"] or model.forward}
    own["verbose"] = params["verbose"] or bool(verbose)
    if params["batch_size"] == "auto":
        own["batch_size"] = batch_size
    # Whatever the user's configuration makes of other transformers, arrays are computed with.
    return TangentFeatures(**params | own).set_output(transform="default")
