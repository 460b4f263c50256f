"""Search indexes in files: a line of JSON that describes one, and what it holds."""

import json

import numpy as np

_FORMAT = "a search index of sklearn_provenance, version 1"


def write_index(path, description, content=b""):
    """Write a search index to a file.

    Parameters
    ----------
    path : path-like
        The file.
    description : dict
        JSON values.
    content : bytes-like
        What is not JSON.
    """
    with open(path, "wb") as file:
        file.write(json.dumps({"format": _FORMAT, **description}).encode() + b"\n")
        file.write(content)


def read_index(path):
    """Read what :func:`write_index` wrote.

    Returns
    -------
    description : dict
        JSON values.
    content : ndarray of uint8
        What is not JSON.
    """
    with open(path, "rb") as file:
        try:
            description = json.loads(file.readline())
            known = description["format"] == _FORMAT
        except (ValueError, TypeError, KeyError, RecursionError):
            known = False
        if not known:
            raise ValueError(f"{path} must be {_FORMAT}; build the search index again")
        return description, np.frombuffer(file.read(), np.uint8)


def as_runs(numbers):
    """Write ascending numbers (n,) as runs [start, stop]."""
    if not len(numbers):
        return []
    ends = np.flatnonzero(np.diff(numbers) != 1)
    starts = numbers[np.append(0, ends + 1)]
    stops = numbers[np.append(ends, len(numbers) - 1)] + 1
    return np.stack([starts, stops], 1).tolist()


def from_runs(runs):
    """Return the numbers (n,) of runs."""
    return np.concatenate([np.arange(start, stop) for start, stop in runs])
