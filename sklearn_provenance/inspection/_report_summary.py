"""The summary of a report: how good the predictions are, and whose labels exemplars have."""

import platform
import sys

import numpy as np
from sklearn.metrics import r2_score

from ..explanation._rows import one_line, shorten
from ..explanation._targets import are_numbers, has, subtract, write_number
from ..explanation._templates import render
from ..explanation._views import name_text


def summary_section(fitted, explanation, y_test, by_construction):
    """Write the summary.

    Parameters
    ----------
    fitted : estimator
        Estimator that the page is about.
    explanation : Explanation
        Explanation of all test rows.
    y_test : ndarray of shape (n_test,) or None
        True labels of the test rows.
    by_construction : bool
        Whether only rows of the predicted label may be named.

    Returns
    -------
    Markup
        Content of the section.
    """
    facts = {"Model": shorten(one_line(repr(fitted)), 1500)}
    if explanation.method:
        facts["Method"] = name_text(explanation.method)
    facts["Score"] = name_text(explanation.score_name)
    if explanation.training_data is not None:
        facts["Training rows"] = _training_rows(explanation.training_data)
    facts["Test rows"] = f"{explanation.n_queries}, up to {explanation.k} exemplars each"
    if y_test is not None and explanation.query_labels is not None:
        facts |= _quality(explanation, y_test)
    facts["Named as exemplars"] = _named(explanation)
    facts["Seeds"] = _seeds(fitted)
    facts["Versions"] = _versions()
    return render(
        "report_summary.html",
        __package__,
        facts=facts,
        **_comparison(explanation, y_test, by_construction),
    )


def percent(share, n=None):
    """Write a share in percent, and how many of n it is; a dash for nan."""
    if not np.isfinite(share):
        return "–"
    written = f"{100 * share:.1f} %"
    if n is None:
        return written
    return f"{written} ({round(share * n)} of {n})"


def _training_rows(training_data):
    """Write how many training rows there are, and of how many values."""
    n_train, *shape = training_data.shape
    if not shape:
        return str(n_train)
    return f"{n_train}, each of {' × '.join(map(str, shape))} values"


def _quality(explanation, y_test):
    """Return measures of the predictions by name."""
    predicted = explanation.query_labels
    n_test = explanation.n_queries
    if not are_numbers(explanation):
        return {"Accuracy": percent(np.mean(predicted == y_test), n_test)}
    r2 = "–"
    if n_test > 1:
        r2 = write_number(r2_score(y_test, predicted))
    return {"Mean absolute error": write_number(np.mean(np.abs(y_test - predicted))), "R²": r2}


def _named(explanation):
    """Write how many training rows are exemplars, and how often the most frequent one is."""
    counts = np.bincount(explanation.indices[explanation.indices >= 0])
    n_named = np.count_nonzero(counts)
    named = f"{n_named} training rows"
    if explanation.training_data is not None:
        n_train = explanation.training_data.shape[0]
        named = f"{n_named} of {n_train} training rows ({percent(n_named / n_train)})"
    most = counts.max(initial=0)
    return f"{named}, the same one for at most {most} of {explanation.n_queries} test rows"


def _comparison(explanation, y_test, by_construction):
    """Compare labels or targets of exemplars with those of the test rows: a note, or a table."""
    if are_numbers(explanation):
        note = _distance(explanation, y_test)
    elif not has(explanation, "query_labels", "exemplar_labels"):
        note = "Labels are not known, so their agreement is not either."
    else:
        return _agreement(explanation, y_test, by_construction)
    return {"note": note, "wanted": [], "groups": []}


def _distance(explanation, y_test):
    """Write how far the targets of exemplars are from the prediction and the true target."""
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
    """Return a table of how often exemplars have the predicted label, and the true one."""
    wanted = {"with the predicted label": explanation.query_labels}
    members = {"all": np.ones(explanation.n_queries, dtype=bool)}
    if y_test is not None:
        wanted["with the true label"] = y_test
        is_right = np.asarray(explanation.query_labels == y_test)
        members |= {"classified correctly": is_right, "misclassified": ~is_right}
    valid = explanation.indices >= 0
    groups = []
    for name, inside in members.items():
        shares = []
        for labels in wanted.values():
            same = ((explanation.exemplar_labels == labels[:, None]) & valid)[inside]
            with np.errstate(invalid="ignore"):  # nan without exemplars
                shares.append(percent(same.sum() / valid[inside].sum()))
        groups.append({"name": name, "number": inside.sum(), "shares": shares})
    note = "Share of exemplars whose label agrees."
    if by_construction:
        note += " Only rows with the predicted label may be named, so that all agree with it."
    return {"note": note, "wanted": list(wanted), "groups": groups}


def _seeds(fitted):
    """Write the random states among an estimator's parameters."""
    params = {}
    if hasattr(fitted, "get_params"):
        params = fitted.get_params(deep=True)
    seeds = {name: value for name, value in params.items() if name.endswith("random_state")}
    written = ", ".join(f"{name}={name_text(value)}" for name, value in sorted(seeds.items()))
    return written or "no random_state among the parameters"


def _versions():
    """Write the versions of the packages that an explanation depends on."""
    modules = ("sklearn_provenance", "sklearn", "torch", "numpy")
    versions = [f"{name} {sys.modules[name].__version__}" for name in modules]
    return ", ".join([*versions, f"Python {platform.python_version()}"])
