"""Features that a query shares with its exemplars: their parts of an inner product."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse

from .._utils.types import Rows

# The name under which the part of an intercept is listed.
INTERCEPT = "(intercept)"


class Contributions:
    """
    Parts of features in the inner products of queries and training rows.

    A linear method scores a training row r for a query q by an inner product, of which feature j
    has the part ``weights[j] * queries[q, j] * training_data[r, j]``, times the factor of the pair.
    Parts are computed when they are asked for, one pair at a time, and sparse rows stay sparse.

    Parameters
    ----------
    queries : {array-like, sparse matrix} of shape (n_queries, n_features)
        Queries as the method sees them, such as their TF-IDF. They may hold what the method
        multiplies rows by, such as an inverse Hessian times the query.
    training_data : {array-like, sparse matrix} of shape (n_train, n_features)
        Training rows as the method sees them. They are kept by reference.
    names : sequence of str of length n_features
        What to call each feature: a word as it stands in a text, or a column of the user's table.
        Parts of features with one name are added, so that the columns of a one-hot encoding may
        have the name of the column they came from.
    weights : array-like of shape (n_features,), default=None
        Weight of each feature; None is 1.
    factors : array-like of shape (n_queries, k), default=None
        What all parts of a query and one of its k exemplars are multiplied by, such as the inner
        product of gradients of two outputs; None is 1.

    Raises
    ------
    ValueError
        If the shapes disagree.

    Examples
    --------
    >>> from sklearn_provenance import Explanation
    >>> from sklearn_provenance.explanation import Contributions
    >>> parts = Contributions([[1.0, 2.0, 0.0]], [[3.0, 1.0, 5.0]], ["bird", "river", "house"])
    >>> Explanation([[0]], [[5.0]], contributions=parts).shared_features(0, 0)
    [('bird', 3.0), ('river', 2.0)]
    """

    factors = None  # of objects that were pickled before there were any

    def __init__(
        self,
        queries: Rows,
        training_data: Rows,
        names: Sequence[str],
        weights: ArrayLike | None = None,
        factors: ArrayLike | None = None,
    ) -> None:
        self.queries = _as_rows(queries, "queries")
        self.training_data = _as_rows(training_data, "training_data")
        # One array may serve many objects: names of all words take long to copy.
        self.names = np.asarray(names, dtype=object)
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64)
        n_features = len(self.names)
        for name in ("queries", "training_data"):
            n_columns = getattr(self, name).shape[1]
            if n_columns != n_features:
                raise ValueError(
                    f"names must have one name for each column of {name}, got {n_features} names "
                    f"and {n_columns} columns"
                )
        if self.weights is not None and self.weights.shape != (n_features,):
            raise ValueError(f"weights must have shape ({n_features},), got {self.weights.shape}")
        self.factors = None if factors is None else np.asarray(factors, dtype=np.float64)
        if self.factors is not None and self.factors.shape[:1] != self.queries.shape[:1]:
            raise ValueError(
                f"factors must have one row for each of the {len(self)} queries, got shape "
                f"{self.factors.shape}"
            )

    def __len__(self):
        return self.queries.shape[0]

    def __getitem__(self, rows):
        factors = None if self.factors is None else self.factors[rows]
        return type(self)(self.queries[rows], self.training_data, self.names, self.weights, factors)

    def named(self, names: Sequence[str]) -> Self:
        """Return the same parts with other names of the features.

        Parameters
        ----------
        names : sequence of str of length n_features
            What to call each feature.

        Returns
        -------
        Contributions
            Queries and training rows are shared.
        """
        return type(self)(self.queries, self.training_data, names, self.weights, self.factors)

    def check(self, indices: NDArray[np.int64]) -> None:
        """Check that the training rows that an explanation names are there.

        Parameters
        ----------
        indices : ndarray of shape (n_queries, k)
            Rows, -1 where there is none.

        Raises
        ------
        ValueError
            If one of them is not there.
        """
        n_train = self.training_data.shape[0]
        if indices.max(initial=-1) >= n_train:
            raise ValueError(
                f"indices point to row {indices.max()}, but contributions has {n_train} training "
                "rows"
            )
        if self.factors is not None and self.factors.shape != indices.shape:
            raise ValueError(
                f"factors of contributions must have the shape of indices, {indices.shape}, got "
                f"{self.factors.shape}"
            )

    def parts(self, query: int, rank: int, row: int) -> dict[str, float]:
        """Return the parts of a pair by name.

        Parameters
        ----------
        query, rank, row : int
            Position of the query, position of the exemplar, and its training row.

        Returns
        -------
        dict of str to float
            Those that are not zero.
        """
        products = self._product(query, row)  # (1, n_features)
        if issparse(products):
            columns, values = products.indices, products.data
        else:
            columns = np.flatnonzero(products[0])
            values = products[0, columns]
        if self.weights is not None:
            values = values * self.weights[columns]
        if self.factors is not None:
            values = values * self.factors[query, rank]
        return sum_by_name(self.names, columns, values)

    def _product(self, query, row):
        """Multiply a query and a training row feature by feature, in double precision."""
        one = self.queries[[query]].astype(np.float64)
        other = self.training_data[[row]].astype(np.float64)
        if issparse(one) or issparse(other):
            return csr_array(one).multiply(csr_array(other)).tocsr()
        return one * other


def sum_by_name(names, columns, values):
    """Add the parts of columns that have one name.

    Parameters
    ----------
    names : ndarray of shape (n_features,)
        Name of each column.
    columns : ndarray of int of shape (n,)
        Columns that have a part.
    values : ndarray of shape (n,)
        Their parts.

    Returns
    -------
    dict of str to float
        The sum of each name.
    """
    sums = {}
    for column, value in zip(columns, values, strict=True):
        name = str(names[column])
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums


class ListedContributions:
    """Parts that a caller has computed.

    Parameters
    ----------
    pairs : list of list of dict
        Parts by name, for each query and each of its exemplars.
    """

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, rows):
        return type(self)([self.pairs[row] for row in rows])

    def check(self, indices):
        """Check that there is an entry for each exemplar; see :class:`Contributions`."""
        for query, (pairs, rows) in enumerate(zip(self.pairs, indices, strict=True)):
            n_valid = int((rows >= 0).sum())
            if not n_valid <= len(pairs) <= len(rows):
                raise ValueError(
                    "contributions must have one entry for each exemplar, got "
                    f"{len(pairs)} for the {n_valid} exemplars of query {query}"
                )

    def parts(self, query, rank, row):
        """Return the parts of a pair; see :class:`Contributions`."""
        return self.pairs[query][rank]


def check_contributions(contributions, indices):
    """Return contributions in a form from which queries can be taken.

    Parameters
    ----------
    contributions : Contributions or sequence
        A sequence holds an entry for each query; it is a sequence with an entry for each exemplar,
        which is a mapping from names to parts, or a sequence of (name, part).
    indices : ndarray of shape (n_queries, k)
        Rows of the exemplars.

    Returns
    -------
    Contributions or ListedContributions
        As it was given, or as a list of lists of dicts.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If the numbers of queries or exemplars disagree.
    """
    if not isinstance(contributions, Contributions | ListedContributions):
        try:
            pairs = [
                [{str(name): float(part) for name, part in dict(pair).items()} for pair in ranks]
                for ranks in contributions
            ]
        except (TypeError, ValueError) as error:
            raise TypeError(
                "contributions must be a Contributions object, or hold (name, part) pairs for each "
                f"query and exemplar; got {type(contributions).__name__}"
            ) from error
        contributions = ListedContributions(pairs)
    if len(contributions) != len(indices):
        raise ValueError(
            f"contributions has {len(contributions)} queries, but indices explains {len(indices)}"
        )
    contributions.check(indices)
    return contributions


def _as_rows(data, name):
    """Return rows of numbers, sparse ones as a csr_array, and refuse anything else."""
    data = csr_array(data) if issparse(data) else np.asarray(data)
    if data.ndim != 2 or data.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers of shape (n, n_features), got shape {data.shape} and dtype "
            f"{data.dtype}"
        )
    return data
