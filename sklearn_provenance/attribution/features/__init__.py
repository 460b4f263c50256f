"""Features of rows: exact, sketched, of linear models in closed form, or the user's own."""

from sklearn.base import clone

from ..._utils.rows import n_rows, take_rows
from ...tangent import TangentFeatures
from ...tangent._cache import Cache
from ..models import SUPPORTED, is_fitted
from ..models._resolve import fit_estimator
from ..models._run import few_rows
from ._base import Features
from ._exact import DENSE_LIMIT, ExactFeatures, linearised, sketch_of
from ._joined import JoinedFeatures
from ._linear import LinearFeatures
from ._penultimate import last_layer_inputs
from ._rows import OwnRows
from ._sketched import SketchedFeatures
from ._training import TrainingRows, copied

__all__ = [
    "DENSE_LIMIT",
    "ExactFeatures",
    "Features",
    "JoinedFeatures",
    "LinearFeatures",
    "OwnRows",
    "SketchedFeatures",
    "TrainingRows",
    "copied",
    "last_layer_inputs",
    "linearised",
    "make_features",
    "sketch_of",
]


def make_features(
    model,
    kind,
    X,
    y,
    *,
    measurement="label_logit",
    ntk_parameterization=False,
    batch_size="auto",
    verbose=0,
    memory=None,
    memory_limit=0,
):
    """Features of a fitted model.

    Parameters
    ----------
    model : FittedModel
        The model.
    kind : {"auto", "exact"}, TangentFeatures, transformer or callable
        Where features come from.
    X, y : array-like
        Training rows, to look at the model and to fit a transformer on.
    measurement, ntk_parameterization, batch_size, verbose, memory, memory_limit
        Parameters of the attributor.

    Returns
    -------
    features : Features
        Fitted.
    inputs : ndarray, Tensor, csr matrix or dict of Tensor
        What ``features.points`` takes for the training rows.

    Raises
    ------
    TypeError
        If features are the model's, and nothing is known of its parameters.
    """
    if not isinstance(kind, str | TangentFeatures):
        if hasattr(kind, "transform") and not is_fitted(kind):
            kind = Cache(memory, "transformer")("fit", fit_estimator, clone(kind), X, y)
        if model.module is not None:  # classes of a bare module are counted from its logits
            model = model.examined(model.inputs(take_rows(X, few_rows(n_rows(X)))))
        features = OwnRows(kind, model)
        return features, features.inputs(X)
    if model.module is None:
        raise TypeError(f"estimator must be {SUPPORTED}; got {type(model.estimator).__name__}")
    inputs = model.inputs(X)
    if not callable(measurement):
        model = model.examined(inputs)
    settings = measurement, ntk_parameterization, batch_size, verbose
    if isinstance(kind, TangentFeatures):
        fitted = sketch_of(kind, model, *settings).fit(inputs)
        return SketchedFeatures(model, fitted, Cache(memory, "sketch", fitted)), inputs
    if model.linear is not None:
        return LinearFeatures(model, measurement, ntk_parameterization), inputs
    tangent = linearised(model, measurement, ntk_parameterization)
    features = ExactFeatures(
        model,
        tangent,
        batch_size=batch_size,
        verbose=verbose,
        memory_limit=memory_limit,
        cache=Cache(memory, "exact", sketch_of(TangentFeatures(), model, *settings)),
    ).plan(inputs, y if callable(measurement) else None)
    return features, inputs
