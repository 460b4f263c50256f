"""Backdoor retrieval: does attribution find the training rows that are known to be the reason?"""

import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import validate_params

from .._utils.arguments import ROWS, whole
from .._utils.displays import PointsDisplay
from .._utils.indicators import as_indicator
from .._utils.results import Result
from .._utils.tables import Table, mean_and_error, plus_minus, text_table
from .._utils.types import Rows, Targets
from ._protocol import as_attributors, check_queries, explains_numbers


@validate_params(
    {
        "X_queries": [ROWS],
        "y_queries": [ROWS],
        "relevant": ["array-like"],
        "k": [whole()],
        "mrr_k": [whole()],
    },
    prefer_skip_nested_validation=False,
)
def backdoor_retrieval(
    attributors: Any,
    X_queries: Rows,
    y_queries: Targets,
    relevant: ArrayLike,
    *,
    k: int = 50,
    mrr_k: int = 100,
) -> Result:
    """Measure how well attributors find rows that are known to be relevant.

    For each query q the rows are ranked by ``explain``: by score, or in the order of greedy
    selection. With G(q) the relevant rows and R_K(q) the first K of the ranking,

    - Recall\\@k is the mean over queries of ``|R_k(q) ∩ G(q)| / |G(q)|``. Its maximum is below 1
      where a query has more than k relevant rows;
    - MRR\\@mrr_k is the mean over queries of 1 / r, where r is the rank of the first relevant row,
      counted from 1. Where that rank is beyond mrr_k, 0 takes the place of 1 / r.

    Parameters
    ----------
    attributors : attributor or dict of str to attributor
        Fitted. A ProvenanceClassifier will do, too; it explains the label that it predicts.
    X_queries : array-like of shape (n_queries, ...)
        Queries: with a backdoor, images that carry the trigger.
    y_queries : array-like of shape (n_queries,)
        Labels to explain: with a backdoor those of the attack, which are the labels of the
        poisoned training rows.
    relevant : array-like of shape (n_queries, n_train) or (n_train,), bool or 0 and 1
        Training rows that each query, or every query, should find: one or more.
    k : int, default=50
        Rows that recall looks at.
    mrr_k : int, default=100
        Rows that the mean reciprocal rank looks at.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each method and query. ``summary()`` has one for each method,
        with means over queries, ``recall`` and ``mrr``. Attributes:

        methods : tuple of str
            Names of the attributors.
        recall : ndarray of shape (n_methods, n_queries)
            Share of the relevant rows among the first k.
        reciprocal_rank : ndarray of shape (n_methods, n_queries)
            1 / rank of the first relevant row, 0 where that is beyond ``mrr_k``.
        attack_success : ndarray of shape (n_methods,)
            Share of queries for which the model behind a method predicts the label explained. Where
            it is low there is nothing to explain. nan for a method that cannot predict, or that
            explains numbers.
        k : int
            Rows that recall looks at.
        mrr_k : int
            Rows that the reciprocal rank looks at.

    Raises
    ------
    ValueError
        If shapes do not fit or a query has no relevant row.

    Warns
    -----
    UserWarning
        Where a query has fewer candidates than rows that are looked at.

    See Also
    --------
    sklearn_provenance.datasets.poison_backdoor : Makes the attack and says what is relevant.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", Eqs. 87 and 88.

    Examples
    --------
    A class of its own has rows that only the last feature tells from others:

    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
    >>> from sklearn_provenance.evaluation import backdoor_retrieval
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(200, 5)), np.arange(200) % 2
    >>> poisoned = np.arange(200) < 20
    >>> X[poisoned, -1], y[poisoned] = 10, 1
    >>> model = LogisticRegression().fit(X, y)
    >>> attributors = {
    ...     "RepSim": RepSimAttributor(model).fit(X, y),
    ...     "Random": RandomAttributor(model).fit(X, y),
    ... }
    >>> X_queries = rng.normal(size=(30, 5))
    >>> X_queries[:, -1] = 10
    >>> result = backdoor_retrieval(
    ...     attributors, X_queries, np.ones(30, int), poisoned, k=20, mrr_k=50
    ... )
    >>> recall = dict(zip(result.methods, result.recall.mean(axis=1), strict=True))
    >>> bool(recall["RepSim"] > 0.9 > 0.4 > recall["Random"])
    True
    """
    attributors = as_attributors(attributors, "explain")
    y_queries = check_queries(X_queries, y_queries)
    n_queries = len(y_queries)
    is_relevant = _check_relevant(relevant, n_queries)
    n_ranked = min(max(k, mrr_k), is_relevant.shape[1])  # there are no ranks beyond all rows
    recall = []
    reciprocal = []
    success = []
    for name, attributor in attributors.items():
        options = {"k": n_ranked}
        if "y" in inspect.signature(attributor.explain).parameters:
            options["y"] = y_queries
        indices, _ = attributor.explain(X_queries, **options)
        if indices.max() >= is_relevant.shape[1]:
            raise ValueError(
                f"relevant must tell of all training rows, but {name!r} names row {indices.max()}, "
                f"and relevant has {is_relevant.shape[1]} columns"
            )
        found = np.take_along_axis(is_relevant, indices, axis=1) & (indices >= 0)
        recall.append(found[:, :k].sum(axis=1) / is_relevant.sum(axis=1))
        reciprocal.append(_reciprocal_rank(found[:, :mrr_k]))
        success.append(_attack_success(attributor, X_queries, y_queries))
    methods = tuple(attributors)
    values = {"recall": np.stack(recall), "reciprocal_rank": np.stack(reciprocal)}
    means = mean_and_error("recall", values["recall"], 1)
    means |= mean_and_error("mrr", values["reciprocal_rank"], 1)
    attributes = {"attack_success": np.array(success), "k": int(k), "mrr_k": int(mrr_k)}
    return Result(
        text_table(
            f"Retrieval, {n_queries} queries, Recall@{k}",
            methods,
            plus_minus(means["recall"], means["recall_se"]),
        ),
        Table({"method": methods, "query": range(n_queries)}, values),
        _figure,
        summary=Table({"method": methods}, means | {"n_queries": n_queries} | attributes),
        methods=methods,
        **values,
        **attributes,
    )


