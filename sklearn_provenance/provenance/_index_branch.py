"""Methods that read the index branch: training rows, their probabilities, how sure it is."""

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from torch import nn

from .._utils.arguments import real, whole
from .._utils.types import Path, Rows
from ..explanation import Explanation
from ..explanation._instead import Instead
from ._backbones import SIZES
from ._inference import index_certainty, index_features, index_proba, nearest_rows


class IndexBranchMixin(TransformerMixin):  # for set_output of its transform
    """Methods of a :class:`ProvenanceEstimator` that takes rows to its index branch.

    A subclass has ``_method``, by which its explanations name the network, and the parameters
    below.
    """

    # Of the parameters that both subclasses have beside those of ProvenanceEstimator.
    _parameter_constraints: dict = {
        "alpha": [real(0, 1, "both")],
        "mixing": [StrOptions({"expected", "sampled"})],
        "index_loss": [StrOptions({"full", "sampled"})],
        "n_negatives": [whole(2)],
        "backbone": [StrOptions({"auto", "cnn", "mlp"}), nn.Module, callable],
        "width": [StrOptions({*SIZES, "paper"})],
        "dropout": [real(0, 1, "left")],
        "sharing_level": [whole(1, 4), None],
        "normalization": [StrOptions({"scale", "standardize"})],
        "index_subset": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="right"),
            "array-like",
            None,
        ],
        "lambda_index": [real()],
        "label_smoothing": [real(0, 1, "left")],
        "lr_index": [real(0, np.inf, "neither"), None],
        "weight_decay": [real()],
        "warmup_epochs": [whole(0)],
        "decay_epochs": [whole()],
    }

    @property
    def _n_features_out(self):
        return self.net_.module_.n_index_features

    def predict_index(self, X: Rows) -> np.ndarray:
        """Name the training row of largest probability.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        indices : ndarray of shape (n,)
            Rows of the X given to fit.
        """
        rows = self._rows(X)
        indices, _, _ = nearest_rows(
            self._index_network,
            self._index,
            rows,
            1,
            self._routing,
            search=self._search,
            with_proba=False,
        )
        return indices[:, 0]

    def index_proba(self, X: Rows) -> np.ndarray:
        """Compute the probability of every training row.

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
        return index_proba(self._index_network, self._index, rows, self._routing)

    def index_certainty(self, X: Rows = None) -> tuple[np.ndarray, np.ndarray]:
        """Measure how sure the index branch is, a batch of rows at a time.

        Parameters
        ----------
        X : array-like, default=None
            Rows or images as in :meth:`fit`. None takes the training rows, each without itself:
            the probabilities of the others are normalised again.

        Returns
        -------
        log_confidence : ndarray of shape (n,), float64
            Log of the largest index probability in nats. Under hard routing probabilities are those
            inside the predicted class. nan where no training row is left.
        entropy : ndarray of shape (n,), float64
            Entropy of the index probabilities in nats; nan where no training row is left.
        """
        rows, exclude = self._queries(X)
        return index_certainty(self._index_network, self._index, rows, self._routing, exclude)

    def kneighbors(
        self, X: Rows = None, n_neighbors: int = 5, return_distance: bool = True
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Find the training rows of largest probability, as neighbours.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None takes the training rows, each without itself.
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
        indices, log_proba, _ = self._nearest(
            rows, exclude, n_neighbors, "n_neighbors", with_proba=return_distance
        )
        if not return_distance:
            return indices
        return np.nan_to_num(-log_proba, nan=np.inf), indices

    def explain(
        self,
        X: Rows = None,
        k: int = 5,
        *,
        show: Rows | None = None,
        show_queries: Rows | None = None,
    ) -> Explanation:
        """Name the training rows behind predictions.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None explains every training row by the others.
        k : int, default=5
            Training rows per query.
        show : array-like of shape (n_train, ...), default=None
            What the explanation shows in place of the training rows, such as their texts; None
            shows the X given to fit.
        show_queries : array-like of shape (n_queries, ...), default=None
            What it shows in place of the queries, rows like those that are shown of training
            rows; None shows the queries where ``show`` is None, else none, or
            ``show`` where training rows are explained.

        Returns
        -------
        explanation : Explanation
            Training rows, as numbers of rows of the X given to fit, and their probabilities, best
            first. A network may name the rows of one class only; where that class has fewer than k
            rows, the rest is padded with -1 and nan, with a warning.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named, or ``show`` or
            ``show_queries`` has another number of rows or lacks some.
        TypeError
            If ``show`` or ``show_queries`` holds no rows, such as a single text.
        """
        rows, exclude = self._queries(X)
        instead = Instead.of(X, show, show_queries, self._fit_X.shape[0])
        found = self._nearest(rows, exclude, k)
        return instead.applied_to(self._explanation(rows, *found, self._method))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        backbone: nn.Module | Callable[[], nn.Module] | None = None,
        device: str | torch.device = "auto",
    ) -> Self:
        """Read an estimator that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like
            File to read.
        backbone : Module or callable, default=None
            The backbone, if it was not a built-in one; its weights come from the file.
        device : str or torch.device, default="auto"
            Where to compute.

        Returns
        -------
        estimator : ProvenanceClassifier or ProvenanceRegressor
            Fitted, of the class on which ``load`` is called; it predicts and explains as the saved
            one.

        Raises
        ------
        ValueError
            If :meth:`save` did not write the file, or the backbone does not fit to it.
        """
        return cls._load(path, backbone, device)

    def transform(self, X: Rows) -> np.ndarray:
        """Compute the penultimate features of the index branch.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n, n_index_features), float32
            What the last layer of the index branch sees. Where that branch sees the class, it is
            the predicted one.
        """
        rows = self._rows(X)
        return index_features(self.net_.module_, self._index, rows)

    def _network_structure(self):
        structure = super()._network_structure()
        # A learning rate of the index branch needs a parameter group of its own.
        structure["lr_index"] = "the same" if self.lr_index is None else "another"
        return structure

    def _schedule(self):
        return self.warmup_epochs, self.decay_epochs
