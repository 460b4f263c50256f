"""What removing rows does to predictions, and the loop that removes more and more of them."""

import numpy as np

from .._utils.displays import LinesDisplay
from .._utils.labels import label_columns
from .._utils.tables import heads, mean_and_error, nan_mean, number_cells, text_table
from ..retraining._results import margin

# Column, and name in figures and texts, of the change that a direction looks for.
CHANGES = {
    "down": ("output_drop", "drop of the output"),
    "up": ("output_rise", "rise of the output"),
    "any": ("output_change", "change of the output"),
}


class MarginEffect:
    """Margins of true labels drop, and other classes win.

    Parameters
    ----------
    copies : Removals
        Gives logits.
    labels : ndarray of shape (n_eval,)
        True labels of the evaluation rows.

    Attributes
    ----------
    changed, fell : str
        Columns of the tables.
    queries : ndarray of shape (n_queries,), int
        Evaluation rows that the full models of all seeds classify correctly.
    """

    changed = "margin_drop"
    fell = "flipped"

    def __init__(self, copies, labels):
        self.classes = copies.classes
        self.labels = labels
        self.columns = label_columns(labels, len(labels), copies.classes)
        self.queries = np.flatnonzero((copies.full.argmax(2) == self.columns).all(0))
        self.before = np.stack([margin(logits, labels, copies.classes) for logits in copies.full])

    def check_queries(self):
        """Raise where there is nothing to ask about."""
        if not len(self.queries):
            raise ValueError(
                f"The model must classify one query or more correctly, but it classifies none of "
                f"the {len(self.labels)} queries correctly, so that no prediction can fall"
            )

    def read(self, logits, query, seed):
        """Read drops and falls of copies, each about one query.

        Parameters
        ----------
        logits : ndarray of shape (n, n_classes)
            Of each copy for its query.
        query, seed : ndarray of shape (n,), int
            Evaluation row, and place of the seed.

        Returns
        -------
        drops : ndarray of shape (n,)
            Margin of the full model minus that of the copy.
        fallen : ndarray of shape (n,)
            1 where another class has the largest logit, else 0; nan where the copy diverged.
        """
        before = self.before[seed, query]
        after = margin(logits, self.labels[query], self.classes)
        diverged = np.isnan(logits).any(1)
        fallen = np.where(diverged, np.nan, logits.argmax(1) != self.columns[query])
        with np.errstate(invalid="ignore"):  # trees are certain: infinity stays what it was
            drops = np.where(before == after, 0.0, before - after)
        return drops, fallen

    def mean(self, drops):
        """Average drops (n_methods, n_seeds, ...) over seeds."""
        return nan_mean(drops, 1)

    def attributes(self, drops, fallen):
        """Return the values of a result by their names."""
        return {self.fell: fallen, self.changed: drops}

    def summary(self, drops, fallen):
        """Return means over queries with their errors, the main one first."""
        return mean_and_error(self.fell, fallen, 1) | mean_and_error(self.changed, drops, 1)

    def text(self, methods, sizes, summary):
        """Return the text of a result."""
        return text_table(
            f"Brittleness, {len(self.queries)} of {len(self.labels)} queries are classified "
            "correctly; fraction misclassified without the first rows",
            methods,
            number_cells(summary[self.fell], 7, 2),
            head=heads(sizes, 7),
        )

    @staticmethod
    def figure(result, what="flipped", **style):
        """Draw means over the number of rows removed, a line for each method."""
        labels = {"flipped": "fraction misclassified", "margin_drop": "drop of the margin (nats)"}
        means, errors = result.means(what)
        label = labels[what]
        if what == "margin_drop" and result.early_stop:
            label += ",\nqueries not yet misclassified"
        return _lines(result, means, errors, label, style)


