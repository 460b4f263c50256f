"""One output of estimators of scikit-learn, and of provenance networks."""

import numpy as np
from sklearn.ensemble._forest import BaseForest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
)
from sklearn.linear_model._base import LinearModel
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor, _BaseChain
from sklearn.neighbors._base import NeighborsBase
from sklearn.neural_network import MLPRegressor
from sklearn.tree import BaseDecisionTree

from ...provenance import ProvenanceRegressor
from ._inputs import InputModel
from ._single_output import (
    SingleOutput,
    SingleOutputModel,
    check_output,
    model_of,
    network_model,
    output_of,
    shallow,
)
from ._trees import ForestTrees, TreeModel


def n_columns(targets):
    """Return how many outputs targets (n,) or (n, n_outputs) have."""
    if targets.ndim > 1:
        return targets.shape[1]
    return 1


@output_of.register(LinearModel)
def _(estimator, output):
    coefficients = np.asarray(estimator.coef_)  # (n_outputs, n_features)
    check_output(estimator, output, n_columns(coefficients.T))
    changed = {"coef_": coefficients[output]}
    for name in ("intercept_", "alpha", "alpha_"):
        value = getattr(estimator, name, None)
        if np.ndim(value) == 1 and len(value) == len(coefficients):
            changed[name] = value[output]
    return shallow(estimator, **changed)


# A penalty that targets share ties their coefficients together.
@output_of.register(MultiTaskElasticNet)
@output_of.register(MultiTaskElasticNetCV)
@output_of.register(MultiTaskLasso)
@output_of.register(MultiTaskLassoCV)
def _(estimator, output):
    check_output(estimator, output, len(estimator.coef_))
    return SingleOutput(estimator, output)


@model_of.register(LinearModel)
def _(estimator, single):
    bias = float(estimator.fit_intercept)
    return SingleOutputModel(single, input_bias=bias, inner=InputModel(estimator, input_bias=bias))


@output_of.register(KernelRidge)
def _(estimator, output):
    dual = np.asarray(estimator.dual_coef_)
    check_output(estimator, output, n_columns(dual))
    alpha = np.broadcast_to(estimator.alpha, dual.shape[1])[output]
    return shallow(estimator, dual_coef_=dual[:, output], alpha=alpha)


@output_of.register(GaussianProcessRegressor)
def _(estimator, output):
    targets = estimator.y_train_
    check_output(estimator, output, n_columns(targets))
    return shallow(
        estimator,
        alpha_=estimator.alpha_[:, output],
        y_train_=targets[:, output],
        _y_train_mean=np.ravel(estimator._y_train_mean)[output : output + 1],
        _y_train_std=np.ravel(estimator._y_train_std)[output : output + 1],
    )


@output_of.register(MultiOutputClassifier)
@output_of.register(MultiOutputRegressor)
def _(estimator, output):
    check_output(estimator, output, len(estimator.estimators_))
    return estimator.estimators_[output]


@output_of.register(_BaseChain)
def _(estimator, output):
    raise TypeError(
        f"an estimator of {type(estimator).__name__} takes the outputs before it as columns of X, "
        "so that rows reach an output in many ways. Explain its estimators_ one by one, on X with "
        "these columns"
    )


@output_of.register(BaseForest)
@output_of.register(BaseDecisionTree)
def _(estimator, output):
    check_output(estimator, output, estimator.n_outputs_)
    return SingleOutput(estimator, output)


@model_of.register(BaseForest)
@model_of.register(BaseDecisionTree)
def _(estimator, single):
    classes = None
    if hasattr(estimator, "classes_"):
        classes = np.asarray(single.classes_)
    trees = ForestTrees(estimator)
    trees.output = single.output
    return TreeModel(single, classes=classes, trees=trees)


@output_of.register(NeighborsBase)
def _(estimator, output):
    check_output(estimator, output, n_columns(np.asarray(estimator._y)))
    return SingleOutput(estimator, output)


@output_of.register(MLPRegressor)
def _(estimator, output):
    check_output(estimator, output, estimator.n_outputs_)
    return SingleOutput(estimator, output)


@output_of.register(ProvenanceRegressor)
def _(estimator, output):
    check_output(estimator, output, n_columns(np.asarray(estimator.training_.y)))
    return SingleOutput(estimator, output)


model_of.register(MLPRegressor, network_model)
model_of.register(ProvenanceRegressor, network_model)
