"""Which training rows is this prediction made of, and what if they were gone?"""

from ._explain import explain
from ._utils.training import TrainingData
from .attribution import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from .explanation import Explanation, ExplanationDisplay
from .provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE
from .tangent import TangentFeatures

__all__ = [
    "Explanation",
    "ExplanationDisplay",
    "InfluenceAttributor",
    "InfoGainAttributor",
    "InfoLossAttributor",
    "ProvenanceClassifier",
    "ProvenanceRegressor",
    "ProvenanceVAE",
    "TangentFeatures",
    "TrainingData",
    "explain",
]
__version__ = "0.2.0"
