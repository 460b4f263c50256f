"""The warning of explanations that hold fewer rows than were asked for."""

import warnings


def warn_of_padding(indices, rows, advice=""):
    """Warn where a query has fewer than k rows, from ``explain``.

    Parameters
    ----------
    indices : ndarray of shape (n_queries, k)
        Row numbers; -1 where there are no more.
    rows : str
        What the query has too few of.
    advice : str, default=""
        What is said after that.
    """
    short = int((indices[:, -1] < 0).sum())
    if short:
        warnings.warn(
            f"{short} of {len(indices)} queries have fewer than k={indices.shape[1]} {rows}; the "
            f"rest is padded with -1 and nan{advice}",
            UserWarning,
            stacklevel=3,
        )
