"""InfoLoss: which training rows a prediction would miss most."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ..._utils.arguments import check_readable
from ..._utils.budget import budgeted
from ..._utils.rows import check_rows
from ..._utils.types import Rows, Targets
from ..rules._loss import LossRule
from ._docs import documented
from ._gaussian import GaussianAttributor
from ._picks import by_label


@documented
class InfoLossAttributor(GaussianAttributor):
    """Which training rows would be missed most if a prediction had to do without them, in nats.

    As :class:`InfoGainAttributor`, but information is counted as what is lost when a subset is
    withheld from all training rows, I_IL(S; x_*): rows that others can stand in for score low.
    All rows given to fit are conditioned on, also where only rows of the query's class may be
    named, which takes the kernel of all rows for every class that is explained.

    Parameters
    ----------
    {estimator} {trees}
    {noise_variance} {candidates} {measurement} {features} {ntk_parameterization}
    {parameters} {forward}
    {prefit} {memory}
        That is features and tangent kernels, one of (n_train, n_train) for each class, so that a
        grid over ``noise_variance`` computes them once per fold.
    {memory_limit}
        A larger kernel of the rows raises a MemoryError. Explicit features that do not fit are
        read in blocks, once for each pick: what must fit is the posterior, three matrices of the
        number of features, and 16 bytes for a query and a row.
    {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_} {noise_variance_} {noise_scale_} {features_}
    {coverage_} {n_features_in_} {feature_names_in_}

    See Also
    --------
    InfoGainAttributor : What rows tell by themselves; cheaper.

    Notes
    -----
    A binary model with one output z is given the logits (-z/2, z/2), whose softmax is the model's
    probability. A skorch network trained with NLLLoss ends in a softmax; the logarithm of its
    output takes the place of logits.

    References
    ----------
    [IT] A Bayesian information-theoretic approach to data attribution, Eqs. 4 and 62.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import InfoLossAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> attributor = InfoLossAttributor(LogisticRegression(max_iter=1000)).fit(X, y)
    >>> attributor.explain(X[:2], k=3).indices.shape
    (2, 3)
    """

    _rule_needs_all_rows = LossRule.needs_all_rows

    @budgeted
    def information_lost(
        self, X: Rows, rows: ArrayLike, y: Targets | None = None
    ) -> NDArray[np.float64]:
        """Compute what is lost about queries with the first row, the first two, and so on.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        rows : array-like of shape (n_queries, k) or (n_sets, n_queries, k)
            Training rows that are withheld for each query, different ones, of any class; several
            sets of them share what is computed of the training rows.
        y : array-like of shape (n_queries,), default=None
            Labels to explain; None explains the predicted ones.

        Returns
        -------
        nats : ndarray of the shape of ``rows``
            I_IL of the first 1 to k rows given all training rows.

        Raises
        ------
        ValueError
            If ``rows`` does not hold different rows for each query, y holds a label that the model
            does not know, or the noise variance is lost in rounding beside the kernel.
        MemoryError
            If the kernel of the training rows is larger than ``memory_limit``, and their features
            are not explicit.
        """
        check_is_fitted(self)
        queries = self._queries(check_rows(self, X), y)
        sets = self._check_sets(rows, len(queries))
        nats = np.empty(sets.shape)
        self._expect(queries.labels.numpy())
        for label, places in by_label(queries.labels.numpy(), self._features.per_label):
            rule = self._rule_at(label, everything=True)
            lost = rule.lost(queries.take(places), torch.as_tensor(sets[:, places]))
            nats[:, places] = lost.cpu().numpy()
        return nats.reshape(np.shape(rows))

    def _check_sets(self, rows, n_queries):
        """Raise unless rows can be withheld; return them as sets (n_sets, n_queries, k)."""
        check_readable(rows, "rows")
        sets = np.asarray(rows)
        fits = sets.ndim in (2, 3) and sets.shape[-2] == n_queries and sets.dtype.kind in "iu"
        if not fits:
            raise ValueError(
                f"rows must hold row numbers for each of the {n_queries} queries, in shape "
                f"({n_queries}, k) or (n_sets, {n_queries}, k); got shape {sets.shape} of type "
                f"{sets.dtype}"
            )
        sets = sets.reshape(-1, *sets.shape[-2:]).astype(np.int64)
        n_train = len(self.training_)
        ordered = np.sort(sets, axis=-1)
        if ((sets < 0) | (sets >= n_train)).any() or (np.diff(ordered) == 0).any():
            raise ValueError(
                f"rows must be different training rows for each query, from 0 to {n_train - 1}"
            )
        return sets

    def _check_rule_fits(self, inputs):
        components = self._features.components(inputs)
        LossRule(None, self.memory_limit).check(len(self.training_.y), *components)

    def _make_rule(self):
        return LossRule(self._choose_noise_variance(self._rule_needs_all_rows), self.memory_limit)
