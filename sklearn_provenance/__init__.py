"""Which training examples is this prediction made of?"""

from ._explain import explain
from .explanation import Explanation, ExplanationDisplay
from .provenance import ProvenanceClassifier

__all__ = ["Explanation", "ExplanationDisplay", "ProvenanceClassifier", "explain"]
__version__ = "0.1.0.dev0"
