"""Attributors that say what they are told, and classifiers that count how often they are fitted."""

from unittest import mock

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import Explanation


class Told(BaseEstimator):
    """Explains and scores by a function of queries and labels that gives (n_queries, n_rows)."""

    def __init__(self, function):
        self.function = function

    def attribute(self, X, y=None):
        return np.array([self.function(x, label) for x, label in zip(X, y, strict=True)])

    def explain(self, X, y=None, k=5):
        scores = self.attribute(X, y)
        picks = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return Explanation(picks, np.take_along_axis(scores, picks, 1))


FITS = {"done": 0, "stop_at": np.inf}


class Counted(LogisticRegression):
    """Passes its labels through a function that ``fits`` watches."""

    def fit(self, X, y):
        return super().fit(X, np.positive(y))


def watched(y):
    """Count, and break off where it is told to; in place of numpy's, where no digest looks."""
    FITS["done"] += 1
    if FITS["done"] > FITS["stop_at"]:
        raise KeyboardInterrupt
    return y


def fits(function, *args, stop_at=np.inf, **options):
    """How many fits a call takes, and what it returns."""
    FITS.update(done=0, stop_at=stop_at)
    with mock.patch.object(np, "positive", watched):
        result = function(*args, **options)
    return FITS["done"], result


def supported(n_queries=5, n_rows=4, n_others=20):
    """Queries of class 1, each with a direction of its own that n_rows rows of class 1 share.

    Without those rows nothing is known of the direction, and the majority's class 0 wins.
    """
    rng = np.random.default_rng(0)
    own = np.repeat(np.eye(n_queries), n_rows, axis=0)
    X = np.vstack([own, np.zeros((n_others + len(own), n_queries))])
    X = np.hstack([5 * X, 0.1 * rng.normal(size=(len(X), 2))])
    y = np.repeat([1, 0], [len(own), len(X) - len(own)])
    X_queries = np.hstack([5 * np.eye(n_queries), np.zeros((n_queries, 2))])
    # Some class 1 rows that support no query in particular, for methods to name instead.
    others = np.hstack([np.zeros((n_others, n_queries)), 0.1 * rng.normal(size=(n_others, 2))])
    return np.vstack([X, others]), np.append(y, np.ones(n_others, int)), X_queries


def by_support(X):
    """Names the rows along the query's own direction."""
    return Told(lambda x, label: X[:, :-2] @ x[:-2])
