"""Relative information: how near the sets of other rules come to those of greedy InfoLoss."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import ROWS, check_sizes
from .._utils.tables import frame, long_columns, nan_mean, standard_error
from ..attribution import InfoLossAttributor
from ..attribution._training_rows import check_rows, fitted_rows
from ..information import leave_out_system
from ._curves import RelativeInformationDisplay
from ._protocol import as_attributors, check_queries, picked_rows


@validate_params(
    {
        "reference": [InfoLossAttributor],
        "X_queries": [ROWS],
        "y_queries": [ROWS, None],
    },
    prefer_skip_nested_validation=False,
)
def relative_information(
    attributors, reference, X_queries, y_queries=None, *, sizes=(10, 20, 50, 100)
):
    """Information lost with the sets of a rule, over that lost with the sets of greedy InfoLoss.

    Both sets are judged by the reference, that is, by its kernel and noise variance: the nats about
    the query that are lost when the set is withheld from all rows, I_IL(S; x_*).

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on the rows of the reference. Relaxations of InfoLoss, of the same noise variance:
        InfoGain, its linear response, sketched features. Any other method will do.
    reference : InfoLossAttributor
        Fitted.
    X_queries : array-like of shape (n_queries, ...)
        Queries.
    y_queries : array-like of shape (n_queries,), default=None
        Labels to explain; None takes those that the reference predicts.
    sizes : sequence of int, default=(10, 20, 50, 100)
        Rows in the sets, ascending: the first of those named.

    Returns
    -------
    RelativeInformationResult
        Nats of each method and of the reference.

    Raises
    ------
    TypeError
        If the reference is no InfoLossAttributor, or an attributor cannot explain.
    ValueError
        If attributors were fitted on other rows, a query has fewer candidates than the largest
        size, or σ² is lost beside the kernel.

    Notes
    -----
    Greedy InfoLoss need not find the best set, so that a ratio may pass 1. The kernel of all rows
    is formed for each class that is explained, as the reference does.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 3 and Figure 2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor
    >>> from sklearn_provenance.evaluation import relative_information
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> reference = InfoLossAttributor(model, noise_variance=1e5).fit(X, y)
    >>> relaxed = InfoGainAttributor(model, noise_variance=1e5).fit(X, y)
    >>> result = relative_information(relaxed, reference, X[::30], sizes=(5, 10))
    >>> bool((result.ratios > 0.99).all())  # much noise: the two rules agree
    True
    """
    check_is_fitted(reference)
    attributors = as_attributors(attributors, "explain")
    y = check_rows(attributors, *fitted_rows(reference))
    sizes = check_sizes(sizes, len(y))
    y_queries = reference.predict(X_queries) if y_queries is None else y_queries
    y_queries = check_queries(X_queries, y_queries)
    named = {"the reference": reference} | attributors
    picks = np.stack(
        [picked_rows(name, a, X_queries, y_queries, int(sizes[-1])) for name, a in named.items()]
    )
    nats = information_lost(reference, X_queries, y_queries, picks)[..., sizes - 1]
    return RelativeInformationResult(tuple(attributors), sizes, nats[1:], nats[0])


def information_lost(reference, X_queries, y_queries, picks):
    """Nats about queries that are lost with the first row, the first two, and so on.

    Parameters
    ----------
    reference : InfoLossAttributor
        Gives the kernel and the noise variance.
    X_queries, y_queries : array-like of shape (n_queries, ...) and (n_queries,)
        Queries and the labels that are explained.
    picks : ndarray of shape (n_methods, n_queries, k), int
        Rows that each method names.

    Returns
    -------
    nats : ndarray of shape (n_methods, n_queries, k)
        I_IL of the first 1 to k rows.
    """
    nats = np.empty(picks.shape)
    queries = reference._queries(X_queries, y_queries)
    for label in np.unique(queries.labels.numpy()):
        numbers = np.flatnonzero(queries.labels.numpy() == label)
        rows, points = reference._rows.at(label)[0], queries.take(numbers)
        kernels = rows.inner(), points.inner(rows), points.norms()
        wanted, places = np.unique(picks[:, numbers], return_inverse=True)
        places = torch.as_tensor(places.reshape(len(picks), len(numbers), -1))
        precision, weights, variance = leave_out_system(
            *kernels, reference.noise_variance_, torch.as_tensor(wanted)
        )
        for query, number in enumerate(numbers):
            at = places[:, query].to(precision.device)  # (n_methods, k)
            block = precision[at[:, :, None], at[:, None, :]]  # P_SS of each method
            # The first m entries of L^-1 u_S depend on the first m rows alone, so that one factor
            # holds u_S^T (P_SS)^-1 u_S of every m.
            factor, failed = torch.linalg.cholesky_ex(block)
            if failed.any():
                raise ValueError(
                    f"noise_variance_={reference.noise_variance_:.3g} of the reference is lost in "
                    "rounding beside its kernel; choose a larger one."
                )
            solved = torch.linalg.solve_triangular(factor, weights[query, at, None], upper=False)
            gain = solved[..., 0].square().cumsum(1)
            ratio = torch.where(gain == 0, 0.0, gain / variance[query])
            nats[:, number] = (0.5 * torch.log1p(ratio)).cpu().numpy()
    return nats


@dataclass(frozen=True, eq=False, repr=False)
class RelativeInformationResult:
    """Nats lost with the sets of several methods, beside those of greedy InfoLoss.

    Parameters
    ----------
    methods : tuple of str
        Names of the attributors.
    sizes : ndarray of shape (n_sizes,)
        Rows in the sets.
    nats : ndarray of shape (n_methods, n_queries, n_sizes)
        I_IL of each method's sets.
    reference_nats : ndarray of shape (n_queries, n_sizes)
        I_IL of greedy InfoLoss's sets.
    """

    methods: tuple
    sizes: np.ndarray
    nats: np.ndarray
    reference_nats: np.ndarray

    @property
    def ratios(self):
        """Relative information (n_methods, n_queries, n_sizes); nan if there is nothing to lose."""
        with np.errstate(invalid="ignore"):
            return self.nats / self.reference_nats

    def means(self):
        """Average the ratios over queries, with standard errors.

        Returns
        -------
        mean, error : ndarray of shape (n_methods, n_sizes)
            Means of the ratios and standard errors over queries, nan with one query.
        """
        return nan_mean(self.ratios, 1), standard_error(self.ratios, 1)

    def to_frame(self):
        """Return one line for each method, query and size.

        Returns
        -------
        pandas.DataFrame
            Columns `method`, `query`, `size`, `nats`, `reference_nats` and `relative`.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        axes = {
            "method": self.methods,
            "query": range(len(self.reference_nats)),
            "size": self.sizes,
        }
        values = {
            "nats": self.nats,
            "reference_nats": np.broadcast_to(self.reference_nats, self.nats.shape),
            "relative": self.ratios,
        }
        return frame(long_columns(axes, **values), "to_frame")

    def summary(self):
        """Return one line for each method and size.

        Returns
        -------
        pandas.DataFrame
            Columns `method`, `size`, `relative` (mean over queries), `relative_se` and `n_queries`.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        mean, error = self.means()
        n_queries = (~np.isnan(self.ratios)).sum(1)
        axes = {"method": self.methods, "size": self.sizes}
        columns = long_columns(axes, relative=mean, relative_se=error, n_queries=n_queries)
        return frame(columns, "summary")

    def plot(self, *, ax=None, **kwargs):
        """Draw a line with error bars for each method.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in; None makes new ones.
        **kwargs
            Passed on to ``ax.errorbar``.

        Returns
        -------
        RelativeInformationDisplay
            Drawn.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        return RelativeInformationDisplay.from_result(self, ax=ax, **kwargs)

    def __repr__(self):
        lines = [f"Relative information, {len(self.reference_nats)} queries, by size of the set"]
        width = max(map(len, self.methods))
        lines.append(" " * width + "".join(f"{size:>7}" for size in self.sizes))
        for name, values in zip(self.methods, self.means()[0], strict=True):
            lines.append(f"{name:<{width}}" + "".join(f"{value:7.3f}" for value in values))
        return "\n".join(lines)
