"""Rows in the leaves of gradient boosting, measured by what they did there and what is asked.

Shapes in comments: n rows, T trees, O outputs, L leaves of all trees.
"""

import numpy as np
import torch

from ...information._softmax import measurement_gradient
from ...tangent._points import SparsePoints
from ._leaves import LeafFeatures

# How near a step taken again must be to the value of its leaf, in units of the largest step that
# the gradients of the leaf allow. XGBoost and LightGBM take sums in single precision.
_TOLERANCE = 1e-3
# Sum of Hessians below which a leaf takes no step, as in scikit-learn.
NO_CURVATURE = 1e-150
# Share of its terms below which a sum is zero.
_ROUNDING = 1e-12


class BoostInFeatures(LeafFeatures):
    """Inner products of rows and queries are BoostIn, the influence of the rows.

    A training row has, in each leaf that it is in, the derivative of the leaf's value in the row's
    weight; a query has the derivative of its measurement in the outputs.

    Parameters
    ----------
    model : FittedModel
        The model.
    leaves : ndarray of shape (n, T)
        Leaves of the training rows.
    y, labels : ndarray of shape (n,)
        Their targets, as they were given and as positions of classes (or numbers).
    sample_weight : ndarray of shape (n,) or None
        Weights that the model was fitted with.
    measurement : {"loss", "output"}
        What is explained about a query.

    Attributes
    ----------
    derivatives : ndarray of shape (n, T)
        Derivative of the value of each training row's leaf in the weight of the row.
    """

    rows_differ = True

    def __init__(self, model, leaves, y, labels, sample_weight, measurement):
        from ..models._boosting import newton_steps  # imports trees, which take a while

        super().__init__(model)
        self.per_label = self.by_output = False
        self.measurement = measurement
        self.needs_targets = measurement == "loss"
        self.steps = newton_steps(self.trees.estimator, y, labels, sample_weight)
        self.base, self.values = self._start()
        self.row_weights = sample_weight
        if sample_weight is None:
            self.row_weights = np.ones(len(y))
        if self.steps.row_weights is not None:
            self.row_weights = self.row_weights * self.steps.row_weights
        self.derivatives = self._learn(leaves, labels)

    def _start(self):
        """Find outputs before the first round, and what each leaf adds."""
        base = self.trees.base
        values = list(self.trees.values)
        if base is None:
            raise ValueError(
                "boosting must start from the same outputs for all rows, but init predicts them "
                "from X"
            )
        if self.steps.base is not None:  # the first trees hold it
            base = self.steps.base
            for output, start in enumerate(base):
                values[output] = values[output] - start
        return np.asarray(base, dtype=np.float64), values

    def rounds(self, leaves, values=None):
        """Yield the trees (O,) of each round, and outputs (n, O) of rows before it.

        The array of outputs is one, to which rounds add: after the last it holds the final outputs.
        """
        if values is None:
            values = self.values
        outputs = np.tile(self.base, (len(leaves), 1))
        for start in range(0, len(values), self.trees.n_outputs):
            numbers = np.arange(start, start + self.trees.n_outputs)
            yield numbers, outputs
            for number in numbers:
                outputs[:, self.trees.outputs[number]] += values[number][leaves[:, number]]

    def _learn(self, leaves, labels):
        """Compute derivatives (n, T) of leaves' values in the weights of the rows in them."""
        found = np.zeros(leaves.shape)
        for numbers, outputs in self.rounds(leaves):
            gradients, hessians = self.steps.derivatives(outputs, labels)
            for number in numbers:
                output = self.trees.outputs[number]
                g = self.row_weights * gradients[:, output]
                h = self.row_weights * hessians[:, output]
                found[:, number] = self._derivatives(number, leaves[:, number], g, h)
        return found

    def _derivatives(self, number, own, g, h):
        """Compute derivatives (n,) of one tree from the leaves, gradients and Hessians of rows."""
        rate = self.trees.rate
        n_leaves = len(self.values[number])
        total = np.bincount(own, weights=h, minlength=n_leaves) + self.steps.l2
        total = np.where(total > NO_CURVATURE, total, np.inf)  # such leaves have the value zero
        step = -rate * np.bincount(own, weights=g, minlength=n_leaves) / total
        largest = rate * np.bincount(own, weights=np.abs(g), minlength=n_leaves) / total
        self._check_steps(number, step, largest)
        pull = rate * g
        push = h * step[own]
        # Rows that are all alike do not change the value of their leaf, but for rounding.
        change = np.where(np.abs(pull + push) > _ROUNDING * np.abs(pull), pull + push, 0.0)
        return -change / total[own]

    def _check_steps(self, number, step, largest):
        """Refuse a tree whose leaves did not take the steps that these rows make."""
        n_leaves = len(step)
        if n_leaves == 1:  # no split was found
            return
        wrong = np.abs(step - self.values[number]) > _TOLERANCE * largest + 1e-9
        if wrong.any():
            raise ValueError(
                "X, y and sample_weight must be those that the model was trained on, in the same "
                f"order, and its leaves must take Newton steps; in tree {number}, {wrong.sum()} of "
                f"{n_leaves} leaves did not. Constraints on leaves, and trees of some rows, are "
                "not supported"
            )

    def training_points(self, inputs, labels):
        """Return points of the training rows."""
        return SparsePoints(self.indicators(inputs, self.derivatives), torch.as_tensor(labels))

    def points(self, inputs, labels=None):
        """Return points of queries that are in leaves (n, T), at labels, which must be given."""
        labels = torch.as_tensor(labels)
        entries = np.empty(inputs.shape)
        for numbers, outputs in self.rounds(inputs):
            if self.measurement == "loss":
                # As in BoostIn, at the outputs before the round.
                targets = self.steps.targets(labels.numpy(), outputs.shape[1])
                gradients = self.steps.loss.gradient(outputs, targets)
                entries[:, numbers] = -gradients[:, self.trees.outputs[numbers]]
        if self.measurement == "output":
            slopes = self._slopes(outputs, labels)  # (n, O)
            entries = slopes[:, self.trees.outputs]
        return SparsePoints(self.indicators(inputs, entries), labels)

    def _slopes(self, outputs, labels):
        """Compute derivatives (n, O) of the log odds of labels, or of a regressor's output."""
        if self.model.classes is None:
            return np.ones_like(outputs)
        if outputs.shape[1] == 1:
            return 2.0 * labels.numpy()[:, None] - 1
        return measurement_gradient(torch.as_tensor(outputs), labels, "margin").numpy()

    def measured(self, outputs, labels):
        """Measure outputs (n, O): minus the loss (n,), or the log odds or output."""
        if self.measurement == "loss":
            return -self.steps.loss.value(outputs, self.steps.targets(labels, outputs.shape[1]))
        if self.model.classes is None:
            return outputs[:, 0]
        if outputs.shape[1] == 1:
            return (2.0 * labels - 1) * outputs[:, 0]
        logits = torch.as_tensor(outputs)
        index = torch.as_tensor(labels)[:, None]
        others = logits.scatter(1, index, -torch.inf).logsumexp(1)
        return (logits.gather(1, index)[:, 0] - others).numpy()

    def refitted(self, leaves, labels, rows):
        """Compute what each leaf adds once rows are taken out, with the structure held fixed.

        Gradients follow the outputs of the rounds before, as the remaining rows make them.
        """
        weights = self.row_weights.copy()
        weights[rows] = 0
        values = []
        outputs = np.tile(self.base, (len(leaves), 1))  # (n, O)
        for start in range(0, len(self.values), self.trees.n_outputs):
            gradients, hessians = self.steps.derivatives(outputs, labels)
            for number in range(start, start + self.trees.n_outputs):
                own = leaves[:, number]
                output = self.trees.outputs[number]
                n_leaves = len(self.values[number])
                g = np.bincount(own, weights=weights * gradients[:, output], minlength=n_leaves)
                h = np.bincount(own, weights=weights * hessians[:, output], minlength=n_leaves)
                step = -self.trees.rate * g
                total = h + self.steps.l2
                new = np.divide(step, total, out=np.zeros(n_leaves), where=total > NO_CURVATURE)
                if n_leaves == 1:
                    new = self.values[number]
                values.append(new)
            for number in range(start, start + self.trees.n_outputs):
                outputs[:, self.trees.outputs[number]] += values[number][leaves[:, number]]
        return values

    def final_outputs(self, leaves, values=None):
        """Compute outputs (n, O) after the last round."""
        *_, (_, outputs) = self.rounds(leaves, values)
        return outputs


def check_boosting(model):
    """Refuse a model that is no boosting whose steps can be taken again."""
    from ..models._boosting import newton_steps

    estimator = getattr(model.trees, "estimator", model.estimator)
    unknown = newton_steps.dispatch(object)
    if newton_steps.dispatch(type(estimator)) is unknown:
        unknown(estimator, None, None, None)
