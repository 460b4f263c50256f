"""Explanation: the training rows behind each prediction, as text, table, figure and page."""

from ._explain import explain
from ._explanation import Explanation
from ._plot import ExplanationDisplay

__all__ = ["Explanation", "ExplanationDisplay", "explain"]