class OutputEffect:
    """Outputs of a regressor move, in the units of its target.

    Parameters
    ----------
    copies : Removals
        Gives outputs.
    direction : {"down", "up", "any"}
        Which way outputs should move.
    threshold : float or None
        By how much an output has to move to have fallen; None: none falls.

    Attributes
    ----------
    changed, fell : str
        Columns of the tables.
    queries : ndarray of shape (n_queries,), int
        All evaluation rows.
    outputs : ndarray of shape (n_queries,)
        Outputs of the full model, the mean over seeds.
    """

    fell = "moved"

    def __init__(self, copies, direction="down", threshold=None):
        self.direction = direction
        self.threshold = threshold
        self.changed, self.name = CHANGES[direction]
        self.before = copies.full  # (n_seeds, n_eval)
        self.outputs = self.before.mean(0)
        self.queries = np.arange(len(self.outputs))

    def check_queries(self):
        """Accept all queries: any output can move."""

    def read(self, outputs, query, seed):
        """Read movements of copies, each about one query, as :meth:`MarginEffect.read`.

        The first are signed, also where the direction is "any".
        """
        drops = self.before[seed, query] - outputs
        if self.direction == "up":
            drops = -drops
        if self.threshold is None:
            return drops, np.zeros(len(drops))
        moves = drops
        if self.direction == "any":
            moves = np.abs(drops)
        return drops, np.where(np.isnan(moves), np.nan, moves > self.threshold)

    def mean(self, drops):
        """Average movements (n_methods, n_seeds, ...) over seeds, whose noise has both signs."""
        means = nan_mean(drops, 1)
        if self.direction == "any":
            return np.abs(means)
        return means

    def attributes(self, drops, fallen):
        """Return the values of a result by their names."""
        values = {self.changed: drops}
        if self.threshold is not None:
            values[self.fell] = fallen
        return values

    def summary(self, drops, fallen):
        """Return means over queries with their errors, the main one first."""
        means = mean_and_error(self.changed, drops, 1)
        if self.threshold is not None:
            means |= mean_and_error(self.fell, fallen, 1)
        return means

    def text(self, methods, sizes, summary):
        """Return the text of a result."""
        if self.threshold is not None:  # where queries fall, there may be no drops to average
            return text_table(
                f"Brittleness, {len(self.queries)} queries; fraction of outputs that moved by more "
                f"than {self.threshold:g} without the first rows",
                methods,
                number_cells(summary[self.fell], 7, 2),
                head=heads(sizes, 7),
            )
        means = summary[self.changed]
        largest = np.abs(means[np.isfinite(means)]).max(initial=0.0)
        digits = 3
        if largest > 0:
            digits = int(np.clip(2 - np.floor(np.log10(largest)), 0, 9))
        width = max(9, digits + 5)
        return text_table(
            f"Brittleness, {len(self.queries)} queries; mean {self.name} without the first rows, "
            "in units of the target",
            methods,
            number_cells(means, width, digits),
            head=heads(sizes, width),
        )

    @staticmethod
    def figure(result, what=None, **style):
        """Draw means over the number of rows removed, a line for each method."""
        means, errors = result.means(what)
        column, name = CHANGES[result.direction]
        label = f"{name} (units of the target)"
        if what == OutputEffect.fell:
            label = f"fraction of queries moved by more than {result.threshold:g}"
        elif result.threshold is not None and result.early_stop:
            label += f",\nqueries not yet moved by more than {result.threshold:g}"
        return _lines(result, means, errors, label, style)


def _lines(result, means, errors, label, style):
    """Draw means over the number of rows removed, a line for each method."""
    axes = {"xlabel": "training rows removed", "ylabel": label, "xticks": result.sizes}
    return LinesDisplay(
        result.sizes, means, errors, names=result.methods, style=style, dodge=True, axes=axes
    )


def removal_effect(copies, y_queries, direction, threshold=None):
    """Return the effect that suits what copies give, logits or numbers.

    Parameters
    ----------
    copies : Removals
        Trains.
    y_queries : ndarray of shape (n_eval,)
        True labels; not used for numbers.
    direction, threshold : {"down", "up", "any"} and float or None
        As :class:`OutputEffect` takes them.

    Returns
    -------
    MarginEffect or OutputEffect
        The effect.
    """
    if copies.classes is None:
        return OutputEffect(copies, direction, threshold)
    return MarginEffect(copies, y_queries)


def remove_ascending(copies, effect, queries, picks, sizes, early_stop):
    """Remove more and more rows for each query.

    Parameters
    ----------
    copies : Removals
        Trains.
    effect : MarginEffect or OutputEffect
        Says what became of a query.
    queries : ndarray of shape (n_queries,), int
        Which of the evaluation rows are queries.
    picks : ndarray of shape (n_methods, n_queries, k), int
        Rows to remove, best first.
    sizes : ndarray of shape (n_sizes,), int
        How many of them, ascending.
    early_stop : bool
        Whether queries that fell are left alone.

    Returns
    -------
    fallen : ndarray of shape (n_methods, n_seeds, n_queries, n_sizes)
        1 where the query fell, with ``early_stop`` also at larger sizes; nan where the copy
        diverged.
    drops : ndarray of shape (n_methods, n_seeds, n_queries, n_sizes)
        What ``effect`` reads; nan where nothing was trained.
    """
    shape = (len(picks), len(copies.seeds), len(queries), len(sizes))
    fallen = np.zeros(shape)
    drops = np.full(shape, np.nan)
    pending = np.ones(shape[:3], bool)
    for i, size in enumerate(sizes):
        method, seed, query = at = np.nonzero(pending)
        if not len(query):
            break
        outputs = copies.without(picks[method, query, :size], seed)
        numbers = queries[query]
        outputs = outputs[np.arange(len(query)), numbers]  # each about its own query
        drops[(*at, i)], fallen[(*at, i)] = effect.read(outputs, numbers, seed)
        if early_stop:
            pending &= fallen[..., i] != 1
    if early_stop:
        fell_before = np.maximum.accumulate(fallen == 1, -1)
        fallen = np.where(fell_before, 1.0, fallen)
    return fallen, drops
