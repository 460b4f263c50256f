"""Ensembles as attribution sees them, one file for each way to combine parts.

:func:`ensemble` finds the way by the type of the estimator. To add one, register a function that
takes a fitted estimator and its training rows, and returns an :class:`Ensemble`. A file of this
package is imported with the first estimator of its kind.
"""

from ._base import SUPPORTED, Ensemble, Part, UnknownEnsembleError, ensemble

__all__ = ["SUPPORTED", "Ensemble", "Part", "UnknownEnsembleError", "ensemble"]
