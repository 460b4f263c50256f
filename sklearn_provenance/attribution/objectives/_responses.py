"""What the outputs of a problem say: the margin of a label, and the model's own answer.

Shapes in comments: outputs (..., K), the last axis over the outputs of all parts of an objective.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit, logsumexp, softmax


class Response:
    """How outputs become a margin and an answer."""

    #: What a drop of the margin is called, with its unit.
    score_name = ""

    def margin(self, outputs, label):
        """Return the margin (...) of the label at a position; None is passed in regression."""
        raise NotImplementedError

    def slope(self, outputs, label):
        """Return the gradient (..., K) of the margin in the outputs (..., K)."""
        raise NotImplementedError

    def answer(self, outputs):
        """Return what the model would return for outputs (n, K)."""
        raise NotImplementedError


class _Binary(Response):
    """One output, positive for the second class; the margin of the first is the opposite."""

    def margin(self, outputs, label):
        if label:
            return outputs[..., 0]
        return -outputs[..., 0]

    def slope(self, outputs, label):
        if label:
            return np.ones_like(outputs)
        return np.full_like(outputs, -1.0)


class BinaryLogit(_Binary):
    """One output, the log odds of the second class."""

    score_name = "drop of the log odds (nats)"

    def answer(self, outputs):
        return expit(np.stack([-outputs[:, 0], outputs[:, 0]], 1))


class Softmax(Response):
    """A logit for each class; the margin is log p / (1 - p)."""

    score_name = "drop of the log odds (nats)"

    def margin(self, outputs, label):
        others = np.delete(outputs, label, axis=-1)
        return outputs[..., label] - logsumexp(others, axis=-1)

    def slope(self, outputs, label):
        others = np.delete(outputs, label, axis=-1)
        return np.insert(-softmax(others, axis=-1), label, 1, -1)

    def answer(self, outputs):
        return softmax(outputs, axis=-1)


class OneVsRestLogit(Response):
    """Log odds of each class against the rest, whose probabilities are scaled to sum to 1."""

    score_name = "drop of the log odds (nats)"

    def margin(self, outputs, label):
        logs = log_expit(outputs)
        return logs[..., label] - logsumexp(np.delete(logs, label, axis=-1), axis=-1)

    def slope(self, outputs, label):
        others = np.delete(log_expit(outputs), label, axis=-1)
        return np.insert(-softmax(others, axis=-1), label, 1, -1) * expit(-outputs)

    def answer(self, outputs):
        return softmax(log_expit(outputs), axis=-1)


class BinaryDecision(_Binary):
    """One decision value, positive for the second class."""

    score_name = "drop of the decision value"

    def answer(self, outputs):
        return outputs[:, 0]


class Decisions(Response):
    """A decision value for each class; the margin is that of the label less the largest other."""

    score_name = "drop of the decision value's lead"

    def margin(self, outputs, label):
        return outputs[..., label] - np.delete(outputs, label, axis=-1).max(-1)

    def slope(self, outputs, label):
        slope = np.zeros_like(outputs)
        slope[..., label] = 1
        others = outputs.copy()
        others[..., label] = -np.inf
        largest = others.argmax(-1)[..., None]
        np.put_along_axis(slope, largest, -1, -1)
        return slope

    def answer(self, outputs):
        return outputs


@dataclass(frozen=True)
class Prediction(Response):
    """A prediction in the units of y."""

    link: str = "identity"  # or "log"
    offset: float = 0.0
    scale: float = 1.0
    score_name = "drop of the prediction (units of y)"

    def margin(self, outputs, label):
        value = outputs[..., 0]
        if self.link == "log":
            return np.exp(value)
        return self.offset + self.scale * value

    def slope(self, outputs, label):
        if self.link == "log":
            return np.exp(outputs)
        return np.full_like(outputs, self.scale)

    def answer(self, outputs):
        return self.margin(outputs, None)


def decisions(n_classes):
    """Return what decision values say: one value for two classes, else one for each class."""
    if n_classes == 2:
        return BinaryDecision()
    return Decisions()
