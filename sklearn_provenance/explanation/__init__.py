"""Explanation: the training rows behind each prediction, as text, table, figure and page."""

from ._comparison import Comparison, compare
from ._contributions import Contributions
from ._explanation import Explanation
from ._page import Page
from ._plot import ExplanationDisplay

__all__ = [
    "Comparison",
    "Contributions",
    "Explanation",
    "ExplanationDisplay",
    "Page",
    "compare",
]
