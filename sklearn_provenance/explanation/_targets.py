"""Labels of a classification and targets of a regression: which they are, and how they compare."""

import numpy as np

from ._rows import cell_text

KINDS = ("labels", "numbers")
_NAMES = ("exemplar_labels", "query_labels", "true_labels")


def check_targets(explanation):
    """Settle whether an explanation holds labels or numbers, and turn numbers into float64.

    Parameters
    ----------
    explanation : Explanation
        Explanation whose `exemplar_labels`, `query_labels` and `true_labels` are arrays or None.

    Raises
    ------
    ValueError
        If `targets` is unknown, or "numbers" and the values are no numbers.
    """
    known = {name: getattr(explanation, name) for name in _NAMES if has(explanation, name)}
    if explanation.targets is None:
        kinds = {values.dtype.kind for values in known.values()}
        explanation.targets = "labels"
        if "f" in kinds and kinds <= set("biuf"):
            explanation.targets = "numbers"
    if explanation.targets not in KINDS:
        raise ValueError(f"targets must be None or one of {KINDS}, got {explanation.targets!r}")
    if explanation.targets == "numbers":
        for name, values in known.items():
            setattr(explanation, name, _as_numbers(name, values))


def _as_numbers(name, values):
    """Return float64, or refuse values that are no real numbers."""
    if values.dtype.kind in "biufO":
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError):
            pass
    raise ValueError(
        f'targets="numbers" needs numbers in {name}, got dtype {values.dtype}; pass '
        'targets="labels" where they are classes'
    )


def are_numbers(explanation):
    """Return whether targets are numbers."""
    return explanation.targets == "numbers"


def target_word(explanation):
    """Return the word for what exemplars are labelled with: "target" of numbers, or "label"."""
    if are_numbers(explanation):
        return "target"
    return "label"


def need(explanation, what, names):
    """Raise an AttributeError for a property unless the arrays that it needs are known.

    Parameters
    ----------
    explanation : Explanation
        Explanation that has the property.
    what : str
        Name of the property, and what it does.
    names : sequence of str
        Names of the arrays that it compares.

    Raises
    ------
    AttributeError
        If one of them was not given.
    """
    for name in names:
        if getattr(explanation, name) is None:
            raise AttributeError(f"{what}, and {name} was not given")


def agreement(explanation):
    """Compute :attr:`Explanation.agreement`."""
    if are_numbers(explanation):
        raise AttributeError(
            "agreement compares labels, and the targets of this explanation are numbers; "
            "target_differences compares those"
        )
    need(explanation, "agreement compares labels", ("exemplar_labels", "query_labels"))
    valid = explanation.indices >= 0
    equal = (explanation.exemplar_labels == explanation.query_labels[:, None]) & valid
    with np.errstate(invalid="ignore"):
        return equal.sum(axis=1) / valid.sum(axis=1)


def target_differences(explanation):
    """Compute :attr:`Explanation.target_differences`."""
    if not are_numbers(explanation):
        raise AttributeError(
            "target_differences subtracts numbers, and the targets of this explanation are "
            "labels; agreement compares those"
        )
    names = ("exemplar_labels", "query_labels")
    need(explanation, "target_differences subtracts targets", names)
    differences = subtract(explanation.exemplar_labels, explanation.query_labels[:, None])
    return np.where(explanation.indices >= 0, differences, np.nan)


def residuals(explanation):
    """Compute :attr:`Explanation.residuals`."""
    if not are_numbers(explanation):
        raise AttributeError(
            "residuals subtracts numbers, and the targets of this explanation are labels"
        )
    need(explanation, "residuals subtracts targets", ("true_labels", "query_labels"))
    return subtract(explanation.true_labels, explanation.query_labels)


def subtract(targets, others):
    """Subtract numbers, of which some may be infinite or very large."""
    with np.errstate(over="ignore", invalid="ignore"):
        return targets - others


def has(explanation, *names):
    """Return whether all of these arrays are known."""
    return all(getattr(explanation, name) is not None for name in names)


def write_number(value):
    """Write a target."""
    return cell_text(float(value))


def write_signed(value):
    """Write a difference of targets with its sign."""
    sign = "+" if value >= 0 else ""
    return f"{sign}{cell_text(float(value))}"


def shown_targets(explanation):
    """Return all numbers of an explanation that are finite, of exemplars and of queries."""
    values = np.empty(0)
    if explanation.exemplar_labels is not None:
        values = explanation.exemplar_labels[explanation.indices >= 0]
    for of_queries in (explanation.query_labels, explanation.true_labels):
        if of_queries is not None:
            values = np.concatenate([values, of_queries])
    return values[np.isfinite(values)]
