"""What there is inside a class: clusters of index-branch features and their exemplars."""

from typing import Any, Literal

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import ROWS, check_labels, whole
from .._utils.results import Result
from .._utils.rows import n_rows, take_rows
from .._utils.tables import Table, text_table
from .._utils.types import RandomState, Rows, Targets
from ..explanation._rows import one_line, shorten
from ._clusters_display import ClustersDisplay
from ._shared import index_branch_features, open_classifier, pictures

_NAMES = {"tsne": "t-SNE", "pca": "PCA"}


@validate_params(
    {
        "X": [ROWS, None],
        "y": [ROWS, None],
        "n_clusters": [whole()],
        "n_exemplars": [whole()],
        "embedding": [StrOptions({"tsne", "pca"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def embedding_clusters(
    classifier: Any,
    X: Rows = None,
    y: Targets = None,
    *,
    label: Any,
    n_clusters: int = 4,
    n_exemplars: int = 4,
    embedding: Literal["tsne", "pca"] = "tsne",
    random_state: RandomState = None,
) -> Result:
    """Cluster the rows of one class in the features of the index branch.

    Clusters are those of :class:`~sklearn.cluster.KMeans`. Each is shown by its exemplars: of the
    training rows of the class that belong to it, those closest to its centre. The map in two
    dimensions is for the eye only: clusters and distances are those of the features.

    Parameters
    ----------
    classifier : ProvenanceClassifier
        Fitted; or a Pipeline, search or FrozenEstimator around one.
    X : array-like of shape (n, ...), default=None
        Rows as it takes them; None takes the training rows.
    y : array-like of shape (n,), default=None
        Labels of these rows; needed with ``X``.
    label : object
        The class whose rows are clustered.
    n_clusters : int, default=4
        Number of clusters.
    n_exemplars : int, default=4
        Exemplars of each cluster.
    embedding : {"tsne", "pca"}, default="tsne"
        Map in two dimensions: :class:`~sklearn.manifold.TSNE`, which takes some seconds for
        1000 rows and minutes for 10000, or :class:`~sklearn.decomposition.PCA`, which takes none.
    random_state : int, RandomState instance or None, default=None
        Determines the first centres and the map.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each row of the class, cluster by cluster, the closest first.
        Attributes:

        label : object
            The class.
        rows : ndarray of shape (n,)
            Rows of the class, by their numbers in ``X`` or among the training rows.
        clusters : ndarray of shape (n,)
            Cluster of each row, from 0.
        coordinates : ndarray of shape (n, 2)
            Place of each row on the map.
        distances : ndarray of shape (n,)
            Euclidean distance of each row from the centre of its cluster, in the features.
        exemplars : ndarray of shape (n_clusters, n_exemplars)
            Training rows of each cluster that are closest to its centre, the closest first; -1
            pads.
        exemplar_distances : ndarray of shape (n_clusters, n_exemplars)
            Their distances from it; nan pads.
        exemplar_sample_id : ndarray of shape (n_clusters, n_exemplars), default=None
            Identifiers of the exemplars.
        exemplar_images : ndarray of shape (n_clusters * n_exemplars, H, W[, C]), default=None
            The exemplars, if rows are images. Images at padding are no exemplars.
        embedding : {"tsne", "pca"}, default="tsne"
            Method that made the map.

    Raises
    ------
    ValueError
        If only one of ``X`` and ``y`` is given, no row or training row has the label, or
        ``n_clusters`` is larger than the number of rows.

    Notes
    -----
    K-means returns as many clusters as it is asked for. See whether a network with another
    ``random_state`` has them too before you rely on them.

    In a class-conditional network the features are conditioned on the predicted class, so that
    rows of the class that are predicted to be of another stand apart.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability, Figures 3 and 13.

    Examples
    --------
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> from sklearn_provenance.datasets import load_digits
    >>> from sklearn_provenance.inspection import embedding_clusters
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ProvenanceClassifier(backbone="mlp", width="small", max_epochs=10, random_state=0)
    >>> result = embedding_clusters(
    ...     clf.fit(X, y), label=1, n_clusters=3, embedding="pca", random_state=0
    ... )
    >>> result.exemplars.shape
    (3, 4)
    >>> bool((y[result.exemplars] == 1).all())
    True
    """
    if (X is None) != (y is None):
        raise ValueError("X and y must both be given, or neither for the training rows")
    if np.ndim(label) or label is None:
        raise ValueError(f"label must be one class, got {label!r}")
    classifier, X = open_classifier(classifier, X)
    training = classifier.training_
    if X is None:
        X = training.X
        y = training.y
    else:
        y = check_labels(y, "y", n_rows(X))
    rows = np.flatnonzero(y == label)
    training_rows = training.of_class(label)
    for name, found in {"row": rows, "training row": training_rows}.items():
        if not len(found):
            raise ValueError(
                f"label must be the class of one {name} or more, got {label!r}; the classes are "
                f"{classifier.classes_.tolist()}"
            )
    if n_clusters > len(rows):
        raise ValueError(
            f"n_clusters must be at most {len(rows)}, the number of rows with label {label!r}, "
            f"got {n_clusters}"
        )

    rng = check_random_state(random_state)
    features = index_branch_features(classifier, take_rows(X, rows))  # (n, n_features)
    kmeans = KMeans(n_clusters, n_init=10, random_state=rng).fit(features)
    training_features = index_branch_features(classifier, training.take(training_rows).X)
    nearest, distances = _nearest_of_clusters(
        kmeans.cluster_centers_, training_features, n_exemplars
    )
    exemplars = np.where(np.isnan(distances), -1, training_rows[nearest])
    shown = training.take(exemplars.ravel())
    sample_id = shown.sample_id
    if sample_id is not None:
        sample_id = sample_id.reshape(exemplars.shape)
    return _result(
        label=label,
        rows=rows,
        clusters=kmeans.labels_.astype(np.int64),
        coordinates=_map(features, embedding, rng),
        distances=np.linalg.norm(features - kmeans.cluster_centers_[kmeans.labels_], axis=1),
        exemplars=exemplars,
        exemplar_distances=distances,
        exemplar_sample_id=sample_id,
        exemplar_images=pictures(classifier, shown.X),
        embedding=embedding,
    )


def _nearest_of_clusters(centres, features, n_nearest):
    """Find the rows of each cluster that are closest to its centre.

    Parameters
    ----------
    centres : ndarray of shape (n_clusters, n_features)
        Centres. A row belongs to the cluster of the closest one.
    features : ndarray of shape (n_rows, n_features)
        Features of the rows.
    n_nearest : int
        Number of rows to find for each cluster.

    Returns
    -------
    nearest : ndarray of shape (n_clusters, n_nearest)
        Rows, the closest first.
    distances : ndarray of shape (n_clusters, n_nearest)
        Their distances from the centre; nan where the cluster has no more rows.
    """
    distances = pairwise_distances(centres, features)  # (n_clusters, n_rows)
    belongs = distances.argmin(axis=0) == np.arange(len(centres))[:, None]
    distances = np.where(belongs, distances, np.nan)  # rows of other clusters may be close, too
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :n_nearest]
    return nearest, np.take_along_axis(distances, nearest, axis=1)


def _map(features, embedding, rng):
    """Compute the places of rows on a map, an array of shape (n, 2)."""
    n, width = features.shape
    if n == 1:
        return np.zeros((1, 2))
    if embedding == "tsne" and n > 3:
        perplexity = min(30, (n - 1) / 3)  # as its author recommends for few rows
        return TSNE(perplexity=perplexity, init="pca", random_state=rng).fit_transform(features)
    n_components = min(2, n, width)
    coordinates = PCA(n_components, random_state=rng).fit_transform(features)
    return np.pad(coordinates, ((0, 0), (0, 2 - n_components)))


def _result(*, label, rows, clusters, coordinates, distances, **others):
    """Put the table and the text of the result beside its values."""
    order = np.lexsort([distances, clusters])
    columns = {
        "cluster": clusters,
        "row": rows,
        "distance": distances,
        "x": coordinates[:, 0],
        "y": coordinates[:, 1],
    }
    exemplars = others["exemplars"]
    text = text_table(
        f"Clusters of the {len(rows)} rows of {one_line(label)}: rows, exemplars",
        [str(number) for number in range(len(exemplars))],
        [
            f"  {size:4d}  {', '.join(str(row) for row in named if row >= 0)}"
            for size, named in zip(np.bincount(clusters), exemplars, strict=True)
        ],
    )
    return Result(
        text,
        Table({}, {name: column[order] for name, column in columns.items()}),
        _figure,
        label=label,
        rows=rows,
        clusters=clusters,
        coordinates=coordinates,
        distances=distances,
        **others,
    )


def _figure(result):
    """Draw a map coloured by cluster, beside the exemplars of each cluster."""
    word = "row"
    names = result.exemplars
    if result.exemplar_sample_id is not None:
        word = "id"
        names = result.exemplar_sample_id
    return ClustersDisplay(
        result.coordinates,
        result.clusters,
        exemplar_names=[[f"{word} {shorten(one_line(name), 12)}" for name in row] for row in names],
        exemplar_distances=result.exemplar_distances,
        exemplar_images=result.exemplar_images,
        title=f"{shorten(one_line(result.label), 20)}: {_NAMES[result.embedding]} of the features",
    )
