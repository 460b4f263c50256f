"""One web page about a fitted model: its predictions, their exemplars, and its training rows."""

import os
import platform
import sys
from collections.abc import Mapping

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions, validate_params

from .._utils.arguments import ROWS, check_labels, whole
from ..explanation._cards import marks
from ..explanation._explain import explain, unwrap
from ..explanation._page import check_target, page, write_page
from ..explanation._rows import clip, plain
from ..explanation._sections import query_section, target_namer
from ..explanation._targets import are_numbers, has, subtract, write_number
from ..explanation._templates import Markup, render
from ..explanation._views import RowViews, words
from ._report_suspicion import suspicious_section

_MAX_LINKS = 12


@validate_params(
    {
        "X_test": [ROWS],
        "y_test": [ROWS, None],
        "k": [whole()],
        "n_queries": [whole(), None],
        "suspicious": [StrOptions({"auto"}), "array-like", None],
        "n_rows": [whole()],
        "path": [str, os.PathLike, None],
        "title": [str],
        "label_names": [Mapping, "array-like", None],
        "max_features": [whole()],
    },
    prefer_skip_nested_validation=False,
)
def report(
    fitted,
    X_test,
    y_test=None,
    *,
    k=5,
    n_queries=50,
    suspicious="auto",
    n_rows=10,
    path=None,
    title="Provenance report",
    label_names=None,
    max_features=12,
):
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
    suspicious : "auto", array-like of shape (n_train,) or None, default="auto"
        How suspicious the label of each training row is. "auto" ranks by
        :func:`~sklearn_provenance.evaluation.label_disagreement`, ties by
        :func:`~sklearn_provenance.evaluation.label_loss`, as far as they can be computed, and the
        page says which; targets of a regression by the size of their residuals. This explains every
        training row by the others; None leaves it out. An array gives your own ranking, higher
        where a label is more suspicious, such as one of
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

    Returns
    -------
    str
        The page.

    Raises
    ------
    TypeError
        If nothing in ``fitted`` has an ``explain`` method.
    ValueError
        If ``y_test`` or ``suspicious`` does not fit, or a label has no name.
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
    explanation = explain(fitted, X_test, k=k)
    if y_test is not None:
        y_test = _check_labels(y_test, explanation, inner)
    label_name = target_namer(explanation, label_names)
    by_construction = _exemplars_agree(inner)

    shown, shown_note = _worst_first(explanation, y_test, by_construction, n_queries)
    part = explanation[shown]
    if y_test is not None:
        part = part._replace(true_labels=y_test[shown])
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
    )
    sections = [
        ("summary", "Summary", _summary(fitted, explanation, y_test, by_construction)),
        ("queries", "Test rows and their exemplars", queries),
        ("often", "Training rows named most often",
         _named_often(views, explanation, shown, n_rows, label_name, by_construction)),
    ]  # fmt: skip
    if suspicious is not None:
        content = suspicious_section(
            inner, suspicious, views, explanation, k, n_rows, label_name, by_construction
        )
        word = "target" if are_numbers(explanation) else "label"
        sections.append(("suspicious", f"Training rows with a suspicious {word}", content))
    html = page(title, sections, pictures=views.pictures)
    if path is not None:
        write_page(html, path)
    return html


def _exemplars_agree(inner):
    """Whether an estimator names rows of the query's label only."""
    return getattr(inner, "candidates_", "all") == "same_class"


def _check_labels(y_test, explanation, inner):
    y_test = check_labels(y_test, "y_test", explanation.n_queries, "X_test")
    classes, given = np.asarray(getattr(inner, "classes_", [])).tolist(), y_test.tolist()
    if classes and set(given).isdisjoint(classes):
        raise ValueError(
            f"none of y_test's labels, such as {given[0]!r}, is one of the classes that the model "
            f"knows, such as {classes[0]!r}"
        )
    return y_test


def _worst_first(explanation, y_test, by_construction, n_queries):
    """Rows that are shown, in their order, and a sentence that says which they are."""
    n_test, labels = explanation.n_queries, explanation.query_labels
    keys, first = [], []
    if are_numbers(explanation):
        if labels is not None and y_test is not None:
            keys.append(-np.abs(subtract(y_test, labels)))
            first.append("those with the largest residuals")
    elif labels is not None and y_test is not None:
        keys.append(~marks(explanation, y_test)[1])
        first.append("misclassified ones")
    compared = has(explanation, "query_labels", "exemplar_labels") and not by_construction
    if compared and not are_numbers(explanation):
        keys.append(explanation.agreement)
        first.append("those with the least label agreement")
    shown = np.lexsort([np.arange(n_test), *reversed(keys)])[:n_queries]
    note = f"{len(shown)} of {n_test} test rows are shown, first "
    return shown, f"{note}{', then '.join([*first, 'as they were given'])}."


def _percent(share, n=None):
    if not np.isfinite(share):
        return "–"
    return f"{100 * share:.1f} %" + ("" if n is None else f" ({round(share * n)} of {n})")


