"""What a classifier reads from its index branch: rows, their probabilities, how sure it is."""

import numpy as np

from .._utils.arguments import check_labels
from .._utils.labels import positions
from ._inference import index_certainty, index_proba, nearest_in_class, nearest_rows


class IndexBranchMixin:
    """Methods of a :class:`ProvenanceEstimator` that takes rows to its index branch."""

    def predict_index(self, X, y=None):
        """The training row of largest probability.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.
        y : array-like of shape (n,), default=None
            Classes of the rows: only training rows of a row's class count then, and a
            class-conditional network is told the class. None leaves the class to the network.

        Returns
        -------
        indices : ndarray of shape (n,)
            Rows of the X given to fit.

        Raises
        ------
        ValueError
            If y does not have a class of ``classes_`` for each row.
        """
        rows = self._rows(X)
        network, index = self._index_network, self._index
        if y is None:
            return nearest_rows(network, index, rows, 1, self.routing)[0][:, 0]
        labels = positions(self.classes_, check_labels(y, "y", len(rows)), "y")
        return nearest_in_class(network, index, rows, labels)

    def index_proba(self, X):
        """Probability of every training row.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n, n_training_rows), float32
            Rows sum to 1. :meth:`explain` and :meth:`kneighbors` do without this matrix.
        """
        rows = self._rows(X)
        return index_proba(self._index_network, self._index, rows, self.routing)

    def index_certainty(self, X=None):
        """Measure how sure the index branch is, a batch of rows at a time.

        Parameters
        ----------
        X : array-like, default=None
            Rows or images as in :meth:`fit`. None takes the training rows, each without its own
            index: the probabilities of the others are normalised again.

        Returns
        -------
        log_confidence : ndarray of shape (n,), float64
            Log of the largest index probability in nats. Under hard routing probabilities are those
            inside the predicted class. nan where no training row is left.
        entropy : ndarray of shape (n,), float64
            Entropy of the index probabilities in nats; nan where no training row is left.
        """
        rows, exclude = self._queries(X)
        return index_certainty(self._index_network, self._index, rows, self.routing, exclude)

    def kneighbors(self, X=None, n_neighbors=5, return_distance=True):
        """The training rows of largest probability, as neighbours.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None takes the training rows, none its own neighbour.
        n_neighbors : int, default=5
            Neighbours per query.
        return_distance : bool, default=True
            Whether to return distances.

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors)
            -log p of each neighbour in nats, ascending; inf pads. Only with ``return_distance``.
        indices : ndarray of shape (n, n_neighbors)
            Rows of the X given to fit; -1 pads.
        """
        rows, exclude = self._queries(X)
        indices, log_proba, _ = self._nearest(rows, exclude, n_neighbors, "n_neighbors")
        if not return_distance:
            return indices
        return np.nan_to_num(-log_proba, nan=np.inf), indices
