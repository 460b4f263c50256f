"""The part of a report that lists training rows whose label is suspicious."""

from warnings import catch_warnings, filterwarnings

import numpy as np

from .._utils.arguments import check_readable
from .._utils.rows import take_rows
from .._utils.training import TrainingData
from ..attribution._suspicion import label_disagreement, label_loss
from ..attribution.estimators._base import BaseAttributor
from ..explanation import Explanation
from ..explanation._cards import make_cards
from ..explanation._rows import format_number
from ..explanation._targets import are_numbers
from ..explanation._templates import render
from ..explanation._views import name_text
from ..provenance import ProvenanceClassifier
from ._label_issues_result import LabelIssues

DISAGREEMENT = "label disagreement"
LOSS = "loss of the given label"
GIVEN = "suspicion as given"
UNSEEN = "suspicion by models that have not seen the row"
RESIDUAL = "size of the residual"
_UNITS = {LOSS: " nats"}
# Rows with measures up to these are not suspicious.
_LEAST = {DISAGREEMENT: 0.0, LOSS: np.log(2)}
# A model that gives more than this share of its rows their own labels may know them by heart.
_KNOWN_BY_HEART = 0.99


def suspicious_section(
    inner, suspicious, views, explanation, k, n_rows, label_name, by_construction
):
    """Write the most suspicious training rows with their exemplars among the others.

    Parameters
    ----------
    inner : estimator
        Fitted, with an ``explain`` method.
    suspicious : "auto", LabelIssues or array-like of shape (n_train,)
        As in :func:`report`.
    views : RowViews
        How rows are shown.
    explanation : Explanation
        Explanation of the test rows, with the training rows in the user's units.
    k, n_rows : int
        Number of exemplars of each row, and number of rows.
    label_name : callable
        Function that writes a label.
    by_construction : bool
        Whether only rows of the predicted label may be named.

    Returns
    -------
    Markup
        Content of the section.

    Raises
    ------
    ValueError
        If ``suspicious`` has the wrong shape, or does not hold numbers.
    """
    known = isinstance(getattr(inner, "training_", None), TrainingData)
    if isinstance(suspicious, str) and not known:  # "auto"
        note = f"{type(inner).__name__} does not tell the labels of its training rows, so they "
        note += "cannot be ranked. Pass suspicious= a number for each of them."
        return _section([note])
    labels = others = None
    if known:
        labels = inner.training_.y
        others = _by_the_others(inner, len(labels), k)
    notes = []
    if isinstance(suspicious, LabelIssues):
        n_train = _n_train(labels, views, suspicious.labels)
        measures = {UNSEEN: _unseen(suspicious, n_train, labels)}
        notes.append(f"{repr(suspicious).partition(chr(10))[0]}. ")
    elif not isinstance(suspicious, str):
        measures = {GIVEN: _check_scores(suspicious, _n_train(labels, views, suspicious))}
    elif are_numbers(explanation):
        measures, notes = _measures_of_numbers(inner, labels)
    else:
        measures, notes = _measures(inner, labels, others, by_construction)
    if not measures:
        return _section(notes)
    rows = np.lexsort([-values for values in reversed(measures.values())])
    if isinstance(suspicious, str) and not are_numbers(explanation):
        above = np.any([values > _LEAST[name] for name, values in measures.items()], axis=0)
        rows = rows[above[rows]]
        notes.append(
            f"{len(rows)} of {len(above)} rows are suspicious at all: they have an exemplar with "
            "another label, or the model gives their label a probability below one half. "
        )
    rows = rows[:n_rows]
    if not len(rows):
        return _section(notes)
    notes.append(
        f"Below are those of largest {', ties by '.join(measures)}. A suspicious row need not be "
        "wrong; rare rows are suspicious, too. "
    )
    if known:
        notes.append(
            "Exemplars are found among the other training rows, by the same model, which was "
            "trained with all of them. "
        )
    names = [f"Training row {row}" for row in rows]
    predicted = None
    if known:
        predicted = _predicted(inner, others, rows)
        if inner.training_.sample_id is not None:
            names = [f"{name}, id {name_text(inner.training_.sample_id[row])}"
                     for name, row in zip(names, rows, strict=True)]  # fmt: skip
    written = make_cards(
        views,
        _explained(rows, labels, others, explanation),
        names=names,
        label_word="target" if are_numbers(explanation) else "labelled",
        label_name=label_name,
        others=predicted,
        other_word="predicted",
        others_are_true=False,
        facts=[_fact(measures, row) for row in rows],
        prefix="s",
    )
    return _section(notes, written)


def _n_train(labels, views, suspicious):
    """Return the number of training rows, that of the scores where nothing else tells it."""
    if labels is not None:
        return len(labels)
    if views.training_data is not None:
        return views.training_data.shape[0]
    return np.size(suspicious)