def _summary(fitted, explanation, y_test, by_construction):
    indices, valid = explanation.indices, explanation.indices >= 0
    labels, n_test = explanation.query_labels, explanation.n_queries
    facts = {"Model": clip(plain(repr(fitted)), 1500)}
    if explanation.method:
        facts["Method"] = words(explanation.method)
    facts["Score"] = words(explanation.score_name)
    counts = np.bincount(indices[valid])
    named = np.count_nonzero(counts)
    if explanation.training_data is not None:
        n_train = explanation.training_data.shape[0]
        shape = " × ".join(map(str, explanation.training_data.shape[1:]))
        facts["Training rows"] = f"{n_train}" + (f", each of {shape} values" if shape else "")
        named = f"{named} of {n_train} training rows ({_percent(named / n_train)})"
    else:
        named = f"{named} training rows"
    facts["Test rows"] = f"{n_test}, up to {explanation.k} exemplars each"
    if y_test is not None and labels is not None:
        if are_numbers(explanation):
            facts["Mean absolute error"] = write_number(np.mean(np.abs(y_test - labels)))
            facts["R²"] = write_number(r2_score(y_test, labels)) if n_test > 1 else "–"
        else:
            facts["Accuracy"] = _percent(np.mean(labels == y_test), n_test)
    most = counts.max(initial=0)
    facts["Named as exemplars"] = f"{named}, the same one for at most {most} of {n_test} test rows"
    facts["Seeds"] = _seeds(fitted)
    facts["Versions"] = _versions()
    if are_numbers(explanation):
        note, wanted, groups = _distance(explanation, y_test), [], []
    elif labels is None or explanation.exemplar_labels is None:
        note, wanted, groups = "Labels are not known, so their agreement is not either.", [], []
    else:
        note, wanted, groups = _agreement(explanation, y_test, by_construction)
    return render(
        "report_summary.html", __package__, facts=facts, note=note, wanted=wanted, groups=groups
    )


def _distance(explanation, y_test):
    """Say how far the targets of exemplars are from the prediction, and from the true target."""
    if not has(explanation, "query_labels", "exemplar_labels"):
        return "Predictions or targets are not known, so they cannot be compared."
    valid = explanation.indices >= 0
    if not valid.any():
        return "There are no exemplars, so their targets cannot be compared."
    distance = np.abs(explanation.target_differences)[valid].mean()
    note = "On average, the target of an exemplar differs from the prediction by "
    note += write_number(distance)
    if y_test is None:
        return f"{note}."
    distance = np.abs(subtract(explanation.exemplar_labels, y_test[:, None]))[valid].mean()
    return f"{note}, and from the true target by {write_number(distance)}."


def _agreement(explanation, y_test, by_construction):
    """Return how often exemplars have the label predicted, and the true one, as a table."""
    wanted = {"with the predicted label": explanation.query_labels}
    members = {"all": np.ones(explanation.n_queries, dtype=bool)}
    if y_test is not None:
        wanted["with the true label"] = y_test
        right = np.asarray(explanation.query_labels == y_test)
        members |= {"classified correctly": right, "misclassified": ~right}
    valid = explanation.indices >= 0
    groups = []
    for name, inside in members.items():
        shares = []
        for labels in wanted.values():
            same = ((explanation.exemplar_labels == labels[:, None]) & valid)[inside]
            n_exemplars = valid[inside].sum()
            shares.append(_percent(same.sum() / n_exemplars if n_exemplars else np.nan))
        groups.append({"name": name, "number": inside.sum(), "shares": shares})
    note = "Share of exemplars whose label agrees."
    if by_construction:
        note += " Only rows with the predicted label may be named, so that all agree with it."
    return note, list(wanted), groups


def _seeds(fitted):
    params = fitted.get_params(deep=True) if hasattr(fitted, "get_params") else {}
    seeds = {name: value for name, value in params.items() if name.endswith("random_state")}
    written = ", ".join(f"{name}={words(value)}" for name, value in sorted(seeds.items()))
    return written or "no random_state among the parameters"


def _versions():
    modules = ("sklearn_provenance", "sklearn", "torch", "numpy")
    versions = [f"{name} {sys.modules[name].__version__}" for name in modules]
    return ", ".join([*versions, f"Python {platform.python_version()}"])


def _named_often(views, explanation, shown, n_rows, label_name, by_construction):
    """Write a table of the training rows that most test rows name."""
    indices, valid = explanation.indices, explanation.indices >= 0
    if not valid.any():
        return Markup("<p>No training row is named.</p>")
    rows, first, counts = np.unique(indices[valid], return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:n_rows]
    ids = None if explanation.sample_id is None else explanation.sample_id[valid]
    labels = None if explanation.exemplar_labels is None else explanation.exemplar_labels[valid]
    word = "target" if are_numbers(explanation) else "label"
    heads = ["row", *([] if ids is None else ["id"]), *([] if labels is None else [word])]
    compared = has(explanation, "query_labels", "exemplar_labels") and not by_construction
    compared = compared and not are_numbers(explanation)
    heads += ["named by", *(["of them with another label"] if compared else []), "such as"]
    place = {row: number for number, row in enumerate(shown)}
    lines = []
    for i in order:
        who = np.flatnonzero(((indices == rows[i]) & valid).any(axis=1))
        names = [] if ids is None else [words(ids[first[i]])]
        names += [] if labels is None else [label_name(labels[first[i]])]
        numbers = [_percent(len(who) / explanation.n_queries, explanation.n_queries)]
        if compared:
            numbers.append(int((explanation.query_labels[who] != labels[first[i]]).sum()))
        links = [{"row": row, "place": place[row]} for row in who if row in place]
        lines.append(
            {
                "row": rows[i],
                "names": names,
                "numbers": numbers,
                "links": links[:_MAX_LINKS],
                "more": len(links) > _MAX_LINKS,
                "shown": views.training_row(rows[i]),
            }
        )
    return render(
        "report_often.html",
        __package__,
        heads=[*heads, *views.training_heads()],
        lines=lines,
        kind=views.kind,
    )
