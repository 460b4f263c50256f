"""What every attributor does: take rows, resolve the model, shape the answers."""

import numbers
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d
from tqdm.auto import tqdm

from ..._utils.arguments import check_k, labels_and_k, store_arguments, whole
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.modules import state_sums
from ..._utils.rows import check_rows, copied, n_rows
from ...explanation import Contributions, Explanation
from ._fit import FitMixin
from ._predict import PredictMixin


class QueryGroup(NamedTuple):
    """Queries of one label, or all, and the rule that answers them."""

    numbers: np.ndarray  # (n_queries,) of the X that is explained
    queries: Any  # their points
    rule: Any  # fitted on training rows
    fitted_on: np.ndarray | slice  # training rows that the rule's rows are
    rows: torch.Tensor | None  # those of the rule's rows that may be named; None for all
    own: torch.Tensor | None  # the rule's row that each query is, if queries are training rows


class Picks(NamedTuple):
    """The answer to a question: rows for each query."""

    labels: np.ndarray  # (n_queries,) that queries are explained at
    indices: np.ndarray  # (n_queries, k)
    scores: np.ndarray  # (n_queries, k)
    n_tied: np.ndarray  # (n_queries,)
    factors: np.ndarray | None  # (n_queries, k) of features in inner products, if they have names
    inputs: Any  # features (n_queries, n_features) of queries, where there are factors


