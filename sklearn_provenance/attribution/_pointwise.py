"""Methods that score each training row alone and name the rows of the largest scores."""

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from ._base import BaseAttributor
from ._shares import equal_shares


class PointwiseSelection:
    """Picks the rows whose scores are largest, for any attributor.

    The attributor gives ``_pointwise(group)``, scores (n_queries, n_rows) of which larger is more
    important.
    """

    def _pick(self, group, k):
        scores = self._pointwise(group).to(torch.float64)
        allowed = torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
        if group.allowed is not None:
            allowed &= group.allowed.to(scores.device)
        if group.own is not None:
            allowed.scatter_(1, group.own[:, None].to(scores.device), False)
        return largest(scores.masked_fill(~allowed, -torch.inf), k)

    def select(self, X_queries, k, y=None, balanced=False):
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
        return self._select_each(X_queries, [k], y, balanced)[0]

    def _select_each(self, X_queries, sizes, y=None, balanced=False):
        """Subsets of several sizes from one ranking."""
        check_is_fitted(self)
        sizes = [self._check_k(k) for k in sizes]
        queries = self._queries(self._check_X(X_queries), y)
        allowed = self._check_pool(queries, max(sizes))
        total = np.zeros(len(self._train.labels))
        for group in self._groups(queries, needs_all_rows=True):
            total += self._total(group._replace(allowed=None)).cpu().numpy()
        ranking = np.argsort(-total, kind="stable")
        ranking = ranking[allowed[ranking]]
        if not balanced:
            return [ranking[:k] for k in sizes]
        labels = self._train.labels[ranking]
        counts = np.bincount(labels, minlength=len(self.classes_))
        place = np.empty_like(ranking)  # of each row within its class
        for label in np.flatnonzero(counts):
            place[labels == label] = np.arange(counts[label])
        return [ranking[place < equal_shares(counts, k)[labels]] for k in sizes]

    def _total(self, group):
        """Scores (n_rows,), added up over queries."""
        return self._pointwise(group).sum(0)


class PointwiseAttributor(PointwiseSelection, BaseAttributor):
    """What methods share whose score of a subset is the sum over its rows."""

    def score(self, X, y, sample_weight=None):
        """Accuracy of the model in use.

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
            Share of rows whose label is predicted.
        """
        return accuracy_score(y, self.predict(X), sample_weight=sample_weight)


def largest(scores, k):
    """Columns of the k largest scores of each row, best first, and the scores.

    Ties go to the lowest column; columns of -inf are padding, -1 and nan.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    values = scores.gather(1, order)
    missing = values == -torch.inf
    picks, values = order.masked_fill(missing, -1), values.masked_fill(missing, torch.nan)
    pad = (0, k - picks.shape[1])
    pads = torch.nn.functional.pad
    return pads(picks, pad, value=-1), pads(values, pad, value=torch.nan)
