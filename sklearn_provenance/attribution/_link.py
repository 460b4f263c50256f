"""From an attributor's parameters to the model in use and the source of its kernels."""

from contextlib import nullcontext

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_memory
from torch import nn

from ..tangent import TangentFeatures, TangentModel
from ..tangent._batches import as_batch, batch_size_for
from ..tangent._module import evaluation
from ._cache import Cache
from ._models import SUPPORTED, adapt, is_fitted
from ._sources import ExactSource, RowSource, TangentSource, tangent_transformer

# Parameters up to which transform() may give the whole Jacobian.
DENSE_LIMIT = 2**16


def resolve(estimator, prefit, X, y, memory=None):
    """The model in use: the estimator itself where it is fitted, else a fitted clone.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        A module, and what a FrozenEstimator holds, always stays as it is.
    prefit : {"auto", True, False}
        Whether the estimator is fitted; "auto" looks.
    X, y : array-like
        Rows to fit a clone on.
    memory : None, str or joblib.Memory
        Where fitted clones are kept.

    Returns
    -------
    estimator or torch.nn.Module
        Fitted.

    Raises
    ------
    TypeError
        If the estimator is no classifier.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted and may not be.
    """
    if not isinstance(estimator, nn.Module) and not hasattr(estimator, "predict"):
        raise TypeError(f"estimator must be {SUPPORTED}; got {type(estimator).__name__}")
    fixed = isinstance(estimator, nn.Module | FrozenEstimator)
    if prefit is not False or fixed:
        if is_fitted(estimator):
            return estimator
        if fixed or prefit is True:
            reason = "stays as it is here" if fixed else "prefit=True says that it is"
            raise NotFittedError(f"the {type(estimator).__name__} is not fitted, and {reason}")
    return check_memory(memory).cache(_fit)(clone(estimator), X, y)


def _fit(estimator, X, y):
    return estimator.fit(X, y)


