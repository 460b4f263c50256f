"""Trees of LightGBM."""

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.utils.validation import check_is_fitted

from ._base import adapt
from ._trees import BoostedTrees, tree_model


class LightGBMTrees(BoostedTrees):
    """Trees of LGBMClassifier and LGBMRegressor; those of boosting "rf" are averaged."""

    def __init__(self, estimator):
        self.estimator = estimator
        booster = estimator.booster_
        n_outputs = booster.num_model_per_iteration()
        dumped = booster.dump_model(num_iteration=estimator.best_iteration_ or None)
        values = [leaf_values(tree) for tree in dumped["tree_info"]]
        # The first trees hold the outputs that boosting starts from.
        super().__init__(values, n_outputs, estimator.learning_rate, np.zeros(n_outputs))
        if dumped["average_output"]:
            self.rate = None

    def leaves(self, X):
        """Leaf of each row in each tree."""
        found = np.asarray(self.estimator.predict(X, pred_leaf=True))
        return found.reshape(found.shape[0], -1).astype(np.int32)


def leaf_values(tree):
    """Values of a dumped tree by the number of the leaf."""
    values = np.zeros(tree["num_leaves"])
    nodes = [tree["tree_structure"]]
    while nodes:
        node = nodes.pop()
        if "leaf_coeff" in node:
            raise TypeError(
                "LightGBM must have been fitted with linear_tree=False, so that all rows in a leaf "
                "are predicted alike; got linear_tree=True"
            )
        if "leaf_value" in node:
            values[node.get("leaf_index", 0)] = node["leaf_value"]
        else:
            nodes += [node["left_child"], node["right_child"]]
    return values


@adapt.register(LGBMClassifier)
@adapt.register(LGBMRegressor)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, LightGBMTrees(estimator))
