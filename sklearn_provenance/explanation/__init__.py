"""Explanation: the training rows behind each prediction, as text, table, figure and page."""

from ._contributions import Contributions
from ._explanation import Explanation
from ._page import Page
from ._plot import ExplanationDisplay

__all__ = ["Contributions", "Explanation", "ExplanationDisplay", "Page"]
