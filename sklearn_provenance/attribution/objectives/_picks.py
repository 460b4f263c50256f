"""Rows whose removal moves a margin most, one after the other or by themselves."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from ...information._hessians import NoMinimumError


class JointRemoval(NamedTuple):
    """Rows whose joint removal moves a query's margin, and the way there."""

    rows: list  # in the order in which they were picked
    drops: list  # by how much the margin falls with each, after those before it
    outputs: np.ndarray  # (n_rows + 1, K) of the query: with all rows, and after each pick
    parameters: list  # of the same states: θ (K, d) of each part


def pick_jointly(minima, query, label, k, allowed, sign=1):
    """Pick rows whose joint removal moves a query's margin most, greedily.

    After each pick the problems are solved without all rows picked so far, and the next pick is
    the row whose removal from there, by one Newton step, moves the margin most.

    Parameters
    ----------
    minima : Minima
        Minima with all rows.
    query : list of ndarray of shape (d,)
        The query's row of each part.
    label : int or None
        Position of the label whose margin is meant.
    k : int
        Rows to pick.
    allowed : ndarray of shape (n,)
        Rows, as booleans, that may be picked.
    sign : int, default=1
        1 to lower the margin, -1 to raise it.

    Returns
    -------
    JointRemoval
        Of fewer than k rows if no other can be removed.
    """
    removals = greedy_removals(minima, query, label, allowed, sign)
    return joint_removal(minima, query, label, islice(removals, k))


def pick_alone(minima, query, label, k, allowed, sign=1):
    """Pick the rows that move a query's margin most by themselves; see :func:`pick_jointly`.

    Drops are those with each pick, after those before it.
    """
    gains = minima.gains(query, label, allowed, sign)
    ranking = np.argsort(-gains, kind="stable")
    removals = removals_in_order(minima, ranking[gains[ranking] > -np.inf])
    return joint_removal(minima, query, label, islice(removals, k))


def greedy_removals(minima, query, label, allowed, sign):
    """Remove the row that moves a query's margin most, and again, until none can be removed.

    Parameters are those of :func:`pick_jointly`.

    Yields
    ------
    row : int
        The row that was removed last.
    minima : Minima
        Minima without it and those before it.
    """
    allowed = allowed.copy()
    while allowed.any():
        gains = minima.gains(query, label, allowed, sign)
        best = int(np.argmax(gains))
        if gains[best] == -np.inf:
            return
        allowed[best] = False
        for row, left in removals_in_order(minima, [best]):
            minima = left
            yield row, minima


def removals_in_order(minima, rows):
    """Remove rows in a given order, those that can be removed; see :func:`greedy_removals`."""
    for row in rows:
        try:
            minima = minima.without_row(row)
        except NoMinimumError:  # it is the last row that holds a parameter or a class
            continue
        yield int(row), minima


def joint_removal(minima, query, label, removals):
    """Collect removals (row, minima) that start from minima with all rows."""
    response = minima.objective.response
    designs = [row[None] for row in query]
    outputs = [minima.outputs(designs)[0]]
    parameters = [[point.theta for point in minima.points]]
    rows = []
    for row, left in removals:
        rows.append(row)
        outputs.append(left.outputs(designs)[0])
        parameters.append([point.theta for point in left.points])
    outputs = np.stack(outputs)
    margins = np.array([response.margin(values, label) for values in outputs])
    return JointRemoval(rows, (margins[:-1] - margins[1:]).tolist(), outputs, parameters)
