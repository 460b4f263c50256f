"""The part that each column of a query has in the change of its margin.

Without a row the outputs of a query x change from z = W x + b to z' = W' x + b', and its margin m
falls by

    m(z) - m(z') = Σ_k g_k (z_k - z'_k),   g = ∫_0^1 ∇m(z' + t (z - z')) dt,

where g is the mean of the margin's gradient between the two. The outputs fall by the sum over
columns of (W_kj - W'_kj) x_j, and by b_k - b'_k. So the column j has the part

    Σ_k g_k (W_kj - W'_kj) x_j,

the intercept has the part Σ_k g_k (b_k - b'_k), and these add up to the fall. Columns that lose
their means in the design (those of a dense table with a free intercept) are taken from there.

Shapes in comments: f columns, K outputs of all parts together, k picks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.sparse import csr_array, issparse

from ..._utils.feature_names import names_out
from ...explanation._pair_contributions import PairContributions
from ._base import Transformed
from ._design import LinearDesign, linear_kernel

# Nodes of the quadrature on the way from z' to z.
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)  # on [-1, 1]
_NODES = (_NODES + 1) / 2
_NODE_WEIGHTS = _NODE_WEIGHTS / 2


@dataclass(frozen=True, eq=False)
class ColumnParts:
    """Parts of the columns of queries in what joint removals do to their margins.

    Parameters
    ----------
    objective : Objective
        An objective whose outputs are linear in columns that have names.
    rows : {ndarray, csr_array} of shape (n_queries, f)
        Queries as the linear model takes them.
    names : ndarray of shape (f,)
        Names of columns, or words.
    """

    objective: object
    rows: object
    names: np.ndarray

    @classmethod
    def of(cls, objective, X, names):
        """Prepare parts of queries; None where columns have no names or outputs are not linear.

        Parameters
        ----------
        objective : Objective
            What the estimator minimised.
        X : array-like of shape (n_queries, ...)
            Queries as users give them.
        names : ndarray of shape (n_columns,) or None
            Names of the columns of X.
        """
        if not all(is_linear(part.design) for part in objective.parts):
            return None
        prepare = objective.prepare
        while isinstance(prepare, Transformed):
            for step in prepare.steps:
                names = names_out(step, names)
            prepare = prepare.prepare
        if names is None:
            return None
        rows = objective.prepare(X)
        if rows.shape[1] != len(names):  # a user's transformer may count wrongly
            return None
        if issparse(rows):
            rows = csr_array(rows)
            if any(getattr(part.design, "shift", None) is not None for part in objective.parts):
                rows = rows.toarray()  # columns count from their means, zeros too
        return cls(objective, rows, names)

    def of_removal(self, number, label, removal, k):
        """Return parts of a query's columns in the score of each pick, padded to k picks.

        Parameters
        ----------
        number : int
            The query's row.
        label : int or None
            Position of the label whose margin is meant.
        removal : JointRemoval
            Picks for the query.
        k : int
            Rows of the answer.

        Returns
        -------
        parts : {ndarray, csr_array} of shape (k, f)
            Parts of columns; 0 where there is no pick.
        intercepts : ndarray of shape (k,)
            Parts of the intercept.
        """
        n_picks = len(removal.rows)
        row = self.rows[[number]]
        columns = np.arange(len(self.names))
        if issparse(row):
            columns = row.indices
        parts = np.zeros((k, len(columns)))
        intercepts = np.zeros(k)
        if n_picks:
            of_columns, of_intercept = self._output_changes(removal, row, columns)
            outputs = removal.outputs  # (k + 1, K)
            slopes = mean_slopes(self.objective.response, outputs[:-1], outputs[1:], label)
            parts[:n_picks] = np.einsum("sk,skj->sj", slopes, of_columns)
            intercepts[:n_picks] = (slopes * of_intercept).sum(1)
        if not issparse(row):
            return parts, intercepts
        starts = np.arange(k + 1) * len(columns)
        entries = (parts.ravel(), np.tile(columns, k), starts)
        return csr_array(entries, shape=(k, len(self.names))), intercepts

    def contributions(self, found):
        """Return contributions for an Explanation, from what :meth:`of_removal` returned."""
        parts = [part for part, _ in found]
        intercepts = None
        if any(part.design.intercept is not None for part in self.objective.parts):
            intercepts = np.stack([own for _, own in found])
        return PairContributions(parts, self.names, intercepts)

    def _output_changes(self, removal, row, columns):
        """Compute by how much outputs fall from one state to the next, by column and by intercept.

        Parameters
        ----------
        removal : JointRemoval
            Picks for the query, with parameters of each part before and after each pick.
        row : {ndarray, csr_array} of shape (1, f)
            The query.
        columns : ndarray of int of shape (n,)
            Columns that are not zero in it.

        Returns
        -------
        of_columns : ndarray of shape (k, K, n)
            What each column adds.
        of_intercept : ndarray of shape (k, K)
            What the intercept adds.
        """
        values = row.data if issparse(row) else row[0]
        of_columns = []
        of_intercept = []
        states = zip(*removal.parameters, strict=True)  # of each part, k + 1 arrays (K, d)
        for part, thetas in zip(self.objective.parts, states, strict=True):
            design = part.design
            thetas = np.stack(thetas)  # (k + 1, K, d)
            falls = thetas[:-1] - thetas[1:]  # (k, K, d)
            if design.intercept is None:
                of_intercept.append(np.zeros(falls.shape[:2]))
            else:
                of_intercept.append(falls[..., -1] * design.intercept)
                falls = falls[..., :-1]
            of_columns.append(column_changes(design, falls, values, columns, row.shape[1]))
        return np.concatenate(of_columns, 1), np.concatenate(of_intercept, 1)


def column_changes(design, falls, values, columns, n_columns):
    """Compute what each column adds to the fall of a part's outputs.

    Parameters
    ----------
    design : LinearDesign or KernelDesign
        The part's design.
    falls : ndarray of shape (k, K, d)
        By how much parameters fall, without that of the intercept.
    values : ndarray of shape (n,)
        A query's values that are not zero.
    columns : ndarray of int of shape (n,)
        Their columns.
    n_columns : int
        Number f of columns.

    Returns
    -------
    ndarray of shape (k, K, n)
        Falls of outputs.
    """
    if not isinstance(design, LinearDesign):
        return weights_of_columns(design, falls)[..., columns] * values
    if design.columns is None:
        if design.shift is not None:
            values = values - design.shift
        return falls[..., columns] * values
    # The design uses some of the columns, and the query may have only some of these.
    weights = np.zeros((*falls.shape[:2], n_columns))
    weights[..., design.columns] = falls
    if design.shift is not None:
        shift = np.zeros(n_columns)
        shift[design.columns] = design.shift
        values = values - shift[columns]
    return weights[..., columns] * values


def is_linear(design):
    """Return whether a design's outputs are linear in the columns of features."""
    return isinstance(design, LinearDesign) or getattr(design, "kernel", None) is linear_kernel


def weights_of_columns(design, theta):
    """Return weights (..., f) of columns, from parameters (..., r) of a linear kernel's features.

    The features of a row x are L_p^-1 P x, with the pivots P.
    """
    flat = theta.reshape(-1, theta.shape[-1])
    on_pivots = solve_triangular(design.factor, flat.T, lower=True, trans="T").T
    weights = np.asarray(on_pivots @ design.pivots)
    return weights.reshape(*theta.shape[:-1], -1)


def mean_slopes(response, before, after, label):
    """Return mean gradients (k, K) of the margin from one state's outputs to the next one's.

    Times the fall of the outputs, they are the fall of the margin.
    """
    falls = before - after
    on_the_way = after + _NODES[:, None, None] * falls  # (n_nodes, k, K)
    slopes = np.einsum("t,tsk->sk", _NODE_WEIGHTS, response.slope(on_the_way, label))
    # What the quadrature leaves, most of it where the largest other class changes on the way.
    left = response.margin(before, label) - response.margin(after, label)
    left = left - (slopes * falls).sum(1)
    squares = (falls**2).sum(1)
    ratio = np.divide(left, squares, out=np.zeros_like(left), where=squares > 0)
    return slopes + ratio[:, None] * falls
