"""Diagnostics of training rows, in the words of regression, for a fitted attributor."""

import numpy as np
from numpy.typing import NDArray

from ..._utils.labels import positions
from ...information._diagnostics import CaseDeletion
from ...information._losses import SquaredLoss
from ..objectives._design import LinearDesign


class DiagnosticsMixin:
    """``leverage_``, ``cooks_distance_`` and their kin; a subclass has ``_minima``.

    They are computed when they are first asked for.
    """

    def _fitted_minima(self):
        """Return the minima of a fitted attributor, or say why there are none."""
        if vars(self).get("_network") is not None:
            raise AttributeError(
                "leverage and what follows from it are those of generalised linear models; got a "
                "network"
            )
        minima = vars(self).get("_minima")
        if minima is None:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        return minima

    @property
    def _case_deletion(self):
        """Diagnostics of the one problem of a generalised linear model."""
        minima = self._fitted_minima()
        point = minima.points[0]
        if point.problem.implicit:
            raise AttributeError(
                "leverage and what follows from it need the Hessian, which is not formed for so "
                "many sparse rows and parameters"
            )
        if len(minima.points) > 1 or point.problem.loss.family(point.outputs[:1]) is None:
            raise AttributeError(
                "leverage and what follows from it are those of generalised linear models with "
                f"one output, which {type(self.estimator_).__name__} is not, or not with these "
                "classes"
            )
        if "_diagnostics" not in vars(self):
            self._diagnostics = CaseDeletion(point, minima.objective.parts[0].unit)
        return self._diagnostics

    @property
    def leverage_(self) -> NDArray[np.float64]:
        """Diagonal of the hat matrix (n_train,), which sums to the effective number of parameters.

        ``h_i = w_i φ_i^T H^-1 φ_i`` with the weights w of iteratively reweighted least squares and
        the Hessian H, its penalty included.
        """
        return self._case_deletion.leverage

    @property
    def studentized_residuals_(self) -> NDArray[np.float64]:
        """Pearson residuals (n_train,) divided by their own standard deviation.

        Internally studentized: the dispersion is that of all rows.
        """
        return self._case_deletion.studentized

    @property
    def externally_studentized_residuals_(self) -> NDArray[np.float64]:
        """Residuals (n_train,) divided by a standard deviation estimated without the row.

        For squared losses.
        """
        diagnostics = self._case_deletion
        if not isinstance(self._minima.points[0].problem.loss, SquaredLoss):
            raise AttributeError("externally studentized residuals are those of squared losses")
        return diagnostics.externally_studentized

    @property
    def cooks_distance_(self) -> NDArray[np.float64]:
        """Cook's distances (n_train,), ``r_i² h_i / ((1 - h_i) p)`` with studentized residuals r.

        p is the effective number of parameters, the sum of leverages.
        """
        return self._case_deletion.cooks_distance

    @property
    def dfbetas_(self) -> NDArray[np.float64]:
        """Changes of coefficients without each row, in standard errors.

        Of shape (n_train, n_features + 1): the intercept comes last, if there is one. By one Newton
        step, which is exact for squared losses, whose standard errors are without the row too.
        """
        diagnostics = self._case_deletion
        design = self._minima.objective.parts[0].design
        if not isinstance(design, LinearDesign):
            raise AttributeError(
                "dfbetas are those of linear models with no more features than rows"
            )
        return diagnostics.dfbetas(design.coefficients)

    @property
    def self_influence_(self) -> NDArray[np.float64]:
        """Fall of each training row's own margin (n_train,) without the row."""
        if vars(self).get("_network") is not None:
            return self._network.self_influence()
        minima = self._fitted_minima()
        labels = None
        if hasattr(self, "classes_"):
            labels = positions(self.classes_, self.training_.y, "y")
        if minima.implicit:
            return minima.own_drops(labels)
        return self._rows.own_drops(labels)
