"""What a criterion of the scoreboard is, and the register of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, getdoc, signature
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_parameter_constraints

CRITERIA: dict = {}


class NotMeasured(Exception):
    """Raised by a criterion or a method that cannot be measured; the message is the reason."""


@dataclass(frozen=True)
class Measure:
    """A criterion that is ready to be measured.

    Parameters
    ----------
    values : callable
        ``values(method)`` gives an array of shape (n,), whose mean is the score of the method. nan
        is left out.
    chance : float
        What random scores are expected to reach.
    standard_error : callable, default=None
        ``standard_error(method)`` of the mean. None takes that of independent values.
    """

    values: Callable
    chance: float
    standard_error: Callable | None = None


@dataclass(frozen=True)
class Criterion:
    """A criterion by which attribution is judged.

    Parameters
    ----------
    name : str
        Name of its column.
    function : callable
        ``function(task, **options)`` makes the :class:`Measure`, or raises :class:`NotMeasured`.
    lowest, highest, best : float
        Range of the score, and its best value.
    constraints : dict
        Constraints of the options.
    """

    name: str
    function: Callable
    lowest: float
    highest: float
    best: float
    constraints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def definition(self):
        """The first paragraph of the function's docstring, on one line."""
        return " ".join(getdoc(self.function).split("\n\n")[0].split())

    @property
    def defaults(self):
        """Options with their default values."""
        options = list(signature(self.function).parameters.values())[1:]  # after the task
        assert all(option.default is not Parameter.empty for option in options)
        return {option.name: option.default for option in options}

    def options(self, given):
        """Return all options, those given in place of the defaults.

        Raises
        ------
        ValueError
            If an option is unknown or out of range.
        """
        defaults = self.defaults
        place = f"criteria[{self.name!r}]"
        if not isinstance(given, Mapping) or not set(given) <= set(defaults):
            raise ValueError(
                f"{place} must be a dict of options among {sorted(defaults)}, got {given!r}"
            )
        options = defaults | dict(given)
        validate_parameter_constraints(self.constraints, options, place)
        return options


def criterion(name, *, lowest=0.0, highest=1.0, best=1.0, **constraints):
    """Register a function as the criterion of that name; it is returned unchanged.

    Parameters
    ----------
    name : str
        Name of its column.
    lowest, highest, best : float
        Range of the score, and its best value.
    **constraints
        Constraints of the function's options, as scikit-learn writes them.
    """

    def register(function):
        CRITERIA[name] = Criterion(name, function, lowest, highest, best, constraints)
        return function

    return register


def average_precision_of_chance(n_relevant, n_rows):
    """Compute the expected average precision of a random order of rows.

    With m relevant rows among n it is ((m - 1) (1 - H_n / n) / (n - 1) + H_n / n), where H_n is the
    n-th harmonic number: the precision at a relevant row of rank r is (1 + (r - 1)(m - 1)/(n - 1))
    / r in the mean, and all ranks are equally likely.
    """
    if n_rows == 1:
        return 1.0
    share = np.sum(1 / np.arange(1, n_rows + 1)) / n_rows
    return float((n_relevant - 1) / (n_rows - 1) * (1 - share) + share)
