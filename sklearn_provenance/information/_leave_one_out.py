"""The minimum of a convex problem without each row in turn.

The formulas and shapes are those of ``_newton``.
"""

from dataclasses import dataclass

import numpy as np

from ._conjugate import CorrectedInverse
from ._function_space import invert_through_rows
from ._hessians import NoMinimumError
from ._newton import BLOCK, Point, make_inverse, minimise
from ._row_algebra import (
    UpdatedInverse,
    each_output,
    finite_mean,
    gains_without,
    outer_products,
    outputs_of_rows,
    parameter_scale,
    relative_size,
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


@dataclass(eq=False)
class _Kind:
    """Rows whose removal changes the weights of the others alike: those of a class."""

    rows: np.ndarray  # (m,) row numbers
    inverse: object  # A^-1, with times(vectors)
    directions: np.ndarray  # A^-1 D, (n_directions, K, d)
    amounts: np.ndarray  # f, (m, n_directions)
    penalty_change: np.ndarray  # (m,) relative change of ρ
    balance_change: np.ndarray  # (m, 2) relative change of all balanced weights; of the class's
    class_rows: np.ndarray | None  # (n,) whether the class's change applies to a row
    cross: np.ndarray  # M, (m, K, K)
    curvatures: np.ndarray  # S, (m, K, K)
    gains: np.ndarray  # (I - S M)^-1 S, (m, K, K)
    coefficients: np.ndarray  # e, (m, K)


class LeaveOneOut:
    """Newton steps from the minimum of a problem to that without one row, for all rows.

    Parameters
    ----------
    minimum : Point
        A minimum; rows that it leaves out already stay out.
    """

    def __init__(self, minimum):
        self.minimum = minimum
        self.problem = minimum.problem
        self._curvature = self._curvature_now()
        self._estimated = self._near = None
        if self.problem.implicit:
            self._near = invert_through_rows(minimum)
        self._kinds = [self._kind(rows) for rows in self._rows_by_kind()]

    def _curvature_now(self):
        """Curvature of each row (n,), summed over outputs."""
        traces = np.einsum("nkk->n", self.minimum.row_curvatures)
        return self.minimum.weights * traces

    def _rows_by_kind(self):
        kept = np.ones(self.problem.n_rows, dtype=bool)
        kept[self.minimum.removed] = False
        if self.problem.balance is None:
            return [np.flatnonzero(kept)]
        classes = self.problem.balance.class_of
        return [np.flatnonzero(kept & (classes == label)) for label in np.unique(classes[kept])]

    def _changes(self, rows):
        """How much ρ and the balanced weights change, relative to now, without each of rows."""
        masses = self.problem.masses_without(self.minimum.removed)
        own = masses[rows]
        total = masses.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            penalty = np.zeros(len(rows))
            if self.problem.averaged:
                penalty = -own / total
            if self.problem.balance is None:
                return penalty, np.zeros((len(rows), 2))
            of_class = masses[self.problem.balance.class_of == self._class(rows)].sum()
            everywhere = -own / total
            # Nothing is left of a class with one row; that row's answer is nan.
            of_own = (1 + everywhere) * own / (of_class - own)
            of_own[~np.isfinite(of_own)] = np.nan  # infinities would warn on the way
        return penalty, np.stack([everywhere, of_own], 1)

    def _class(self, rows):
        return self.problem.balance.class_of[rows[0]]

    def _kind(self, rows, earlier=None):
        """Prepare steps without rows; ``earlier`` is an inverse from before, and M of the rows."""
        minimum = self.minimum
        problem = self.problem
        penalty_change, balance_change = self._changes(rows)
        directions = [minimum.gradient]
        amounts = [np.ones(len(rows))]
        weights = minimum.weights
        penalty = minimum.penalty_scale * problem.penalty
        own_weights = weights[rows].copy()
        class_rows = None
        if problem.averaged:
            gradient = minimum.penalty_scale * problem.penalty_gradient(minimum.theta)
            directions.append(gradient)
            amounts.append(penalty_change)
            penalty = penalty * (1 + finite_mean(penalty_change))
        if problem.balance is not None:
            weighted = problem.balance.weighted
            class_rows = weighted & (problem.balance.class_of == self._class(rows))
            for where, change in zip((weighted, class_rows), balance_change.T, strict=True):
                directions.append(minimum.loss_gradient(minimum.weights * where))
                amounts.append(change)
                weights = weights + finite_mean(change) * minimum.weights * where
            if weighted[rows[0]]:  # and so are all of the class
                own_weights *= 1 + balance_change.sum(1)
        if earlier is None:
            inverse = make_inverse(minimum, weights, penalty, self._near)
            cross = self._cross(rows, inverse)
        else:
            near, cross = earlier
            inverse = near
            if not problem.implicit and not problem.loss.quadratic:
                inverse = corrected_inverse(minimum, weights, penalty, near)
        directions = np.stack(directions)
        flat = directions.reshape(len(directions), -1)
        directions = inverse.times(flat).reshape(directions.shape)
        amounts = np.stack(amounts, 1)
        curvatures = own_weights[:, None, None] * minimum.row_curvatures[rows]
        gains = gains_without(curvatures, cross)
        gradients = own_weights[:, None] * minimum.row_gradients[rows]  # s g, (m, K)
        drift = np.zeros_like(gradients)  # Φ_i of what the directions alone change
        for direction, amount in zip(directions, amounts.T, strict=True):
            drift += amount[:, None] * np.asarray(problem.design[rows] @ direction.T)
        moved = drift - np.einsum("mkl,ml->mk", cross, gradients)  # q
        coefficients = np.einsum("mkl,ml->mk", gains, moved) - gradients
        # A step from the minimum is finite there, but what it goes to is not.
        coefficients[problem.last_of_class(minimum.removed)[rows]] = np.nan
        return _Kind(
            rows=rows,
            inverse=inverse,
            directions=directions,
            amounts=amounts,
            penalty_change=penalty_change,
            balance_change=balance_change,
            class_rows=class_rows,
            cross=cross,
            curvatures=curvatures,
            gains=gains,
            coefficients=coefficients,
        )

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
        step = max(1, int(BLOCK / (8 * d)))
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
        """By how much the outputs of a query fall without each row, to one step.

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
        """As :meth:`output_changes`, (m, n, K), for queries (m, d) at once."""
        n_outputs, d = self.minimum.theta.shape
        m = len(queries)
        changes = np.full((m, self.problem.n_rows, n_outputs), np.nan)
        of_outputs = np.einsum("kl,md->mkld", np.eye(n_outputs), queries)
        of_outputs = of_outputs.reshape(m * n_outputs, -1)
        for kind in self._kinds:
            along = kind.directions @ queries.T  # (n_directions, K, m)
            part = np.einsum("iv,vkm->mik", kind.amounts, along)
            design = self.problem.design[kind.rows]
            solved = kind.inverse.times(of_outputs).reshape(m, n_outputs, n_outputs, d)  # Φ_* A^-1
            for k in range(n_outputs):
                moved = np.asarray(design @ solved[:, k].reshape(-1, d).T)  # (n_kind, m K)
                moved = moved.reshape(-1, m, n_outputs)
                part[:, :, k] += np.einsum("imk,ik->mi", moved, kind.coefficients)
            changes[:, kind.rows] = part
        return changes

    def without(self, row):
        """Newton steps from the minimum without a row, to those without another too.

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
        kinds = [self._updated(kind, row) for kind in self._kinds]
        point, arrived = _follow(point, kinds[0][1])
        other = object.__new__(LeaveOneOut)
        other.problem = self.problem
        other.minimum = point
        other._curvature = self._curvature
        kept = point.weights != 0
        change = np.abs(other._curvature_now() - self._curvature)[kept].sum()
        if not arrived:
            return LeaveOneOut(minimise(self.problem, point.theta, removed, tolerance=1e-12))
        if change > _DRIFT * self._curvature[kept].sum():
            return LeaveOneOut(point)
        other._kinds = [other._kind(rows, (inv, cross)) for rows, inv, cross in kinds if len(rows)]
        return other

    def _without_implicit(self, row, point):
        """As :meth:`without`, where Hessians cost nothing to set up and M is estimated once."""
        point = minimise(self.problem, point.theta, point.removed, tolerance=1e-12)
        other = object.__new__(LeaveOneOut)
        other.problem = self.problem
        other.minimum = point
        other._curvature = self._curvature
        other._estimated = self._estimated
        other._near = None
        other._kinds = [
            other._kind(rows, (point.inverse(), self._estimated[rows]))
            for rows in other._rows_by_kind()
        ]
        return other

    def _updated(self, kind, row):
        """Rows of a kind, inverse and M without a row."""
        n_outputs, d = self.minimum.theta.shape
        phi = self.problem.design[[row]]
        curvature = self.minimum.weights[row] * self.minimum.row_curvatures[row]
        inverse = kind.inverse
        if isinstance(inverse, CorrectedInverse):
            inverse = inverse.near
        columns = inverse.times(each_output(phi, n_outputs)).T  # A^-1 Φ_j^T, (p, K)
        own = each_output(phi, n_outputs) @ columns  # Φ_j A^-1 Φ_j^T
        middle = gains_without(curvature[None], own[None])[0]
        if not np.isfinite(middle).all():
            raise NoMinimumError("the row alone determines a parameter")
        stay = kind.rows != row
        rows = kind.rows[stay]
        design = self.problem.design[rows]
        parts = [np.asarray(design @ block) for block in columns.reshape(n_outputs, d, n_outputs)]
        products = np.stack(parts, 1)  # Φ_i A^-1 Φ_j^T, (m, K, K)
        cross = kind.cross[stay] + np.einsum("mka,ab,mlb->mkl", products, middle, products)
        if not isinstance(inverse, UpdatedInverse):
            inverse = UpdatedInverse(inverse)
        return rows, inverse.plus(columns, middle), cross

    def parameters(self, rows, n_steps=1, n_solved=0):
        """Parameters without each of some rows.

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
                stepped = self._stepped(kind, positions[part], n_steps)
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
        """Rows at a time, so that temporary arrays stay small."""
        size = self.minimum.theta.size
        if n_steps > 1:
            size = max(size, 4 * self.problem.n_rows * self.problem.n_outputs)
        return max(1, int(BLOCK / (8 * size)))

    def _stepped(self, kind, at, n_steps):
        """Parameters (m, K, d) without the rows at some positions of a kind.

        Also the size of the last step, relative to the first (m,); 0 if there is only one.
        """
        design = self.problem.design[kind.rows[at]]
        change = kind.inverse.times(outer_products(kind.coefficients[at], design))  # (m, p)
        flat = kind.directions.reshape(len(kind.directions), -1)
        change += kind.amounts[at] @ flat
        scale = None
        if n_steps > 1:
            scale = parameter_scale(kind.inverse)
        first = relative_size(change, scale)
        last = np.zeros(len(at))
        theta = self.minimum.theta - change.reshape(len(at), *self.minimum.theta.shape)
        for _ in range(n_steps - 1):
            gradient = self._gradient_without(kind, at, theta).reshape(len(at), -1)
            change = kind.inverse.times(gradient)
            shaped = change.reshape(theta.shape)
            moved = outputs_of_rows(design, shaped)  # (m, K)
            coefficients = np.einsum("mkl,ml->mk", kind.gains[at], moved)
            change += kind.inverse.times(outer_products(coefficients, design))
            theta = theta - change.reshape(theta.shape)
            last = relative_size(change, scale)
        with np.errstate(invalid="ignore"):
            return theta, np.where(first > 0, last / np.where(first > 0, first, 1), 0)

    def _gradient_without(self, kind, at, theta):
        """Gradient (m, K, d) at parameters (m, K, d) of the problem without each row."""
        problem = self.problem
        minimum = self.minimum
        n, d = problem.design.shape
        m, n_outputs, _ = theta.shape
        outputs = np.asarray(problem.design @ theta.reshape(-1, d).T).reshape(n, m, n_outputs)
        gradients = problem.loss.gradient(outputs, problem.targets[:, None, :])
        weights = minimum.weights[:, None]
        if kind.class_rows is not None:
            everywhere, of_own = kind.balance_change[at].T
            ours = problem.balance.weighted[:, None]
            weights = weights * (1 + ours * everywhere + kind.class_rows[:, None] * of_own)
        gradients *= weights[:, :, None]
        gradients[kind.rows[at], np.arange(m)] = 0
        total = np.asarray(problem.design.T @ gradients.reshape(n, -1)).T
        scale = minimum.penalty_scale * (1 + kind.penalty_change[at])
        penalty = scale[:, None, None] * problem.penalty_gradient(theta)
        return total.reshape(theta.shape) + penalty

    @property
    def own_changes(self):
        """By how much the outputs (n, K) of rows fall without themselves, to one step."""
        changes = np.full((self.problem.n_rows, self.problem.n_outputs), np.nan)
        for kind in self._kinds:
            design = self.problem.design[kind.rows]
            own = np.einsum("mkl,ml->mk", kind.cross, kind.coefficients)
            for direction, amount in zip(kind.directions, kind.amounts.T, strict=True):
                own += amount[:, None] * np.asarray(design @ direction.T)
            changes[kind.rows] = own
        return changes

    @property
    def exact(self):
        """Whether one step is exact: the loss is quadratic, and rows of a kind weigh alike."""
        alike = all(np.ptp(kind.amounts, axis=0).max() < 1e-15 for kind in self._kinds)
        return self.problem.loss.quadratic and alike

    @property
    def leverages(self):
        """Leverages (n,) of rows, the trace of S M; nan for rows that are left out already."""
        values = np.full(self.problem.n_rows, np.nan)
        for kind in self._kinds:
            values[kind.rows] = np.einsum("mkl,mlk->m", kind.curvatures, kind.cross)
        return values


def corrected_inverse(point, weights, penalty, near):
    """The inverse Hessian at a point, for weights (n,) and a penalty (d,), from one near to it."""
    problem = point.problem
    curvatures = weights[:, None, None] * point.row_curvatures
    return CorrectedInverse(problem.design, curvatures, penalty, problem.gauge, near)


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