class Link:
    """The model in use, its classes, and where the kernels of its rows come from.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        The model in use, fitted.
    X, y : array-like
        Training rows, to look at the model and to fit ``features`` on.
    features : {"auto", "exact"}, TangentFeatures, transformer, callable or None
        Where features come from; None where none are wanted.
    measurement, ntk_parameterization, batch_size, verbose, memory
        Parameters of the attributor.
    searched : bool
        Whether rows of features are searched, so that "auto" must give some.

    Attributes
    ----------
    source : ExactSource, RowSource, TangentSource or None
        Gives kernels.
    tangent : TangentModel or None
        The linearised network, where the model is one.
    classes : ndarray of shape (n_classes,)
        Label of each column of the logits.
    features : object or None
        The fitted ``features``, if any.
    label_independent : bool
        Whether a row has the same features for every query.
    """

    def __init__(
        self,
        estimator,
        X,
        y,
        *,
        features="auto",
        measurement="label_logit",
        ntk_parameterization=False,
        batch_size="auto",
        verbose=0,
        memory=None,
        searched=False,
    ):
        self.estimator = estimator
        self.params = {
            "measurement": measurement,
            "ntk_parameterization": ntk_parameterization,
            "batch_size": batch_size,
            "verbose": verbose,
        }
        self.features = self.tangent = self.source = None
        from_model = isinstance(features, str | TangentFeatures)
        try:
            self.model = adapt(self.estimator)
        except TypeError:
            if from_model:
                raise
            self.model = None
        if searched and isinstance(features, str):
            features = TangentFeatures()
        if self.model is not None:
            template = features if isinstance(features, TangentFeatures) else TangentFeatures()
            settings = self.transformer(template)
            self.tangent = TangentModel(
                settings.module,
                forward=settings.forward,
                measurement=settings.measurement,
                ntk_parameterization=settings.ntk_parameterization,
            )
        self.classes = self._find_classes(X)
        if isinstance(features, str):
            cache = Cache(memory, "exact", settings)
            self.source = ExactSource(self.tangent, batch_size, cache)
        elif from_model:
            self.features = settings.fit(self.model.inputs(X))
            cache = Cache(memory, "sketch", settings)
            self.source = TangentSource(self.features, cache)
        elif features is not None:
            self.features = features
            if hasattr(features, "transform") and not is_fitted(features):
                fit = check_memory(memory).cache(_fit)
                self.features = fit(clone(features), X, y)
            self.source = RowSource(Cache(memory, "rows"))
        own_rows = self.source is not None and self.source.fixed
        self.label_independent = own_rows or measurement == "margin"

    def transformer(self, template):
        """Unfitted TangentFeatures of the model, see :func:`tangent_transformer`."""
        return tangent_transformer(template, self.model, **self.params)

    def _find_classes(self, X):
        if self.model is None:
            if not hasattr(self.estimator, "classes_"):
                raise TypeError(
                    f"estimator must be a classifier; {type(self.estimator).__name__} has no "
                    "classes_"
                )
            return np.asarray(self.estimator.classes_)
        if self.model.classes is not None:
            return np.asarray(self.model.classes)
        logits = self._logits(X[:1])
        return np.arange(logits.shape[1])

    def _logits(self, X):
        """Logits (n, C) of the module in evaluation mode."""
        model = self.tangent
        x = as_batch(self.model.inputs(X), model)
        if not model.planned:
            model.plan(x)
        step = batch_size_for(model, self.params["batch_size"])
        with evaluation(model.module), torch.no_grad():
            batches = [model.forward(model.module, x[i : i + step]) for i in range(0, len(x), step)]
            return torch.cat(batches)

    def inputs(self, X):
        """Rows of X as the source takes them: the model's inputs, or the rows φ.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray or torch.Tensor of shape (n, ...)
            Inputs.
        """
        if self.source is None or not self.source.fixed:
            return X if self.model is None else self.model.inputs(X)
        phi = getattr(self.features, "transform", self.features)(X)
        if isinstance(phi, torch.Tensor):
            phi = phi.detach().cpu().numpy()
        if issparse(phi):
            phi = phi.toarray()
        phi = check_array(phi, dtype=np.float64, input_name="the rows that features gives")
        if len(phi) != X.shape[0]:
            raise ValueError(f"features gave {len(phi)} rows for {X.shape[0]} rows of X")
        return np.require(phi, requirements="W")  # a data frame's array is read-only

    def predict(self, X):
        """Labels (n,) that the model predicts; its mode is restored.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        if isinstance(self.estimator, nn.Module):
            return self.classes[self._logits(X).argmax(1).cpu().numpy()]
        # skorch, among others, leaves a network in evaluation mode.
        with nullcontext() if self.model is None else evaluation(self.model.module):
            return np.asarray(self.estimator.predict(X))

    def jacobian(self, inputs):
        """TangentFeatures that give the whole Jacobian, fitted on inputs.

        Parameters
        ----------
        inputs : ndarray or torch.Tensor
            Training inputs.

        Returns
        -------
        TangentFeatures
            Fitted.

        Raises
        ------
        ValueError
            If the model has too many parameters.
        """
        n_parameters = sum(p.numel() for p in self.tangent.weights.values())
        if n_parameters > DENSE_LIMIT:
            raise ValueError(
                f"the exact tangent features of this model are {n_parameters} numbers a row, and "
                f"transform gives at most {DENSE_LIMIT}; pass features=TangentFeatures(...)"
            )
        return self.transformer(TangentFeatures(n_components="exact")).fit(inputs)

    def coverage(self):
        """How the gradient of each of the model's parameters is computed, if they are used.

        Returns
        -------
        Coverage or None
            None where features are not the model's.
        """
        if self.source.fixed:
            return None
        return (self.features.model_ if self.source.explicit else self.tangent).coverage

    def n_features_out(self, inputs):
        """Columns that transform gives."""
        if self.source.fixed:
            return inputs.shape[1]
        if self.source.explicit:
            return self.features._n_features_out
        return self.jacobian(inputs)._n_features_out