class BaseAttributor(FitMixin, PredictMixin, BaseEstimator):
    """Base class of attributors: model, features and rule, in scikit-learn's shape.

    A subclass says what it compares (:meth:`_make_features`) and by which rule
    (:meth:`_make_rule`).
    """

    _parameter_constraints: dict = {
        "estimator": "no_validation",  # says more about what is supported than a type would
        "candidates": [StrOptions({"auto", "same_class", "all"})],
        "forward": [callable, None],
        "prefit": [StrOptions({"auto"}), "boolean"],
        "memory": [str, HasMethods("cache"), None],
        "memory_limit": [Interval(numbers.Real, 0, None, closed="neither")],
        "batch_size": [whole(), StrOptions({"auto"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator,
        *,
        candidates="auto",
        forward=None,
        prefit="auto",
        memory=None,
        memory_limit=MEMORY_LIMIT,
        batch_size="auto",
        verbose=0,
    ):
        store_arguments(locals())

    def _queries(self, X, y=None):
        """Points of queries at the labels given, or predicted, by the model that fit has seen."""
        self._check_unchanged()
        return self._measured(X, y)

    def _measured(self, X, y):
        """Points of queries at the labels given, or predicted."""
        if y is None:
            if self.classes_ is None and self._features.needs_targets:
                raise ValueError(
                    "y must be given where targets are numbers, since measurement takes them; got "
                    "None"
                )
            return self._features.query(X)
        y = column_or_1d(y)
        check_consistent_length(np.empty(n_rows(X)), y)
        return self._features.query(X, self._measured_at(y))

    def _rule_at(self, label, everything):
        """The rule for queries of one label, fitted on the rows of its class or on all."""
        if everything and not self._features.per_label:
            label = None
        return self._kept((label, everything), lambda: self._fitted_rule(label, everything))

    def _fitted_rule(self, label, everything):
        """The rule, fitted on all rows as they are measured for a label, or on those of a class."""
        rows = self._rows.at(label) if everything else self._rows.of_class(label)
        return self._rule.fit(*rows)

    def _groups(self, queries, among_train=False):
        """Group queries by label, unless one rule answers all of them.

        ``among_train`` says that the queries are the training rows, in order.
        """
        labels, of_train = queries.labels.numpy(), self._rows.labels
        same_class = self._same_class
        everything = self._rule.needs_all_rows or not same_class
        shared = not same_class and not self._features.per_label
        for label in [None] if shared else np.unique(labels):
            numbers = np.arange(len(labels)) if shared else np.flatnonzero(labels == label)
            class_rows = np.flatnonzero(of_train == label)
            if same_class and not len(class_rows):
                continue
            rule = self._rule_at(label, everything)
            rows = torch.as_tensor(class_rows) if same_class and everything else None
            fitted_on = slice(None) if everything else class_rows
            # Kernels of queries and rows take a quarter of the budget at most.
            step = max(1, int(self.memory_limit / 4 / (8 * len(rule.points.labels))))
            for start in range(0, len(numbers), step):
                part, own = numbers[start : start + step], None
                if among_train:
                    own = part if everything else np.searchsorted(class_rows, part)
                    own = torch.as_tensor(own)
                points = queries if len(part) == len(labels) else queries.take(part)
                yield QueryGroup(part, points, rule, fitted_on, rows, own)

    def explain(self, X=None, y=None, k=5):
        """Name the training rows behind predictions.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...), default=None
            Queries. None explains every training row at its own label by the others, as if it had
            not been among the rows given to fit; the model is the one trained with it.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones. A single integer is
            k: ``explain(X, 3)``.
        k : int, default=5
            Training rows per query.

        Returns
        -------
        explanation : Explanation
            Row numbers of the X given to fit in order of selection, and their scores. Where a
            query has fewer than k candidates the rest is padded with -1 and nan, with a warning.
            Where the model is linear in columns or words that have names, ``contributions`` are
            their parts in the inner products of a query and its exemplars.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows, y holds a label that the model does
            not know, or y is given without X.
        MemoryError
            If InfoLoss or RelatIF needs a kernel of the rows that is larger than ``memory_limit``.
        """
        self._check_fitted()
        training = self.training_
        y, k = labels_and_k(y, k, len(training.y))
        if X is None and y is not None:
            raise ValueError(
                "y was given without X: the training rows are explained at their own labels"
            )
        X = None if X is None else check_rows(self, X)
        labels, indices, scores, n_tied, factors, inputs = self._answer(X, y, k)
        self._warn_of_padding(indices)
        shown = self._features.model.shown(training.X if X is None else X, training.X)
        return Explanation(
            indices,
            scores,
            sample_id=None if training.sample_id is None else training.sample_id[indices],
            exemplar_labels=training.y[indices],
            query_labels=labels if self.classes_ is None else self.classes_[labels],
            query_id=training.sample_id if X is None else shown.row_names,
            queries=shown.parts[0],
            training_data=shown.parts[1],
            image_shape=shown.image_shape,
            feature_names=getattr(self, "feature_names_in_", shown.column_names),
            n_tied=n_tied if self._rule.counts_ties else None,
            method=self.method_,
            score_name=self._rule.unit,
            targets="numbers" if self.classes_ is None else "labels",
            contributions=self._contributions(inputs, factors),
        )

    def _contributions(self, inputs, factors):
        """Parts of features in the inner products of picked pairs; None where they have none."""
        if factors is None:
            return None
        return Contributions(inputs, self._rows.inputs, self._feature_names, factors=factors)

    def _answer(self, X, y, k):
        """Labels that queries are explained at, picks, their scores and ties.

        The same question again costs no more than finding its answer.
        """
        self._check_unchanged()
        kept = self._kept(("answer", X, y, k), lambda: self._pick(X, y, k))
        # Users may write to their arrays; features are not handed out for that.
        copies = (None if array is None else array.copy() for array in kept[:-1])
        return Picks(*copies, inputs=kept.inputs)

    def _pick(self, X, y, k):
        """The answer, group by group."""
        among_train = X is None
        queries = self._rows.as_queries() if among_train else self._measured(X, y)
        indices = np.full((len(queries.labels), k), -1, dtype=np.int64)
        scores = np.full(indices.shape, np.nan)
        n_tied = np.zeros(len(indices), dtype=np.int64)
        train = np.arange(len(self.training_.y))
        factors = inputs = None
        if self._feature_names is not None:
            factors = np.zeros(indices.shape)
        groups = self._groups(queries, among_train)
        for group in tqdm(groups, desc="classes", disable=not self.verbose):
            picked = group.rule.pick(group.queries, k, group.rows, group.own)
            picks, values, ties = (t.cpu().numpy() for t in picked)
            indices[group.numbers] = np.where(picks >= 0, train[group.fitted_on][picks], -1)
            scores[group.numbers], n_tied[group.numbers] = values, ties
            if factors is not None:
                pairs = group.rule.pair_factors(group.queries, picked[0].cpu())
                factors[group.numbers] = pairs.numpy()
        if factors is not None:
            # Users may write to their queries, which a linear model may take as they are.
            inputs = self._rows.inputs if among_train else copied(queries.x)
        return Picks(queries.labels.numpy(), indices, scores, n_tied, factors, inputs)

    def _check_fitted(self):
        """Raise unless fitted. The tags of all that is inside are read only where it is not."""
        if not hasattr(self, "training_"):
            check_is_fitted(self)

    def _check_unchanged(self):
        """Refuse a module whose weights are no longer those that fit has seen."""
        if any(state_sums(module) != seen for module, seen in self._watched):
            raise ValueError(
                "the weights of the model must be those that fit has seen, but they have changed "
                "since; call fit again"
            )

    def _warn_of_padding(self, indices):
        short, k = int((indices[:, -1] < 0).sum()), indices.shape[1]
        if short:
            more = '. candidates="all" allows every training row' if self._same_class else ""
            warnings.warn(
                f"{short} of {len(indices)} queries have fewer than k={k} candidates; the rest is "
                f"padded with -1 and nan{more}",
                UserWarning,
                stacklevel=3,
            )

    def _check_k(self, k):
        return check_k(k, len(self.training_.y))

    def _check_pool(self, queries, k):
        """Rows that may be selected for all queries together (n_train,), at least k of them."""
        allowed = np.ones(len(self._rows), dtype=bool)
        if self._same_class:
            allowed = np.isin(self._rows.labels, queries.labels.numpy())
        if k > allowed.sum():
            raise ValueError(
                f"k={k} rows were asked for, but only {allowed.sum()} training rows are of the "
                'queries\' classes. candidates="all" allows every training row'
            )
        return allowed

    def attribute(self, X, y=None):
        """Score every training row alone.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones.

        Returns
        -------
        scores : ndarray of shape (n_queries, n_train)
            Pointwise scores; nan where a row is no candidate of a query.

        Raises
        ------
        ValueError
            If y holds a label that the model does not know.
        MemoryError
            If InfoLoss or RelatIF needs a kernel of the rows that is larger than ``memory_limit``.
        """
        self._check_fitted()
        queries = self._queries(check_rows(self, X), y)
        scores = np.full((len(queries), len(self._rows)), np.nan)
        train = np.arange(len(self.training_.y))
        for group in self._groups(queries):
            values = group.rule.scores(group.queries, group.rows)
            values = group.rule.settled(values, group.rows).cpu().numpy()
            columns = train[group.fitted_on]
            columns = columns if group.rows is None else columns[group.rows.numpy()]
            scores[np.ix_(group.numbers, columns)] = values
        return scores
