"""What each kind of part says of its training rows: their weights, or what it says without them.

Shapes in comments: q queries, n training rows of the ensemble, m rows that a part has seen, T
trees, K outputs of a part.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, issparse

from ..._utils.rows import as_given, take_rows
from ..models._single_output import SingleOutput
from ..objectives._minima import dense_row, output_blocks
from ..objectives._responses import BinaryLogit, OneVsRestLogit, Prediction, Softmax
from ._forest import ForestAttributor
from ._influence import InfluenceAttributor
from ._influence_network import is_network

# A leaf that lost this share of its weight has lost all but rounding.
_ALL = 1 - 1e-12


class Answers:
    """What one part answers.

    Attributes
    ----------
    has_weights : bool
        Whether its outputs are weighted sums over training rows.
    has_removals : bool
        Whether it is known what it would say without a row.
    assumptions : tuple of str
        What is held fixed.
    """

    has_weights = False
    has_removals = False
    assumptions: tuple[str, ...] = ()

    def weights(self, X, own=None):
        """Return weights (q, n) of training rows in the outputs, csr; 0 where it has no say.

        ``own`` is the training row (q,) that each query is, which then has no weight.
        """
        raise NotImplementedError

    def outputs(self, X):
        """Return outputs (q, K) with all rows."""
        raise NotImplementedError

    def outputs_without(self, X):
        """Return outputs (n, q, K) without each row; nan where there are none."""
        raise NotImplementedError


def rows_of(part, X):
    """Return the training rows of a part; ``X`` holds them as the ensemble hands them on."""
    if part.rows is None:
        return part.take_columns(X)
    return part.rows


class SeenRows(Answers):
    """A part that has seen some of the rows, on which an attributor is fitted.

    Parameters
    ----------
    attributor : attributor
        Unfitted, around the fitted part.
    part : Part
        The part.
    X : array-like of shape (n, ...)
        Training rows as the ensemble hands them on.
    every : bool, default=False
        Whether the attributor is given rows without weight too.
    """

    def __init__(self, attributor, part, X, every=False):
        rows = rows_of(part, X)
        targets = part.targets
        weights = part.weights
        self.part = part
        self.n_rows = len(targets)
        self.seen = np.arange(self.n_rows)
        if weights is not None and not every:
            self.seen = np.flatnonzero(weights)
            rows = take_rows(rows, self.seen)
            targets = targets[self.seen]
            weights = weights[self.seen]
        if weights is not None and (weights == 1).all():
            weights = None
        self.attributor = attributor.fit(rows, targets, sample_weight=weights)

    def take(self, X):
        """Return queries as the part takes them."""
        return self.part.take_columns(X)

    def among_all(self, outputs, without):
        """Return outputs (n, q, K) without each row of the ensemble.

        ``without`` has outputs (m, q, K) without each row that the part has seen; the other rows
        leave its outputs (q, K) as they are.
        """
        if len(self.seen) == self.n_rows:
            return without
        among = np.tile(outputs, (self.n_rows, 1, 1))
        among[self.seen] = without
        return among


class ForestAnswers(SeenRows):
    """A forest or a tree, whose structure is held fixed: leaves lose the row from their means."""

    has_weights = has_removals = True
    assumptions = ("the structure of trees",)

    def __init__(self, part, X):
        # A forest draws the samples of its trees from all rows that it was given.
        attributor = ForestAttributor(part.estimator, prefit=True)
        super().__init__(attributor, part, X, every=part.by_weight)

    def weights(self, X, own=None):
        """Return weights of rows in the means of leaves."""
        queries = self.attributor._queries(self.take(X))
        rule = self.attributor._rule
        if len(self.seen) == self.n_rows:
            return rule.weights(queries, own)
        weights = rule.weights(queries)  # (q, m)
        if own is not None:
            # Only queries that are rows which the forest has seen lose a weight.
            places = np.full(self.n_rows, -1)
            places[self.seen] = np.arange(len(self.seen))
            among = np.flatnonzero(places[own] >= 0)
            weights = weights.tolil()
            weights[among] = rule.weights(queries.take(among), places[own][among])
            weights = weights.tocsr()
        entries = (weights.data, self.seen[weights.indices], weights.indptr)
        return csr_matrix(entries, shape=(weights.shape[0], self.n_rows))

    def outputs(self, X):
        """Return means of leaves."""
        queries = self.attributor._queries(self.take(X))
        return self.attributor._rule.weights(queries) @ self._targets()

    def outputs_without(self, X):
        """Return means of leaves without each row; leaves without other rows do not vote."""
        targets = self._targets()  # (m, K)
        m = len(self.seen)
        shares = self.attributor._rule.shares  # (L, m)
        votes = self.attributor._queries(self.take(X)).votes()  # (q, L)
        without = np.empty((m, votes.shape[0], targets.shape[1]))
        for number in range(votes.shape[0]):
            leaves = votes.indices[votes.indptr[number] : votes.indptr[number + 1]]  # (T,)
            own = shares[leaves].tocoo()  # (T, m)
            means = np.asarray(shares[leaves] @ targets)  # (T, K)
            emptied = own.data >= _ALL
            rest = np.where(emptied, 1.0, 1 - own.data)
            # The mean of a leaf changes by s (v - y) / (1 - s) without a row of share s.
            changes = (own.data / rest)[:, None] * (means[own.row] - targets[own.col])
            changes[emptied] = -means[own.row[emptied]]
            total = np.tile(means.sum(0), (m, 1))  # (m, K)
            np.add.at(total, own.col, changes)
            n_votes = len(leaves) - np.bincount(own.col[emptied], minlength=m)
            with np.errstate(invalid="ignore"):
                without[:, number] = np.where(
                    n_votes[:, None] > 0, total / np.maximum(n_votes, 1)[:, None], np.nan
                )
        return self.among_all(self.outputs(X), without)

    def _targets(self):
        return self.attributor._features.targets(self.attributor.training_.y)


def neighbors_of(estimator):
    """Return what searches for neighbors: the estimator, or that of several outputs behind it."""
    if isinstance(estimator, SingleOutput):
        return estimator.estimator
    return estimator


class NeighborAnswers(Answers):
    """Neighbors, which vote by their weights."""

    has_weights = True

    def __init__(self, part, X):
        estimator = neighbors_of(part.estimator)
        self.estimator = estimator
        self.part = part
        self.n_rows = len(part.targets)
        self.drawn = part.drawn  # rows of the sample that the part was fitted on
        if self.drawn is None:
            self.drawn = np.arange(self.n_rows)
        if estimator.n_samples_fit_ != len(self.drawn):
            raise ValueError(
                f"X and y must be the rows that {type(estimator).__name__} was fitted on; it was "
                f"fitted on {estimator.n_samples_fit_} rows, and got {len(self.drawn)}"
            )
        if not self._are_fitted(take_rows(rows_of(part, X), self.drawn)):
            raise ValueError(
                f"X and y must be the rows that {type(estimator).__name__} was fitted on, in the "
                "same order; it keeps other rows or targets"
            )

    def _are_fitted(self, X):
        """Return whether rows and targets are those that the estimator keeps."""
        estimator = self.estimator
        single = self.part.estimator
        kept = np.asarray(estimator._y)
        if isinstance(single, SingleOutput):
            kept = kept[:, single.output]
        kept = kept.reshape(-1)
        if hasattr(estimator, "classes_"):
            kept = np.asarray(single.classes_)[kept]
        if not np.array_equal(kept, self.part.targets[self.drawn]):
            return False
        rows = estimator._fit_X
        if issparse(rows) or issparse(X):
            return (csr_matrix(rows) != csr_matrix(as_given(X))).nnz == 0
        return np.array_equal(np.asarray(rows), np.asarray(as_given(X), dtype=rows.dtype))

    def weights(self, X, own=None):
        """Return weights of neighbors; rows without neighbors have no say."""
        estimator = self.estimator
        if hasattr(estimator, "kneighbors"):
            find = estimator.kneighbors
        else:
            find = estimator.radius_neighbors
        # Rows that are in a sample several times are explained by parts that have not seen them.
        once = len(np.unique(self.drawn)) == self.n_rows
        if own is None or not once:
            distances, neighbors = find(as_given(self.part.take_columns(X)))
        else:
            # Without X neighbors of the training rows are found, each among the others.
            places = np.argsort(self.drawn)[own]
            distances, neighbors = find(None)
            distances = distances[places]
            neighbors = neighbors[places]
        of_queries = [self._weights_at(d) for d in distances]
        columns = self.drawn[np.concatenate(list(neighbors)).astype(np.intp)]
        ends = np.cumsum([0, *map(len, of_queries)])
        entries = (np.concatenate(of_queries), columns, ends)
        weights = csr_matrix(entries, shape=(len(of_queries), self.n_rows))  # (q, n)
        weights.sum_duplicates()
        return weights

    def _weights_at(self, distances):
        """Return the weights of neighbors at distances (k,), which add up to one."""
        how = self.estimator.weights
        if not len(distances):
            return np.empty(0)
        if callable(how):
            weights = np.asarray(how(distances[None])[0], dtype=np.float64)
        elif how == "distance" and (distances == 0).any():
            # As scikit-learn does, copies of the query share all of the weight.
            weights = (distances == 0).astype(np.float64)
        elif how == "distance":
            weights = 1 / distances
        else:
            weights = np.ones(len(distances))
        return weights / weights.sum()


class InfluenceAnswers(SeenRows):
    """A part that minimises a smooth objective."""

    has_removals = True

    def __init__(self, part, X):
        if is_network(part.estimator):
            raise TypeError(
                "the part must minimise a smooth convex objective; got a network, "
                f"{type(part.estimator).__name__}"
            )
        super().__init__(InfluenceAttributor(part.estimator, prefit=True), part, X)
        self.assumptions = self.attributor.assumptions_
        self._read = _reader(self.attributor._minima.objective.response, part.method)
        if self._read is None:
            raise TypeError(
                f"{type(part.estimator).__name__} must have {part.method}, which is what is "
                "combined"
            )

    def outputs(self, X):
        """Return outputs at the minimum."""
        minima = self.attributor._minima
        return self._read(minima.outputs(minima.designs(self.take(X))))

    def outputs_without(self, X):
        """Return outputs at the minimum without each row."""
        minima = self.attributor._minima
        designs = minima.designs(self.take(X))
        outputs = minima.outputs(designs)  # (q, K)
        without = np.empty((len(self.seen), *outputs.shape))
        if minima.implicit:
            for number in range(len(outputs)):
                query = [dense_row(design, number) for design in designs]
                without[:, number] = outputs[number] - minima.changes(query)
        else:
            for rows, parameters in self.attributor._rows.blocks():
                without[rows] = output_blocks(parameters, designs)
        flat = self._read(without.reshape(-1, outputs.shape[1]))
        without = flat.reshape(*without.shape[:2], -1)
        return self.among_all(self._read(outputs), without)


def _reader(response, method):
    """Return what makes outputs (n, K) of a method from an objective's; None where nothing does."""
    if method not in ("predict", "predict_proba"):
        return _as_they_are
    if method == "predict" and isinstance(response, Prediction):
        return _Predictions(response)
    has_probabilities = isinstance(response, BinaryLogit | Softmax | OneVsRestLogit)
    if method == "predict_proba" and has_probabilities:
        return response.answer
    return None


def _as_they_are(outputs):
    return outputs


@dataclass(frozen=True)
class _Predictions:
    """Predictions (n, 1) of a regressor."""

    response: Prediction

    def __call__(self, outputs):
        return self.response.answer(outputs)[:, None]


class NestedAnswers(Answers):
    """An ensemble inside of an ensemble."""

    def __init__(self, decomposition, part):
        self.decomposition = decomposition
        self.part = part
        self.has_weights = decomposition.has_weights
        self.has_removals = decomposition.has_removals
        self.assumptions = decomposition.assumptions

    def weights(self, X, own=None):
        """Return weights of rows in what the inner ensemble says."""
        return self.decomposition.weights(self.part.take_columns(X), own)

    def outputs(self, X):
        """Return what the inner ensemble says."""
        return self.decomposition.outputs(self.part.take_columns(X))

    def outputs_without(self, X):
        """Return what the inner ensemble says without each row."""
        return self.decomposition.outputs_without(self.part.take_columns(X))
