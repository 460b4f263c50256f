"""The problem of a linear model: its design, penalty and parameters.

Shapes in comments: n rows, f features, d columns of the problem, K outputs.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.class_weight import compute_class_weight

from ..._utils.budget import limit
from ...information._convex_problem import MOST_FORMED, Balance, ConvexProblem
from ._base import Part
from ._design import KernelDesign, LinearDesign, bytes_of_kernels, linear_kernel


@dataclass(frozen=True)
class Fitted:
    """Coefficients of a fitted linear model, and how its intercept is penalised."""

    coefficients: np.ndarray  # (K, f)
    intercept: np.ndarray  # (K,)
    column: float | None = 1.0  # value of the intercept's column; None without an intercept
    free: bool = True  # whether the intercept is not penalised

    @classmethod
    def of(cls, estimator, column=1.0, free=True):
        """Read them from an estimator with ``coef_`` and ``intercept_``."""
        coefficients = estimator.coef_
        if issparse(coefficients):  # after sparsify()
            coefficients = coefficients.toarray()
        coefficients = np.atleast_2d(np.asarray(coefficients, dtype=np.float64))
        intercept = np.ravel(np.asarray(estimator.intercept_, dtype=np.float64))
        intercept = np.array(np.broadcast_to(intercept, len(coefficients)))
        if not estimator.fit_intercept:
            return cls(coefficients, intercept, None)
        return cls(coefficients, intercept, float(column), free)

    def output(self, k):
        """Return the model of one output."""
        return replace(
            self, coefficients=self.coefficients[k : k + 1], intercept=self.intercept[k : k + 1]
        )


def linear_part(X, fitted, strength, *, l1_strength=0.0, multinomial=False, unit=1.0, **problem):
    """State the problem of a linear model.

    Parameters
    ----------
    X : ndarray or csr matrix of shape (n, f)
        Training features.
    fitted : Fitted
        The fitted model.
    strength : float
        λ of the penalty λ/2 |w|².
    l1_strength : float, default=0.0
        Factor of the penalty |w|_1, which is smooth on the features with coefficients that are not
        0, and held at 0 on the others.
    multinomial : bool, default=False
        Whether outputs that all change alike change nothing.
    unit : float, default=1.0
        What multiplies the log likelihood beside weights of rows.
    **problem
        Further arguments of :class:`ConvexProblem`.

    Returns
    -------
    Part
        The problem.
    """
    columns = tilt = None
    if l1_strength:
        if not (fitted.free or fitted.intercept[0]):
            # liblinear penalises the intercept as it does coefficients, and holds it at 0.
            fitted = replace(fitted, column=None)
        columns = np.flatnonzero(fitted.coefficients[0])
        tilt = l1_strength * np.sign(fitted.coefficients[:, columns])
        if fitted.column is not None:
            of_intercept = 0.0
            if not fitted.free:
                of_intercept = l1_strength * np.sign(fitted.intercept)
            tilt = np.hstack([tilt, np.full((1, 1), of_intercept)])
    n, n_features = X.shape
    # Many sparse rows stay as they are, and their Hessian is not formed.
    few = not issparse(X) or (n <= MOST_FORMED and bytes_of_kernels(n) <= limit())
    if n_features > n and few and strength > 0 and columns is None and fitted.free:
        design, rows = KernelDesign.of(X, linear_kernel, fitted.column)
        theta = design.parameters_of_outputs(np.asarray(design.pivots @ fitted.coefficients.T))
        if fitted.column is not None:
            theta = np.hstack([theta, fitted.intercept[:, None] / fitted.column])
    else:
        design = LinearDesign.of(X, intercept=fitted.column, free=fitted.free, columns=columns)
        rows = design.rows(X)
        theta = design.parameters(fitted.coefficients, fitted.intercept)
    if not rows.shape[1]:
        raise ValueError(
            "some coefficient must be other than 0; none is, so that no row has an influence. "
            "Lower alpha"
        )
    penalty = design.penalty(strength, rows.shape[1], not fitted.free)
    gauge = None
    if multinomial:
        gauge = penalty == 0
    stated = ConvexProblem(design=rows, penalty=penalty, tilt=tilt, gauge=gauge, **problem)
    return Part(stated, design, theta, unit)


def weighted_classes(estimator, labels, sample_weight, weighted=None):
    """Return weights of rows and the balance of classes, from ``class_weight``.

    Parameters
    ----------
    estimator : estimator
        With ``class_weight`` and ``classes_``.
    labels : ndarray of shape (n,)
        Positions of the rows' labels.
    sample_weight : ndarray of shape (n,)
        Weights of rows.
    weighted : ndarray of shape (n,), default=None
        Rows, as booleans, that the weights of classes apply to; None for all.

    Returns
    -------
    weights : ndarray of shape (n,)
        Weights of rows, without those of balanced classes.
    balance : Balance or None
        Class weights that follow the rows.
    """
    if weighted is None:
        weighted = np.ones(len(labels), dtype=bool)
    if isinstance(estimator.class_weight, str):  # "balanced"
        balance = Balance(labels, len(estimator.classes_), weighted)
        return sample_weight, balance
    classes = np.asarray(estimator.classes_)
    of_class = compute_class_weight(estimator.class_weight, classes=classes, y=classes[labels])
    return np.where(weighted, sample_weight * of_class[labels], sample_weight), None


def positive_classes(n_classes):
    """Return the class that each problem tells from the others.

    Two classes have one problem, of the second class; more have one for each class.
    """
    if n_classes == 2:
        return [1]
    return list(range(n_classes))


def problems_of_classes(labels, n_classes):
    """Return the positive class of each problem, and which rows (n,) have the weight of a class.

    Where a class stands against the rest, only its own rows have the weight of a class.
    """
    if n_classes == 2:
        return [(1, np.ones(len(labels), dtype=bool))]
    return [(k, labels == k) for k in range(n_classes)]


def signs(labels, positive=1):
    """Return targets (n, 1): 1 for rows of a class, -1 for others."""
    return np.where(labels == positive, 1.0, -1.0)[:, None]


def class_indicator(labels, positive=1):
    """Return targets (n, 1): 1 for rows of a class, 0 for others."""
    return (labels == positive).astype(np.float64)[:, None]
