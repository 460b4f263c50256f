"""Rules: what makes a training row important for a query."""

from ._base import Rule, largest
from ._ekfac import EKFACRule
from ._gain import GainRule
from ._gaussian import GaussianRule, density_of
from ._last_layer import HESSIAN_LIMIT, InfluenceRule, RepresenterRule
from ._loss import LossRule
from ._pools import PooledGainRule, SearchedGainRule
from ._products import CosineRule, DotRule
from ._random import RandomRule
from ._relatif import RelatIFRule
from ._trak import TRAKRule

__all__ = [
    "HESSIAN_LIMIT",
    "CosineRule",
    "DotRule",
    "EKFACRule",
    "GainRule",
    "GaussianRule",
    "InfluenceRule",
    "LossRule",
    "PooledGainRule",
    "RandomRule",
    "RelatIFRule",
    "RepresenterRule",
    "Rule",
    "SearchedGainRule",
    "TRAKRule",
    "density_of",
    "largest",
]
