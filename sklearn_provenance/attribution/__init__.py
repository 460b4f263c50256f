"""Attribution: which training rows a prediction comes from, for any trained network.

References
----------
[IT] Tailor, Felicioni, Ciosek (2026). A Bayesian information-theoretic approach to data
attribution, arXiv:2604.03858.
"""

from .estimators._bm25 import BM25Attributor
from .estimators._boostin import BoostInAttributor
from .estimators._ekfac import EKFACAttributor
from .estimators._ensemble import EnsembleAttributor
from .estimators._flipping_sets import FlippingSets
from .estimators._forest import ForestAttributor
from .estimators._grad_dot import GradDotAttributor
from .estimators._influence import InfluenceAttributor
from .estimators._info_gain import InfoGainAttributor
from .estimators._info_loss import InfoLossAttributor
from .estimators._last_layer import LastLayerAttributor
from .estimators._random import RandomAttributor
from .estimators._relatif import RelatIFAttributor
from .estimators._repsim import RepSimAttributor
from .estimators._sampler import AttributionSampler
from .estimators._trak import TRAKAttributor
from .models._single_output import single_output
from .stores import AttributionStore

__all__ = [
    "AttributionSampler",
    "AttributionStore",
    "BM25Attributor",
    "BoostInAttributor",
    "EKFACAttributor",
    "EnsembleAttributor",
    "FlippingSets",
    "ForestAttributor",
    "GradDotAttributor",
    "InfluenceAttributor",
    "InfoGainAttributor",
    "InfoLossAttributor",
    "LastLayerAttributor",
    "RandomAttributor",
    "RelatIFAttributor",
    "RepSimAttributor",
    "TRAKAttributor",
    "single_output",
]
