"""Protocols that measure attribution."""

from ..attribution import AttributionSampler
from ..attribution._suspicion import (
    label_disagreement,
    label_error_scores,
    label_loss,
    self_influence,
)
from ..retraining import Recipe, Retrained, iter_retrain, retrain
from ._brittleness import BrittlenessResult, brittleness
from ._brittleness_scorer import brittleness_scorer
from ._coreset import CoresetResult, coreset_selection
from ._curves import BrittlenessDisplay, LDSDisplay, RelativeInformationDisplay
from ._displays import CoresetDisplay, LabelErrorDisplay, RetrievalDisplay
from ._frechet import frechet_distance
from ._label_errors import LabelErrorResult, label_error_ranking
from ._lds import LDSResult, linear_datamodeling_score
from ._lds_truth import lds_from_truth
from ._realism import RealismResult, realism
from ._realism_display import RealismDisplay
from ._relative_information import RelativeInformationResult, relative_information
from ._retrieval import RetrievalResult, backdoor_retrieval
from ._robustness import RobustnessResult, robustness
from ._robustness_display import RobustnessDisplay

__all__ = [
    "AttributionSampler",
    "BrittlenessDisplay",
    "BrittlenessResult",
    "CoresetDisplay",
    "CoresetResult",
    "LDSDisplay",
    "LDSResult",
    "LabelErrorDisplay",
    "LabelErrorResult",
    "RealismDisplay",
    "RealismResult",
    "Recipe",
    "RelativeInformationDisplay",
    "RelativeInformationResult",
    "Retrained",
    "RetrievalDisplay",
    "RetrievalResult",
    "RobustnessDisplay",
    "RobustnessResult",
    "backdoor_retrieval",
    "brittleness",
    "brittleness_scorer",
    "coreset_selection",
    "frechet_distance",
    "iter_retrain",
    "label_disagreement",
    "label_error_ranking",
    "label_error_scores",
    "label_loss",
    "lds_from_truth",
    "linear_datamodeling_score",
    "realism",
    "relative_information",
    "retrain",
    "robustness",
    "self_influence",
]
