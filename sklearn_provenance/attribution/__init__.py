"""Attribution: which training rows a prediction comes from, for any trained network.

References
----------
[IT] Tailor, Felicioni, Ciosek (2026). Bayesian information-theoretic training data attribution.
"""

from ._ekfac import EKFACAttributor
from ._grad_dot import GradDotAttributor
from ._information import InfoGainAttributor, InfoLossAttributor
from ._last_layer import LastLayerAttributor
from ._random import RandomAttributor
from ._relatif import RelatIFAttributor
from ._similarity import RepSimAttributor
from ._trak import TRAKAttributor

__all__ = [
    "EKFACAttributor",
    "GradDotAttributor",
    "InfoGainAttributor",
    "InfoLossAttributor",
    "LastLayerAttributor",
    "RandomAttributor",
    "RelatIFAttributor",
    "RepSimAttributor",
    "TRAKAttributor",
]
