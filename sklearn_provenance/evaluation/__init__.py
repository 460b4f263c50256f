"""Protocols that measure attribution."""

from .._utils.deprecated import old_display, warned
from .._utils.displays import LinesDisplay, PointsDisplay
from .._utils.results import Result
from ..attribution import AttributionSampler
from ..attribution._suspicion import (
    label_disagreement,
    label_error_scores,
    label_loss,
    self_influence,
    target_disagreement,
)
from ..retraining import Recipe, Retrained, iter_retrain, retrain
from ._brittleness import brittleness
from ._brittleness_scorer import brittleness_scorer
from ._coreset import coreset_selection
from ._frechet import frechet_distance
from ._label_errors import label_error_ranking
from ._lds import linear_datamodeling_score
from ._lds_truth import lds_from_truth
from ._realism import realism
from ._relative_information import relative_information
from ._retrieval import backdoor_retrieval
from ._robustness import robustness
from ._scoreboard import scoreboard

__all__ = [
    "AttributionSampler",
    "LinesDisplay",
    "PointsDisplay",
    "Recipe",
    "Result",
    "Retrained",
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
    "scoreboard",
    "self_influence",
    "target_disagreement",
]

# Each result and its figure had a class.
_OLD_NAMES = dict.fromkeys(
    [
        "BrittlenessResult",
        "CoresetResult",
        "LDSResult",
        "LabelErrorResult",
        "RealismResult",
        "RelativeInformationResult",
        "RetrievalResult",
        "RobustnessResult",
    ],
    Result,
) | {
    "BrittlenessDisplay": old_display("BrittlenessDisplay", LinesDisplay),
    "CoresetDisplay": old_display("CoresetDisplay", LinesDisplay),
    "LDSDisplay": old_display("LDSDisplay", PointsDisplay),
    "LabelErrorDisplay": old_display("LabelErrorDisplay", LinesDisplay),
    "RealismDisplay": old_display("RealismDisplay", LinesDisplay, from_estimator=realism),
    "RelativeInformationDisplay": old_display("RelativeInformationDisplay", LinesDisplay),
    "RetrievalDisplay": old_display("RetrievalDisplay", PointsDisplay),
    "RobustnessDisplay": old_display("RobustnessDisplay", PointsDisplay),
}


def __getattr__(name):
    return warned(__name__, name, _OLD_NAMES)
