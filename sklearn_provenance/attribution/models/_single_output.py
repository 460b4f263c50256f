"""One output of an estimator that was fitted on several targets."""

import copy
from dataclasses import dataclass
from functools import singledispatch
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, RegressorTags, get_tags
from sklearn.utils.validation import check_is_fitted

from ..._utils.containers import inside
from ..._utils.families import import_family
from ...tangent._read_logits import call_module
from ._base import FittedModel, adapt

SEVERAL = (
    "LinearRegression, Ridge, RidgeCV, ElasticNet, Lasso, their MultiTask kinds, other linear "
    "regressors, KernelRidge, GaussianProcessRegressor, MLPRegressor, forests and trees, "
    "neighbors, MultiOutputRegressor, MultiOutputClassifier, a skorch NeuralNetRegressor, a "
    "ProvenanceRegressor, or a Pipeline, search or FrozenEstimator around one of these"
)
# Files that register estimators, by the package that defines these or a base of theirs.
_FAMILIES = {
    "sklearn.ensemble": ("_single_output_kinds",),
    "sklearn.gaussian_process": ("_single_output_kinds",),
    "sklearn.kernel_ridge": ("_single_output_kinds",),
    "sklearn.linear_model": ("_single_output_kinds",),
    "sklearn.multioutput": ("_single_output_kinds",),
    "sklearn.neighbors": ("_single_output_kinds",),
    "sklearn.neural_network": ("_single_output_kinds",),
    "sklearn.tree": ("_single_output_kinds",),
    "sklearn_provenance.provenance": ("_single_output_kinds",),
    "skorch": ("_single_output_skorch",),
}


def single_output(estimator: Any, output: int) -> Any:
    """Take one output of a fitted estimator that has several.

    Attributors explain one number or one class a row. Of an estimator with several targets, they
    explain what this function returns.

    Parameters
    ----------
    estimator : estimator
        Fitted on targets of shape (n_train, n_outputs). It is not changed.
    output : int
        Number of the output, from 0.

    Returns
    -------
    estimator
        A fitted estimator that predicts this output alone. Where outputs are fitted each by
        itself, it is what a fit on this target gives; else it shares all but the last step with
        the estimator.

    Raises
    ------
    TypeError
        If the estimator has one output, or is of a kind that cannot be taken apart.
    ValueError
        If there is no such output.

    See Also
    --------
    explain : Takes the number of an output itself.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn_provenance import InfluenceAttributor
    >>> from sklearn_provenance.attribution import single_output
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> ridge = Ridge().fit(X, Y)
    >>> waist = single_output(ridge, 1)
    >>> bool(np.allclose(waist.predict(X), ridge.predict(X)[:, 1]))
    True
    >>> InfluenceAttributor(waist).fit(X, Y[:, 1]).attribute(X[:2]).shape
    (2, 20)
    """
    if not isinstance(output, Integral) or isinstance(output, bool):
        raise TypeError(f"output must be an integer, got {output!r}")
    if isinstance(estimator, BaseEstimator):
        check_is_fitted(estimator)
    return output_of(estimator, int(output))


@singledispatch
def output_of(estimator, output):
    """Return one output of a fitted estimator, by its type; see :func:`single_output`."""
    if import_family(output_of, estimator, _FAMILIES, __package__):
        return output_of(estimator, output)
    inner = inside(estimator)
    if inner is not None:
        return output_of(inner, output)
    raise TypeError(
        f"estimator must be {SEVERAL}; got {type(estimator).__name__}. For a module pass "
        "measurement=, a function of outputs and targets that gives one number a row"
    )


@output_of.register(Pipeline)
def _(estimator, output):
    *before, (name, last) = estimator.steps
    return Pipeline([*before, (name, output_of(last, output))])


def check_output(estimator, output, n_outputs):
    """Raise unless an estimator has several outputs, and this is one of them."""
    name = type(estimator).__name__
    if n_outputs < 2:
        raise TypeError(f"estimator must have several outputs; this {name} has one")
    if not 0 <= output < n_outputs:
        raise ValueError(
            f"output must be between 0 and {n_outputs - 1}, the outputs of {name}; got {output}"
        )


def check_one_target(y):
    """Raise unless there is one target a row."""
    shape = tuple(y.shape if hasattr(y, "shape") else np.asarray(y).shape)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"y should be a 1d array, got an array of shape {shape} instead. Of an "
            "estimator with several outputs pass single_output(estimator, output) and y[:, output]"
        )


class SingleOutput(BaseEstimator):
    """One output of a fitted estimator whose outputs share what they are computed from.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    output : int
        Number of the output.
    """

    def __init__(self, estimator, output):
        self.estimator = estimator
        self.output = output

    def __sklearn_is_fitted__(self):
        return True

    def fit(self, X, y):
        """Refuse to fit: an output is taken of an estimator that is fitted."""
        raise TypeError(
            f"output {self.output} of {type(self.estimator).__name__} is fitted already; fit the "
            "estimator, and take its output"
        )

    def predict(self, X):
        """Predict this output (n,)."""
        return np.asarray(self.estimator.predict(X))[:, self.output]

    def predict_proba(self, X):
        """Compute probabilities (n, n_classes) of this output."""
        return self.estimator.predict_proba(X)[self.output]

    @property
    def classes_(self):
        """Classes of this output; no attribute of a regressor."""
        return self.estimator.classes_[self.output]

    @property
    def n_features_in_(self):
        """Columns of X."""
        return self.estimator.n_features_in_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if is_classifier(self.estimator):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        tags.input_tags = get_tags(self.estimator).input_tags
        tags.target_tags.required = True
        return tags


@dataclass(frozen=True)
class Column:
    """One column of what a network gives."""

    forward: object  # None calls the module
    number: int

    def __call__(self, module, x):
        """Return the column (B, 1)."""
        outputs = (self.forward or call_module)(module, x)
        if outputs.ndim != 2 or self.number >= outputs.shape[1]:
            raise ValueError(
                f"output {self.number} must be a column of what the network gives, which has shape "
                f"{tuple(outputs.shape)}"
            )
        return outputs[:, self.number : self.number + 1]


@dataclass(frozen=True, eq=False)
class SingleOutputModel(FittedModel):
    """A model of one output; rows are prepared as for all of them."""

    inner: FittedModel | None = None

    def inputs(self, X):
        """Return inputs of the model of all outputs."""
        return self.inner.inputs(X)

    def feature_names(self, names):
        """Name the columns of inputs."""
        return self.inner.feature_names(names)

    def shown(self, *parts):
        """Return rows as the model of all outputs shows them."""
        return self.inner.shown(*parts)

    @property
    def users_module(self):
        """The module of the model of all outputs."""
        return self.inner.users_module


@adapt.register(SingleOutput)
def _(estimator):
    import_family(model_of, estimator.estimator, _FAMILIES, __package__)
    return model_of(estimator.estimator, estimator)


@singledispatch
def model_of(estimator, single):
    """Return the model of one output, by the type of the estimator with all of them."""
    classes = getattr(single, "classes_", None) if is_classifier(estimator) else None
    return FittedModel(single, classes=classes)


def network_model(estimator, single):
    """Return the model of one output of a network."""
    inner = adapt(estimator)
    forward = Column(inner.forward, single.output)
    return SingleOutputModel(single, network=inner.network, forward=forward, inner=inner)


def shallow(estimator, **changed):
    """Return a copy of a fitted estimator with other attributes."""
    copied = copy.copy(estimator)
    vars(copied).update(changed)
    return copied
