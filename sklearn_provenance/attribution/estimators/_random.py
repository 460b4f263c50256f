"""Random exemplars: what any attribution has to beat."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from sklearn.utils import check_random_state

from ..._utils.arguments import store_arguments
from ..._utils.hashing import row_digests
from ..._utils.types import RandomState
from ..features import make_features
from ..rules._random import RandomRule
from ._base import base_constraints
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class RandomAttributor(PointwiseAttributor, auto_wrap_output_keys=None):
    """Name training rows at random, the baseline that every method has to beat.

    Scores are independent and uniform between 0 and 1; they say nothing about the model. They are
    drawn anew for each query, from what the query holds and ``random_state``: the same query gets
    the same answer in any batch and in any order. No features are compared, so there is no
    ``transform``.

    Parameters
    ----------
    estimator : estimator or torch.nn.Module
        Any classifier. It predicts the labels of queries and is not looked at otherwise. A module
        maps a batch to logits, is always taken as fitted, and counts its classes from 0.
    random_state : int, RandomState instance or None, default=0
        Seed of the scores. None gives other scores after each ``fit``.
    {candidates} {forward} {prefit} {verbose}

    Attributes
    ----------
    {estimator_}
    classes_ : ndarray of shape (n_classes,)
        Its class labels.
    {training_} {candidates_}
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    RepSimAttributor : The simplest method that looks at the model.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from sklearn_provenance.attribution import RandomAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> attributor = RandomAttributor(RandomForestClassifier(random_state=0)).fit(X, y)
    >>> exp = attributor.explain(X[:2], k=3)
    >>> exp.exemplar_labels
    array([[0, 0, 0],
           [0, 0, 0]])
    >>> bool((attributor.explain(X[1:2], k=3).indices == exp.indices[1]).all())
    True
    """

    _parameter_constraints: dict = {
        **base_constraints("estimator", "candidates", "forward", "prefit", "verbose"),
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        random_state: RandomState = 0,
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        return make_features(self._fitted_model(), row_numbers, X, y, self._settings())

    def _make_rule(self):
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return RandomRule(seed)

    def _no_features(self) -> NoReturn:
        """Refuse to transform: random scores compare no features."""
        raise AttributeError("RandomAttributor compares no features, so it has no transform")

    transform = fit_transform = get_feature_names_out = property(_no_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags


def row_numbers(X):
    """Turn what each row holds into numbers, as features that the rule seeds its scores with."""
    return row_digests(X).astype(np.float64)
