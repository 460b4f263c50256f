"""The definitions, with plain inverses, in two arithmetics: float64 and mpmath with 50 digits.

Arrays of dtype object hold mpf numbers and everything below works on either kind. Nothing is
updated, factorised or shared between steps: every quantity is computed anew from S_A.
"""

from dataclasses import dataclass

import mpmath
import numpy as np
import torch
from hypothesis import strategies as st

mpmath.mp.dps = 50
EPS = np.finfo(np.float64).eps


def exact(array):
    """The same numbers as mpf, exactly."""
    return np.vectorize(mpmath.mpf, otypes=[object])(np.asarray(array, dtype=np.float64))


def inverse(matrix):
    if matrix.dtype != object:
        return np.linalg.inv(matrix)
    return np.array(mpmath.inverse(mpmath.matrix(matrix.tolist())).tolist(), dtype=object)


def log(values):
    if np.asarray(values).dtype != object:
        return np.log(values)
    return np.vectorize(mpmath.log, otypes=[object])(values)


def as_float(values):
    return np.asarray(values, dtype=np.float64)


def precision(features, noise_variance):
    """S_A."""
    return np.eye(features.shape[1], dtype=int) + features.T @ features / noise_variance


def covariance(features, left, right, noise_variance):
    """φ^T S_A^-1 φ', weight space."""
    return left @ inverse(precision(features, noise_variance)) @ right.T


def covariance_function_space(features, left, right, noise_variance):
    """k - k_A (K_A + σ² I)^-1 k_A', function space."""
    noisy = features @ features.T + noise_variance * np.eye(len(features), dtype=int)
    return left @ right.T - left @ features.T @ inverse(noisy) @ features @ right.T


def variance(features, query, noise_variance):
    """v_*^A of one query."""
    return covariance(features, query[None], query[None], noise_variance)[0, 0]


def information_gain(features, subset, query, noise_variance):
    after = variance(features[list(subset)], query, noise_variance)
    return log(np.asarray(query @ query / after)) / 2


def information_loss(features, subset, query, noise_variance):
    kept = [row for row in range(len(features)) if row not in set(subset)]
    without = variance(features[kept], query, noise_variance)
    return log(np.asarray(without / variance(features, query, noise_variance))) / 2


def objective(features, chosen, queries, noise_variance, rule):
    """What the greedy maximises over the next row, as a change of the summed query variance."""
    if rule == "info_loss":
        used = [row for row in range(len(features)) if row not in set(chosen)]
    else:
        used = list(chosen)
    return sum(variance(features[used], query, noise_variance) for query in queries)


def round_gains(features, chosen, queries, noise_variance, rule):
    """Objective of every row as the next pick after `chosen`; None for a row already chosen."""
    if rule == "linear_response":
        c = covariance(features[list(chosen)], features, queries, noise_variance)
        gains = (c**2).sum(1)
    else:
        before = objective(features, chosen, queries, noise_variance, rule)
        gains = [
            abs(objective(features, [*chosen, row], queries, noise_variance, rule) - before)
            for row in range(len(features))
        ]
    return [None if row in chosen else gains[row] for row in range(len(features))]


def log_density(features, targets, queries, query_targets, r):
    """Mean over rows of the summed log density at the amplitude that maximises the likelihood."""
    features, targets, queries, query_targets = map(
        exact, (features, targets, queries, query_targets)
    )
    r, n_train = mpmath.mpf(r), len(features)
    scale = (features**2).sum() / n_train
    kernel, cross = features @ features.T / scale, queries @ features.T / scale
    means = targets.sum(0) / n_train
    centred, held_out = targets - means, query_targets - means
    inverted = inverse(kernel + r * np.eye(n_train, dtype=int))
    amplitude = (centred * (inverted @ centred)).sum() / centred.size
    total = mpmath.mpf(0)
    for query, k, target in zip(queries, cross, held_out, strict=True):
        spread = amplitude * (query @ query / scale - k @ inverted @ k + r)
        errors = target - k @ inverted @ centred
        total -= (errors**2).sum() / (2 * spread)
        total -= len(target) * mpmath.log(2 * mpmath.pi * spread) / 2
    return float(total / len(held_out))


@dataclass(frozen=True)
class Problem:
    """Features whose kernel float64 holds exactly, and a noise variance."""

    features: np.ndarray
    queries: np.ndarray
    noise_variance: float

    @property
    def kernel(self):
        return torch.from_numpy(self.features @ self.features.T)

    @property
    def cross(self):
        return torch.from_numpy(self.queries @ self.features.T)

    @property
    def query_variance(self):
        return torch.from_numpy((self.queries**2).sum(1))

    @property
    def kernel_arguments(self):
        return self.kernel, self.cross, self.query_variance, self.noise_variance

    @property
    def feature_arguments(self):
        return torch.from_numpy(self.features), torch.from_numpy(self.queries), self.noise_variance

    @property
    def exact(self):
        return exact(self.features), exact(self.queries), mpmath.mpf(self.noise_variance)

    @property
    def condition(self):
        """Bounds the condition number of K_A + σ² I, the queries being counted as rows."""
        total = (self.features**2).sum() + (self.queries**2).sum()
        return 1 + total / self.noise_variance

    @property
    def kernel_error(self):
        """Relative error granted to what starts from a kernel."""
        return 100 * EPS * self.condition

    @property
    def feature_error(self):
        """Relative error granted to what starts from features."""
        return 1e-10 + 1000 * EPS * self.condition**0.5


@st.composite
def problems(draw, max_train=6, max_features=4, max_queries=2, log_noise=(-6.0, 5.0)):
    """Small problems: plain, with duplicates, zero rows, low rank or nearly collinear rows.

    Entries are multiples of 2^-20 below 2^6, so products and their sums are exact in float64.
    """
    n_features = draw(st.integers(1, max_features))
    n_train = draw(st.integers(1, max_train))
    n_queries = draw(st.integers(1, max_queries))
    numbers = st.lists(st.integers(-8, 8), min_size=n_features, max_size=n_features)
    rows = draw(st.lists(numbers, min_size=n_train, max_size=n_train))
    features = np.array(rows, dtype=np.float64)
    queries = draw(st.lists(numbers.filter(any), min_size=n_queries, max_size=n_queries))
    queries = np.array(queries, dtype=np.float64)
    first, second = draw(st.integers(0, n_train - 1)), draw(st.integers(0, n_train - 1))
    kind = draw(st.sampled_from(["plain", "duplicate", "zero", "low rank", "collinear", "query"]))
    if kind == "duplicate":
        features[first] = features[second]
    elif kind == "zero":
        features[first] = 0.0
    elif kind == "low rank":
        features = np.outer(features[:, 0], queries[0])
    elif kind == "collinear":
        features[first] = features[second]
        features[first, 0] += 2.0**-20
    elif kind == "query":
        features[first] = queries[0]
    scale = 2.0 ** draw(st.integers(-3, 3))
    noise_variance = 10.0 ** draw(st.floats(*log_noise))
    return Problem(features * scale, queries * scale, noise_variance)
