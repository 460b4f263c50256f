"""The minimum of a convex problem without each row in turn.

The formulas and shapes are those of ``_newton``.
"""

from functools import cached_property

import numpy as np

from ._alike_rows import AlikeRows
from ._conjugate import CorrectedInverse
from ._function_space import invert_through_rows
from ._hessians import NoMinimumError
from ._newton import Point, make_inverse, minimise
from ._row_algebra import (
    row_products,
)

# Where the second step is a larger part of the first, few steps with one Hessian do not arrive.
_SLOW = 0.1
# Where curvatures have changed by more, leverages are computed anew.
_DRIFT = 0.01
# Newton decrement, relative to the size of F, that a minimum on the way must have, and the most
# steps towards it.
_CLOSE = 1e-13
_MOST_STEPS = 8


class LeaveOneOut:
    """Newton steps from the minimum of a problem to that without one row, for all rows.

    Parameters
    ----------
    minimum : Point
        A minimum; rows that it leaves out already stay out.
    """

    # Whether others were left out before, one after the other, on the way to further ones.
    _on_the_way = False

    def __init__(self, minimum):
        self.minimum = minimum
        self.problem = minimum.problem
        self._curvature = self._curvature_now()
        self._estimated = self._near = None
        if self.problem.implicit:
            self._near = invert_through_rows(minimum)
        _ = self._kinds

    @cached_property
    def _kinds(self):
        return [self._alike(rows) for rows in self._rows_by_kind()]

    def _curvature_now(self):
        """Compute the curvature of each row (n,), summed over outputs."""
        traces = np.einsum("nkk->n", self.minimum.row_curvatures)
        return self.minimum.weights * traces

    def _rows_by_kind(self):
        kept = np.ones(self.problem.n_rows, dtype=bool)
        kept[self.minimum.removed] = False
        if self.problem.balance is None:
            return [np.flatnonzero(kept)]
        classes = self.problem.balance.class_of
        return [np.flatnonzero(kept & (classes == label)) for label in np.unique(classes[kept])]

    def _alike(self, rows):
        """Prepare steps without rows that are alike."""

        def inverse_of(weights, penalty):
            return make_inverse(self.minimum, weights, penalty, self._near)

        return AlikeRows(self.minimum, rows, inverse_of, self._cross)

    def _known(self, rows, near, cross):
        """Prepare steps without rows that are alike, from an inverse and M that were updated."""

        def inverse_of(weights, penalty):
            if self.problem.implicit or self.problem.loss.quadratic:
                return near
            return corrected_inverse(self.minimum, weights, penalty, near)

        return AlikeRows(self.minimum, rows, inverse_of, lambda *_: cross)

    def _cross(self, rows, inverse):
        """Compute M (m, K, K): φ_i^T A^-1_kl φ_i of each row."""
        if self.problem.implicit:
            if self._estimated is None:  # once, since kinds differ by a row's share
                source = self._near
                if source is None:
                    source = inverse
                self._estimated = source.cross()
            return self._estimated[rows]
        d = self.problem.design.shape[1]
        n_outputs = self.problem.n_outputs
        blocks = inverse.matrix.reshape(n_outputs, d, n_outputs, d)
        cross = np.empty((len(rows), n_outputs, n_outputs))
        step = max(1, int(self.problem.block / (8 * d)))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            design = self.problem.design[rows[part]]
            for k in range(n_outputs):
                for j in range(k + 1):
                    product = np.asarray(design @ blocks[k, :, j])  # (m, d)
                    cross[part, k, j] = row_products(design, product)
                    cross[part, j, k] = cross[part, k, j]
        return cross

    def output_changes(self, query):
        """Compute by how much the outputs of a query fall without each row, to one step.

        Parameters
        ----------
        query : ndarray of shape (d,)
            The query's φ.

        Returns
        -------
        ndarray of shape (n, K)
            Differences; nan for rows that are left out already or are the last of their class.
        """
        return self.changes_of(query[None])[0]

    def changes_of(self, queries):
        """Compute :meth:`output_changes` (m, n, K) of queries (m, d) at once."""
        n_outputs, d = self.minimum.theta.shape
        m = len(queries)
        changes = np.full((m, self.problem.n_rows, n_outputs), np.nan)
        of_outputs = np.einsum("kl,md->mkld", np.eye(n_outputs), queries)
        of_outputs = of_outputs.reshape(m * n_outputs, -1)
        for kind in self._kinds:
            along = kind.directions @ queries.T  # (n_directions, K, m)
            part = np.einsum("iv,vkm->mik", kind.amounts, along)
            solved = kind.inverse.times(of_outputs).reshape(m, n_outputs, n_outputs, d)  # Φ_* A^-1
            for k in range(n_outputs):
                directions = solved[:, k].reshape(-1, d).T
                moved = self.problem.products(kind.rows, directions)  # (n_kind, m K)
                moved = moved.reshape(-1, m, n_outputs)
                part[:, :, k] += np.einsum("imk,ik->mi", moved, kind.coefficients)
            changes[:, kind.rows] = part
        return changes

    def without(self, row):
        """Go to the minimum without a row, from which another row can be left out.

        An inverse Hessian is updated by the row's part of it; it preconditions conjugate gradients
        with the Hessian as it is now, and gives leverages. Where curvatures have changed much since
        it was computed, or steps do not arrive, everything is computed anew.

        Parameters
        ----------
        row : int
            Row number, none of those left out already.

        Returns
        -------
        LeaveOneOut
            At the minimum without the row.

        Raises
        ------
        NoMinimumError
            If there is no unique minimum without it.
        """
        removed = np.append(self.minimum.removed, row)
        self.problem.check_classes_left(removed)
        theta = self.parameters(np.array([row]))[0]
        if not np.isfinite(theta).all():
            raise NoMinimumError("the row alone determines a parameter")
        point = Point(self.problem, removed, theta)
        if self.problem.implicit:
            return self._without_implicit(row, point)
        kinds = [kind.without(row) for kind in self._kinds]
        point, arrived = _follow(point, kinds[0][1])
        other = object.__new__(LeaveOneOut)
        other.problem = self.problem
        other.minimum = point
        other._curvature = self._curvature
        kept = point.weights != 0
        change = np.abs(other._curvature_now() - self._curvature)[kept].sum()
        if not arrived or change > _DRIFT * self._curvature[kept].sum():
            del kinds
            if self._on_the_way:  # its inverses go before others are made; errors make them again
                vars(self).pop("_kinds", None)
            if not arrived:
                point = minimise(self.problem, point.theta, removed, tolerance=1e-12)
            other = LeaveOneOut(point)
        else:
            other._kinds = [other._known(*kind) for kind in kinds if len(kind[0])]
        other._on_the_way = True
        return other

    def _without_implicit(self, row, point):
        """Do as :meth:`without`, where Hessians cost nothing to set up and M is estimated once."""
        point = minimise(self.problem, point.theta, point.removed, tolerance=1e-12)
        other = object.__new__(LeaveOneOut)
        other.problem = self.problem
        other.minimum = point
        other._curvature = self._curvature
        other._estimated = self._estimated
        other._near = None
        other._kinds = [
            other._known(rows, point.inverse(), self._estimated[rows])
            for rows in other._rows_by_kind()
        ]
        return other

    def parameters(self, rows, n_steps=1, n_solved=0):
        """Compute parameters without each of some rows.

        Parameters
        ----------
        rows : ndarray of int of shape (m,)
            Row numbers, none of which is left out already.
        n_steps : int, default=1
            Newton steps; the first is from the minimum of all rows, the others keep its Hessian.
        n_solved : int, default=0
            Rows for which the problem may be solved to the end: those whose last step was not
            small beside the first, the largest first.

        Returns
        -------
        ndarray of shape (m, K, d)
            Parameters; nan where the problem without the row is singular, or the row is the last
            of its class.
        """
        theta = np.empty((len(rows), *self.minimum.theta.shape))
        left = np.zeros(len(rows))  # the last step as a part of the first
        for kind in self._kinds:
            ours = np.flatnonzero(np.isin(rows, kind.rows))
            positions = np.searchsorted(kind.rows, rows[ours])
            step = self._block(n_steps)
            for start in range(0, len(ours), step):
                part = slice(start, start + step)
                stepped = kind.stepped(positions[part], n_steps)
                theta[ours[part]], left[ours[part]] = stepped
        slow = np.flatnonzero(left > _SLOW)
        for number in slow[np.argsort(-left[slow], kind="stable")][:n_solved]:
            removed = np.append(self.minimum.removed, rows[number])
            try:
                solved = minimise(self.problem, self.minimum.theta, removed, tolerance=1e-12)
                theta[number] = solved.theta
            except NoMinimumError:
                theta[number] = np.nan
        return theta

    def _block(self, n_steps):
        """Count the rows that are stepped at a time, so that temporary arrays stay small."""
        size = self.minimum.theta.size
        if n_steps > 1:
            size = max(size, 4 * self.problem.n_rows * self.problem.n_outputs)
        return max(1, int(self.problem.block / (8 * size)))

    @property
    def own_changes(self):
        """Return by how much the outputs (n, K) of rows fall without themselves, to one step."""
        changes = np.full((self.problem.n_rows, self.problem.n_outputs), np.nan)
        for kind in self._kinds:
            own = np.einsum("mkl,ml->mk", kind.cross, kind.coefficients)
            for direction, amount in zip(kind.directions, kind.amounts.T, strict=True):
                own += amount[:, None] * self.problem.products(kind.rows, direction.T)
            changes[kind.rows] = own
        return changes

    @property
    def exact(self):
        """Return whether one step is exact: a quadratic loss, and rows of a kind weigh alike."""
        alike = all(np.ptp(kind.amounts, axis=0).max() < 1e-15 for kind in self._kinds)
        return self.problem.loss.quadratic and alike

    @property
    def leverages(self):
        """Return leverages (n,), the trace of S M; nan for rows that are left out already."""
        values = np.full(self.problem.n_rows, np.nan)
        for kind in self._kinds:
            values[kind.rows] = np.einsum("mkl,mlk->m", kind.curvatures, kind.cross)
        return values


def corrected_inverse(point, weights, penalty, near):
    """Correct an inverse Hessian for a point near to it, weights (n,) and a penalty (d,)."""
    problem = point.problem
    curvatures = weights[:, None, None] * point.row_curvatures
    bounds = problem.gauge, near, problem.memory_limit
    return CorrectedInverse(problem.design, curvatures, penalty, *bounds)


def _follow(point, near):
    """Take Newton steps towards a minimum, and say whether they arrive."""
    problem = point.problem
    penalty = point.penalty_scale * problem.penalty
    inverse = near
    for _ in range(_MOST_STEPS):
        flat = point.gradient.reshape(1, -1)
        if not problem.loss.quadratic:
            inverse = corrected_inverse(point, point.weights, penalty, near)
        step = inverse.times(flat)
        decrement = float((step * flat).sum())
        point = point.moved(point.theta - step.reshape(point.theta.shape))
        if abs(decrement) <= _CLOSE * point.size:
            return point, True
    return point, False
