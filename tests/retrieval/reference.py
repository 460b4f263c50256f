"""Brute force by definition, and problems with ties to try it on."""

import math

import numpy as np
from hypothesis import strategies as st

KINDS = ["gaussian", "integers", "repeated", "mostly zero", "last bit"]


def brute_force(rows, queries, k):
    """Sort all rows by |q·x|, correctly rounded sums; the lower number first among equals."""
    rows, queries = np.asarray(rows, np.float64), np.asarray(queries, np.float64)
    products = np.array([[math.fsum(q * x) for x in rows] for q in queries])
    order = np.argsort(-np.abs(products), axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(products, order, axis=1)


def make_rows(kind, n, d, random):
    if kind == "integers":
        return random.integers(-2, 3, (n, d)).astype(float)
    rows = random.normal(size=(n, d))
    if kind == "repeated":  # of either sign
        rows = rows[random.integers(0, min(n, 3), n)] * random.choice([-1, 1], (n, 1))
    elif kind == "mostly zero":
        rows *= random.random((n, 1)) < 0.1
    elif kind == "last bit":  # single precision holds the rows, but not their products
        rows = rows[:1].astype(np.float32)
        rows = np.nextafter(rows, random.choice([-10, 10], (n, d)).astype(np.float32))
    return rows


@st.composite
def problems(draw, max_rows=120, kinds=tuple(KINDS)):
    """Rows, queries and k; scaled by powers of two, which rounds nothing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(1, max_rows)), draw(st.integers(1, 40))
    kind = draw(st.sampled_from(kinds))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    scale = 2.0 ** draw(st.sampled_from([-60, -30, 0, 30, 60]))
    rows = (make_rows(kind, n, d, random) * scale).astype(dtype)
    queries = make_rows("integers" if kind == "integers" else "gaussian", 3, d, random) * scale
    queries[draw(st.sampled_from([0, 1, 2]))] *= draw(st.sampled_from([0, 1]))
    k = draw(st.one_of(st.integers(1, min(n, 5)), st.integers(1, n), st.just(n)))
    return rows, queries, k


def close(products, expected, rows, queries):
    """Within rounding of a double-precision sum."""
    scale = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1).max()
    assert (np.abs(products - expected) <= 1e-15 * rows.shape[1] * scale).all()
