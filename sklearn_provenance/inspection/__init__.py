"""What people do with provenance: debug data, audit memory, look at embeddings, write reports."""

from .._utils.deprecated import old_display, warned
from .._utils.displays import LinesDisplay
from .._utils.results import Result
from ._anomalies import AnomalyRanking, anomaly_ranking
from ._clusters_display import ClustersDisplay
from ._convergence_display import ConvergenceDisplay
from ._debugging import index_entropy
from ._embeddings import embedding_clusters
from ._histograms_display import HistogramsDisplay
from ._label_issues import find_label_issues
from ._label_issues_result import LabelIssues
from ._membership import membership_inference
from ._membership_result import MembershipResult
from ._memorisation import memorisation_curve
from ._memorisation_scores import memorisation_scores
from ._outliers import ProvenanceOutlierDetector
from ._report import report
from ._rows_display import RowsDisplay

__all__ = [
    "AnomalyRanking",
    "ClustersDisplay",
    "ConvergenceDisplay",
    "HistogramsDisplay",
    "LabelIssues",
    "LinesDisplay",
    "MembershipResult",
    "ProvenanceOutlierDetector",
    "Result",
    "RowsDisplay",
    "anomaly_ranking",
    "embedding_clusters",
    "find_label_issues",
    "index_entropy",
    "membership_inference",
    "memorisation_curve",
    "memorisation_scores",
    "report",
]

_OLD_NAMES = {
    "AnomalyDisplay": old_display("AnomalyDisplay", RowsDisplay, from_estimator=anomaly_ranking),
    "EmbeddingDisplay": old_display(
        "EmbeddingDisplay", ClustersDisplay, from_estimator=embedding_clusters
    ),
    "EmbeddingClusters": Result,
    "MemorisationResult": Result,
    "MembershipDisplay": old_display(
        "MembershipDisplay",
        LinesDisplay,
        from_estimator=membership_inference,
        from_predictions=MembershipResult.from_predictions,
    ),
    "MemorisationDisplay": old_display(
        "MemorisationDisplay", LinesDisplay, from_estimator=memorisation_curve
    ),
}


def __getattr__(name):
    return warned(__name__, name, _OLD_NAMES)
