"""Convex problems of rows, outputs and a quadratic penalty.

A problem has rows φ_i with targets, K outputs z = θ φ with parameters θ (K, d), and minimises

    F(θ) = Σ_i s_i ℓ(z_i, t_i) + ρ (½ Σ_kj Λ_j θ_kj² + c·θ)

with a loss ℓ that is convex and twice differentiable, weights s_i, a diagonal quadratic penalty Λ
and a fixed linear term c. Without the rows S the sum runs over the others. Two more things may
change then: ρ, where the loss is an average and the penalty is not; and the weights of all rows of
a class, where classes are balanced. Both are part of the problem.

Shapes in comments: n rows, d columns, K outputs, p = K d parameters, m rows at a time.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import issparse

from .._utils.budget import block_bytes, limit
from ._conjugate import VECTORS
from ._hessians import BLOCK, NoMinimumError
from ._losses import Loss

# Parameters whose Hessian is formed where rows are sparse.
MOST_FORMED = 4096
# Matrices (K, K) of each row that are there at once: curvatures at two points, weighted ones, M,
# gains, and the systems that these solve.
_ROW_MATRICES = 8


@dataclass(frozen=True, eq=False)
class Balance:
    """Class weights that are the inverse of the classes' frequencies.

    Class c weighs W / (n_classes W_c), where W_c is the mass of its rows and W that of all rows.
    """

    class_of: np.ndarray  # (n,) class of each row
    n_classes: int
    weighted: np.ndarray  # (n,) whether the weight of its class multiplies the row's loss

    def factors(self, masses):
        """Compute the weights (n_classes,) of classes, and their masses W_c (n_classes,).

        ``masses`` (n,) are those of rows, 0 where they are removed.
        """
        of_class = np.bincount(self.class_of, masses, minlength=self.n_classes)
        with np.errstate(divide="ignore"):
            return masses.sum() / (self.n_classes * of_class), of_class


@dataclass(frozen=True, eq=False)
class ConvexProblem:
    """A convex problem of rows, outputs and a quadratic penalty.

    Parameters
    ----------
    design : ndarray or csr matrix of shape (n, d)
        Rows φ, a column for the intercept among them.
    targets : ndarray of shape (n, K)
        Targets as the loss takes them.
    loss : Loss
        Loss of a row.
    weights : ndarray of shape (n,)
        Weights of rows, without those of ``balance``.
    penalty : ndarray of shape (d,)
        Λ: 0 for an intercept that is not penalised.
    tilt : ndarray of shape (K, d), default=None
        The linear term c: the subgradient of an L1 penalty on the active set, for instance.
    masses : ndarray of shape (n,), default=None
        What rows count for where the number of rows matters; None for 1.
    averaged : bool, default=False
        Whether the loss is an average, so that ρ falls with the mass of the rows.
    balance : Balance, default=None
        Class weights that change with the rows.
    class_of : ndarray of int of shape (n,), default=None
        Class of each row. Without the last row of one the model would be another, so that there
        is no answer. None for numbers.
    gauge : ndarray of shape (d,), default=None
        Columns, as booleans, whose parameters may all change by the same amount over the outputs
        with no effect: of a multinomial loss where there is no penalty.
    memory_limit : float, default=None
        Bytes that Hessians, what belongs to rows, and blocks may take. None takes the budget of
        the call.
    """

    design: object
    targets: np.ndarray
    loss: Loss
    weights: np.ndarray
    penalty: np.ndarray
    tilt: np.ndarray | None = None
    masses: np.ndarray | None = None
    averaged: bool = False
    balance: Balance | None = None
    class_of: np.ndarray | None = None
    gauge: np.ndarray | None = None
    memory_limit: float = field(default_factory=limit)

    @property
    def n_rows(self):
        """Number of rows."""
        return self.design.shape[0]

    @property
    def n_outputs(self):
        """Number of outputs."""
        return self.targets.shape[1]

    @cached_property
    def implicit(self):
        """Whether the Hessian is not formed, because rows are sparse and parameters many.

        Parameters are many where their square matrices would not fit ``memory_limit``, too.
        """
        if not issparse(self.design):
            return False
        return self.n_parameters > MOST_FORMED or self.bytes_formed > self.memory_limit

    @property
    def n_parameters(self):
        """Number p of parameters."""
        return self.design.shape[1] * self.n_outputs

    @property
    def block(self):
        """Bytes that the temporary arrays of a block of rows may take."""
        return block_bytes(BLOCK, self.memory_limit)

    @property
    def bytes_formed(self):
        """Bytes of all square matrices of the parameters that are there at once, and of rows.

        One inverse stays for each class whose weights are balanced, and, where losses are not
        quadratic, another on the way of rows that go one after the other; one more is that of a
        minimum that is looked for.
        """
        n_inverses = 1
        if self.balance is not None:
            n_inverses = self.balance.n_classes
        if not self.loss.quadratic:
            n_inverses *= 2
        return 8 * (n_inverses + 1) * self.n_parameters**2 + self.bytes_of_rows

    @property
    def bytes_of_rows(self):
        """Bytes of curvatures and what is made of them, for each row and pair of outputs."""
        return 8 * _ROW_MATRICES * self.n_rows * self.n_outputs**2

    @property
    def bytes_implicit(self):
        """Bytes of what belongs to rows, and of the vectors that solve one system."""
        vectors = 8 * VECTORS * self.n_outputs * (self.n_parameters + self.n_rows)
        return vectors + self.bytes_of_rows

    def products(self, rows, directions):
        """Multiply some rows (m, d), in ascending order, by directions (d, c)."""
        if len(rows) == self.n_rows:
            return np.asarray(self.design @ directions)
        found = np.empty((len(rows), directions.shape[1]))
        step = max(1, int(self.block / (8 * self.design.shape[1])))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            found[part] = self.design[rows[part]] @ directions
        return found

    def masses_without(self, removed):
        """Return masses (n,) of rows, 0 for those removed."""
        masses = np.ones(self.n_rows)
        if self.masses is not None:
            masses = self.masses.copy()
        masses[removed] = 0
        return masses

    @cached_property
    def _rows_that_hold_classes(self):
        """Booleans (n,), one array for each thing of which every class must keep a row.

        A class must keep a row, and where its intercept or coefficients are free, a row with
        weight: they run to infinity otherwise. A quadratic loss bounds them.
        """
        holding = [np.ones(self.n_rows, dtype=bool)]
        if not self.loss.quadratic and not (self.penalty > 0).all():
            holding.append(self.weights > 0)
        return holding

    def last_of_class(self, removed):
        """Return which rows (n,) are the last of their class once some are removed."""
        last = np.zeros(self.n_rows, dtype=bool)
        if self.class_of is None:
            return last
        for holding in self._rows_that_hold_classes:
            held = holding.copy()
            held[removed] = False
            left = np.bincount(self.class_of[held], minlength=self.class_of.max() + 1)
            last |= held & (left[self.class_of] == 1)
        return last

    def check_classes_left(self, removed):
        """Refuse to remove all rows of a class that has some."""
        if self.class_of is None:
            return
        for holding in self._rows_that_hold_classes:
            held = holding.copy()
            held[removed] = False
            gone = np.setdiff1d(self.class_of[holding], self.class_of[held])
            if len(gone):
                raise NoMinimumError(
                    f"every class must keep a row with weight, but none of class number {gone[0]} "
                    "is left"
                )

    def reweighted(self, removed):
        """Return weights (n,) of rows and the factor ρ of the penalty without some rows."""
        self.check_classes_left(removed)
        masses = self.masses_without(removed)
        weights = self.weights.copy()
        weights[removed] = 0
        if self.balance is not None:
            factors, of_class = self.balance.factors(masses)
            if not (of_class > 0).all():
                gone = int(np.flatnonzero(of_class <= 0)[0])
                raise NoMinimumError(
                    f"every class must keep a row, but none of class number {gone} is left"
                )
            balanced = self.balance.weighted
            weights[balanced] *= factors[self.balance.class_of[balanced]]
        if not self.averaged:
            return weights, 1.0
        return weights, masses.sum() / self.masses_without([]).sum()

    def penalty_gradient(self, theta):
        """Return the gradient (..., K, d) of the penalty with ρ = 1."""
        gradient = theta * self.penalty
        if self.tilt is not None:
            gradient = gradient + self.tilt
        return gradient

    def penalty_value(self, theta):
        """Return the penalty of parameters (K, d) with ρ = 1."""
        value = 0.5 * float((theta**2 * self.penalty).sum())
        if self.tilt is not None:
            value = value + float((self.tilt * theta).sum())
        return value
