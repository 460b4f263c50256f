"""TangentFeatures, the scikit-learn transformer."""

import os
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from .._utils.arguments import whole
from .._utils.hashing import fingerprint
from .._utils.types import Path, RandomState, Rows, Targets
from ._batches import OnDemand, as_rows, is_structure, leaves
from ._dimension import effective_dimension
from ._fingerprint import transformer_fingerprint
from ._measured import FeaturesPass, Measured
from ._model import TangentModel
from ._network_layers import active_layers, columns_by_name
from ._outputs import MEASUREMENTS, integer_labels
from ._sketch import SKETCHES, Sketch


class TangentFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Tangent features of a trained network: gradients of its output in its parameters.

    The features of a row are φ(x) = ∇_θ f_θ(x) for a scalar measurement f. They are ``"exact"``, or
    sketched to ``n_components`` numbers whose inner products are those of φ on average. The inner
    products of φ are the network's empirical neural tangent kernel.

    Parameters
    ----------
    module : torch.nn.Module
        A trained network that maps a batch to logits. It runs in evaluation mode, on its device,
        and is never changed. Its classes are counted from 0 in the order of the logits.
    n_components : int or "exact", default=4096
        Size of the sketch. A rule of thumb is 10 to 20 times the effective dimension, see
        :meth:`effective_dimension`. ``"exact"`` gives the whole Jacobian, for small networks:
        parameters in the order of ``module.named_parameters()``, each flattened, without those
        that have no influence.
    sketch : {"tensor", "sjlt", "rademacher"}, default="tensor"
        ``"tensor"`` (TensorSketch) works on layer factors and costs least. ``"sjlt"`` (sparse
        Johnson-Lindenstrauss) and ``"rademacher"`` (dense signs, the reference) form each layer's
        gradients.
    measurement : {"label_logit", "margin"} or callable, default="label_logit"
        The scalar f, see :func:`measure`. A callable is called as ``measurement(outputs, y)``, with
        what ``forward`` returns (which may then be anything) and the ``y`` of :meth:`transform`,
        and returns one number a row.
    ntk_parameterization : bool or float, default=False
        Take gradients in Ω where a weight is W = (s / √fan_in) Ω; True is s = 1. See
        :class:`TangentModel`.
    parameters : {"auto", "trainable", "all", "linear"}, type or list, default="auto"
        Parameters that gradients are taken in: by a word, by a class of modules, or by a list of
        names, patterns of names and classes. See :class:`TangentModel`.
    forward : callable, default=None
        ``forward(module, x)`` gives the logits, an object with ``logits``, or a tuple with a
        single tensor of two dimensions; None calls the module.
    batch_size : int or "auto", default="auto"
        Rows per pass. ``"auto"`` bounds the memory of a pass.
    random_state : int, RandomState instance or None, default=0
        Seed of the sketch. Inner products make sense only between features of one sketch.
    store : str, pathlib.Path or None, default=None
        Folder in which :meth:`transform` keeps its rows, batch by batch. Memory then holds one
        batch, and an interrupted pass continues where it stopped. Rows are found again by a digest
        of the network, the parameters that matter, ``X`` and ``y``, see :class:`FeatureStore`. The
        digest covers the code of ``forward`` and of the modules, with the functions and constants
        that it names, but not what these reach through other objects.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    coverage_ : Coverage
        How the gradient in each parameter is computed, and the shares of the routes.
    model_ : TangentModel
        The linearised network.
    n_features_in_ : int
        Second dimension of ``X``.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", sections 3 and 4.
    .. [1] N. Pham and R. Pagh, "Fast and scalable polynomial kernels via explicit feature maps",
       KDD 2013.
    .. [2] D. Kane and J. Nelson, "Sparser Johnson-Lindenstrauss transforms", JACM 2014.

    Examples
    --------
    >>> import torch
    >>> from sklearn_provenance.tangent import TangentFeatures
    >>> network = torch.nn.Linear(3, 2, bias=False)
    >>> features = TangentFeatures(network, n_components="exact").fit(torch.eye(3))
    >>> features.transform(torch.eye(3), y=[0, 0, 1])
    array([[1., 0., 0., 0., 0., 0.],
           [0., 1., 0., 0., 0., 0.],
           [0., 0., 0., 0., 0., 1.]], dtype=float32)
    """

    _parameter_constraints = {
        "module": [nn.Module],
        "n_components": [whole(), StrOptions({"exact"})],
        "sketch": [StrOptions(set(SKETCHES))],
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
        "ntk_parameterization": ["boolean", Interval(Real, 0, None, closed="neither")],
        "parameters": [StrOptions({"auto", "trainable", "all", "linear"}), type, "array-like"],
        "forward": [callable, None],
        "batch_size": [whole(), StrOptions({"auto"})],
        "random_state": ["random_state"],
        "store": [str, os.PathLike, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: nn.Module | None = None,
        n_components: int | Literal["exact"] = 4096,
        *,
        sketch: str = "tensor",
        measurement: str | Callable = "label_logit",
        ntk_parameterization: bool | float = False,
        parameters: str | type | Sequence[str | type] = "auto",
        forward: Callable | None = None,
        batch_size: int | Literal["auto"] = "auto",
        random_state: RandomState = 0,
        store: Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.module = module
        self.n_components = n_components
        self.sketch = sketch
        self.measurement = measurement
        self.ntk_parameterization = ntk_parameterization
        self.parameters = parameters
        self.forward = forward
        self.batch_size = batch_size
        self.random_state = random_state
        self.store = store
        self.verbose = verbose

    # Autograd cannot keep what is computed in a caller's inference mode.
    @_fit_context(prefer_skip_nested_validation=True)
    @torch.inference_mode(False)
    def fit(self, X: Rows, y: Any = None) -> Self:
        """Examine the network's layers and draw the sketch.

        Parameters
        ----------
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows, as the network takes them. The gradients of some that differ are computed.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : TangentFeatures
            The fitted transformer.

        Warns
        -----
        UserWarning
            If the outputs look like probabilities, not logits, or if gradients are computed row by
            row.
        """
        if not is_structure(X):
            validate_data(self, X, skip_check_array=True)
        self.model_ = TangentModel(
            self.module,
            forward=self.forward,
            measurement=self.measurement,
            ntk_parameterization=self.ntk_parameterization,
            parameters=self.parameters,
        )
        x, _ = as_rows(X, self.model_)
        self._row_shape = _row_shapes(x)
        self.model_.plan(x)
        self.coverage_ = self.model_.coverage
        self._active = active_layers(self.model_.layers)
        if not self._active:
            raise ValueError(
                "a parameter must influence the logits, because tangent features are gradients in "
                f"it; none of {list(self.model_.weights)} does"
            )
        if self.n_components == "exact":
            self._n_features_out = sum(layer.n_parameters for layer in self._active)
        else:
            self._n_features_out = self.n_components
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            self._sketch = Sketch(self.sketch, self.n_components, seed)
        return self

    @torch.inference_mode(False)
    def transform(self, X: Rows, y: Targets = None) -> np.ndarray:
        """Compute tangent features at given labels, or at the predicted labels.

        Parameters
        ----------
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows. Sparse matrices, memory maps and Dask arrays are converted batch by batch.
        y : array-like of shape (n_samples,), default=None
            Column of the logits that each row is measured at; None takes the largest logit.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Features, in units of the measurement per unit of weight; single precision unless the
            network is in double. With ``store`` a read-only memory map of the file.
        """
        return self._measured(X, y, features_only=True).features

    @torch.inference_mode(False)
    def _measured(self, X, y=None, decide=None, features_only=False):
        """Compute features, and what else one pass tells of the rows.

        Parameters
        ----------
        X, y
            As in :meth:`transform`.
        decide : callable, default=None
            ``decide(logits)`` gives the labels of rows without y; None takes the largest logit.
        features_only : bool, default=False
            Whether nothing but features is needed.

        Returns
        -------
        Measured
            With ``store``, features only.
        """
        return self._measured_at(X, [y], decide, features_only)[0]

    @torch.inference_mode(False)
    def _measured_at(self, X, targets, decide=None, features_only=False):
        """Compute what :meth:`_measured` does for several y, in one pass over the rows.

        With ``store`` there must be one.
        """
        check_is_fitted(self)
        if not is_structure(X):
            validate_data(self, X, skip_check_array=True, reset=False)
        x, n = as_rows(X, self.model_)
        if _row_shapes(x) != self._row_shape:
            raise ValueError(
                f"X must have rows of shape {self._row_shape}, as in fit; got {_row_shapes(x)}"
            )
        targets = [None if y is None else self._check_labels(y, n) for y in targets]
        measuring = FeaturesPass(self, x, n, targets, decide)
        if self.store is not None:
            key = self._key(x, *targets)
            if key is not None:
                return [Measured(measuring.stored(self.store, key))]
        return measuring.in_memory(features_only)

    def _check_labels(self, y, n):
        """Return labels of n rows as a tensor on the CPU."""
        if not isinstance(y, torch.Tensor):
            y = torch.as_tensor(np.asarray(y))
        y = y.detach().cpu()
        if not callable(self.measurement):
            y = integer_labels(y)
        if len(y) != n:
            raise ValueError(f"y must have one entry for each of {n} rows, got {len(y)}")
        return y

    def _key(self, x, y):
        """Compute a digest of all that the features of these rows depend on; None if impossible."""
        columns = None
        if self.n_components == "exact":
            columns = [name for layer in self._active for name in layer.weights]
        network = transformer_fingerprint(self)
        if network is None:
            return None
        arrays = []
        for leaf in leaves(x):
            if isinstance(leaf, OnDemand):
                leaf = (leaf.source, leaf.numbers)
            arrays.append(leaf)
        labels = "predicted" if y is None else y
        return fingerprint(network, columns, labels, *arrays)

    def _features(self, groups, out):
        """Compute features, and write those at each label to a tensor (n, n_components) of ``out``.

        ``groups`` yields, for some labels at a time, pairs of a layer and its forms.
        """
        if self.n_components != "exact":
            self._sketch.several(groups, out)
            return
        columns = []  # by name of the parameter, at each label
        for matrix in out:
            matrix.zero_()
            columns.append(columns_by_name(self.model_.weights, self._active, matrix))
        start = 0
        for factors in groups:
            size = 0
            for layer, forms in factors:
                if layer not in self._active:
                    raise RuntimeError(
                        f"parameter {layer.key!r} has no columns, because it had no influence on "
                        "the rows given to fit, but it has on these. Fit on rows that use every "
                        "part of the network, or set n_components to a number"
                    )
                size = len(forms)
                for place, form in enumerate(forms, start):
                    if form is not None:
                        for name, part in layer.split(form.matrix()).items():
                            columns[place][name].copy_(part)
            start += size

    def effective_dimension(
        self, X: Rows, noise_variance: ArrayLike, y: Targets = None
    ) -> float | np.ndarray:
        """Compute the effective dimension tr(K (K + σ² I)⁻¹) of rows.

        It should be far below ``n_components``, because a smaller sketch cannot represent it. The
        rule of thumb is 10 to 20 components for each effective dimension.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, ...)
            Rows; a few thousand are enough. The cost is cubic in their number.
        noise_variance : float or array-like of float
            Noise variance σ², in the kernel's units.
        y : array-like of shape (n_samples,), default=None
            As in :meth:`transform`.

        Returns
        -------
        float or ndarray
            Effective dimension, one for each noise variance.
        """
        return effective_dimension(self.transform(X, y), noise_variance)


def _row_shapes(x):
    """Return the shape of a row in arrays of floats; token ids may have other lengths."""
    shapes = [tuple(leaf.shape[1:]) for leaf in leaves(x) if leaf.is_floating_point()]
    if len(shapes) == 1:
        return shapes[0]
    return shapes
