"""Many copies of a model, each trained on other rows, for counterfactual experiments."""

from ._results import Retrained
from ._retrain import iter_retrain, retrain
from ._schedule import Recipe

__all__ = ["Recipe", "Retrained", "iter_retrain", "retrain"]
