"""Leverage, Cook's distance and their kin, for problems with one output.

The hat matrix, studentized residuals and Cook's distance are those of generalised linear models,
with the Hessian of the penalty where there is one. Shapes: n rows, d columns.

References
----------
Cook, Weisberg (1982). Residuals and influence in regression.

Belsley, Kuh, Welsch (1980). Regression diagnostics.

Williams (1987). Generalized linear model diagnostics using the deviance and single case deletions.
Applied Statistics 36(2).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._hessians import add_penalty, gram, invert
from ._losses import SquaredLoss
from ._newton import Point
from ._row_algebra import row_products


@dataclass(eq=False)
class CaseDeletion:
    """Diagnostics of rows at the minimum of a problem.

    Parameters
    ----------
    minimum : Point
        The minimum with all rows, of a problem with one output and a loss that is the negative log
        likelihood of a generalised linear model.
    unit : float, default=1.0
        What multiplies the log likelihood, such as C of a logistic regression; weights of rows are
        relative to it.
    """

    minimum: Point
    unit: float = 1.0

    @cached_property
    def _family(self):
        mean, slope, variance = self.minimum.problem.loss.family(self.minimum.outputs)
        return mean, slope, variance

    @cached_property
    def _weights(self):
        """Weights (n,) of iteratively reweighted least squares."""
        _, slope, variance = self._family
        return self.minimum.weights * slope**2 / variance

    @cached_property
    def _inverse(self):
        """Inverse (d, d) of the expected Hessian."""
        hessian = gram(
            self.minimum.problem.design, self._weights[:, None, None], self.minimum.problem.block
        )
        add_penalty(hessian, self.minimum.penalty_scale * self.minimum.problem.penalty)
        return invert(hessian)

    @cached_property
    def leverage(self):
        """Diagonal (n,) of the hat matrix, W^1/2 Φ H^-1 Φ^T W^1/2."""
        problem = self.minimum.problem
        leverage = np.empty(problem.n_rows)
        step = max(1, int(problem.block / (8 * problem.design.shape[1])))
        for start in range(0, len(leverage), step):
            rows = slice(start, start + step)
            design = problem.design[rows]
            solved = np.asarray(design @ self._inverse)  # H^-1 φ_i
            leverage[rows] = self._weights[rows] * row_products(design, solved)
        return leverage

    @cached_property
    def n_parameters(self):
        """Effective number of parameters, the trace of the hat matrix."""
        return float(self.leverage.sum())

    @cached_property
    def pearson(self):
        """Residuals (n,) divided by their standard deviation, up to the dispersion."""
        mean, _, variance = self._family
        targets = self.minimum.problem.targets[:, 0]
        weights = self.minimum.weights / self.unit
        return np.sqrt(weights / variance) * (targets - mean)

    @cached_property
    def dispersion(self):
        """The variance that residuals have in units of the variance function."""
        if self.minimum.problem.loss.dispersion is not None:
            return self.minimum.problem.loss.dispersion
        return float((self.pearson**2).sum() / (len(self.leverage) - self.n_parameters))

    @cached_property
    def studentized(self):
        """Residuals (n,) divided by their own standard deviation; internally studentized."""
        return self.pearson / np.sqrt(self.dispersion * (1 - self.leverage))

    @cached_property
    def dispersion_without(self):
        """The dispersion (n,) without each row; for the squared loss."""
        n = len(self.leverage)
        squares = (self.pearson**2).sum() - self.pearson**2 / (1 - self.leverage)
        return squares / (n - self.n_parameters - 1)

    @cached_property
    def externally_studentized(self):
        """Residuals (n,) divided by a deviation that is estimated without the row."""
        return self.pearson / np.sqrt(self.dispersion_without * (1 - self.leverage))

    @cached_property
    def cooks_distance(self):
        """Cook's distances (n,), to one step."""
        ratio = self.leverage / (1 - self.leverage)
        return self.studentized**2 * ratio / self.n_parameters

    def dfbetas(self, transform):
        """Compute changes of parameters without each row, in standard errors.

        Parameters
        ----------
        transform : callable
            From parameters (..., d) to those that are reported.

        Returns
        -------
        ndarray of shape (n, d)
            To one step; for the squared loss standard errors are without the row too.
        """
        mean, slope, variance = self._family
        residuals = self.minimum.problem.targets[:, 0] - mean
        scores = self.minimum.weights * slope / variance * residuals
        solved = np.asarray(self.minimum.problem.design @ self._inverse)  # H^-1 φ_i, (n, d)
        change = solved * (scores / (1 - self.leverage))[:, None]
        matrix = transform(np.eye(len(self._inverse)))  # (d, d), rows are what columns become
        errors = np.sqrt(self.unit * np.einsum("jd,jk,kd->d", matrix, self._inverse, matrix))
        squared = isinstance(self.minimum.problem.loss, SquaredLoss)
        dispersion = self.dispersion_without if squared else self.dispersion
        return transform(change) / errors / np.sqrt(np.atleast_1d(dispersion))[:, None]
