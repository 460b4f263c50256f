"""Features of rows: exact, sketched, of linear models, leaves of trees, or the user's own."""

from dataclasses import replace

from sklearn.base import clone

from ..._utils.dask_rows import computed
from ..._utils.fitted import fit_estimator, is_fitted
from ..._utils.rows import few_rows, n_rows, take_rows
from ...tangent import TangentFeatures
from ...tangent._cache import Cache
from ..models import SUPPORTED
from ._base import Features
from ._exact import ExactFeatures
from ._inputs import InputFeatures
from ._leaves import leaf_features
from ._linear import LinearFeatures
from ._outputs import output_features
from ._rows import OwnRows
from ._settings import sketch_of
from ._sketched import SketchedFeatures, measured_otherwise

__all__ = ["Features", "make_features"]


def make_features(model, kind, X, y, settings, row_measurement=None):
    """Return features of a fitted model, and what their ``points`` takes for the training rows.

    Parameters
    ----------
    model : FittedModel
        The model.
    kind : {"auto", "exact", "factors"}, TangentFeatures, transformer or callable
        Where features come from; "factors" is "exact" without the closed form of linear models.
    X, y : array-like
        Training rows, to look at the model and to fit a transformer on.
    settings : Settings
        Parameters of the attributor.
    row_measurement : str, default=None
        What training rows are measured by, at their own labels; None as queries are.
    """
    own_rows = not isinstance(kind, str | TangentFeatures)
    if not settings.all_parameters and (own_rows or model.trees is not None):
        raise ValueError(
            'parameters must be "auto" where rows are compared by features of another kind than '
            f"gradients of a network; got {settings.parameters!r}"
        )
    if own_rows:
        if hasattr(kind, "transform") and not is_fitted(kind):
            cache = Cache(settings.memory, "transformer")
            kind = cache("fit", fit_estimator, clone(kind), computed(X, "X"), y)
        if model.module is not None:  # classes of a bare module are counted from its logits
            X_few = X
            if settings.probe is None:
                X_few = take_rows(X, few_rows(n_rows(X)))
            model = model.examined(settings.inputs(model, X_few), compared=False)
        features = OwnRows(kind, model, settings.memory_limit)
        if settings.probe is not None:
            return features, None
        return features, features.inputs(X)
    plain = row_measurement is None and not callable(settings.measurement)
    plain = plain and settings.all_parameters
    if model.input_bias is not None and isinstance(kind, str) and plain:
        return InputFeatures(model), model.inputs(X)
    if model.network is not None:
        inputs = model.inputs(X)
        likelihoods = row_measurement is not None
        return output_features(model, kind, settings, inputs, y, likelihoods), inputs
    if model.trees is not None:
        return leaf_features(model, kind, settings, row_measurement), model.inputs(X)
    if model.module is None:
        raise TypeError(f"estimator must be {SUPPORTED}; got {type(model.estimator).__name__}")
    inputs = settings.inputs(model, X)
    own_measurement = callable(settings.measurement)
    if not own_measurement or row_measurement is not None:  # else outputs may be no logits
        model = model.examined(inputs)
    if isinstance(kind, TangentFeatures):
        return _sketched(model, kind, settings, inputs, row_measurement), inputs
    if model.linear is not None and kind != "factors" and settings.all_parameters:
        return LinearFeatures(model, settings, row_measurement), inputs
    features = ExactFeatures(model, settings, row_measurement)
    return features.plan(inputs, y if own_measurement else None), inputs


def _sketched(model, template, settings, inputs, row_measurement):
    """Sketch rows by one measurement, and queries by that of the settings; see above."""
    measurement = row_measurement or settings.measurement
    fitted = sketch_of(template, model, replace(settings, measurement=measurement)).fit(inputs)
    cache = Cache(settings.memory, "sketch", fitted)
    if measurement == settings.measurement:
        return SketchedFeatures(model, fitted, cache)
    of_queries = measured_otherwise(fitted, settings.measurement, inputs)
    own_cache = Cache(settings.memory, "sketch", of_queries)
    return SketchedFeatures(model, fitted, cache, of_queries, own_cache)
