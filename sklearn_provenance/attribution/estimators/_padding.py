"""The warning of explanations that hold fewer rows than were asked for."""

import warnings


def warn_of_padding(indices, rows, advice=""):
    """Warn where queries have fewer than k rows; the warning points at the caller of ``explain``.

    Parameters
    ----------
    indices : ndarray of shape (n_queries, k)
        Row numbers; -1 where there are no more.
    rows : str
        What the queries have too few of, such as "candidates".
    advice : str, default=""
        Sentence that ends the warning, with the full stop before it.
    """
    short = int((indices[:, -1] < 0).sum())
    if short:
        warnings.warn(
            f"{short} of {len(indices)} queries have fewer than k={indices.shape[1]} {rows}; the "
            f"rest is padded with -1 and nan{advice}",
            UserWarning,
            stacklevel=3,  # explain calls this function, and the user calls explain
        )
