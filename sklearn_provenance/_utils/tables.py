"""Tables of results: columns, data frames, means with standard errors."""

from dataclasses import dataclass

import numpy as np


def data_frame(columns, what):
    """Make a data frame of columns, or raise an ImportError that says how to install pandas."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{what} needs pandas: pip install sklearn-provenance[frame]") from error
    return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class Table:
    """Values over named dimensions, a line for each entry.

    Parameters
    ----------
    dims : dict of str to array-like
        Name and entries of each dimension. Empty where values are columns already.
    values : dict of str to array-like
        Arrays over the dimensions, by the name of their column. An array over the last ones only is
        repeated along the others.
    """

    dims: dict
    values: dict

    def columns(self):
        """Return columns of one length, ndarrays by name; the last dimension varies fastest."""
        values = {name: np.asarray(value) for name, value in self.values.items()}
        if self.dims:
            shape = tuple(len(entries) for entries in self.dims.values())
        else:
            shape = np.broadcast_shapes(*(value.shape for value in values.values()))
        places = np.indices(shape).reshape(len(shape), -1)
        columns = {
            name: np.asarray(entries)[place]
            for (name, entries), place in zip(self.dims.items(), places, strict=False)
        }
        return columns | {
            name: np.broadcast_to(value, shape).ravel() for name, value in values.items()
        }


def text_table(title, names, cells, head=""):
    """Write a title, and below it a line of text for each name.

    Parameters
    ----------
    title : str
        First line.
    names : sequence of str
        Names at the beginning of the lines.
    cells : sequence of str
        Text after the name on each line.
    head : str, default=""
        Line above the cells.

    Returns
    -------
    str
        Lines.
    """
    width = max(map(len, names))
    lines = [title]
    if head:
        lines.append(" " * width + head)
    return "\n".join(
        lines + [f"{name:<{width}}{cell}" for name, cell in zip(names, cells, strict=True)]
    )


def number_cells(values, width, digits):
    """Write cells of :func:`text_table` with a line of numbers each."""
    return ["".join(f"{value:{width}.{digits}f}" for value in line) for line in values]


def short_number(value):
    """Write a number in few characters; a dash where there is none."""
    if np.isnan(value):
        return "-"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def heads(names, width):
    """Write the line above :func:`number_cells`."""
    return "".join(f"{name:>{width}}" for name in names)


def plus_minus(means, errors):
    """Write cells of :func:`text_table` with means and their standard errors."""
    return [f"  {mean:.3f} ± {error:.3f}" for mean, error in zip(means, errors, strict=True)]


def mean_and_error(name, values, axis):
    """Compute mean and standard error along an axis, as two columns of a :class:`Table`."""
    return {name: nan_mean(values, axis), f"{name}_se": standard_error(values, axis)}


def nan_mean(values, axis):
    """Compute the mean of the values that are not nan; nan where all are nan."""
    counts = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(counts, values, 0.0).sum(axis) / counts.sum(axis)


def standard_error(values, axis):
    """Compute the standard error of the mean without nan; nan for fewer than two values."""
    n = np.isfinite(values).sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = np.square(values - np.expand_dims(nan_mean(values, axis), axis))
        variance = np.where(np.isnan(values), 0.0, squares).sum(axis) / (n - 1)
        return np.where(n > 1, np.sqrt(variance / n), np.nan)