def _fact(measures, row):
    """Write the measures of a row."""
    return " · ".join(
        f"{name} {format_number(values[row])}{_UNITS.get(name, '')}"
        for name, values in measures.items()
    )


def _section(notes, written=()):
    """Write notes, and cards below them."""
    return render("report_suspicious.html", __package__, notes=notes, cards=written)


def _by_the_others(inner, n_train, k):
    """Explain every training row by the other ones."""
    n_named = n_train
    if isinstance(inner, ProvenanceClassifier):
        n_named = len(inner.index_)
    with catch_warnings():
        filterwarnings("ignore", ".*candidates", UserWarning)  # the page shows how many there are
        return inner.explain(k=max(1, min(k, n_named - 1)))


def _measures(inner, labels, others, by_construction):
    """Return how suspicious every training row is, by several measures, and notes on them."""
    measures = {}
    notes = []
    if isinstance(inner, BaseAttributor) and by_construction:
        notes.append(
            "With candidates=\"same_class\" no exemplar's label differs from the row's, so label "
            'disagreement needs candidates="all". '
        )
    else:
        # A row without exemplars gets the largest disagreement.
        measures[DISAGREEMENT] = np.nan_to_num(label_disagreement(others, labels), nan=1.0)
        notes.append("Label disagreement is the share of exemplars with another label, by score. ")
        if by_construction:
            notes.append("Here it is 0 or 1, because only rows of the predicted class are named. ")
    try:
        measures[LOSS] = label_loss(inner, inner.training_.X, labels)
    except TypeError:
        notes.append("The model gives no probabilities, so there is no loss. ")
        return measures, notes
    known = np.mean(measures[LOSS] < np.log(2))
    if known > _KNOWN_BY_HEART:
        notes.append(
            f"The model gives {known:.1%} of its training rows the label that they carry. It may "
            "have learnt wrong labels by heart, and what it says of those rows would not show it. "
            "inspection.find_label_issues judges every row by models that have not seen it; its "
            "result can be given as suspicious=. "
        )
    return measures, notes


def _unseen(issues, n_train, labels):
    """Return suspicion by models that have not seen the row; rows not judged come last."""
    if len(issues.suspicion) != n_train:
        raise ValueError(
            f"suspicious must be of the {n_train} training rows, but the issues are those of "
            f"{len(issues.suspicion)} rows"
        )
    if labels is not None:
        if issues.targets == "numbers":
            is_other = ~np.isclose(labels, issues.labels)
        else:
            is_other = np.asarray(labels) != issues.labels
        n_other = int(np.count_nonzero(is_other))
        if n_other:
            raise ValueError(
                "suspicious must be of the training rows in the same order, but for "
                f"{n_other} of {n_train} rows the label of the issues is another than the one that "
                "the model was fitted with"
            )
    return np.nan_to_num(issues.suspicion, nan=0.0)


def _measures_of_numbers(inner, targets):
    """Return how far the model is from the target of every training row, and a note on it."""
    note = "Where targets are numbers, training rows are ranked by how far they are from what the "
    note += "model predicts. It was trained with them, so that their residuals are small ones. "
    return {RESIDUAL: np.abs(targets - inner.predict(inner.training_.X))}, [note]


def _check_scores(suspicious, n_train):
    """Return one float64 for each training row, or raise a ValueError."""
    check_readable(suspicious, "suspicious")
    scores = np.asarray(suspicious)
    is_numeric = scores.dtype.kind in "biuf"
    n_missing = int(np.isnan(scores).sum()) if is_numeric else 0
    if scores.shape != (n_train,) or not is_numeric or n_missing:
        raise ValueError(
            f'suspicious must be "auto", None, or one number for each of the {n_train} training '
            f"rows, got an array of shape {scores.shape} and dtype {scores.dtype} with {n_missing} "
            "nan"
        )
    return scores.astype(np.float64)


def _explained(rows, labels, others, explanation):
    """Return the explanation of training rows by the others, shown in the user's units."""
    known = {}
    if labels is not None:
        known["query_labels"] = labels[rows]
    data = explanation.training_data
    if data is not None:
        known["queries"] = take_rows(data, rows)
    indices = np.empty((len(rows), 0), dtype=np.int64)
    scores = np.empty((len(rows), 0))
    if others is not None:
        part = others[rows]
        indices, scores = part
        known["sample_id"] = part.sample_id
        known["exemplar_labels"] = part.exemplar_labels
    return Explanation(
        indices,
        scores,
        training_data=data,
        image_shape=explanation.image_shape,
        feature_names=explanation.feature_names,
        score_name=explanation.score_name,
        targets=explanation.targets,
        **known,
    )


def _predicted(inner, others, rows):
    """Return the predictions for training rows."""
    if isinstance(inner, ProvenanceClassifier):
        return others.query_labels[rows]
    return inner.predict(take_rows(inner.training_.X, rows))
