"""Kernel methods: least squares and logistic regression in the features of a fixed kernel."""

from dataclasses import dataclass

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.validation import check_is_fitted

from ...information._convex_problem import ConvexProblem
from ...information._losses import LogisticLoss, SquaredLoss
from ._base import (
    Objective,
    Part,
    Validated,
    assuming,
    label_positions,
    objective,
    row_weights,
)
from ._design import KernelDesign
from ._linear import class_indicator, positive_classes
from ._responses import Prediction, decisions

KERNEL = "the kernel and its parameters are held fixed"


@dataclass(frozen=True)
class RidgeKernel:
    """Values of a KernelRidge's kernel."""

    estimator: KernelRidge

    def __call__(self, X, Z):
        return self.estimator._get_kernel(X, Z)


@dataclass(frozen=True)
class CovarianceKernel:
    """Values of a Gaussian process's kernel, without the noise of equal rows."""

    kernel: object

    def __call__(self, X, Z):
        return self.kernel(X, Z)

    def diagonal(self, X):
        """Return the kernel (n,) of each row with itself."""
        return np.array([self(x[None], x[None])[0, 0] for x in X])


def kernel_part(X, kernel, outputs, **problem):
    """State a problem in the features of a kernel, with the penalty ½ |θ|² times ``strength``."""
    strength = problem.pop("strength", 1.0)
    design, rows = KernelDesign.of(X, kernel)
    theta = design.parameters_of_outputs(outputs(design.pivots)[:, None])
    penalty = design.penalty(strength, rows.shape[1])
    return Part(ConvexProblem(design=rows, penalty=penalty, **problem), design, theta)


@objective.register(KernelRidge)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    if np.ndim(estimator.dual_coef_) > 1 or np.size(estimator.alpha) > 1:
        raise ValueError("KernelRidge must be fitted on one target, with one alpha")
    if estimator.kernel == "precomputed":
        raise ValueError(
            'kernel must not be "precomputed": the kernel of rows with queries is needed'
        )
    prepare = Validated(estimator)
    kernel = RidgeKernel(estimator)
    part = kernel_part(
        prepare(X),
        kernel,
        lambda pivots: kernel(pivots, estimator.X_fit_) @ estimator.dual_coef_,
        strength=float(estimator.alpha),
        targets=np.asarray(y, dtype=np.float64)[:, None],
        loss=SquaredLoss(),
        weights=row_weights(sample_weight, len(y)),
    )
    return Objective((part,), Prediction(), prepare, assumptions=(KERNEL,))


def _refuse_weights(estimator, sample_weight):
    """Refuse weights of rows, which Gaussian processes do not take."""
    if sample_weight is not None:
        raise ValueError(
            f"sample_weight must be None, because {type(estimator).__name__} has no such weights"
        )


@objective.register(GaussianProcessRegressor)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    _refuse_weights(estimator, sample_weight)
    if estimator.y_train_.ndim > 1:
        raise ValueError("GaussianProcessRegressor must be fitted on one target")
    prepare = Validated(estimator)
    kernel = CovarianceKernel(estimator.kernel_)
    X = prepare(X)
    # What the kernel gives a row with itself only is noise too.
    noise = estimator.kernel_.diag(X) - kernel.diagonal(X)
    offset = float(np.ravel(estimator._y_train_mean)[0])
    scale = float(np.ravel(estimator._y_train_std)[0])
    part = kernel_part(
        X,
        kernel,
        lambda pivots: kernel(pivots, estimator.X_train_) @ estimator.alpha_,
        targets=((np.asarray(y, dtype=np.float64) - offset) / scale)[:, None],
        loss=SquaredLoss(),
        weights=1 / (noise + estimator.alpha),
    )
    stated = Objective((part,), Prediction(offset=offset, scale=scale), prepare)
    stated = assuming(stated, KERNEL)
    if estimator.normalize_y:
        stated = assuming(stated, "the mean and scale of y are held fixed")
    return stated


@objective.register(GaussianProcessClassifier)
def _(estimator, X, y, sample_weight=None):
    check_is_fitted(estimator)
    _refuse_weights(estimator, sample_weight)
    labels = label_positions(estimator, y)
    classes = np.asarray(estimator.classes_)
    if len(classes) > 2 and estimator.multi_class != "one_vs_rest":
        raise ValueError(
            'multi_class must be "one_vs_rest"; problems of pairs of classes do not share rows'
        )
    prepare = Validated(estimator)
    X = prepare(X)
    processes = [estimator.base_estimator_]
    if len(classes) > 2:
        processes = estimator.base_estimator_.estimators_
    parts = tuple(
        _latent(process, X, labels, positive)
        for process, positive in zip(processes, positive_classes(len(classes)), strict=True)
    )
    return Objective(parts, decisions(len(classes)), prepare, classes, (KERNEL,))


def _latent(process, X, labels, positive):
    """State the problem whose minimum is the mode of the latent function, Algorithm 3.1 of GPML."""
    kernel = CovarianceKernel(process.kernel_)
    if not np.allclose(process.kernel_.diag(X), kernel.diagonal(X)):
        raise ValueError("the kernel must have no noise, such as a WhiteKernel")
    gradient = process.y_train_ - process.pi_
    return kernel_part(
        X,
        kernel,
        lambda pivots: kernel(pivots, process.X_train_) @ gradient,
        targets=class_indicator(labels, positive),
        loss=LogisticLoss(),
        weights=np.ones(len(X)),
        class_of=labels,
    )
