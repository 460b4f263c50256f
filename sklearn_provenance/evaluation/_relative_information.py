"""Relative information: how near the sets of other rules come to those of greedy InfoLoss."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import ROWS, check_sizes
from .._utils.displays import LinesDisplay
from .._utils.results import Result
from .._utils.tables import Table, heads, mean_and_error, number_cells, text_table
from .._utils.types import Rows, Targets
from ..attribution import InfoLossAttributor
from ..attribution._training_rows import check_same_rows
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
    attributors: Any,
    reference: InfoLossAttributor,
    X_queries: Rows,
    y_queries: Targets = None,
    *,
    sizes: int | Sequence[int] = (10, 20, 50, 100),
) -> Result:
    """Divide the information lost with a rule's sets by that lost with greedy InfoLoss's sets.

    The reference judges both sets, with its kernel and noise variance: I_IL(S; x_*) is the number
    of nats about the query that are lost when the set S is withheld from all rows.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted on the rows of the reference. They are meant to be relaxations of InfoLoss with the
        same noise variance (InfoGain, its linear response, sketched features), but any other method
        will do.
    reference : InfoLossAttributor
        Fitted.
    X_queries : array-like of shape (n_queries, ...)
        Queries.
    y_queries : array-like of shape (n_queries,), default=None
        Labels to explain; None takes those that the reference predicts.
    sizes : sequence of int, default=(10, 20, 50, 100)
        Rows in the sets, ascending: a set holds the first rows that are named.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method, query and size. ``summary()`` has one for each
        method and size, with means over queries of the ratio, ``relative``, and their standard
        errors. Attributes:

        methods : tuple of str
            Names of the attributors.
        sizes : ndarray of shape (n_sizes,)
            Rows in the sets.
        nats : ndarray of shape (n_methods, n_queries, n_sizes)
            I_IL of each method's sets.
        reference_nats : ndarray of shape (n_queries, n_sizes)
            I_IL of greedy InfoLoss's sets.
        ratios : ndarray of shape (n_methods, n_queries, n_sizes)
            Relative information; nan if there is nothing to lose.

    Raises
    ------
    TypeError
        If the reference is not an InfoLossAttributor, or an attributor cannot explain.
    ValueError
        If attributors were fitted on other rows, a query has fewer candidates than the largest
        size, or the noise variance is lost to rounding beside the kernel.

    Notes
    -----
    Greedy InfoLoss need not find the best set, so that a ratio may pass 1. The kernel of all rows
    is formed for each class that is explained, as the reference does.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 3 and Figure 2.

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
    y = check_same_rows(attributors, reference.training_.X, reference.training_.y)
    set_sizes = check_sizes(sizes, len(y) - 1)
    if y_queries is None:
        y_queries = reference.predict(X_queries)
    y_queries = check_queries(X_queries, y_queries)
    named = {"the reference": reference} | attributors
    picks = np.stack(
        [
            picked_rows(name, a, X_queries, y_queries, int(set_sizes[-1]))
            for name, a in named.items()
        ]
    )
    lost = reference.information_lost(X_queries, picks, y_queries)[..., set_sizes - 1]
    reference_nats = lost[0]
    nats = lost[1:]
    with np.errstate(invalid="ignore"):
        ratios = nats / reference_nats
    methods = tuple(attributors)
    values = {"nats": nats, "reference_nats": reference_nats}
    relative = mean_and_error("relative", ratios, 1)
    return Result(
        text_table(
            f"Relative information, {len(reference_nats)} queries, by size of the set",
            methods,
            number_cells(relative["relative"], 7, 3),
            head=heads(set_sizes, 7),
        ),
        Table(
            {"method": methods, "query": range(len(reference_nats)), "size": set_sizes},
            values | {"relative": ratios},
        ),
        _figure,
        summary=Table(
            {"method": methods, "size": set_sizes},
            relative | {"n_queries": (~np.isnan(ratios)).sum(1)},
        ),
        methods=methods,
        sizes=set_sizes,
        ratios=ratios,
        **values,
    )


def _figure(result, **style):
    """Draw ratios over the size of the sets, a line for each method; at 1 is greedy InfoLoss."""
    axes = {"xlabel": "training rows withheld", "ylabel": "relative information"}
    return LinesDisplay(
        result.sizes,
        *result.means(),
        names=result.methods,
        style=style,
        dodge=True,
        references=[(None, 1.0, {"linewidth": 1, "zorder": 0})],
        axes=axes | {"xticks": result.sizes},
    )
