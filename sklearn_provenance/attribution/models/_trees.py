"""Ensembles of trees: which leaf each tree sends a row to.

Shapes in comments: n rows, T trees, O outputs.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import AdaBoostClassifier
from sklearn.ensemble._bagging import BaseBagging
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.tree import BaseDecisionTree
from sklearn.utils.validation import check_is_fitted, validate_data

from ..._utils.fitted import predicts_numbers
from ..._utils.numeric import as_ndarray
from ..._utils.rows import as_given
from ._base import FittedModel, adapt, predicting_model


class Trees(ABC):
    """The trees of a fitted ensemble.

    Attributes
    ----------
    n_leaves : ndarray of shape (n_trees,)
        Leaves of each tree.
    outputs : ndarray of shape (n_trees,)
        Output of the model that each tree adds to; zeros where trees add to all of them.
    n_outputs : int
        Outputs that have trees of their own.
    rate : float
        Factor of a leaf's value in the output: the learning rate of boosting. None where the output
        is the mean over trees.
    shares : ndarray of shape (n_trees,) or None
        Weights of the trees in that mean; None where they count alike.
    output : int
        Output that is explained, of trees with values for several targets.
    """

    outputs = None
    n_outputs = 1
    rate = None
    shares = None
    output = 0

    @abstractmethod
    def leaves(self, X):
        """Return the leaf of each row in each tree.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows as the estimator takes them.

        Returns
        -------
        ndarray of shape (n, n_trees), int32
            Leaves, counted from 0 in each tree.
        """


@dataclass(frozen=True, eq=False)
class TreeModel(FittedModel):
    """A model of trees: its inputs are leaves."""

    def inputs(self, X):
        """Return leaves (n, n_trees) of rows."""
        return self.trees.leaves(as_rows(X))

    def predict(self, X):
        """Predict labels or numbers as the estimator does."""
        return super().predict(as_rows(X)).ravel()


def as_rows(X):
    """Turn X into what estimators take: an array in place of a tensor."""
    X = as_given(X)
    if isinstance(X, torch.Tensor):
        X = X.cpu().numpy()
    return X


class NodeNumbers:
    """From the numbers of nodes to those of leaves, tree by tree.

    Parameters
    ----------
    leaf_nodes : list of ndarray
        Node of each leaf, for each tree.
    """

    def __init__(self, leaf_nodes):
        self.n_leaves = np.array([len(nodes) for nodes in leaf_nodes])
        self._tables = []
        for nodes in leaf_nodes:
            table = np.full(nodes.max() + 1, -1, dtype=np.int32)
            table[nodes] = np.arange(len(nodes), dtype=np.int32)
            self._tables.append(table)

    def leaves(self, nodes):
        """Return leaves (n, T) of nodes (n, T)."""
        found = np.empty(nodes.shape, dtype=np.int32)
        for number, table in enumerate(self._tables):
            found[:, number] = table[nodes[:, number].astype(np.intp)]
        return found


def leaf_nodes(tree):
    """Find the nodes of a decision tree of scikit-learn that are leaves."""
    return np.flatnonzero(tree.tree_.children_left == -1)


class ForestTrees(Trees):
    """Decision trees of scikit-learn whose predictions are averaged, or a single one.

    Parameters
    ----------
    estimator : BaseForest or BaseDecisionTree
        Fitted.
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.trees = getattr(estimator, "estimators_", [estimator])
        self.numbers = NodeNumbers([leaf_nodes(tree) for tree in self.trees])
        self.n_leaves = self.numbers.n_leaves
        self.outputs = np.zeros(len(self.trees), dtype=np.intp)

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        nodes = self.estimator.apply(X)
        return self.numbers.leaves(nodes.reshape(len(nodes), -1))


class BaggedTrees(ForestTrees):
    """Trees of a bagging ensemble, each of which may see some features only."""

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        X = validate_data(
            self.estimator,
            X,
            reset=False,
            accept_sparse="csr",
            dtype=np.float32,
            ensure_all_finite=False,  # trees say what they take
        )
        columns = self.estimator.estimators_features_
        nodes = [tree.apply(X[:, own]) for tree, own in zip(self.trees, columns, strict=True)]
        return self.numbers.leaves(np.stack(nodes, 1))


class WeightedTrees(ForestTrees):
    """Trees of AdaBoost, whose votes are weighted."""

    def __init__(self, estimator):
        super().__init__(estimator)
        self.shares = np.asarray(estimator.estimator_weights_)[: len(self.trees)]

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        X = validate_data(self.estimator, X, reset=False, accept_sparse="csr", dtype=np.float32)
        return self.numbers.leaves(np.stack([tree.apply(X) for tree in self.trees], 1))


