"""What happens when models are trained again without sets of rows, beside what was predicted."""

from pathlib import Path

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_random_state

from ..._utils.displays import LinesDisplay
from ..._utils.labels import label_columns
from ..._utils.results import Result
from ..._utils.tables import Table, mean_and_error
from ...retraining._removals import Removals
from ...retraining._results import margin


class RemovalsOfModels:
    """Outputs of copies of several models, each from several seeds; see :class:`Removals`.

    Repetitions are counted model by model.

    Parameters
    ----------
    models : list
        What is trained.
    X, y, X_eval, seeds : object
        As :class:`Removals` takes them.
    store : path-like or None
        Folder; each of several models has a folder in it.
    **options
        Further arguments of :class:`Removals`.
    """

    def __init__(self, models, X, y, X_eval, seeds, store, **options):
        stores = [store] * len(models)
        if store is not None and len(models) > 1:
            stores = [Path(store) / f"model-{number}" for number in range(len(models))]
        self.parts = [
            Removals(model, X, y, X_eval, seeds, folder, **options)
            for model, folder in zip(models, stores, strict=True)
        ]
        self.n_repetitions = len(seeds) * len(models)
        self.full = np.concatenate([part.full for part in self.parts])
        self.classes = self.parts[0].classes

    def without(self, removed):
        """Compute outputs (n_sets, n_repetitions, n_eval, ...) of copies without each set."""
        outputs = []
        for part in self.parts:
            n_seeds = len(part.seeds)
            repeated = [rows for rows in removed for _ in range(n_seeds)]
            found = part.without(repeated, np.tile(np.arange(n_seeds), len(removed)))
            outputs.append(found.reshape(len(removed), n_seeds, *found.shape[1:]))
        return np.concatenate(outputs, 1)


def random_sets(sets, labels, n_train, n_random, random_state):
    """Draw sets of the same size for each set, with as many rows of each label.

    Parameters
    ----------
    sets : FlippingSets
        Sets of the queries.
    labels : ndarray of shape (n_train,) or None
        Labels of the training rows; None where they are numbers.
    n_train : int
        Training rows.
    n_random : int
        Sets to draw for each.
    random_state : int, RandomState instance or None
        Draws them.

    Returns
    -------
    list of list of ndarray of int
        For each query its random sets.
    """
    generator = check_random_state(random_state)
    if labels is None:
        labels = np.zeros(n_train, dtype=np.int64)
    drawn = []
    for row in sets.indices:
        chosen = row[row >= 0]
        counts = dict(zip(*np.unique(labels[chosen], return_counts=True), strict=True))
        of_query = []
        for _ in range(n_random if len(chosen) else 0):
            parts = [
                generator.choice(np.flatnonzero(labels == label), count, replace=False)
                for label, count in counts.items()
            ]
            of_query.append(np.concatenate(parts))
        drawn.append(of_query)
    return drawn


def certificate(copies, sets, compared, response):
    """Train without sets and without those they are compared with.

    Parameters
    ----------
    copies : RemovalsOfModels
        Trains.
    sets : FlippingSets
        Sets of the queries.
    compared : list of list of ndarray of int
        Random sets of each query.
    response : Response or None
        How outputs become margins; None for the log odds, or the output of a regressor.

    Returns
    -------
    Result
        See :meth:`InfluenceAttributor.certify`.
    """
    queries = np.flatnonzero(sets.sizes)
    if not len(queries):
        raise ValueError("sets must hold rows of at least one query, but no set was found")
    removed, owners, is_random = [], [], []
    for query in queries:
        rows = sets.indices[query]
        of_query = [rows[rows >= 0], *compared[query]]
        removed += of_query
        owners += [query] * len(of_query)
        is_random += [False] + [True] * len(compared[query])
    owners, is_random = np.array(owners), np.array(is_random)
    outputs = copies.without(removed)
    # Each set is asked about at the query that it belongs to.
    outputs = outputs[np.arange(len(removed)), :, owners]  # (n_removed, n_repetitions, ...)
    own = np.repeat(owners, copies.n_repetitions)
    read = _Reader(sets, copies.classes, response)
    flat = outputs.reshape(len(own), *outputs.shape[2:])
    after = read.margins(flat, own).reshape(len(removed), -1)
    flips = read.changed(flat, own).reshape(len(removed), -1)
    full = copies.full[:, queries]  # (n_repetitions, n_sets, ...)
    before = np.stack([read.margins(values, queries) for values in full])
    changed_before = np.mean([read.changed(values, queries) for values in full])
    before, after = before.mean(0), after.mean(1)
    realised, predicted = after[~is_random], sets.predicted[queries]
    start = sets.margins[queries, 0]
    direction = np.sign(start - predicted)
    drops = direction * (before - realised)
    p_value = np.full(len(queries), np.nan)
    for number, query in enumerate(queries):
        others = after[is_random & (owners == query)]
        if len(others):
            as_far = direction[number] * (before[number] - others) >= drops[number]
            p_value[number] = (1 + as_far.sum()) / (1 + len(others))
    values = {
        "size": sets.sizes[queries],
        "before": before,
        "predicted": predicted,
        "realised": realised,
        "flipped": flips[~is_random].mean(1),
        "p_value": p_value,
    }
    r2 = explained_variance(predicted, realised)
    r2_falls = explained_variance(start - predicted, before - realised)
    # Fewer than 19 random sets leave no p-value of .05 to be reached.
    reachable = np.array([(is_random & (owners == query)).sum() >= 19 for query in queries])
    significant = np.where(reachable, p_value <= 0.05, np.nan)
    summary = {"n_sets": len(queries), "r2": r2, "r2_falls": r2_falls}
    summary |= mean_and_error("flipped", values["flipped"], 0)
    summary |= mean_and_error("significant", significant, 0)
    text = (
        f"Certificate of {described_sizes(values['size'])}: {described_fit(r2, r2_falls)}, "
        f"{100 * values['flipped'].mean():.0f} % of the trainings change the prediction"
    )
    if changed_before:
        # Nothing was removed, so that the change is due to the training.
        text += (
            f", but so do {100 * changed_before:.0f} % of those with all rows: the copies are not "
            "trained as the model was that is explained, or from other seeds"
        )
    return Result(
        text,
        Table({"query": queries}, values),
        _figure,
        summary=Table({"what": ["all sets"]}, {n: np.array([v]) for n, v in summary.items()}),
        queries=queries,
        r2=r2,
        r2_falls=r2_falls,
        **values,
    )


