"""From a network to features: its linearisation in the parameters."""

from ._coverage import Coverage
from ._dimension import effective_dimension
from ._features import TangentFeatures
from ._kernel import tangent_diagonal, tangent_kernel
from ._layers import Layer, register_layer
from ._linearisation import Linearisation
from ._model import TangentModel
from ._outputs import measure
from ._rows import TangentRows
from ._store import FeatureStore
from ._trunk import CachedTrunk, cached_trunk

__all__ = [
    "CachedTrunk",
    "Coverage",
    "FeatureStore",
    "Layer",
    "Linearisation",
    "TangentFeatures",
    "TangentModel",
    "TangentRows",
    "cached_trunk",
    "effective_dimension",
    "measure",
    "register_layer",
    "tangent_diagonal",
    "tangent_kernel",
]
