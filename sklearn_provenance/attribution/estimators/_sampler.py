"""A selection of training rows as a step of a pipeline."""

import numbers
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_consistent_length, column_or_1d

from ..._utils.arguments import store_arguments, whole
from ..._utils.types import RandomState, Rows, Targets


class AttributionSampler(BaseEstimator):
    """Keep the training rows that tell the most about all of them.

    It is an under-sampler with the interface of imbalanced-learn, ``fit_resample(X, y)``, and
    works as a step of ``imblearn.pipeline.Pipeline``: rows are dropped when the pipeline is
    fitted, and never when it predicts. imbalanced-learn itself is not needed.

    A clone of the attributor is fitted to the rows and selects some of them for the queries by
    ``attributor.select``. Every row is a query by default. With ``query_size`` a part of the rows
    is held out as queries: what is kept is chosen among the others for rows that it does not
    hold, at the price that the queries themselves cannot be kept.

    Parameters
    ----------
    attributor : attributor
        Selects rows: has ``fit(X, y)`` and ``select(X_queries, k, y=, balanced=)``. Cloning
        unfits its estimator, which is then fitted to the rows; wrap it in
        ``sklearn.frozen.FrozenEstimator`` to use it as it is. A ``torch.nn.Module`` is used as it
        is.
    n_samples : int or float, default=0.1
        Rows to keep: a number, or a share of all rows given, rounded half up and at least 1.
    balanced : bool, default=False
        Whether classes get equal shares, as far as they have rows.
    query_size : int, float or None, default=None
        Rows that are held out as queries: a number, or a share of all rows. They are drawn at
        random, in each class in proportion to its rows. None makes every row a query.
    random_state : int, RandomState instance or None, default=None
        Determines which rows are held out.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,)
        Rows that are kept, of the X given to fit, in the order of selection.
    query_indices_ : ndarray of shape (n_queries,)
        Rows that were the queries.
    attributor_ : attributor
        The fitted clone; its training rows are all rows, or those that were not held out.
    n_features_in_ : int
        Second dimension of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.

    See Also
    --------
    sklearn_provenance.evaluation.coreset_selection : Measures what selections are worth.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import InfoGainAttributor
    >>> from sklearn_provenance.attribution import AttributionSampler
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> attributor = InfoGainAttributor(LogisticRegression(max_iter=1000), measurement="margin")
    >>> sampler = AttributionSampler(attributor, n_samples=30, balanced=True)
    >>> X_kept, y_kept = sampler.fit_resample(X / 16, y)
    >>> X_kept.shape, [int((y_kept == c).sum()) for c in range(3)]
    ((30, 64), [10, 10, 10])
    """

    _parameter_constraints: dict = {
        "attributor": [HasMethods(["fit", "select"])],
        "n_samples": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="neither"),
        ],
        "balanced": ["boolean"],
        "query_size": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        attributor: Any,
        *,
        n_samples: float = 0.1,
        balanced: bool = False,
        query_size: float | None = None,
        random_state: RandomState = None,
    ):
        store_arguments(locals())

    # The attributor validates its own parameters when it is fitted.
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Rows, y: Targets) -> Self:
        """Select rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the attributor takes them.
        y : array-like of shape (n,)
            Their labels.

        Returns
        -------
        self : object
            The sampler, which knows ``sample_indices_``.

        Raises
        ------
        ValueError
            If more rows are to be kept than there are candidates, or rows cannot be held out.
        """
        y = column_or_1d(y)
        check_classification_targets(y)
        check_consistent_length(X, y)
        X = _indexable(X)
        n = _num_samples(X)
        n_samples = _count(self.n_samples, n)
        rows = queries = np.arange(n)
        if self.query_size is not None:
            from sklearn.model_selection import train_test_split

            rows, queries = train_test_split(
                rows,
                test_size=_count(self.query_size, n),
                stratify=y,
                random_state=self.random_state,
            )
            rows.sort()
            queries.sort()
        if n_samples > len(rows):
            raise ValueError(
                f"n_samples={self.n_samples} asks for {n_samples} rows, but X has {n} sample(s), "
                f"of which {n - len(rows)} are held out as queries"
            )
        attributor = clone(self.attributor).fit(_safe_indexing(X, rows), y[rows])
        picks = attributor.select(
            _safe_indexing(X, queries), k=n_samples, y=y[queries], balanced=self.balanced
        )
        self.attributor_ = attributor
        self.query_indices_ = queries
        self.sample_indices_ = rows[picks]
        return self

    def fit_resample(self, X: Rows, y: Targets) -> tuple[Rows, Targets]:
        """Select rows and return them.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the attributor takes them.
        y : array-like of shape (n,)
            Their labels.

        Returns
        -------
        X_resampled : array-like of shape (n_kept, ...)
            Rows that are kept, in the order of selection; of the kind of ``X``.
        y_resampled : array-like of shape (n_kept,)
            Their labels.

        Raises
        ------
        ValueError
            As in :meth:`fit`.
        """
        rows = self.fit(X, y).sample_indices_
        return _safe_indexing(_indexable(X), rows), _safe_indexing(y, rows)

    @property
    def n_features_in_(self) -> int:
        """Number of features of the fitted attributor."""
        return self._fitted("n_features_in_")

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Column names of the fitted attributor, if X was a data frame with string names."""
        return self._fitted("feature_names_in_")

    def _fitted(self, name):
        """Read an attribute of the fitted attributor."""
        if "attributor_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        return getattr(self.attributor_, name)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if hasattr(self.attributor, "__sklearn_tags__"):
            tags.input_tags.sparse = get_tags(self.attributor).input_tags.sparse
        return tags


def _indexable(X):
    """Turn sparse rows into a form whose rows can be taken."""
    if issparse(X):
        return X.tocsr()
    return X


def _count(size, n):
    """Read a number of rows, given as such or as a share."""
    if isinstance(size, numbers.Integral):
        return int(size)
    return max(1, int(np.floor(size * n + 0.5)))
