"""The result of a protocol: attributes, tables, a text and a figure."""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from numpy.typing import NDArray

from .tables import Table, data_frame
from .types import Axes, DataFrame


class Result:
    """Values that a function measured, with tables, a text and a figure of them.

    Functions of ``evaluation`` and ``inspection`` return it. Each function says which attributes
    its result has, and what its tables hold.

    Parameters
    ----------
    text : str
        Text that ``repr`` returns.
    table : Table
        Values that :meth:`to_frame` returns.
    figure : callable
        ``figure(result, **options)`` makes the display that :meth:`plot` draws.
    summary : Table, default=None
        Values that :meth:`summary` returns; None takes ``table``.
    **attributes
        Values by their names.
    """

    def __init__(
        self,
        text: str,
        table: Table,
        figure: Callable,
        summary: Table | None = None,
        **attributes: Any,
    ) -> None:
        if summary is None:
            summary = table
        vars(self).update(attributes, _text=text, _table=table, _figure=figure, _summary=summary)

    def __setattr__(self, name, value):
        # Tables and text were made from the values.
        raise AttributeError(f"{type(self).__name__} is read-only, {name!r} cannot be set")

    def __repr__(self):
        return self._text

    def to_frame(self) -> DataFrame:
        """Return all values.

        Returns
        -------
        pandas.DataFrame
            One line for each entry.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return data_frame(self._table.columns(), "to_frame")

    def summary(self) -> DataFrame:
        """Return means with their standard errors, which end in ``_se``.

        Returns
        -------
        pandas.DataFrame
            One line for each method or setting.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return data_frame(self._summary.columns(), "summary")

    def means(self, what: str | None = None) -> tuple[NDArray, NDArray]:
        """Return means as arrays.

        Parameters
        ----------
        what : str, default=None
            Name of a column of :meth:`summary` that has a standard error. None takes the first one.

        Returns
        -------
        mean, standard_error : ndarray
            Over the dimensions of the summary. A standard error is nan where it would be that of
            one value.

        Raises
        ------
        ValueError
            If there is no such mean.
        """
        values = self._summary.values
        known = [name for name in values if f"{name}_se" in values]
        if what is None and known:
            what = known[0]
        if what not in known:
            raise ValueError(f"what must be one of {known}, got {what!r}")
        return values[what], values[f"{what}_se"]

    def plot(self, *, ax: Axes = None, **options: Any) -> Any:
        """Draw a figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None makes new ones.
        **options
            Options of the figure, which the function that made the result documents. Where lines
            or points are drawn, all other options are passed on to Matplotlib as keywords of each
            line.

        Returns
        -------
        Display
            The display that was drawn, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If an option has a wrong value, or there is nothing to draw.
        TypeError
            If an option is unknown.
        ImportError
            If matplotlib is missing.
        """
        known = signature(self._figure).parameters
        takes_style = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
        unknown = options.keys() - known.keys()
        if unknown and not takes_style:
            names = list(known)[1:]  # after the result
            raise TypeError(
                f"plot of this result takes {', '.join(['ax', *names])}, got {sorted(unknown)}"
            )
        return self._figure(self, **options).plot(ax)
