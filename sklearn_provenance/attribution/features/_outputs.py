"""The output of a regressor that is a network, as what is differentiated."""

from dataclasses import replace

from ..._utils.rows import few_rows, n_rows, take_rows
from ...tangent import TangentFeatures
from ...tangent._cache import Cache
from ...tangent._outputs import check_finite
from ...tangent._run import run
from ._base import ExactFeatures
from ._rows import predicted
from ._settings import sketch_of
from ._sketched import SketchedFeatures


def one_output(outputs, targets):
    """Outputs (B,) of a network with one, whatever the targets."""
    values = outputs.reshape(len(targets), -1)
    if values.shape[1] != 1:
        raise ValueError(
            f"a regressor must have one output; got {values.shape[1]}. Pass measurement=, a "
            "function of outputs and targets that gives one number a row, or one output that "
            "single_output takes"
        )
    return values[:, 0]


class _Predicted:
    """Queries are labelled with what the estimator predicts, on which features do not depend."""

    needs_targets = False

    def query(self, X, labels=None):
        """Points of queries at targets; the model predicts those that are not given."""
        if labels is None:
            labels = predicted(self.regressor, X)
        return self.points(self.inputs(X), labels)


class OutputFeatures(_Predicted, ExactFeatures):
    """Exact tangent features of the output."""


class SketchedOutput(_Predicted, SketchedFeatures):
    """Sketched tangent features of the output."""


def output_features(model, kind, settings, inputs, y):
    """Features of a regressor whose ``network`` has one output, or a measurement of the user's.

    Parameters
    ----------
    model : FittedModel
        With a ``network``.
    kind : {"auto", "exact"} or TangentFeatures
        Whether to sketch.
    settings : Settings
        Parameters of the attributor.
    inputs, y : array-like
        Training rows, to look at the network.

    Returns
    -------
    Features
        Features of the output.

    Raises
    ------
    TypeError
        If the measurement needs classes.
    ValueError
        If the outputs of a few rows are not finite.
    """
    if settings.measurement == "margin":
        raise TypeError(
            f'measurement="margin" compares classes, but {type(model.estimator).__name__} predicts '
            "numbers; InfoGainAttributor and InfoLossAttributor take regressors as they are"
        )
    network = replace(model, module=model.network, network=None)
    exact, sketched = OutputFeatures, SketchedOutput
    if callable(settings.measurement):
        exact, sketched = ExactFeatures, SketchedFeatures
    else:
        numbers = few_rows(n_rows(inputs))
        outputs = one_output(run(network, take_rows(inputs, numbers)), numbers)
        check_finite(outputs, "outputs", numbers)
        settings = replace(settings, measurement=one_output)
    if isinstance(kind, TangentFeatures):
        fitted = sketch_of(kind, network, settings).fit(inputs, y)
        features = sketched(network, fitted, Cache(settings.memory, "sketch", fitted))
    else:
        features = exact(network, settings).plan(inputs, y)
    features.regressor = model
    return features
