"""Trees of CatBoost."""

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn.utils.validation import check_is_fitted

from ._base import adapt
from ._trees import Trees, tree_model


class CatBoostTrees(Trees):
    """Trees of CatBoostClassifier and CatBoostRegressor, each of which adds to all outputs."""

    def __init__(self, estimator):
        self.estimator = estimator
        self.n_leaves = np.asarray(estimator.get_tree_leaf_counts(), dtype=np.intp)
        self.outputs = np.zeros(len(self.n_leaves), dtype=np.intp)
        self.rate = float(estimator.learning_rate_)

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        found = np.asarray(self.estimator.calc_leaf_indexes(X))
        return found.reshape(found.shape[0], -1).astype(np.int32)


@adapt.register(CatBoostClassifier)
@adapt.register(CatBoostRegressor)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, CatBoostTrees(estimator))
