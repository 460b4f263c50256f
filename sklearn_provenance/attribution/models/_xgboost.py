"""Trees of XGBoost."""

import json

import numpy as np
from sklearn.utils.validation import check_is_fitted
from xgboost import DMatrix, XGBClassifier, XGBRegressor

from ...information._losses import LogisticLoss, MultinomialLoss, SquaredLoss
from ._base import adapt
from ._boosting import Newton, all_rows, newton_steps, refuse
from ._trees import BoostedTrees, NodeNumbers, tree_model


class XGBoostTrees(BoostedTrees):
    """Trees of XGBClassifier and XGBRegressor, read from the model that they save."""

    def __init__(self, estimator):
        self.estimator = estimator
        booster = estimator.get_booster()
        learner = json.loads(booster.save_raw("json"))["learner"]
        boosting = learner["gradient_booster"]
        if boosting["name"] != "gbtree":
            raise TypeError(
                f"{type(estimator).__name__} must have been fitted with booster='gbtree', whose "
                f"trees are added up as they are; got {boosting['name']!r}"
            )
        model = boosting["model"]
        n_rounds = len(model["iteration_indptr"]) - 1
        best = getattr(booster, "best_iteration", None)
        if estimator.early_stopping_rounds is not None and best is not None:
            n_rounds = best + 1
        self.n_rounds = n_rounds
        n_trees = model["iteration_indptr"][n_rounds]
        nodes = []  # that are leaves, of each tree
        values = []
        for tree in model["trees"][:n_trees]:
            if int(tree["tree_param"]["size_leaf_vector"]) > 1:
                raise TypeError(
                    f"{type(estimator).__name__} must have been fitted with "
                    "multi_strategy='one_output_per_tree'; got trees with several outputs"
                )
            nodes.append(np.flatnonzero(np.array(tree["left_children"]) == -1))
            values.append(np.array(tree["split_conditions"])[nodes[-1]])
        self.numbers = NodeNumbers(nodes)
        outputs = np.array(model["tree_info"][:n_trees])
        config = json.loads(booster.save_config())["learner"]["gradient_booster"]
        rate = float(config["tree_train_param"]["learning_rate"])
        n_outputs = outputs.max() + 1
        super().__init__(values, n_outputs, rate, base_outputs(learner, n_outputs))
        self.outputs = outputs

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        estimator = self.estimator
        # As estimator.apply, which before XGBoost 3.1 refuses columns of categories.
        rows = DMatrix(
            X,
            missing=estimator.missing,
            feature_types=estimator.feature_types,
            nthread=estimator.n_jobs,
            enable_categorical=estimator.enable_categorical,
        )
        nodes = estimator.get_booster().predict(
            rows, pred_leaf=True, iteration_range=(0, self.n_rounds)
        )
        return self.numbers.leaves(nodes.reshape(len(nodes), -1))


def base_outputs(learner, n_outputs):
    """Find outputs before the first round; XGBoost keeps what predictions they stand for."""
    text = learner["learner_model_param"]["base_score"].strip("[]")
    predictions = np.array([float(number) for number in text.split(",")])
    predictions = np.broadcast_to(predictions, n_outputs).astype(np.float64)
    objective = learner["objective"]["name"]
    if objective in ("binary:logistic", "reg:logistic"):
        return np.log(predictions / (1 - predictions))
    if objective in ("count:poisson", "reg:gamma", "reg:tweedie"):
        return np.log(predictions)
    return predictions


@adapt.register(XGBClassifier)
@adapt.register(XGBRegressor)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, XGBoostTrees(estimator))


@newton_steps.register(XGBClassifier)
@newton_steps.register(XGBRegressor)
def _(estimator, y, positions, sample_weight):
    all_rows(estimator)
    learner = json.loads(estimator.get_booster().save_config())["learner"]
    boosting = learner["gradient_booster"]
    training = boosting["tree_train_param"]
    if int(boosting["gbtree_model_param"]["num_parallel_tree"]) > 1:
        refuse(estimator, "num_parallel_tree", "1", "so that trees are added one by one")
    for name in ("reg_alpha", "max_delta_step"):
        if float(training[name]) != 0:
            refuse(estimator, name, "0", "so that leaves take Newton steps")
    objective = learner["objective"]["name"]
    weights = None
    factor = 1.0
    if objective == "binary:logistic":
        loss = LogisticLoss()
        scale = float(learner["objective"]["reg_loss_param"]["scale_pos_weight"])
        weights = np.where(positions == 1, scale, 1.0)
    elif objective in ("multi:softprob", "multi:softmax"):
        loss = MultinomialLoss()
        factor = 2.0
    elif objective == "reg:squarederror":
        loss = SquaredLoss()
    else:
        allowed = "'binary:logistic', 'multi:softprob' or 'reg:squarederror'"
        refuse(estimator, "objective", allowed, "whose gradients are known here")
    l2 = float(training["reg_lambda"])
    return Newton(loss, hessian_factor=factor, l2=l2, row_weights=weights)
