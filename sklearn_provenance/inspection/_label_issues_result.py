"""What find_label_issues returns: rows by suspicion, a text, and a figure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.results import Result
from .._utils.tables import Table
from ..explanation._rows import as_images, format_number, one_line
from ._anomalies import AnomalyRanking, row_names, rows_figure


class LabelIssues(Result):
    """Training rows by how suspicious their label or target is.

    ``to_frame()`` has a line for each row, the most suspicious first; rows whose label nobody else
    has come last, with nan. ``plot(kind="auto", labels=None, n=5, image_shape=None)`` draws the n
    least and the n most suspicious rows of each label as :class:`RowsDisplay` does, as images of
    ``image_shape`` if it is given or rows have one.

    Parameters
    ----------
    suspicion : ndarray of shape (n,)
        Higher where a label is more suspicious: one minus its probability, or robust standard
        deviations of a residual.
    is_issue : ndarray of shape (n,), bool
        Whether the label is likely to be wrong.
    labels : ndarray of shape (n,)
        Labels or targets as given.
    suggested : ndarray of shape (n,)
        Labels or targets that the models would give.
    predicted : ndarray of shape (n, n_classes) or (n,)
        Predictions of models that have not seen the row.
    sample_id : ndarray of shape (n,), default=None
        The user's names of the rows.
    data : array-like of shape (n, ...), default=None
        The rows.
    targets : {"labels", "numbers"}, default="labels"
        What labels are.

    Attributes
    ----------
    rows : ndarray of shape (n_issues,)
        Rows that are issues, the most suspicious first.
    """

    def __init__(
        self,
        suspicion: NDArray[np.float64],
        is_issue: NDArray[np.bool_],
        labels: NDArray,
        suggested: NDArray,
        predicted: NDArray[np.float64],
        sample_id: NDArray | None = None,
        data: Any = None,
        targets: str = "labels",
    ) -> None:
        order = np.argsort(-suspicion, kind="stable")  # nan is last
        rows = order[is_issue[order]]
        columns: dict[str, NDArray] = {"row": order}
        if sample_id is not None:
            columns["sample_id"] = sample_id[order]
        columns |= {
            "label": labels[order],
            "suggested": suggested[order],
            "suspicion": suspicion[order],
            "is_issue": is_issue[order],
        }
        super().__init__(
            _text(rows, suspicion, labels, suggested, sample_id, targets),
            Table({}, columns),
            _figure,
            suspicion=suspicion,
            is_issue=is_issue,
            labels=labels,
            suggested=suggested,
            predicted=predicted,
            sample_id=sample_id,
            data=data,
            targets=targets,
            rows=rows,
        )


def _text(rows, suspicion, labels, suggested, sample_id, targets):
    """Write how many rows are issues, and the first ones."""
    word = "target" if targets == "numbers" else "label"
    lines = [
        f"{len(rows)} of {len(labels)} training rows have a {word} that is likely to be wrong, by "
        "models that have not seen it"
    ]
    first = rows[:5]
    for row, name in zip(first, row_names(first, sample_id), strict=True):
        lines.append(
            f"{name}: {_value(labels[row])} -> {_value(suggested[row])}, "
            f"suspicion {format_number(suspicion[row])}"
        )
    if len(rows) > len(first):
        lines.append(f"and {len(rows) - len(first)} more: .rows, .to_frame()")
    n_alone = int(np.isnan(suspicion).sum())
    if n_alone:
        lines.append(f"Not judged, because no other row has the same label: {n_alone}")
    return "\n".join(lines)


def _value(label):
    """Write a label, or a target that is a number."""
    if isinstance(label, np.floating):
        return format_number(label)
    return one_line(label)


def _figure(issues, kind="auto", labels=None, n=5, image_shape=None):
    """Draw the least and the most suspicious rows, label by label or over all targets."""
    judged = ~np.isnan(issues.suspicion)
    if issues.targets == "numbers":
        groups = np.full(len(judged), "all targets")
        name = "suspicion (robust standard deviations of the residual)"
    else:
        groups = issues.labels
        name = "suspicion (1 - probability of the label, by models that have not seen it)"
    if labels is None:
        labels = np.unique(groups[judged])
    images = None
    if image_shape is None and np.ndim(issues.data) in (3, 4):
        image_shape = np.shape(issues.data)[1:]
    if image_shape is not None:
        images = as_images(np.reshape(issues.data, (len(judged), -1)), tuple(image_shape))
    ranking = AnomalyRanking(
        np.nan_to_num(issues.suspicion), groups, name, sample_id=issues.sample_id, images=images
    )
    return rows_figure(ranking, kind=kind, labels=labels, n=n, word="suspicious")
