"""What the scoreboard returns: tables, a text, and a figure shaded by how good scores are."""

import numpy as np

from .._utils.displays import PointsDisplay
from .._utils.results import Result
from .._utils.rows import n_rows
from .._utils.tables import Table, short_number
from .criteria import CRITERIA


def as_result(task, methods, rows):
    """Make the result of cells.

    Parameters
    ----------
    task : Task
        What was asked.
    methods : list
        Methods that were measured.
    rows : dict of str to list of Cell
        Cells of all methods by the name of their criterion.

    Returns
    -------
    Result
        With tables, a text, and a figure.
    """
    names = tuple(method.name for method in methods)
    criteria = {name: CRITERIA[name] for name in rows}
    scores = _array(rows, lambda cell: cell.score)  # (n_methods, n_criteria)
    errors = _array(rows, lambda cell: cell.standard_error)
    counts = _array(rows, lambda cell: np.isfinite(cell.values).sum())
    # It is the same for all methods that were measured, and nan for others.
    chance = np.fmax.reduce(_array(rows, lambda cell: cell.chance))  # (n_criteria,)
    reasons = {}
    values = {}
    for criterion, row in rows.items():
        n_values = max(len(cell.values) for cell in row)
        values[criterion] = np.full((len(names), n_values), np.nan)
        for i, cell in enumerate(row):
            if cell.reason:
                reasons[names[i], criterion] = cell.reason
            else:
                values[criterion][i] = cell.values
    columns = {"score": scores, "score_se": errors, "n": counts, "chance": chance}
    for field in ("lowest", "highest", "best", "definition"):
        columns[field] = np.array([getattr(criterion, field) for criterion in criteria.values()])
    columns["reason"] = np.array(
        [[reasons.get((name, criterion), "") for criterion in criteria] for name in names]
    )
    summary = {}
    for i, criterion in enumerate(criteria):
        summary |= {criterion: scores[:, i], f"{criterion}_se": errors[:, i]}
    return Result(
        _text(task, names, list(criteria), scores, chance, reasons),
        Table({"method": names, "criterion": tuple(criteria)}, columns),
        _figure,
        summary=Table({"method": names}, summary),
        methods=names,
        criteria=criteria,
        scores=scores,
        standard_errors=errors,
        chance=chance,
        values=values,
        reasons=reasons,
    )


def _array(rows, number):
    """Compute a number of each cell, as an array (n_methods, n_criteria)."""
    return np.array([[number(cell) for cell in row] for row in rows.values()]).T


def _text(task, names, criteria, scores, chance, reasons):
    """Write a line for each method, one for chance, and why something was not measured."""
    best = [CRITERIA[criterion].best for criterion in criteria]
    lines = dict(zip(names, scores, strict=True)) | {"(chance)": chance, "(best)": best}
    widths = [max(len(criterion), 6) + 2 for criterion in criteria]
    left = max(map(len, lines))
    head = "".join(f"{name:>{width}}" for name, width in zip(criteria, widths, strict=True))
    text = [f"Scoreboard, {len(task.y)} rows, {n_rows(task.X_queries)} queries"]
    text.append(" " * left + head)
    for name, line in lines.items():
        cells = [
            f"{short_number(value):>{width}}" for value, width in zip(line, widths, strict=True)
        ]
        text.append(f"{name:<{left}}{''.join(cells)}")
    if reasons:
        text.append("Not measured:")
        text += [f"  {line}" for line in _reasons(names, criteria, reasons)]
    return "\n".join(text)


def _reasons(names, criteria, reasons):
    """Yield a line for each reason, with the methods that it concerns."""
    for criterion in criteria:
        concerned = {}
        for name in names:
            if (name, criterion) in reasons:
                concerned.setdefault(reasons[name, criterion], []).append(name)
        for reason, methods in concerned.items():
            who = ", ".join(methods)
            if len(methods) == len(names):
                who = "all methods"
            yield f"{criterion}, {who}: {reason}"


def relative_quality(scores, chance, best, highest):
    """Map scores to 0 for chance, or worse, and 1 for the best.

    Where chance is the best, as for scores that should not agree, 0 stands for the highest. Where
    there is no best score, the largest takes its place.

    Parameters
    ----------
    scores : ndarray of shape (n_methods, n_criteria)
        nan stays nan.
    chance, best, highest : ndarray of shape (n_criteria,)
        Of each criterion.

    Returns
    -------
    ndarray of shape (n_methods, n_criteria)
        Numbers from 0 to 1.
    """
    poor = np.where(chance == best, highest, chance)
    largest = np.where(np.isnan(scores), -np.inf, scores).max(0)
    best = np.where(np.isinf(best), largest, best)
    with np.errstate(invalid="ignore", divide="ignore"):
        quality = 1 - np.abs(scores - best) / np.abs(poor - best)
    return np.where(np.isnan(scores), np.nan, np.nan_to_num(quality, nan=0.0).clip(0, 1))


def _figure(result, what=None, **style):
    """Draw the table of all scores, or the points of one criterion.

    Parameters
    ----------
    what : str, default=None
        A criterion.
    """
    if what is None:
        if style:
            raise TypeError(f"plot of the whole scoreboard takes ax and what, got {sorted(style)}")
        highest = np.array([criterion.highest for criterion in result.criteria.values()])
        best = np.array([criterion.best for criterion in result.criteria.values()])
        quality = relative_quality(result.scores, result.chance, best, highest)
        return PointsDisplay(
            result.scores.T, rows=result.methods, names=tuple(result.criteria), shades=quality.T
        )
    means, errors = result.means(what)
    if np.isnan(means).all():
        raise ValueError(f"no method was measured by {what!r}: {result.reasons}")
    chance = result.chance[list(result.criteria).index(what)]
    return PointsDisplay(
        [means],
        [errors],
        rows=result.methods,
        style=style,
        references=[(chance, None, {"linewidth": 1, "linestyle": ":", "zorder": 0})],
        axes={"xlabel": f"{what} (dotted: chance)"},
    )
