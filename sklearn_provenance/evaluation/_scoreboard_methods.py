"""Whatever gives scores, as the criteria of the scoreboard ask for them."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import clone
from torch import nn

from .._utils.arguments import check_numbers
from ..attribution._suspicion import label_disagreement, label_loss, self_influence
from ..explanation import Explanation
from ._protocol import picked_rows
from .criteria import NotMeasured


class Method:
    """A method that gives scores of all rows.

    A subclass has ``name``, ``identity``, what its scores depend on beside the problem, and
    ``_scores(problem)``, an array of shape (n_queries, n_rows).
    """

    def __init__(self, name):
        self.name = name
        self._known = {}
        self._asked = set()

    def scores(self, problem):
        """Return scores of all rows for each query, larger for rows that speak for it.

        Parameters
        ----------
        problem : Problem
            Rows, model and queries.

        Returns
        -------
        ndarray of shape (n_queries, n_rows)
            Finite numbers.
        """
        self._asked.add(problem.name)
        if problem not in self._known:
            shape = (problem.n_queries, problem.n_rows)
            scores = check_numbers(
                self._scores(problem), f"scores of {self.name!r} for {problem.name!r}", shape
            )
            self._known[problem] = scores
        return self._known[problem]

    def picks(self, problem, k, same_class=False):
        """Return the first k rows for each query, (n_queries, k), best first.

        Parameters
        ----------
        problem : Problem
            Rows, model and queries.
        k : int
            Rows of each query.
        same_class : bool, default=False
            Whether only rows with the query's label may be named.
        """
        scores = self.scores(problem)
        if same_class:
            is_candidate = problem.y == problem.y_queries[:, None]
            scores = np.where(is_candidate, scores, -np.inf)
        # Rows with the same score come in random order, which favours none of them.
        order = problem.generator().permutation(problem.n_rows)
        return order[np.argsort(-scores[:, order], axis=1, kind="stable")[:, :k]]

    def suspicion(self, problem):
        """Return the score of each training row for itself, (n_rows,)."""
        scores = np.diagonal(self.scores(problem.about_rows))
        if problem.are_numbers:
            return np.abs(scores)
        return scores

    def disagreement(self, problem, k):
        """Return the share of each row's first k other rows that have another label, (n_rows,)."""
        scores = self.scores(problem.about_rows).copy()
        np.fill_diagonal(scores, -np.inf)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        values = np.take_along_axis(scores, rows, 1)
        explanation = Explanation(rows, values, exemplar_labels=problem.y[rows])
        return label_disagreement(explanation, problem.y)

    def forget(self):
        """Drop what is known of problems that were not asked about since the last call.

        The user's own problem stays. Two criteria that follow each other and share a problem share
        what is known of it.

        Returns
        -------
        set of str
            Names of the problems that stay.
        """
        kept = self._asked | {"given"}
        self._known = {p: v for p, v in self._known.items() if p.name in kept}
        self._asked = set()
        return kept


class AttributorMethod(Method):
    """Clones of an attributor, fitted to the rows and the model of each problem."""

    def __init__(self, name, attributor):
        super().__init__(name)
        self._kind = type(attributor)
        self._parameters = attributor.get_params(deep=False)
        self._parameters.pop("estimator")
        self._fitted = {}

    @property
    def identity(self):
        """The class and its parameters, without the estimator."""
        return self._kind, self._parameters

    def fitted(self, problem, candidates="all"):
        """Return a clone that explains the model of a problem by its rows."""
        if problem.are_numbers:
            candidates = "all"
        self._asked.add(problem.name)
        key = problem.name, candidates
        if key not in self._fitted:
            parameters = {n: clone(v, safe=False) for n, v in self._parameters.items()}
            if "candidates" in parameters:
                parameters["candidates"] = candidates
            if "prefit" in parameters:
                parameters["prefit"] = "auto"
            attributor = self._kind(estimator=problem.model, **parameters)
            self._fitted[key] = attributor.fit(problem.X, problem.y)
        return self._fitted[key]

    def _scores(self, problem):
        return self.fitted(problem).attribute(problem.X_queries, problem.y_queries)

    def picks(self, problem, k, same_class=False):
        candidates = "same_class" if same_class else "all"
        attributor = self.fitted(problem, candidates)
        return picked_rows(self.name, attributor, problem.X_queries, problem.y_queries, k)

    def suspicion(self, problem):
        return self_influence(self.fitted(problem), problem.X, problem.y)

    def disagreement(self, problem, k):
        return label_disagreement(self.fitted(problem).explain(k=k), problem.y)

    def forget(self):
        kept = super().forget()
        self._fitted = {key: a for key, a in self._fitted.items() if key[0] in kept}
        return kept


