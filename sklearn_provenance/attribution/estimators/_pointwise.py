"""Attributors that score each training row alone."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..._utils.arguments import check_flag
from ..._utils.budget import budgeted
from ..._utils.labels import equal_shares
from ..._utils.rows import check_rows
from ..._utils.types import Rows, Targets
from ..rules._base import largest
from ._base import BaseAttributor
from ._picks import by_label
from ._predict import score_of_predictions


class PointwiseSelection:
    """Picks subsets for many queries by the sum of scores."""

    @budgeted
    def select(
        self, X_queries: Rows, k: int, y: Targets | None = None, balanced: bool = False
    ) -> NDArray[np.int64]:
        """Pick the rows whose scores, averaged over queries, are largest.

        Parameters
        ----------
        X_queries : array-like of shape (n_queries, ...)
            Queries.
        k : int
            Training rows to pick.
        y : array-like of shape (n_queries,), default=None
            Labels of the queries; None takes the predicted ones.
        balanced : bool, default=False
            Whether the classes among the candidates get equal shares of k, as far as they have
            rows. What k leaves over goes to the largest classes.

        Returns
        -------
        indices : ndarray of shape (k,)
            Rows of the X given to fit, best first.

        Raises
        ------
        ValueError
            If k is larger than the number of candidates: the rows of the queries' classes with
            ``candidates="same_class"``, else all.
        """
        return self.select_sizes(X_queries, [k], y, balanced)[0]

    def select_sizes(
        self,
        X_queries: Rows,
        sizes: Sequence[int],
        y: Targets | None = None,
        balanced: bool = False,
    ) -> list[NDArray[np.int64]]:
        """Pick subsets of several sizes from one ranking.

        Parameters
        ----------
        X_queries : array-like of shape (n_queries, ...)
            Queries.
        sizes : sequence of int
            Rows of each subset.
        y : array-like of shape (n_queries,), default=None
            Labels of the queries; None takes the predicted ones.
        balanced : bool, default=False
            As :meth:`select`.

        Returns
        -------
        list of ndarray of shape (k,)
            Subsets, as :meth:`select` gives them.
        """
        self._check_fitted()
        check_flag(balanced, "balanced")
        sizes = [self._check_k(k) for k in sizes]
        queries = self._queries(check_rows(self, X_queries), y)
        allowed = self._check_pool(queries, max(sizes))
        total = self._kept(("total", X_queries, y), lambda: self._total(queries))
        ranking = largest(torch.as_tensor(total)[None], len(total))[0][0].numpy()
        ranking = ranking[allowed[ranking]]
        if not balanced:
            return [ranking[:k] for k in sizes]
        labels = self._rows.labels[ranking]
        counts = np.bincount(labels, minlength=len(self.classes_))  # candidates of each class
        place = np.empty_like(ranking)  # of each row within its class
        for label in np.flatnonzero(counts):
            place[labels == label] = np.arange(counts[label])
        return [ranking[place < equal_shares(counts, k)[labels]] for k in sizes]

    def _total(self, queries):
        """Add up the scores (n_train,) of all rows over queries."""
        total = np.zeros(len(self._rows))
        self._expect(queries.labels.numpy())
        for label, places in by_label(queries.labels.numpy(), self._features.per_label):
            part = queries if label is None else queries.take(places)
            rule = self._rule_at(label, everything=True)
            total += rule.total(part, self._scored_together(len(total))).cpu().numpy()
        return total


class PointwiseAttributor(PointwiseSelection, BaseAttributor):
    """Base of attributors whose score of a subset is the sum over its rows."""

    def _residual(self):
        """Return what targets exceed predictions by (n_train,); None where they are classes."""
        if self.classes_ is not None:
            return None
        found = np.asarray(self._features.predict(self.training_.X), dtype=np.float64)
        return torch.as_tensor(self._rows.labels - np.ravel(found))

    @budgeted
    def score(self, X: Rows, y: Targets, sample_weight: Targets | None = None) -> float:
        """Measure the accuracy of the model in use; R² of a regressor.

        It says nothing of the attribution, which the protocols of
        :mod:`sklearn_provenance.evaluation` measure.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.
        y : array-like of shape (n,)
            Their labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Share of rows whose label is predicted; R² of a regressor's predictions.
        """
        return score_of_predictions(self.predict(X), y, sample_weight, self.classes_)
