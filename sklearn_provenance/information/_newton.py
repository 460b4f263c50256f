"""Minima of convex problems, and what they become when rows go.

Without the row i, one Newton step from the minimum θ of a problem, in the notation and with the
shapes of ``_convex_problem``, is

    θ_i = θ - x_i,   (A - Φ_i^T S_i Φ_i) x_i = v_i

with Φ_i = I_K ⊗ φ_i^T, S_i the weighted second derivative of the row's loss, A the Hessian of F
with the row and the changed weights, and v_i the gradient of F without it. The Woodbury identity
turns that into one inverse of A for all rows:

    x_i = A^-1 Σ_v f_iv D_v + A^-1 Φ_i^T e_i,   e_i = (I - S_i M_i)^-1 S_i q_i - s_i g_i

where D_v are the directions of what changes beside the row (D_0 is the gradient of F itself), f_iv
by how much, g_i the weighted gradient of the row's loss in its outputs, M_i = Φ_i A^-1 Φ_i^T and
q_i = Φ_i A^-1 v_i. For the squared loss with a fixed penalty that is exact: θ_i = θ - A^-1 φ_i r_i
/ (1 - h_i) with the residual r_i and the leverage h_i. Further steps take the gradient at θ_i and
keep the Hessian.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ._conjugate import ConjugateGradients
from ._convex_problem import ConvexProblem
from ._hessians import FormedInverse, NoMinimumError, add_penalty, fix_gauge, gram, invert


@dataclass(eq=False)
class Point:
    """A problem without some rows, at some parameters."""

    problem: ConvexProblem
    removed: np.ndarray  # (n_removed,) row numbers
    theta: np.ndarray  # (K, d)
    weights: np.ndarray = field(init=False)  # (n,)
    penalty_scale: float = field(init=False)

    def __post_init__(self):
        self.removed = np.asarray(self.removed, dtype=np.int64)
        self.weights, self.penalty_scale = self.problem.reweighted(self.removed)

    def moved(self, theta):
        """Return the same problem at other parameters, which have the same weights."""
        other = object.__new__(Point)  # without __post_init__, which counts all rows again
        other.problem = self.problem
        other.removed = self.removed
        other.theta = theta
        other.weights = self.weights
        other.penalty_scale = self.penalty_scale
        return other

    @cached_property
    def outputs(self):
        """Outputs (n, K) of all rows."""
        return np.asarray(self.problem.design @ self.theta.T)

    @cached_property
    def row_gradients(self):
        """Gradients (n, K) of the rows' losses in their outputs, without weights."""
        return self.problem.loss.gradient(self.outputs, self.problem.targets)

    @cached_property
    def row_curvatures(self):
        """Second derivatives (n, K, K) of the rows' losses, without weights."""
        return self.problem.loss.curvature(self.outputs, self.problem.targets)

    @property
    def value(self):
        """F, a number."""
        return self._value_and_size[0]

    @property
    def size(self):
        """Sum of the absolute terms of F, which rounding is relative to."""
        return self._value_and_size[1]

    @cached_property
    def _value_and_size(self):
        with np.errstate(over="ignore", invalid="ignore"):
            losses = self.problem.loss.value(self.outputs, self.problem.targets)
        kept = self.weights != 0  # the loss of a row without weight may be infinite
        penalty = self.penalty_scale * self.problem.penalty_value(self.theta)
        value = float(self.weights[kept] @ losses[kept] + penalty)
        return value, float(self.weights[kept] @ np.abs(losses[kept]) + abs(penalty))

    @cached_property
    def gradient(self):
        """Gradient (K, d) of F."""
        penalty = self.penalty_scale * self.problem.penalty_gradient(self.theta)
        return self.loss_gradient(self.weights) + penalty

    def loss_gradient(self, weights):
        """Compute the gradient (K, d) of the weighted sum of the losses."""
        return np.asarray(self.problem.design.T @ (weights[:, None] * self.row_gradients)).T

    def loss_hessian(self, weights):
        """Compute the Hessian (p, p) of the weighted sum of the losses."""
        curvatures = weights[:, None, None] * self.row_curvatures
        return gram(self.problem.design, curvatures, self.problem.block)

    def inverse(self):
        """Return what the inverse Hessian of F does to vectors."""
        penalty = self.penalty_scale * self.problem.penalty
        return make_inverse(self, self.weights, penalty)

    def hessian(self):
        """Compute the Hessian (p, p) of F."""
        hessian = self.loss_hessian(self.weights)
        add_penalty(hessian, self.penalty_scale * self.problem.penalty)
        return hessian


def make_inverse(point, weights, penalty, near=None):
    """Invert the Hessian of a problem whose rows have weights (n,), with a penalty (d,).

    Parameters
    ----------
    point : Point
        Where the second derivatives are taken.
    weights : ndarray of shape (n,)
        Weights of rows.
    penalty : ndarray of shape (d,)
        Penalty of each output.
    near : FunctionSpaceInverse, default=None
        Something near to the inverse, where the Hessian is not formed.

    Returns
    -------
    FormedInverse or ConjugateGradients
        With ``times(vectors)``.
    """
    problem = point.problem
    if problem.implicit:
        curvatures = weights[:, None, None] * point.row_curvatures
        bounds = problem.gauge, near, problem.memory_limit
        return ConjugateGradients(problem.design, curvatures, penalty, *bounds)
    hessian = point.loss_hessian(weights)
    add_penalty(hessian, penalty)
    fix_gauge(hessian, problem.gauge)
    return FormedInverse(invert(hessian))


def minimise(problem, start, removed=(), *, tolerance=1e-16, max_steps=100):
    """Minimise a problem without some rows by Newton's method.

    Parameters
    ----------
    problem : ConvexProblem
        The problem.
    start : ndarray of shape (K, d)
        Parameters to start from.
    removed : array-like of int of shape (n_removed,), default=()
        Rows that are left out.
    tolerance : float, default=1e-16
        Newton decrement, relative to the size of F, below which a last step is taken.
    max_steps : int, default=100
        Newton steps.

    Returns
    -------
    Point
        The minimum.

    Raises
    ------
    NoMinimumError
        If the minimum is not unique, or not reached in ``max_steps``: there may be none, as with
        classes that can be separated and no penalty.
    """
    point = Point(problem, removed, np.asarray(start, dtype=np.float64))
    quadratic = problem.loss.quadratic
    for _ in range(max_steps):
        inverse = point.inverse()
        direction = _times(inverse, point.gradient)
        decrement = float((direction * point.gradient).sum())
        if quadratic or decrement <= tolerance * point.size:
            # One more step with the Hessian at hand makes up for rounding.
            last = point.moved(point.theta - direction)
            return last.moved(last.theta - _times(inverse, last.gradient))
        if decrement <= 1e-8 * point.size:
            # Values no longer tell points apart.
            point = point.moved(point.theta - direction)
        else:
            point = _search(point, direction, decrement)
    raise NoMinimumError(f"{max_steps} Newton steps did not reach a minimum")


def _search(point, direction, decrement):
    """Take the first of the steps 1, 1/2, 1/4, ... that lowers the value enough."""
    step = 1.0
    while step > 1e-12:
        trial = point.moved(point.theta - step * direction)
        if trial.value <= point.value - 1e-4 * step * decrement:
            return trial
        step /= 2
    raise NoMinimumError("no Newton step lowers the objective")


def _times(inverse, gradient):
    """Multiply an inverse Hessian by a gradient (K, d)."""
    return inverse.times(gradient.reshape(1, -1)).reshape(gradient.shape)
