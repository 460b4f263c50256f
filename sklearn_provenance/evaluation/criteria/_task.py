"""What criteria work with: rows, queries, and a model that is trained on whatever they ask for."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from ..._utils.rows import n_rows, take_rows
from ...attribution.models import adapt
from ...retraining._fit import fit_model
from ._base import NotMeasured


@dataclass(frozen=True, eq=False)
class Problem:
    """Training rows, the model that was fitted to them, and the queries that are explained.

    Parameters
    ----------
    name : str
        Tells it from others of the same task.
    X, y : array-like of shape (n_rows, ...) and ndarray of shape (n_rows,)
        Training rows.
    X_queries : array-like of shape (n_queries, ...)
        Queries.
    y_queries : ndarray of shape (n_queries,) or None
        Labels that are explained; None for a regressor whose methods need no targets.
    model : torch.nn.Module or estimator
        Fitted.
    seed : int
        Seed of the task.
    are_numbers : bool
        Whether the model predicts numbers.
    of_given : ndarray of shape (n_queries,), int, or None
        Which of the user's queries these are, where the rows and the model are the user's. None
        where they are not.
    """

    name: str
    X: Any
    y: np.ndarray
    X_queries: Any
    y_queries: Any
    model: Any
    seed: int
    are_numbers: bool
    of_given: np.ndarray | None = None

    @property
    def n_rows(self):
        """Number of training rows."""
        return len(self.y)

    @property
    def n_queries(self):
        """Number of queries."""
        return n_rows(self.X_queries)

    def generator(self):
        """Make a random generator that is the same whenever this problem is met."""
        return np.random.default_rng([self.seed, crc32(self.name.encode())])

    def predictions(self):
        """Predict labels or numbers of the queries."""
        return np.asarray(adapt(self.model).predict(self.X_queries))

    @cached_property
    def about_rows(self):
        """The problem whose queries are the training rows, at their own labels."""
        return replace(self, X_queries=self.X, y_queries=self.y, of_given=None)

    def with_model(self, model, name):
        """Take another model of the same rows."""
        return replace(self, model=model, name=name, of_given=None)

    def take(self, queries):
        """Keep some of the queries only."""
        y_queries = None if self.y_queries is None else self.y_queries[queries]
        of_given = None if self.of_given is None else self.of_given[queries]
        X_queries = take_rows(self.X_queries, queries)
        return replace(self, X_queries=X_queries, y_queries=y_queries, of_given=of_given)

    def where_predicted(self, what, least=5):
        """Keep the queries at whose label the prediction is; raise where they are too few.

        Parameters
        ----------
        what : str
            What the prediction shows, for the reason.
        least : int, default=5
            Queries that must be left.
        """
        queries = np.flatnonzero(self.predictions() == self.y_queries)
        if len(queries) < least:
            raise NotMeasured(
                f"the model must have learnt {what} to be asked about it, but it shows in "
                f"{len(queries)} of {self.n_queries} queries only, and {least} are needed"
            )
        return self.take(queries)


class Task:
    """The user's rows, queries and model, of which criteria make their problems.

    Parameters
    ----------
    X, y, X_queries, y_queries : array-like
        As the scoreboard takes them; labels as arrays.
    model : torch.nn.Module, callable, classifier or regressor
        What is trained.
    are_numbers : bool
        Whether it predicts numbers.
    seed : int
        Seed of training and of everything that is drawn.
    training : dict
        ``recipe``, ``forward`` and ``device`` of a network.
    retraining : dict
        Further arguments of :func:`~sklearn_provenance.retraining.retrain`.
    truth : tuple or None
        Masks and margins of models that were trained before.
    folder : Path or None
        Where outputs of copies are kept.
    """

    def __init__(
        self,
        X,
        y,
        X_queries,
        y_queries,
        *,
        model,
        are_numbers,
        seed,
        training,
        retraining,
        truth=None,
        folder=None,
    ):
        self.X = X
        self.y = y
        self.X_queries = X_queries
        self.y_queries = y_queries
        self.model = model
        self.are_numbers = are_numbers
        self.seed = seed
        self.training = training
        self.retraining = training | retraining
        self.truth = truth
        self.folder = folder
        self._problems = {}

    @property
    def classes(self):
        """Distinct labels of the rows, sorted; raise where the model predicts numbers."""
        if self.are_numbers:
            raise NotMeasured("it needs labels of classes, but the model predicts numbers")
        return np.unique(self.y)

    def store(self, name):
        """Return the folder for outputs of copies, or None."""
        return self.folder and Path(self.folder, name)

    def given(self):
        """Make the problem of the user's own rows and queries."""
        return self.problem("given", self.X, self.y, self.X_queries, self.y_queries)

    def problem(self, name, X, y, X_queries, y_queries, seed=None):
        """Fit the model to rows, once for each name.

        Parameters
        ----------
        name : str
            Name of the problem, of which everything that is drawn depends.
        X, y, X_queries, y_queries : array-like
            Rows and queries.
        seed : int, default=None
            Seed of training; None takes that of the task.

        Returns
        -------
        Problem
            Rows, queries and the fitted model.
        """
        if name not in self._problems:
            if seed is None:
                seed = self.seed
            model = fit_model(self.model, X, y, seed=seed, **self.training)
            of_given = None
            if name == "given":
                of_given = np.arange(n_rows(X_queries))
            self._problems[name] = Problem(
                name, X, y, X_queries, y_queries, model, self.seed, self.are_numbers, of_given
            )
        return self._problems[name]

    def generator(self, name):
        """Make a random generator for what a criterion draws."""
        return np.random.default_rng([self.seed, crc32(name.encode())])

    def numbers(self):
        """Return rows and queries as arrays of numbers that may be written to.

        Raises
        ------
        NotMeasured
            If rows are texts, tables, or anything else that is no array of numbers.
        """
        return _as_numbers(self.X), _as_numbers(self.X_queries)


def _as_numbers(X):
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, list | tuple):
        X = np.asarray(X)
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "iuf" or X.ndim < 2:
        raise NotMeasured(
            "it changes numbers in rows, which must be an array or tensor of numbers; got a "
            f"{type(X).__name__}"
        )
    return copy.deepcopy(X)
