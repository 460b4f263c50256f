"""What every attributor does with queries: find their candidates, ask the rule, shape answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d
from tqdm.auto import tqdm

from ..._utils.arguments import check_k, labels_and_k, real, store_arguments, whole
from ..._utils.budget import budgeted
from ..._utils.cluster import check_use, using
from ..._utils.kept import MEMORY_LIMIT
from ..._utils.modules import state_sums
from ..._utils.rows import as_given, check_rows, copied, n_rows
from ..._utils.types import Rows, Targets
from ...explanation import Contributions, Explanation
from ...explanation._instead import Instead
from ...explanation._pair_contributions import PairContributions
from ...information._candidates import SameClass
from ._fit import FitMixin
from ._padding import warn_of_padding
from ._picks import Picks, QueryGroup, by_label
from ._predict import PredictMixin
from ._several import SeveralModelsMixin

# What networks are differentiated by.
PARAMETERS = [StrOptions({"auto", "trainable", "all", "linear"}), type, "array-like"]


def base_constraints(*names):
    """Return constraints of those parameters of :class:`BaseAttributor` that a subclass takes."""
    return {name: BaseAttributor._parameter_constraints[name] for name in names}


class BaseAttributor(SeveralModelsMixin, FitMixin, PredictMixin, BaseEstimator):
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
        "memory_limit": [real(closed="neither")],
        "batch_size": [whole(), StrOptions({"auto"})],
        "verbose": ["verbose"],
    }

    # What a subclass uses that does not take these parameters, such as one for trees.
    forward = None
    memory = None
    memory_limit = MEMORY_LIMIT
    batch_size = "auto"

    def __init__(
        self,
        estimator: Any,
        *,
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _queries(self, X, y=None):
        """Measure queries, by the model that fit has seen."""
        self._check_unchanged()
        return self._measured(X, y)

    def _measured(self, X, y):
        """Measure queries: their points at labels y, or at the predicted ones."""
        if y is None:
            if self.classes_ is None and self._features.needs_targets:
                raise ValueError(
                    "y must be given where targets are numbers, because measurement takes them; "
                    "got None"
                )
            return self._features.query(X)
        y = column_or_1d(as_given(y, "y"))
        check_consistent_length(np.empty(n_rows(X)), y)
        return self._features.query(X, self._measured_at(y))

    def _rule_at(self, label, everything):
        """Return the rule for queries of a label, fitted to all rows (``everything``) or its class.

        It is kept, within ``memory_limit``.
        """
        if everything and not self._features.per_label:
            label = None
        return self._kept((label, everything), lambda: self._fitted_rule(label, everything))

    def _fitted_rule(self, label, everything):
        """Fit the rule to all rows as they are measured for a label, or to those of a class."""
        if everything:
            points, copies = self._rows.at(label)
        else:
            points, copies = self._rows.of_class(label)
        rule = self._rule.fit(points, copies)
        if self._store is not None and hasattr(rule, "index_file"):
            rule.index_file = self._index_file(None if everything else label)
        return rule

    def _expect(self, labels):
        """Say at which labels of queries rules will be asked for, so that their rows share passes.

        What the rows take beside a rule may fill ``memory_limit``.
        """
        if self._features.per_label:
            components = self._features.components(self._rows.inputs)
            beside = self._rule.n_bytes(len(self._rows), *components)
            self._rows.expect(np.unique(labels), self.memory_limit - beside)

    def _scored_together(self, n_rows):
        """Count the queries whose kernel with rows takes a quarter of the budget at most."""
        return max(1, int(self.memory_limit / 4 / (8 * n_rows)))

    def _groups(self, queries, among_train=False, for_picks=False):
        """Group queries by label, unless one rule answers all of them.

        ``among_train`` says that the queries are the training rows, in order. ``for_picks`` says
        that the rule picks rows: candidates are SameClass where it takes that for queries of all
        classes, and groups are as large as its picks allow.
        """
        labels = queries.labels.numpy()
        same_class = self._same_class
        everything = self._rule.needs_all_rows or not same_class
        if everything:
            self._expect(labels)
        joined = for_picks and everything and not self._features.per_label and same_class
        joined = joined and self._rule_at(None, everything).takes_classes()
        apart = (same_class or self._features.per_label) and not joined
        for label, places in by_label(labels, apart):
            training_rows = np.arange(len(self._rows))
            candidates = None
            if same_class and not joined:
                class_rows = np.flatnonzero(self._rows.labels == label)
                if not len(class_rows):
                    continue
                if everything:
                    candidates = torch.as_tensor(class_rows)
                else:
                    training_rows = class_rows
            rule = self._rule_at(label, everything)
            step = self._scored_together(len(training_rows))
            if for_picks:
                step = max(step, rule.picked_together() or 0)
            for start in range(0, len(places), step):
                part = places[start : start + step]
                points = queries
                if len(part) < len(labels):
                    points = queries.take(part)
                if joined:
                    candidates = SameClass(torch.as_tensor(self._rows.labels), points.labels)
                own = None
                if among_train:
                    own = torch.as_tensor(np.searchsorted(training_rows, part))
                yield QueryGroup(part, points, rule, training_rows, candidates, own)

    @budgeted
    def explain(
        self,
        X: Rows | None = None,
        y: Targets | None = None,
        k: int = 5,
        *,
        show: Rows | None = None,
        show_queries: Rows | None = None,
        client: Any = None,
    ) -> Explanation:
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
        show : array-like of shape (n_train, ...), default=None
            What the explanation shows in place of the training rows, such as their texts; None
            shows the X given to fit.
        show_queries : array-like of shape (n_queries, ...), default=None
            What it shows in place of the queries, rows like those that are shown of training
            rows; None shows the queries where ``show`` is None, else none, or
            ``show`` where training rows are explained.
        client : dask.distributed.Client or str, default=None
            Client of a Dask cluster, or address of its scheduler, whose workers hold explicit
            features of the rows, and share the rounds of InfoGain and InfoLoss, the cosines of
            RelatIF, or the exact scan of ``index="exact"``; see :ref:`workers`.

        Returns
        -------
        explanation : Explanation
            Row numbers of the X given to fit in order of selection, and their scores. Where a
            query has fewer than k candidates the rest is padded with -1 and nan, with a warning.
            Where the model is linear in columns or words that have names, ``contributions`` are
            their parts in the inner products of a query and its exemplars, or in their scores.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows, y holds a label that the model does
            not know, y is given without X, ``show`` or ``show_queries`` has another number of rows
            or lacks some, or a client is given and cannot be used.
        TypeError
            If ``show`` or ``show_queries`` holds no rows, such as a single text.
        MemoryError
            If what the method must keep of the rows is larger than ``memory_limit``.
        """
        self._check_fitted()
        can_share = getattr(self, "features_", None) is not None and self._rule.picks_by_workers
        where = (
            "InfoGain, InfoLoss or RelatIF of one model compares explicit features of rows, as "
            'those of TangentFeatures are, without an index or with index="exact"'
        )
        check_use(client, can_share, where)
        y, k = labels_and_k(y, k, len(self.training_.y))
        if X is not None:
            X = check_rows(self, X)
        elif y is not None:
            raise ValueError(
                "y was given without X: the training rows are explained at their own labels"
            )
        instead = Instead.of(X, show, show_queries, len(self.training_.y))
        with using(client):
            picks = self._answer(X, y, k)
        advice = '. candidates="all" allows every training row' if self._same_class else ""
        warn_of_padding(picks.indices, "candidates", advice)
        return instead.applied_to(self._explanation(X, picks))

    def _explanation(self, X, picks):
        """Shape picks for queries X, or for the training rows where X is None."""
        training = self.training_
        among_train = X is None
        shown = self._features.model.shown(training.X if among_train else X, training.X)
        query_labels = picks.labels
        targets = "numbers"
        if self.classes_ is not None:
            query_labels = self.classes_[picks.labels]
            targets = "labels"
        contributions = picks.parts
        if picks.factors is not None:
            contributions = Contributions(
                picks.inputs, self._rows.inputs, self._feature_names, factors=picks.factors
            )
        return Explanation(
            picks.indices,
            picks.scores,
            sample_id=None if training.sample_id is None else training.sample_id[picks.indices],
            exemplar_labels=training.y[picks.indices],
            query_labels=query_labels,
            query_id=training.sample_id if among_train else shown.row_names,
            queries=shown.parts[0],
            training_data=shown.parts[1],
            image_shape=shown.image_shape,
            feature_names=getattr(self, "feature_names_in_", shown.column_names),
            n_tied=picks.n_tied if self._rule.counts_ties else None,
            method=self.method_,
            score_name=self._rule.unit,
            targets=targets,
            contributions=contributions,
        )

    def _answer(self, X, y, k):
        """Pick for queries X; the same question again costs no more than finding its answer."""
        self._check_unchanged()
        return self._kept(("answer", X, y, k), lambda: self._pick(X, y, k)).copied()

    def _pick(self, X, y, k):
        """Return picks, group by group."""
        among_train = X is None
        queries = self._rows.as_queries() if among_train else self._measured(X, y)
        labels = queries.labels.numpy()
        indices = np.full((len(labels), k), -1, dtype=np.int64)
        scores = np.full(indices.shape, np.nan)
        n_tied = np.zeros(len(indices), dtype=np.int64)
        factors = parts = None
        if self._feature_names is not None:
            if self._rule.has_pair_parts:
                parts = PairContributions.empty(indices.shape, self._feature_names)
            else:
                factors = np.zeros(indices.shape)
        groups = self._groups(queries, among_train, for_picks=True)
        for group in tqdm(groups, desc="classes", disable=not self.verbose):
            picked = group.rule.pick(group.queries, k, group.candidates, group.own)
            picks, values, ties = (t.cpu().numpy() for t in picked)
            indices[group.numbers] = np.where(picks >= 0, group.training_rows[picks], -1)
            scores[group.numbers] = values
            n_tied[group.numbers] = ties
            if factors is not None:
                pairs = group.rule.pair_factors(group.queries, picked[0].cpu())
                factors[group.numbers] = pairs.numpy()
            if parts is not None:
                of_group = group.rule.pair_parts(group.queries, picked[0].cpu(), group.own)
                parts.put(group.numbers, *of_group)
        inputs = None
        if factors is not None:
            # Users may write to their queries, which a linear model may take as they are.
            inputs = self._rows.inputs if among_train else copied(queries.x)
        return Picks(labels, indices, scores, n_tied, factors, inputs, parts)

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

    def _check_k(self, k):
        return check_k(k, len(self.training_.y))

    def _check_pool(self, queries, k):
        """Mask (n_train,) of the rows that may be selected for all queries; at least k of them."""
        allowed = np.ones(len(self._rows), dtype=bool)
        if self._same_class:
            allowed = np.isin(self._rows.labels, queries.labels.numpy())
        if k > allowed.sum():
            raise ValueError(
                f"k={k} rows were asked for, but only {allowed.sum()} training rows are of the "
                'queries\' classes. candidates="all" allows every training row'
            )
        return allowed

    @budgeted
    def attribute(self, X: Rows, y: Targets | None = None) -> NDArray[np.float64]:
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
            If what the method must keep of the rows is larger than ``memory_limit``.
        """
        self._check_fitted()
        queries = self._queries(check_rows(self, X), y)
        scores = np.full((len(queries), len(self._rows)), np.nan)
        for group in self._groups(queries):
            values = group.rule.scores(group.queries, group.candidates)
            columns = group.training_rows
            if group.candidates is not None:
                columns = columns[group.candidates.numpy()]
            values = group.rule.settled(values, group.candidates).cpu().numpy()
            scores[np.ix_(group.numbers, columns)] = values
        return scores
