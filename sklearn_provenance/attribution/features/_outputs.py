"""The output of a regressor that is a network, as what is differentiated."""

from dataclasses import dataclass, replace

from ..._utils.rows import few_rows, n_rows, take_rows
from ...tangent import TangentFeatures
from ...tangent._cache import Cache
from ...tangent._outputs import check_finite
from ...tangent._read_logits import call_module
from ...tangent._run import run
from ._exact import ExactFeatures
from ._rows import predicted
from ._settings import sketch_of
from ._sketched import SketchedFeatures


def one_output(outputs, targets):
    """Compute outputs (B,) of a network with one, whatever the targets."""
    values = outputs.reshape(len(targets), -1)
    if values.shape[1] != 1:
        raise ValueError(
            f"a regressor must have one output; got {values.shape[1]}. Pass measurement=, a "
            "function of outputs and targets that gives one number a row, or one output that "
            "single_output takes"
        )
    return values[:, 0]


def log_likelihood(outputs, targets):
    """Log likelihood (B,) of targets with noise of variance 1, up to a constant."""
    return -(targets.to(outputs) - one_output(outputs, targets)).square() / 2


@dataclass(frozen=True)
class OutputColumn:
    """The output of a network with one, as a table."""

    forward: object  # None calls the module

    def __call__(self, module, x):
        """Compute outputs (B, 1)."""
        outputs = (self.forward or call_module)(module, x)
        return one_output(outputs, range(n_rows(x)))[:, None]


def output_network(model):
    """Return the network of a regressor, as a model with one column of outputs."""
    forward = OutputColumn(model.forward)
    return replace(model, module=model.network, network=None, forward=forward, n_outputs=1)


class PredictedTargets:
    """Queries are labelled with what the estimator predicts, on which features do not depend."""

    needs_targets = False

    def query(self, X, labels=None):
        """Return points of queries at targets; the model predicts those that are not given."""
        if labels is None:
            labels = predicted(self.regressor, X)
        return self.points(self.inputs(X), labels)


class OutputFeatures(PredictedTargets, ExactFeatures):
    """Exact tangent features of the output."""


class SketchedOutput(PredictedTargets, SketchedFeatures):
    """Sketched tangent features of the output."""


def output_features(model, kind, settings, inputs, y, likelihoods=False):
    """Make features of a regressor whose ``network`` has one output, or the user's measurement.

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
    likelihoods : bool, default=False
        Whether training rows are measured by the log likelihood of their targets. Queries are then
        measured by the output, which is their "margin" too.

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
    if settings.measurement == "margin" and not likelihoods:
        raise TypeError(
            f'measurement="margin" compares classes, but {type(model.estimator).__name__} predicts '
            "numbers; InfoGainAttributor and InfoLossAttributor take regressors as they are"
        )
    network = replace(model, module=model.network, network=None)
    if likelihoods:
        network = output_network(model)
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
        of_rows = log_likelihood if likelihoods else None
        features = exact(network, settings, of_rows).plan(inputs, y)
    features.regressor = model
    return features
