"""Trees of LightGBM."""

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from ...information._losses import LogisticLoss, MultinomialLoss, SquaredLoss
from ._base import adapt
from ._boosting import Newton, all_rows, newton_steps, refuse
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
        """Return the leaf of each row in each tree."""
        found = np.asarray(self.estimator.predict(X, pred_leaf=True))
        return found.reshape(found.shape[0], -1).astype(np.int32)


def leaf_values(tree):
    """Read the values of a dumped tree by the number of the leaf."""
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


@newton_steps.register(LGBMClassifier)
@newton_steps.register(LGBMRegressor)
def _(estimator, y, positions, sample_weight):
    if estimator.boosting_type != "gbdt":
        refuse(estimator, "boosting_type", "'gbdt'", "whose trees are added as they are")
    if estimator.subsample_freq > 0:
        all_rows(estimator)
    if estimator.reg_alpha != 0:
        refuse(estimator, "reg_alpha", "0", "so that leaves take Newton steps")
    weights = None
    total = np.ones(len(y))  # weights of classes and rows
    if estimator.class_weight is not None:
        weights = total = compute_sample_weight(estimator.class_weight, y)
    if sample_weight is not None:
        total = total * sample_weight
    objective = estimator.objective_
    factor = 1.0
    if objective == "binary":
        loss = LogisticLoss()
        positive = np.average(positions, weights=total)
        base = np.array([np.log(positive / (1 - positive))])
    elif objective in ("multiclass", "softmax"):
        loss = MultinomialLoss()
        n_classes = estimator.n_classes_
        factor = n_classes / (n_classes - 1)
        own = positions[:, None] == np.arange(n_classes)
        base = np.log(np.maximum(np.average(own, axis=0, weights=total), 1e-15))
    elif objective in ("regression", "l2", "mse", "mean_squared_error"):
        loss = SquaredLoss()
        base = np.array([np.average(y, weights=total)])
    else:
        allowed = "'binary', 'multiclass' or 'regression'"
        refuse(estimator, "objective", allowed, "whose gradients are known here")
    if estimator.get_params().get("boost_from_average", True) is False:
        base = np.zeros_like(base)
    l2 = estimator.reg_lambda
    return Newton(loss, hessian_factor=factor, l2=l2, row_weights=weights, base=base)
