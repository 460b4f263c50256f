"""Influence by the objective that an estimator minimises, with its minima without rows."""

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import column_or_1d
from tqdm.auto import tqdm

from ..._utils.arguments import labels_and_k
from ..._utils.feature_names import column_names
from ..._utils.labels import positions
from ..._utils.rows import as_given, check_rows, n_rows, shown, take_rows
from ...explanation import Explanation
from ..objectives._column_parts import ColumnParts
from ..objectives._minima import each_row, label_of
from ..objectives._picks import pick_alone, pick_jointly
from ._influence_checks import check_no_labels, warn_of_nan
from ._padding import warn_of_padding


class ConvexInfluenceMixin:
    """Scores and picks; a subclass has ``estimator_``, ``training_``, ``_minima`` and ``_rows``."""

    def _attribute_convex(self, X, y):
        """Compute drops (n_queries, n_train) of margins without each row alone."""
        X = check_rows(self, X)
        labels = self._labels(X, y)
        found = []
        for number, designs in self._designs(X):
            some = label_of(labels, slice(number, number + designs[0].shape[0]))
            way = self._minima if self._minima.implicit else self._rows
            found.append(way.drops(designs, some))
        drops = found[0] if len(found) == 1 else np.concatenate(found)
        train_labels = None
        if labels is not None:
            train_labels = self.training_.y
        warn_of_nan(drops, train_labels)
        if self.candidates == "same_class":
            for number, label in enumerate(labels):
                drops[number, ~self._allowed(label)] = np.nan
        return drops

    def _explain_convex(self, X, y, k):
        """Name the rows whose joint removal moves each query's margin most."""
        minima = self._minima
        y, k = labels_and_k(y, k, minima.n_rows)
        if X is None:
            check_no_labels(y)
            rows = self.training_.X
            y = self.training_.y
            queries = each_row(0, minima.training_designs())
        else:
            rows = check_rows(self, X)
            queries = (row for part in self._designs(rows) for row in each_row(*part))
        labels = self._labels(rows, y)
        indices = np.full((n_rows(rows), k), -1, dtype=np.int64)
        scores = np.full(indices.shape, np.nan)
        columns = ColumnParts.of(minima.objective, rows, column_names(rows))
        parts = []
        bar = tqdm(queries, desc="queries", total=len(indices), disable=not self.verbose)
        for number, query in bar:
            label = label_of(labels, number)
            allowed = self._allowed(label)
            if X is None:
                allowed[number] = False
            removal = self._pick(query, label, k, allowed)
            indices[number, : len(removal.rows)] = removal.rows
            scores[number, : len(removal.drops)] = removal.drops
            if columns is not None:
                parts.append(columns.of_removal(number, label, removal, k))
        warn_of_padding(indices, "rows that can be removed")
        described = self._shown(X, rows, labels, indices)
        if columns is not None:
            described["contributions"] = columns.contributions(parts)
        return Explanation(indices, scores, **described)

    def _designs(self, X):
        """Yield the first of some queries, and their rows of each part's problem.

        They are all queries, but for features of a kernel, which take a number for each row.
        """
        n = n_rows(X)
        step = self._minima.queries_together() or n
        for start in range(0, n, step):
            some = X if step >= n else take_rows(X, slice(start, start + step))
            yield start, self._minima.designs(some)

    def _shown(self, X, rows, labels, indices):
        """Return what an Explanation of queries says beside the rows and their scores."""
        training = self.training_
        (queries, training_data), _, query_id, names = shown(rows, training.X)
        if X is None:
            query_id = training.sample_id
        described = {
            "exemplar_labels": training.y[indices],
            "query_id": query_id,
            "queries": queries,
            "training_data": training_data,
            "feature_names": getattr(self, "feature_names_in_", names),
            "method": "influence",
            "score_name": self._minima.objective.response.score_name,
        }
        if training.sample_id is not None:
            described["sample_id"] = training.sample_id[indices]
        if labels is None:
            numbers = np.asarray(self.estimator_.predict(rows), dtype=np.float64)
            return described | {"query_labels": numbers, "targets": "numbers"}
        return described | {"query_labels": self.classes_[labels], "targets": "labels"}

    def _pick(self, query, label, k, allowed):
        """Pick rows and say how they move the margin in the direction that was asked for."""
        pick = pick_alone
        if self.selection == "greedy":
            pick = pick_jointly
        if self.direction == "down":
            return pick(self._minima, query, label, k, allowed, 1)
        up = pick(self._minima, query, label, k, allowed, -1)
        if self.direction == "up":
            return up
        down = pick(self._minima, query, label, k, allowed, 1)
        if sum(down.drops) >= -sum(up.drops):
            return down
        return up

    def _labels(self, X, y):
        """Return positions of labels, predicted where y is None; None for a regressor."""
        if y is not None:
            y = column_or_1d(as_given(y, "y"))
            check_consistent_length(np.empty(n_rows(X)), y)
        if not hasattr(self, "classes_"):
            return None
        if y is None:
            y = np.asarray(self.estimator_.predict(X))
        return positions(self.classes_, y, "y")

    def _allowed(self, label):
        """Return which rows (n_train,) may be named for a query, at the position of its label."""
        if self.candidates != "same_class":
            return np.ones(self._minima.n_rows, dtype=bool)
        return np.asarray(self.training_.y) == self.classes_[label]