def described_sizes(sizes):
    """Say how many sets there are, and how large."""
    if len(sizes) == 1:
        noun = "row" if sizes[0] == 1 else "rows"
        return f"1 set of {sizes[0]} {noun}"
    return f"{len(sizes)} sets of {sizes.min()} to {sizes.max()} rows"


def described_fit(r2, r2_falls):
    """Say how well predicted and realised margins agree, as far as that is defined."""
    if np.isnan(r2):
        return "no R² of predicted and realised margins, which takes sets whose margins differ"
    return f"R² of predicted and realised margins {r2:.3f}, of their falls {r2_falls:.3f}"


class _Reader:
    """Margins and changes of predictions in the outputs of copies."""

    def __init__(self, sets, classes, response):
        self.sets, self.classes, self.response = sets, classes, response
        self.columns = None
        if classes is not None:
            self.columns = label_columns(sets.query_labels, sets.n_queries, classes)

    def margins(self, outputs, queries):
        """Compute margins (n,) of outputs (n, C) or (n,) at what each query is explained at."""
        if self.classes is None:
            return np.asarray(outputs, dtype=np.float64).reshape(len(queries), -1)[:, 0]
        if self.response is None:
            return margin(outputs, self.sets.query_labels[queries], self.classes)
        if outputs.shape[1] == 2:
            outputs = outputs[:, 1:] - outputs[:, :1]
        pairs = zip(outputs, self.columns[queries], strict=True)
        return np.array([self.response.margin(values, label) for values, label in pairs])

    def changed(self, outputs, queries):
        """Whether predictions (n,) are no longer those that were explained."""
        if self.classes is not None:
            return outputs.argmax(1) != self.columns[queries]
        above = self.margins(outputs, queries) > self.sets.threshold
        return above != (self.sets.margins[queries, 0] > self.sets.threshold)


def check_queries(sets, X):
    """Raise a ValueError if sets were found for other rows of numbers than X."""
    if sets.queries is None or issparse(X) or issparse(sets.queries):
        return
    asked, found = np.asarray(X), np.asarray(sets.queries)
    if asked.dtype.kind not in "biuf" or found.dtype.kind not in "biuf":
        return
    if asked.shape == found.shape and not np.allclose(asked, found, equal_nan=True):
        raise ValueError(
            "sets must be what flipping_set returned for these queries, but it was given other rows"
        )


def explained_variance(predicted, realised):
    """Compute R² of realised values by predicted ones; nan where realised ones do not differ."""
    spread = ((realised - realised.mean()) ** 2).sum()
    if spread == 0:
        return np.nan
    return float(1 - ((realised - predicted) ** 2).sum() / spread)


def _figure(result, **style):
    """Draw realised over predicted margins, a point for each set."""
    ends = np.array(
        [
            np.nanmin([result.predicted, result.realised]),
            np.nanmax([result.predicted, result.realised]),
        ]
    )
    same = (ends, ends, {"color": "0.6", "linestyle": "--"})
    axes = {"xlabel": "predicted margin without the set", "ylabel": "realised margin"}
    return LinesDisplay(
        result.predicted,
        [result.realised],
        names=["sets of rows"],
        styles=[{"linestyle": "none", "marker": "o"}],
        style=style,
        references=[same],
        axes=axes,
    )
