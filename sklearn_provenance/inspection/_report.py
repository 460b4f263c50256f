"""One web page about a fitted model: its predictions, their exemplars, and its training rows."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import ROWS, check_labels, whole
from .._utils.types import Path, Rows, Targets
from ..explanation._cards import label_mismatches
from ..explanation._embedding import check_embedding
from ..explanation._explain import explain_by_itself, unwrap
from ..explanation._page import Page, check_target, page, write_page
from ..explanation._sections import query_section, target_namer
from ..explanation._targets import are_numbers, subtract, target_word
from ..explanation._views import RowViews
from ._label_issues_result import LabelIssues
from ._report_often import labels_may_differ, often_section
from ._report_summary import summary_section
from ._report_suspicion import suspicious_section
from ._shared import check_some_known


@validate_params(
    {
        "X_test": [ROWS],
        "y_test": [ROWS, None],
        "k": [whole()],
        "n_queries": [whole(), None],
        "suspicious": [StrOptions({"auto"}), LabelIssues, "array-like", None],
        "n_rows": [whole()],
        "path": [str, os.PathLike, None],
        "title": [str],
        "label_names": [Mapping, "array-like", None],
        "max_features": [whole()],
        "image_shape": [tuple, list, None],
        "embedding": [str, tuple, list, None],
    },
    prefer_skip_nested_validation=False,
)
def report(
    fitted: Any,
    X_test: Rows,
    y_test: Targets = None,
    *,
    k: int = 5,
    n_queries: int | None = 50,
    suspicious: LabelIssues | ArrayLike | None = "auto",
    n_rows: int = 10,
    path: Path | None = None,
    title: str = "Provenance report",
    label_names: Mapping | Sequence[str] | None = None,
    max_features: int = 12,
    image_shape: Sequence[int] | None = None,
    embedding: str | tuple[ArrayLike, ArrayLike] | None = "pca",
) -> Page:
    """Write one web page about predictions and the training rows behind them.

    The page opens offline, loads nothing, and nothing in the data can run in it. It has a summary,
    queries beside their exemplars, the training rows that are named most often, and training rows
    whose label is suspicious. Targets of a regression are numbers, shown with their residuals. The
    page holds rows of the data, and is as confidential as they are.

    Parameters
    ----------
    fitted : attributor, ProvenanceClassifier or other estimator
        Fitted, with an ``explain`` method, or a Pipeline, search or FrozenEstimator around it.
    X_test : array-like of shape (n_test, ...)
        Rows as ``fitted`` takes them. All of them are explained and counted in the summary.
    y_test : array-like of shape (n_test,), default=None
        Their true labels.
    k : int, default=5
        Exemplars of each row.
    n_queries : int or None, default=50
        Test rows that are shown, None for all: misclassified ones first, then those with the least
        label agreement, then as they stand in ``X_test``. Of a regression, those with the largest
        residuals.
    suspicious : "auto", LabelIssues, array-like of shape (n_train,) or None, default="auto"
        How suspicious the label of each training row is. "auto" ranks by
        :func:`~sklearn_provenance.evaluation.label_disagreement`, ties by
        :func:`~sklearn_provenance.evaluation.label_loss`, as far as they can be computed, and the
        page says which; targets of a regression by the size of their residuals. This explains every
        training row by the others; None leaves it out. A model that has learnt wrong labels by
        heart does not show them so, and the page warns of it: give what :func:`find_label_issues`
        found, by models that have not seen the row. An array gives your own ranking, higher where
        a label is more suspicious, such as one of
        :func:`~sklearn_provenance.evaluation.label_error_scores`.
    n_rows : int, default=10
        Training rows that are listed as named most often, and as suspicious.
    path : str or path-like, default=None
        File to write, or to replace in one step; None writes none.
    title : str, default="Provenance report"
        Title of the page.
    label_names : mapping or sequence, default=None
        What to call each label: names by label, or a sequence of names, such as a Bunch's
        ``target_names``, for labels counted from 0.
    max_features : int, default=12
        Columns of a table, where rows are neither images nor texts: the features in which exemplars
        differ most from their queries.
    image_shape : tuple of int, default=None
        ``(H, W)`` or ``(C, H, W)`` of rows that are flattened images; None shows images where
        ``fitted`` knows that rows are some.
    embedding : {"pca", "tsne", "umap"}, pair of array-like or None, default="pca"
        How the rows are placed on the map of the test rows, as in
        :meth:`~sklearn_provenance.Explanation.to_html`. A pair holds points for all test rows and
        all training rows.

    Returns
    -------
    Page
        The page, a string that a notebook shows as a page.

    Raises
    ------
    TypeError
        If nothing in ``fitted`` has an ``explain`` method.
    ValueError
        If ``y_test``, ``suspicious``, ``image_shape`` or ``embedding`` does not fit, or a label has
        no name.
    FileNotFoundError
        If the folder of ``path`` does not exist.
    IsADirectoryError
        If ``path`` is a folder.
    sklearn.exceptions.NotFittedError
        If ``fitted`` is not fitted.

    See Also
    --------
    sklearn_provenance.Explanation.to_html : Page of an explanation alone.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_provenance.attribution import RepSimAttributor
    >>> from sklearn_provenance.inspection import report
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    >>> attributor = RepSimAttributor(LogisticRegression(), candidates="all").fit(X, y)
    >>> html = report(attributor, X_test, y_test, title="Iris")  # path="iris.html" writes a file
    >>> html.startswith("<!DOCTYPE html>"), "<h1>Iris</h1>" in html
    (True, True)
    """
    if path is not None:
        check_target(path)
    if isinstance(fitted, type):
        raise TypeError(f"fitted must be a fitted estimator, got the class {fitted.__name__}")
    try:
        inner, _ = unwrap(fitted)
    except TypeError as error:
        raise TypeError(f"fitted must have an explain method: {error}") from error
    explanation = explain_by_itself(fitted, X_test, k=k)
    if image_shape is not None:
        explanation = explanation._replace(image_shape=image_shape)
    if y_test is not None:
        y_test = _check_labels(y_test, explanation, inner)
    label_name = target_namer(explanation, label_names)
    by_construction = _exemplars_agree(inner)

    checked = check_embedding(embedding, explanation)
    shown, shown_note = _worst_first(explanation, y_test, by_construction, n_queries)
    part = explanation[shown]
    if y_test is not None:
        part = part._replace(true_labels=y_test[shown])
    if isinstance(checked, tuple):
        checked = checked[0][shown], checked[1]
    views = RowViews(part, max_features)
    queries = query_section(
        views,
        part,
        names=[f"Test row {row}" for row in shown],
        label_word="predicted",
        label_name=label_name,
        wrong_word="misclassified",
        by_construction=by_construction,
        note=shown_note,
        embedding=checked,
    )
    sections = [
        ("summary", "Summary", summary_section(fitted, explanation, y_test, by_construction)),
        ("queries", "Test rows and their exemplars", queries),
        (
            "often",
            "Training rows named most often",
            often_section(views, explanation, shown, n_rows, label_name, by_construction),
        ),
    ]
    if suspicious is not None:
        content = suspicious_section(
            inner, suspicious, views, explanation, k, n_rows, label_name, by_construction
        )
        heading = f"Training rows with a suspicious {target_word(explanation)}"
        sections.append(("suspicious", heading, content))
    html = page(title, sections, pictures=views.pictures)
    if path is not None:
        write_page(html, path)
    return html


def _exemplars_agree(inner):
    """Return whether an estimator names rows of the query's label only."""
    return getattr(inner, "candidates_", "all") == "same_class"


def _check_labels(y_test, explanation, inner):
    """Return the true labels as an array, of which one or more must be known to the model."""
    y_test = check_labels(y_test, "y_test", explanation.n_queries, "X_test")
    check_some_known(y_test, getattr(inner, "classes_", []))
    return y_test


def _worst_first(explanation, y_test, by_construction, n_queries):
    """Return the rows that are shown, in their order, and a sentence that says which they are."""
    n_test = explanation.n_queries
    labels = explanation.query_labels
    keys = []
    order = []
    if y_test is not None and labels is not None:
        if are_numbers(explanation):
            keys.append(-np.abs(subtract(y_test, labels)))
            order.append("those with the largest residuals")
        else:
            _, is_wrong = label_mismatches(explanation, y_test)
            keys.append(~is_wrong)
            order.append("misclassified ones")
    if labels_may_differ(explanation, by_construction):
        keys.append(explanation.agreement)
        order.append("those with the least label agreement")
    keys.append(np.arange(n_test))
    order.append("as they were given")
    shown = np.lexsort(keys[::-1])[:n_queries]  # the last key counts first
    return shown, f"{len(shown)} of {n_test} test rows are shown, first {', then '.join(order)}."