def _attack_success(attributor, X_queries, y_queries):
    """Compute the share of queries whose explained label is predicted; nan if nothing says so."""
    if not hasattr(attributor, "predict") or explains_numbers(attributor):
        return np.nan
    return np.mean(attributor.predict(X_queries) == y_queries)


def _check_relevant(relevant, n_queries):
    """Return relevant rows of each query, (n_queries, n_train)."""
    relevant = as_indicator(relevant, "relevant")
    if relevant.ndim not in (1, 2):
        raise ValueError(
            "relevant must have shape (n_queries, n_train) or (n_train,); got an array of shape "
            f"{relevant.shape}"
        )
    if relevant.ndim == 2 and len(relevant) != n_queries:
        raise ValueError(
            f"relevant must have one line for each of {n_queries} queries, got {len(relevant)}"
        )
    relevant = np.broadcast_to(relevant, (n_queries, relevant.shape[-1]))
    if not relevant.any(axis=1).all():
        query = int(np.argmin(relevant.any(axis=1)))
        raise ValueError(
            f"relevant must be True for a row or more of each query, since others have no recall; "
            f"it is not for query {query}. Leave that query out"
        )
    return relevant


def _reciprocal_rank(found):
    """Compute 1 / rank of the first True of each row, 0 where there is none."""
    return np.where(found.any(axis=1), 1 / (1 + found.argmax(axis=1)), 0.0)


def _figure(result, **style):
    """Draw recall and mean reciprocal rank of each method, side by side."""
    means, errors = zip(result.means("recall"), result.means("mrr"), strict=True)
    return PointsDisplay(
        means,
        errors,
        rows=result.methods,
        names=[f"Recall@{result.k}", f"MRR@{result.mrr_k}"],
        spread=0.15,
        style=style,
        axes={"xlim": (-0.03, 1.03), "xlabel": "mean over queries"},
    )
