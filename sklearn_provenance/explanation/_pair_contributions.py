"""Parts of features that were computed for each query and exemplar by itself."""

import numpy as np
from scipy.sparse import csr_array, issparse

from ._contributions import INTERCEPT, ListedContributions, sum_by_name


class PairContributions(ListedContributions):
    """Parts of features in scores that are no inner product of the rows themselves.

    Influence is such a score: an inverse Hessian stands between the two rows. The arrays of
    parts stay sparse where queries are.

    Parameters
    ----------
    pairs : list of {ndarray, csr_array} of shape (k, n_features)
        For each query, the part of each feature in the score of each exemplar.
    names : ndarray of shape (n_features,)
        What to call each feature; parts of features with one name are added.
    intercepts : ndarray of shape (n_queries, k), default=None
        The part of the intercept in each score, listed as "(intercept)"; None where there is none.
    """

    def __init__(self, pairs, names, intercepts=None):
        super().__init__(pairs)
        self.names, self.intercepts = names, intercepts

    @classmethod
    def empty(cls, shape, names):
        """Return parts of no feature for (n_queries, k) exemplars, to :meth:`put` parts into."""
        nothing = csr_array((shape[1], len(names)))
        return cls([nothing] * shape[0], names, np.zeros(shape))

    def put(self, queries, pairs, intercepts):
        """Take the parts of some queries.

        Parameters
        ----------
        queries : ndarray of int of shape (n,)
            Positions of the queries.
        pairs : list of {ndarray, csr_array} of shape (k, n_features)
            Their parts.
        intercepts : ndarray of shape (n, k)
            Parts of the intercept.
        """
        for query, parts in zip(queries, pairs, strict=True):
            self.pairs[query] = parts
        self.intercepts[queries] = intercepts

    def __getitem__(self, rows):
        intercepts = None if self.intercepts is None else self.intercepts[rows]
        return type(self)([self.pairs[row] for row in rows], self.names, intercepts)

    def named(self, names):
        """Return the same parts with other names of the features."""
        return type(self)(self.pairs, names, self.intercepts)

    def check(self, indices):
        """Check that there is a row of parts for each exemplar."""
        for parts in self.pairs:
            if parts.shape != (indices.shape[1], len(self.names)):
                raise ValueError(
                    "contributions must have parts of each feature for each exemplar, shape "
                    f"({indices.shape[1]}, {len(self.names)}), got {parts.shape}"
                )

    def parts(self, query, rank, row):
        """Return the parts of a pair by name; see :class:`Contributions`."""
        values = self.pairs[query][[rank]]
        if issparse(values):
            columns, values = values.indices, values.data
        else:
            values = values[0]
            columns = values.nonzero()[0]
            values = values[columns]
        found = sum_by_name(self.names, columns, values)
        if self.intercepts is not None:
            found[INTERCEPT] = float(self.intercepts[query, rank])
        return found
