"""Losses of a row that are convex and smooth in the model's outputs.

Shapes in comments: n rows, K outputs. Outputs may have further axes before the last; the targets
then broadcast against them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp, softmax


class Loss:
    """A loss ℓ(z, t) of the outputs z and targets t of a row, summed over what it has."""

    #: Whether the second derivative is the same everywhere, so that one Newton step is exact.
    quadratic = False
    #: Dispersion of the generalised linear model; None where it is estimated.
    dispersion: float | None = None

    def value(self, outputs, targets):
        """Compute losses (n,) of outputs (n, K)."""
        raise NotImplementedError

    def gradient(self, outputs, targets):
        """Compute first derivatives in the outputs, (n, K)."""
        raise NotImplementedError

    def curvature(self, outputs, targets):
        """Compute second derivatives in the outputs, (n, K, K)."""
        raise NotImplementedError

    def family(self, outputs):
        """Compute the mean μ, dμ/dz and variance, up to the dispersion, of the target; each (n,).

        None where the loss is no negative log likelihood of a generalised linear model.
        """
        return None


class ScalarLoss(Loss):
    """A loss of one output; subclasses give the derivatives element by element."""

    def second(self, outputs, targets):
        """Compute second derivatives element by element, in the shape of the outputs."""
        raise NotImplementedError

    def elementwise(self, outputs, targets):
        """Compute losses element by element, in the shape of the outputs."""
        raise NotImplementedError

    def value(self, outputs, targets):
        """Compute losses (n,) of outputs (n, 1)."""
        return self.elementwise(outputs, targets)[..., 0]

    def curvature(self, outputs, targets):
        """Compute second derivatives (n, 1, 1)."""
        return self.second(outputs, targets)[..., None]


class SquaredLoss(ScalarLoss):
    """(z - t)² / 2."""

    quadratic = True

    def elementwise(self, outputs, targets):
        return 0.5 * (outputs - targets) ** 2

    def gradient(self, outputs, targets):
        return outputs - targets

    def second(self, outputs, targets):
        return np.ones(np.broadcast_shapes(outputs.shape, np.shape(targets)))

    def family(self, outputs):
        one = np.ones(len(outputs))
        return outputs[:, 0], one, one


class LogisticLoss(ScalarLoss):
    """log(1 + e^z) - t z, for targets 0 and 1."""

    dispersion = 1.0

    def elementwise(self, outputs, targets):
        return np.logaddexp(0, outputs) - targets * outputs

    def gradient(self, outputs, targets):
        return expit(outputs) - targets

    def second(self, outputs, targets):
        p = expit(outputs)
        return p * (1 - p)

    def family(self, outputs):
        p = expit(outputs[:, 0])
        return p, p * (1 - p), p * (1 - p)


class MultinomialLoss(Loss):
    """logsumexp(z) - t·z, for targets (n, K) that mark the class."""

    def value(self, outputs, targets):
        return logsumexp(outputs, axis=-1) - (targets * outputs).sum(-1)

    def gradient(self, outputs, targets):
        return softmax(outputs, axis=-1) - targets

    def curvature(self, outputs, targets):
        p = softmax(outputs, axis=-1)
        return p[..., None] * (np.eye(p.shape[-1]) - p[..., None, :])


class SquaredHingeLoss(ScalarLoss):
    """scale · max(0, 1 - t z)², for targets -1 and 1; its second derivative jumps at t z = 1."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def elementwise(self, outputs, targets):
        return self.scale * np.maximum(0, 1 - targets * outputs) ** 2

    def gradient(self, outputs, targets):
        return -2 * self.scale * targets * np.maximum(0, 1 - targets * outputs)

    def second(self, outputs, targets):
        return 2 * self.scale * (targets * outputs < 1).astype(np.float64)


class ModifiedHuberLoss(ScalarLoss):
    """max(0, 1 - t z)² where t z ≥ -1, else -4 t z, for targets -1 and 1."""

    def elementwise(self, outputs, targets):
        margin = targets * outputs
        return np.where(margin < -1, -4 * margin, np.maximum(0, 1 - margin) ** 2)

    def gradient(self, outputs, targets):
        margin = targets * outputs
        return targets * np.where(margin < -1, -4.0, -2 * np.maximum(0, 1 - margin))

    def second(self, outputs, targets):
        margin = targets * outputs
        return 2.0 * ((margin >= -1) & (margin < 1))


@dataclass
class HuberLoss(ScalarLoss):
    """(z - t)² / 2 within epsilon of the target, linear outside."""

    epsilon: float

    def elementwise(self, outputs, targets):
        distance = np.abs(outputs - targets)
        inside = 0.5 * distance**2
        return np.where(
            distance <= self.epsilon, inside, self.epsilon * (distance - self.epsilon / 2)
        )

    def gradient(self, outputs, targets):
        return np.clip(outputs - targets, -self.epsilon, self.epsilon)

    def second(self, outputs, targets):
        return (np.abs(outputs - targets) <= self.epsilon).astype(np.float64)


@dataclass
class SquaredEpsilonInsensitiveLoss(ScalarLoss):
    """max(0, |z - t| - epsilon)²."""

    epsilon: float

    def elementwise(self, outputs, targets):
        return np.maximum(0, np.abs(outputs - targets) - self.epsilon) ** 2

    def gradient(self, outputs, targets):
        residual = outputs - targets
        return 2 * np.sign(residual) * np.maximum(0, np.abs(residual) - self.epsilon)

    def second(self, outputs, targets):
        return 2.0 * (np.abs(outputs - targets) > self.epsilon)


@dataclass
class TweedieLoss(ScalarLoss):
    """Half the deviance of a Tweedie distribution with mean e^z, up to a constant in t.

    Power 1 is Poisson, 2 Gamma.
    """

    power: float

    @property
    def dispersion(self):
        return 1.0 if self.power == 1 else None

    def _powers(self, outputs):
        return np.exp((2 - self.power) * outputs), np.exp((1 - self.power) * outputs)

    def elementwise(self, outputs, targets):
        two, one = self._powers(outputs)
        first = outputs if self.power == 2 else two / (2 - self.power)
        second = outputs if self.power == 1 else one / (1 - self.power)
        return first - targets * second

    def gradient(self, outputs, targets):
        two, one = self._powers(outputs)
        return two - targets * one

    def second(self, outputs, targets):
        two, one = self._powers(outputs)
        return (2 - self.power) * two - (1 - self.power) * targets * one

    def family(self, outputs):
        mean = np.exp(outputs[:, 0])
        return mean, mean, mean**self.power
