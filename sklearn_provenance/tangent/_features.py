"""TangentFeatures, the scikit-learn transformer."""

import os
from numbers import Real

import numpy as np
import torch
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
from tqdm.auto import tqdm

from .._utils.arguments import whole
from .._utils.hashing import fingerprint
from ._batches import (
    OnDemand,
    as_rows,
    is_structure,
    leaves,
    take,
)
from ._dimension import effective_dimension
from ._factors import TangentModel
from ._fingerprint import transformer_fingerprint
from ._layers import batch_size_for
from ._outputs import MEASUREMENTS, check_finite, integer_labels
from ._rows import restarted
from ._sketch import SKETCHES, Sketch
from ._store import FeatureStore


class TangentFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Tangent features of a trained network: gradients of its output in its parameters.

    The features of an example are φ(x) = ∇_θ f_θ(x) for a scalar measurement f, either
    ``"exact"`` or sketched to ``n_components`` numbers whose inner products are those of φ on
    average. Their inner products are the network's empirical neural tangent kernel.

    Parameters
    ----------
    module : torch.nn.Module
        A trained network that maps a batch to logits. It is evaluated in evaluation mode, where it
        is, and never changed. Its classes are counted from 0 in the order of the logits.
    n_components : int or "exact", default=4096
        Size of the sketch. As a rule of thumb 10 to 20 times the effective dimension, see
        :meth:`effective_dimension`. ``"exact"`` gives the whole Jacobian, for small networks:
        parameters in the order of ``module.named_parameters()``, each flattened, without those
        that have no influence.
    sketch : {"tensor", "sjlt", "rademacher"}, default="tensor"
        ``"tensor"`` (TensorSketch) works on layer factors and costs least. ``"sjlt"`` (sparse
        Johnson-Lindenstrauss) and ``"rademacher"`` (dense signs, the reference) form each layer's
        gradients.
    measurement : {"label_logit", "margin"} or callable, default="label_logit"
        See :func:`measure`. Or ``measurement(outputs, y)`` of what ``forward`` returns, which may
        then be anything, and of the ``y`` of :meth:`transform`, with one number a row.
    ntk_parameterization : bool or float, default=False
        Differentiate by Ω where a weight is W = (s / √fan_in) Ω; True is s = 1. See
        :class:`TangentModel`.
    parameters : {"auto", "trainable", "all"} or list of str, default="auto"
        What to differentiate by. See :class:`TangentModel`.
    forward : callable, default=None
        ``forward(module, x)`` gives the logits, an object with ``logits``, or a tuple with a
        single tensor of two dimensions; None calls the module.
    batch_size : int or "auto", default="auto"
        Examples per pass. ``"auto"`` bounds the memory of a pass.
    random_state : int, RandomState instance or None, default=0
        Seed of the sketch. Inner products make sense only between features of one sketch.
    store : str, pathlib.Path or None, default=None
        Folder that :meth:`transform` keeps its rows in, batch by batch, so that memory holds one
        batch, and a pass that was interrupted goes on where it stopped. Rows are found again by a
        digest of the network, the parameters that matter, ``X`` and ``y``. See
        :class:`FeatureStore`. The digest covers the code of ``forward`` and of the modules with
        the functions and constants that it names, not what these reach through other objects.
    verbose : bool, default=False
        Whether to show progress.

    Attributes
    ----------
    coverage_ : Coverage
        How the gradient of each parameter is computed, and the shares of the routes.
    model_ : TangentModel
        The linearised network.
    n_features_in_ : int
        Second dimension of ``X``.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", sections 2 and 4.
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
        "parameters": [StrOptions({"auto", "trainable", "all"}), "array-like"],
        "forward": [callable, None],
        "batch_size": [whole(), StrOptions({"auto"})],
        "random_state": ["random_state"],
        "store": [str, os.PathLike, None],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        module=None,
        n_components=4096,
        *,
        sketch="tensor",
        measurement="label_logit",
        ntk_parameterization=False,
        parameters="auto",
        forward=None,
        batch_size="auto",
        random_state=0,
        store=None,
        verbose=False,
    ):
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
    def fit(self, X, y=None):
        """Look at the network's layers and draw the sketch.

        Parameters
        ----------
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows, as the network takes them. Some that differ are differentiated.
        y : Ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        TangentFeatures
            Itself.
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
        self._active = [layer for layer in self.model_.layers if layer.route != "idle"]
        if not self._active:
            raise ValueError(
                "No parameter influences the logits, so there are no tangent features. "
                f"Differentiated by: {list(self.model_.weights)}."
            )
        if self.n_components == "exact":
            self._n_features_out = sum(layer.n_parameters for layer in self._active)
        else:
            self._n_features_out = self.n_components
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            self._sketch = Sketch(self.sketch, self.n_components, seed)
        return self

    @torch.inference_mode(False)
    def transform(self, X, y=None):
        """Tangent features at given labels, or at the predicted ones.

        Parameters
        ----------
        X : array-like, torch.Tensor, sparse matrix, or mapping, tuple or list of tensors
            Rows. Sparse matrices and memory maps are converted batch by batch.
        y : array-like of shape (n_samples,), default=None
            Column of the logits that each example is measured at; None takes the largest logit.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            Features, in units of the measurement per unit of weight; single precision unless the
            network is in double. With ``store`` a read-only memory map of the file.
        """
        return self._measured(X, y, noted=False)[0]

    @torch.inference_mode(False)
    def _measured(self, X, y=None, decide=None, noted=True):
        """Features, labels, logits, and squared norms of what the features stand for.

        All come from one pass. ``decide`` gives labels from logits. There are features alone with
        ``store``, or where the rest need not be ``noted``.
        """
        check_is_fitted(self)
        if not is_structure(X):
            validate_data(self, X, skip_check_array=True, reset=False)
        model = self.model_
        x, n = as_rows(X, model)
        if _row_shapes(x) != self._row_shape:
            raise ValueError(f"fit saw rows of shape {self._row_shape}, got {_row_shapes(x)}")
        if y is not None:
            y = y.detach().cpu() if isinstance(y, torch.Tensor) else np.asarray(y)
            y = torch.as_tensor(y) if callable(self.measurement) else integer_labels(y)
            if len(y) != n:
                raise ValueError(f"{n} rows, but {len(y)} labels")
        step = batch_size_for(model, self.batch_size)
        shape = n, self._n_features_out
        dtype = np.float64 if model.dtype == torch.float64 else np.float32

        def compute(rows, seen=None):
            batch = model.linearise(take(x, rows), rows.start)
            labels, logits = batch.labelled(None if y is None else y[rows], decide)
            norms = None if seen is None else torch.zeros(len(labels), dtype=torch.float64)
            values = self._features(batch, labels, norms)
            check_finite(values, "features", rows.start)
            if seen is not None:
                seen.append((labels.cpu(), None if logits is None else logits.cpu(), norms))
            return values.cpu().numpy()

        progress = "tangent features"
        key = None if self.store is None else self._key(x, y)
        if key is not None:
            progress = progress if self.verbose else None
            rows = FeatureStore(self.store).rows(key, *shape, dtype, compute, step, progress)
            return rows, None, None, None
        features, seen = np.empty(shape, dtype), []

        @restarted
        def compute_all():
            seen.clear()
            for i in tqdm(range(0, n, step), desc=progress, disable=not self.verbose):
                features[i : i + step] = compute(slice(i, i + step), seen if noted else None)

        compute_all()
        if not noted:
            return features, None, None, None
        labels, logits, norms = zip(*seen, strict=True)
        logits = None if logits[0] is None else torch.cat(logits).double()
        return features, torch.cat(labels), logits, torch.cat(norms)

    def _key(self, x, y):
        """Digest of all that the features of these rows depend on, or None if it is not known."""
        columns = None
        if self.n_components == "exact":
            columns = [name for layer in self._active for name in layer.weights]
        labels = "predicted" if y is None else y
        network = transformer_fingerprint(self)
        parts = [
            (leaf.source, leaf.numbers) if isinstance(leaf, OnDemand) else leaf
            for leaf in leaves(x)
        ]
        return network and fingerprint(network, columns, labels, *parts)

    def _features(self, batch, labels, norms=None):
        """Features of a batch; ``norms`` (B,) are added to."""
        model = self.model_
        factors = batch.factors(labels)
        if norms is not None:
            factors = _noted(factors, norms)
        if self.n_components != "exact":
            return self._sketch(factors, len(labels), model.dtype, model.device)
        columns = {
            name: torch.zeros(len(labels), p.numel(), dtype=model.dtype, device=model.device)
            for name, p in model.weights.items()
            if any(name in layer.weights for layer in self._active)
        }
        for layer, factor in factors:
            if layer not in self._active:
                raise RuntimeError(
                    f"Parameter {layer.key!r} had no influence on the examples given to fit, but "
                    "has on these, so it has no columns. Fit on examples that use every part of "
                    "the network, or choose n_components as a number."
                )
            columns |= layer.split(factor.matrix())
        return torch.cat(list(columns.values()), 1)

    def effective_dimension(self, X, noise_variance, y=None):
        """Effective dimension tr(K (K + σ² I)⁻¹) of examples.

        If it is not far below ``n_components``, the sketch is too small to see it: the rule of
        thumb is 10 to 20 components for each effective dimension.

        Parameters
        ----------
        X : array-like or torch.Tensor of shape (n_samples, ...)
            Examples; a sample of some thousand is enough, the cost is cubic.
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
    """Shape of a row in every array of floats; integers are token ids, maybe of other lengths."""
    shapes = [tuple(leaf.shape[1:]) for leaf in leaves(x) if leaf.is_floating_point()]
    return shapes[0] if len(shapes) == 1 else shapes


def _noted(factors, norms):
    """The same layers and factors, whose squared norms are added to ``norms`` on the way."""
    for layer, factor in factors:
        norms += factor.norms().cpu()
        yield layer, factor
