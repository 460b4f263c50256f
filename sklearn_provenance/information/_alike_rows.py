"""Rows whose removal changes the weights of the others alike, and steps without each of them.

The formulas and shapes are those of ``_newton``.
"""

import numpy as np

from ._conjugate import CorrectedInverse
from ._hessians import NoMinimumError
from ._row_algebra import (
    UpdatedInverse,
    each_output,
    finite_mean,
    gains_without,
    outer_products,
    outputs_of_rows,
    parameter_scale,
    relative_size,
)


class AlikeRows:
    """Rows of one class where weights are balanced, else all, made ready for steps without each.

    Parameters
    ----------
    minimum : Point
        A minimum with these rows.
    rows : ndarray of shape (m,)
        Row numbers.
    inverse_of : callable
        ``inverse_of(weights, penalty)`` gives A^-1 for weights (n,) of the rows and a penalty.
    cross_of : callable
        ``cross_of(rows, inverse)`` gives M (m, K, K).

    Attributes
    ----------
    inverse : object
        A^-1, with ``times(vectors)``.
    directions : ndarray of shape (n_directions, K, d)
        A^-1 D.
    amounts : ndarray of shape (m, n_directions)
        f.
    penalty_change : ndarray of shape (m,)
        Relative change of ρ.
    balance_change : ndarray of shape (m, 2)
        Relative change of all balanced weights, and of the class's.
    class_rows : ndarray of shape (n,), bool, or None
        Rows that the class's change applies to.
    cross, curvatures, gains : ndarray of shape (m, K, K)
        M, S and (I - S M)^-1 S.
    coefficients : ndarray of shape (m, K)
        e.
    """

    def __init__(self, minimum, rows, inverse_of, cross_of):
        self.minimum = minimum
        self.problem = problem = minimum.problem
        self.rows = rows
        self.penalty_change, self.balance_change = self._changes()
        directions = [minimum.gradient]
        amounts = [np.ones(len(rows))]
        weights = minimum.weights
        penalty = minimum.penalty_scale * problem.penalty
        own_weights = weights[rows].copy()
        self.class_rows = None
        if problem.averaged:
            gradient = minimum.penalty_scale * problem.penalty_gradient(minimum.theta)
            directions.append(gradient)
            amounts.append(self.penalty_change)
            penalty = penalty * (1 + finite_mean(self.penalty_change))
        if problem.balance is not None:
            weighted = problem.balance.weighted
            self.class_rows = weighted & (problem.balance.class_of == self._class())
            for where, change in zip(
                (weighted, self.class_rows), self.balance_change.T, strict=True
            ):
                directions.append(minimum.loss_gradient(minimum.weights * where))
                amounts.append(change)
                weights = weights + finite_mean(change) * minimum.weights * where
            if weighted[rows[0]]:  # and so are all of the class
                own_weights *= 1 + self.balance_change.sum(1)
        self.inverse = inverse_of(weights, penalty)
        self.cross = cross_of(rows, self.inverse)
        directions = np.stack(directions)
        flat = directions.reshape(len(directions), -1)
        self.directions = self.inverse.times(flat).reshape(directions.shape)
        self.amounts = np.stack(amounts, 1)
        self.curvatures = own_weights[:, None, None] * minimum.row_curvatures[rows]
        self.gains = gains_without(self.curvatures, self.cross)
        gradients = own_weights[:, None] * minimum.row_gradients[rows]  # s g, (m, K)
        drift = np.zeros_like(gradients)  # Φ_i of what the directions alone change
        for direction, amount in zip(self.directions, self.amounts.T, strict=True):
            drift += amount[:, None] * problem.products(rows, direction.T)
        moved = drift - np.einsum("mkl,ml->mk", self.cross, gradients)  # q
        self.coefficients = np.einsum("mkl,ml->mk", self.gains, moved) - gradients
        # A step from the minimum is finite there, but what it goes to is not.
        self.coefficients[problem.last_of_class(minimum.removed)[rows]] = np.nan

    def _changes(self):
        """Compute how much ρ and the balanced weights change, relative to now, without each row."""
        masses = self.problem.masses_without(self.minimum.removed)
        own = masses[self.rows]
        total = masses.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            penalty = np.zeros(len(self.rows))
            if self.problem.averaged:
                penalty = -own / total
            if self.problem.balance is None:
                return penalty, np.zeros((len(self.rows), 2))
            of_class = masses[self.problem.balance.class_of == self._class()].sum()
            everywhere = -own / total
            # Nothing is left of a class with one row; that row's answer is nan.
            of_own = (1 + everywhere) * own / (of_class - own)
            of_own[~np.isfinite(of_own)] = np.nan  # infinities would warn on the way
        return penalty, np.stack([everywhere, of_own], 1)

    def _class(self):
        return self.problem.balance.class_of[self.rows[0]]

    def without(self, row):
        """Compute the rows, A^-1 and M that are left without a row."""
        n_outputs, d = self.minimum.theta.shape
        phi = self.problem.design[[row]]
        curvature = self.minimum.weights[row] * self.minimum.row_curvatures[row]
        inverse = self.inverse
        if isinstance(inverse, CorrectedInverse):
            inverse = inverse.near
        columns = inverse.times(each_output(phi, n_outputs)).T  # A^-1 Φ_j^T, (p, K)
        own = each_output(phi, n_outputs) @ columns  # Φ_j A^-1 Φ_j^T
        middle = gains_without(curvature[None], own[None])[0]
        if not np.isfinite(middle).all():
            raise NoMinimumError("the row alone determines a parameter")
        stay = self.rows != row
        rows = self.rows[stay]
        blocks = columns.reshape(n_outputs, d, n_outputs)
        parts = [self.problem.products(rows, block) for block in blocks]
        products = np.stack(parts, 1)  # Φ_i A^-1 Φ_j^T, (m, K, K)
        cross = self.cross[stay] + np.einsum("mka,ab,mlb->mkl", products, middle, products)
        if not isinstance(inverse, UpdatedInverse):
            inverse = UpdatedInverse(inverse)
        return rows, inverse.plus(columns, middle), cross

    def stepped(self, at, n_steps):
        """Compute parameters (m, K, d) without the rows at some positions.

        Also the size of the last step, relative to the first (m,); 0 if there is only one.
        """
        design = self.problem.design[self.rows[at]]
        change = self.inverse.times(outer_products(self.coefficients[at], design))  # (m, p)
        flat = self.directions.reshape(len(self.directions), -1)
        change += self.amounts[at] @ flat
        scale = None
        if n_steps > 1:
            scale = parameter_scale(self.inverse)
        first = relative_size(change, scale)
        last = np.zeros(len(at))
        theta = self.minimum.theta - change.reshape(len(at), *self.minimum.theta.shape)
        for _ in range(n_steps - 1):
            gradient = self._gradient_without(at, theta).reshape(len(at), -1)
            change = self.inverse.times(gradient)
            shaped = change.reshape(theta.shape)
            moved = outputs_of_rows(design, shaped)  # (m, K)
            coefficients = np.einsum("mkl,ml->mk", self.gains[at], moved)
            change += self.inverse.times(outer_products(coefficients, design))
            theta = theta - change.reshape(theta.shape)
            last = relative_size(change, scale)
        with np.errstate(invalid="ignore"):
            return theta, np.where(first > 0, last / np.where(first > 0, first, 1), 0)

    def _gradient_without(self, at, theta):
        """Compute the gradient (m, K, d) without each row at parameters (m, K, d)."""
        problem = self.problem
        minimum = self.minimum
        n, d = problem.design.shape
        m, n_outputs, _ = theta.shape
        outputs = np.asarray(problem.design @ theta.reshape(-1, d).T).reshape(n, m, n_outputs)
        gradients = problem.loss.gradient(outputs, problem.targets[:, None, :])
        weights = minimum.weights[:, None]
        if self.class_rows is not None:
            everywhere, of_own = self.balance_change[at].T
            ours = problem.balance.weighted[:, None]
            weights = weights * (1 + ours * everywhere + self.class_rows[:, None] * of_own)
        gradients *= weights[:, :, None]
        gradients[self.rows[at], np.arange(m)] = 0
        total = np.asarray(problem.design.T @ gradients.reshape(n, -1)).T
        scale = minimum.penalty_scale * (1 + self.penalty_change[at])
        penalty = scale[:, None, None] * problem.penalty_gradient(theta)
        return total.reshape(theta.shape) + penalty
