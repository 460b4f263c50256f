"""Which training examples is this prediction made of?"""

from .explanation import Explanation, explain
from .provenance import ProvenanceClassifier

__all__ = ["Explanation", "ProvenanceClassifier", "explain"]
__version__ = "0.1.0.dev0"
