"""The posterior given all rows by its root R alone, for rows that memory does not hold.

With ψ = φ R^-1, R^T R = I + σ^-2 Φ^T Φ, the posterior cosine of a query and a row is

    ψ_*·ψ_x / (|ψ_*| |ψ_x|) = w·φ_x / |ψ_x|,    w = R^-1 ψ_* / |ψ_*|

so that of each row one number is kept, |ψ_x|, and rows are read once for all queries.
"""

import torch

from ._local_shards import slices_of
from ._shard_root import ShardRoots, squares_of
from ._shards import ShardRule
from ._validation import check_scale_of, nats_of

# Lengths are at least this in divisions: rows without features have cosines of 0.
_LEAST = 1e-300


class RootPosterior:
    """Rows by the root R of their posterior, as :class:`._weight_space.FeaturePosterior` is asked.

    Parameters
    ----------
    rule : ShardRule
        σ² and R.
    largest : float
        Largest squared norm of the features of a row.
    row_features : callable
        ``row_features(rows)`` gives φ (n, n_features) of some rows (n,).
    products : callable
        ``products(weights, rows)`` gives w·φ_x / |ψ_x| (m, n) of weights (m, n_features) and
        different rows (n,), ascending.
    n_rows : int
        Number of all rows.
    """

    def __init__(self, rule, largest, row_features, products, n_rows):
        self.rule = rule
        self.largest = largest
        self.row_features = row_features
        self.products = products
        self.n_rows = n_rows

    def cosine(self, query_features, rows):
        """Compute the posterior correlation (n_queries, n_rows) of queries and rows."""
        weights = self.rule.weights(self._directions(query_features))
        return self.products(weights, rows).clamp_(-1.0, 1.0)

    def total(self, blocks):
        """Compute the cosines (n_rows,) of all rows, summed over queries, in one row of numbers.

        ``blocks`` are features (n_block, n_features) of some queries each.
        """
        direction = sum(self._directions(block).sum(0, keepdim=True) for block in blocks)
        return self.products(self.rule.weights(direction), torch.arange(self.n_rows))[0]

    def loss(self, query_features, rows):
        """Compute I_IL({x}; x_*) in nats (n_queries, n_rows) of a few rows."""
        check_scale_of(self.largest, self.rule.noise_variance)
        features = self.row_features(rows)
        points = self.rule.coordinates(features)
        margin = self.rule.diagonal(points.square().sum(1), self.rule.floor(features))
        queries = self.rule.coordinates(query_features)
        gain = (queries @ points.mT).square() / margin
        return nats_of(gain, queries.square().sum(1)[:, None])

    def _directions(self, query_features):
        """Compute ψ_* / |ψ_*| (n_queries, n_features)."""
        points = self.rule.coordinates(query_features)
        return torch.nn.functional.normalize(points, dim=1, eps=_LEAST)


def lengths_of(rule, blocks, out):
    """Fill in |ψ_x| (n_rows,) of rows in blocks, pairs of a slice and φ; and return it."""
    for part, block in blocks:
        out[part] = torch.linalg.vector_norm(rule.coordinates(block), dim=1)
    return out


def over_lengths(products, lengths):
    """Divide products (m, n_rows) with φ by |ψ_x| (n_rows,), in place."""
    return products.div_(lengths.clamp(min=_LEAST))


def block_roots(rows, noise_variance):
    """Find out how R is computed, by one look at all rows; return this and the largest |φ|²."""
    total, largest = squares_of(rows)
    return ShardRoots(total, noise_variance), largest


def block_posterior(rows, roots, largest):
    """Make the :class:`RootPosterior` of rows that are read in blocks.

    Parameters
    ----------
    rows : RowBlocks
        The rows.
    roots : ShardRoots
        How R is computed, see :func:`block_roots`.
    largest : float
        Largest squared norm of the features of a row.

    Returns
    -------
    RootPosterior
        Of the rows, it keeps R and |ψ_x|.
    """
    rule = ShardRule(roots.noise_variance, roots.root(roots.of(rows)))
    lengths = lengths_of(rule, rows.numbered(), rule.root.new_empty(len(rows)))

    def products(weights, wanted):
        found = weights.new_empty(len(weights), len(wanted))
        if len(wanted) == len(rows):
            for part, block in rows.numbered(len(weights)):
                found[:, part] = weights @ block.mT
            return over_lengths(found, lengths)
        for part in slices_of(len(wanted), max(weights.shape)):
            found[:, part] = weights @ rows.features(wanted[part]).mT
        return over_lengths(found, lengths[wanted.to(lengths.device)])

    return RootPosterior(rule, largest, rows.features, products, len(rows))