class BoostedTrees(Trees):
    """Trees that are added up: one for each output in every round.

    Parameters
    ----------
    values : list of ndarray
        What each leaf adds to the output, for each tree.
    n_outputs : int
        Trees of a round.
    rate : float
        Learning rate.
    base : ndarray of shape (n_outputs,) or None
        Outputs before the first round; None where they are not the same for all rows.
    """

    def __init__(self, values, n_outputs, rate, base):
        self.values = values
        self.n_outputs = n_outputs
        self.rate = float(rate)
        self.base = base
        self.n_leaves = np.array([len(leaves) for leaves in values], dtype=np.intp)
        self.outputs = np.arange(len(values)) % n_outputs

    def raw(self, leaves):
        """Compute outputs (n, n_outputs) of rows in leaves (n, n_trees).

        Raises
        ------
        ValueError
            If outputs start from what another estimator predicts.
        """
        if self.base is None:
            raise ValueError(
                "boosting must start from the same outputs for all rows, but init predicts them "
                'from X; measurement="label_logit" needs no outputs'
            )
        outputs = np.tile(self.base, (len(leaves), 1))
        for number, values in enumerate(self.values):
            outputs[:, self.outputs[number]] += values[leaves[:, number]]
        return torch.as_tensor(outputs)


class GradientBoostingTrees(BoostedTrees):
    """Trees of GradientBoostingClassifier and GradientBoostingRegressor."""

    def __init__(self, estimator):
        self.estimator = estimator
        nodes = []  # that are leaves, of each tree
        values = []
        for tree in estimator.estimators_.flat:
            nodes.append(leaf_nodes(tree))
            values.append(estimator.learning_rate * tree.tree_.value[nodes[-1], 0, 0])
        self.numbers = NodeNumbers(nodes)
        n_outputs = estimator.estimators_.shape[1]
        base = None
        if isinstance(estimator.init_, DummyClassifier | DummyRegressor | str):
            # Which is the same for all rows.
            base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_)))[0]
        super().__init__(values, n_outputs, estimator.learning_rate, base)

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        # As its predictions check X; its apply would check it by the first tree.
        X = validate_data(
            self.estimator, X, reset=False, accept_sparse="csr", dtype=np.float32, order="C"
        )
        nodes = self.estimator.apply(X)
        return self.numbers.leaves(nodes.reshape(len(nodes), -1))


class HistGradientBoostingTrees(BoostedTrees):
    """Trees of HistGradientBoostingClassifier and -Regressor, which have no ``apply``.

    A copy of each tree whose values are the numbers of its leaves predicts these.
    """

    def __init__(self, estimator):
        self.estimator = estimator
        self.predictors = []
        values = []
        for rounds in estimator._predictors:
            for predictor in rounds:
                numbered = copy.copy(predictor)
                numbered.nodes = predictor.nodes.copy()
                is_leaf = numbered.nodes["is_leaf"].astype(bool)
                values.append(predictor.nodes["value"][is_leaf])
                numbered.nodes["value"][is_leaf] = np.arange(len(values[-1]))
                self.predictors.append(numbered)
        n_outputs = estimator.n_trees_per_iteration_
        base = np.ravel(estimator._baseline_prediction)
        base = np.broadcast_to(base, n_outputs).astype(np.float64)
        super().__init__(values, n_outputs, estimator.learning_rate, base)

    def leaves(self, X):
        """Return the leaf of each row in each tree."""
        estimator = self.estimator
        X = estimator._preprocess_X(X, reset=False)
        known, feature_map = estimator._bin_mapper.make_known_categories_bitsets()
        found = np.empty((len(X), len(self.predictors)), dtype=np.int32)
        for number, predictor in enumerate(self.predictors):
            found[:, number] = predictor.predict(X, known, feature_map, n_threads=1)
        return found


def tree_model(estimator, trees):
    """Make a fitted model of trees; one without classes predicts numbers."""
    refuse_several_targets(estimator)
    classes = None if predicts_numbers(estimator) else as_ndarray(estimator.classes_)
    return TreeModel(estimator, classes=classes, trees=trees)


def refuse_several_targets(estimator):
    """Raise if an ensemble was fitted on several targets a row."""
    has_several = isinstance(getattr(estimator, "classes_", None), list)
    if has_several or getattr(estimator, "n_outputs_", 1) > 1:
        raise TypeError(
            f"{type(estimator).__name__} was fitted on several targets; attribution explains one. "
            "Pass single_output(estimator, output) and the targets of that output"
        )


@adapt.register(BaseForest)
@adapt.register(BaseDecisionTree)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, ForestTrees(estimator))


@adapt.register(BaseBagging)
def _(estimator):
    return _of_any_parts(estimator, BaggedTrees)


@adapt.register(AdaBoostClassifier)
def _(estimator):
    return _of_any_parts(estimator, WeightedTrees)


def _of_any_parts(estimator, trees):
    """Make the model of an ensemble, whose parts may be trees or any other estimators."""
    check_is_fitted(estimator)
    if not all(isinstance(part, BaseDecisionTree) for part in estimator.estimators_):
        return predicting_model(estimator)
    return tree_model(estimator, trees(estimator))


@adapt.register(BaseGradientBoosting)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, GradientBoostingTrees(estimator))


@adapt.register(BaseHistGradientBoosting)
def _(estimator):
    check_is_fitted(estimator)
    return tree_model(estimator, HistGradientBoostingTrees(estimator))