class FunctionMethod(Method):
    """A function ``f(model, X, y, X_queries, y_queries)`` that gives scores."""

    def __init__(self, name, function):
        super().__init__(name)
        self.identity = function

    def _scores(self, problem):
        scores = self.identity(
            problem.model, problem.X, problem.y, problem.X_queries, problem.y_queries
        )
        if isinstance(scores, torch.Tensor):
            scores = scores.detach().cpu().numpy()
        return scores


class MatrixMethod(Method):
    """Scores that were computed elsewhere, for the rows and queries given."""

    def __init__(self, name, scores, shape):
        super().__init__(name)
        if isinstance(scores, torch.Tensor):
            scores = scores.detach().cpu().numpy()
        self.identity = check_numbers(scores, f"attributors[{name!r}]", shape)

    def _scores(self, problem):
        if problem.of_given is None:
            raise NotMeasured(
                "it asks for scores of other rows, models or queries than those given, which an "
                "array does not hold; pass a function of (model, X, y, X_queries, y_queries)"
            )
        return self.identity[problem.of_given]


class RandomScores(Method):
    """Independent uniform scores."""

    identity = "random"

    def _scores(self, problem):
        return problem.generator().random((problem.n_queries, problem.n_rows))


class LossScores(Method):
    """The loss of each training row, the same for every query."""

    identity = "loss"

    def _scores(self, problem):
        return np.broadcast_to(self.suspicion(problem), (problem.n_queries, problem.n_rows))

    def suspicion(self, problem):
        if problem.are_numbers and isinstance(problem.model, nn.Module):
            raise NotMeasured("the loss of a torch.nn.Module that predicts numbers is not known")
        return label_loss(problem.model, problem.X, problem.y)


class SimilarityScores(Method):
    """Cosines of rows and queries as they are, less the mean of the training rows."""

    identity = "similarity"

    def _scores(self, problem):
        X, X_queries = (_flat(rows) for rows in (problem.X, problem.X_queries))
        mean = X.mean(0)
        cosines = _unit(X_queries - mean) @ _unit(X - mean).T
        return cosines.round(12)  # the last digits would break ties, as of rows with themselves


# What an attributor can do.
_ATTRIBUTOR = "attribute", "explain", "fit", "get_params"
BASELINES = {"random": RandomScores, "loss": LossScores, "similarity": SimilarityScores}


def _flat(X):
    """Return rows as an array of numbers (n, n_columns)."""
    if issparse(X):
        X = X.toarray()
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, Mapping):
        raise NotMeasured(
            "similarity compares rows that are an array of numbers; got a mapping of inputs, "
            f"{type(X).__name__}. Pass similarities of your own as a method"
        )
    try:
        return np.asarray(X, dtype=np.float64).reshape(len(X), -1)
    except (TypeError, ValueError) as error:
        raise NotMeasured(f"similarity compares numbers, which rows are not: {error}") from error


def _unit(rows):
    """Scale rows to length 1; rows of zeros stay as they are."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1.0, norms)


def as_methods(attributors, shape, baselines):
    """Return methods by name, the baselines last.

    Parameters
    ----------
    attributors : dict of str to attributor, callable or array-like
        As the scoreboard takes them.
    shape : tuple of int
        Number of queries and of rows, for arrays.
    baselines : bool
        Whether baselines come along.

    Returns
    -------
    list of Method
        Distinct names.
    """
    methods = []
    for name, given in attributors.items():
        name = str(name)
        if name in BASELINES and baselines:
            raise ValueError(
                f"attributors must not be named {name!r}, which is a baseline; rename it, or pass "
                "baselines=False"
            )
        methods.append(_as_method(name, given, shape))
    if baselines:
        methods += [kind(name) for name, kind in BASELINES.items()]
    return methods


def _as_method(name, given, shape):
    is_instance = not isinstance(given, type)
    if is_instance and all(hasattr(given, m) for m in _ATTRIBUTOR):
        if "estimator" not in given.get_params(deep=False):
            raise TypeError(
                f"attributors must have a parameter estimator, so that they can explain other "
                f"models; got {given!r} as {name!r}. Pass a function of (model, X, y, X_queries, "
                "y_queries) in its place"
            )
        return AttributorMethod(name, given)
    if isinstance(given, np.ndarray | torch.Tensor | list | tuple):
        return MatrixMethod(name, given, shape)
    if is_instance and callable(given):
        return FunctionMethod(name, given)
    raise TypeError(
        "attributors must be attributors, functions of (model, X, y, X_queries, y_queries) that "
        f"give scores, or arrays of scores; got {given!r} as {name!r}"
    )
