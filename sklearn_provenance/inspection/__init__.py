"""What people do with provenance: debug data, audit memory, look at embeddings, write reports."""

from ._debugging import AnomalyRanking, anomaly_ranking, index_entropy
from ._debugging_display import AnomalyDisplay
from ._embeddings import EmbeddingClusters, embedding_clusters
from ._embeddings_display import EmbeddingDisplay
from ._membership import MembershipResult, membership_inference
from ._membership_display import MembershipDisplay
from ._memorisation import MemorisationResult, memorisation_curve
from ._memorisation_display import MemorisationDisplay
from ._memorisation_scores import memorisation_scores
from ._outliers import ProvenanceOutlierDetector
from ._report import report

__all__ = [
    "AnomalyDisplay",
    "AnomalyRanking",
    "EmbeddingClusters",
    "EmbeddingDisplay",
    "MembershipDisplay",
    "MembershipResult",
    "MemorisationDisplay",
    "MemorisationResult",
    "ProvenanceOutlierDetector",
    "anomaly_ranking",
    "embedding_clusters",
    "index_entropy",
    "membership_inference",
    "memorisation_curve",
    "memorisation_scores",
    "report",
]
