"""How sure rows of probabilities are: confidence and entropy where they round to certainty."""

from typing import NamedTuple, Self

import torch

_IMPOSSIBLE = -1e4  # a logit that is below another by as much has no share


class LogSums(NamedTuple):
    """Sums over the exponentials of rows of logits, which may come in blocks.

    They are computed from all logits except the largest. The probability of the largest rounds to 1
    long before the others round to 0, so that rows would be tied although they differ. r_j is the
    exponential of the logit of another outcome over that of the largest.
    """

    top: torch.Tensor  # (n,), float64, the largest logit
    rest: torch.Tensor  # (n,), float64, the sum of r_j
    spread: torch.Tensor  # (n,), float64, the sum of -r_j log r_j

    @classmethod
    def of(cls, logits: torch.Tensor) -> Self:
        """Compute the sums of a block of logits (n, n_outcomes), -inf for impossible outcomes."""
        top, at = logits.max(1, keepdim=True)
        finite = top.where(top.isfinite(), 0)
        ratio = (logits - finite).exp().scatter_(1, at, 0.0)
        rest = ratio.sum(1, dtype=torch.float64)
        spread = torch.special.entr(ratio).sum(1, dtype=torch.float64)
        return cls(top[:, 0].double(), rest, spread)

    @classmethod
    def none(cls, n_rows: int, device: torch.device) -> Self:
        """Return the sums of no outcomes, of some rows."""
        zeros = torch.zeros(3, n_rows, dtype=torch.float64, device=device)
        return cls(zeros[0] - torch.inf, zeros[1], zeros[2])

    def merged(self, other: Self) -> Self:
        """Return the sums of these outcomes and of others, of the same rows."""
        first = self.top >= other.top
        high = LogSums(*(torch.where(first, *pair) for pair in zip(self, other, strict=True)))
        low = LogSums(*(torch.where(first, *pair) for pair in zip(other, self, strict=True)))
        # Without a possible outcome top is -inf, and a factor of 0 must not meet infinity.
        below = (low.top - high.top).nan_to_num(0).clamp(min=_IMPOSSIBLE)
        factor = below.exp()
        rest = high.rest + factor * (1 + low.rest)
        spread = high.spread + factor * (low.spread - below * (1 + low.rest))
        return type(self)(high.top, rest, spread)

    def raised(self, by: torch.Tensor) -> Self:
        """Return the sums of these logits plus a number (n,) for each row."""
        return self._replace(top=self.top + by)

    @property
    def log_sum(self) -> torch.Tensor:
        """Logarithm of the sum of exponentials of all logits, (n,)."""
        return self.top + self.rest.log1p()

    @property
    def certainty(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-confidence and entropy, as :func:`certainty` gives them; nan without outcomes."""
        # With R the rest: log p_top = -log(1 + R), and the entropy is
        # log(1 + R) + spread / (1 + R).
        log_confidence = -self.rest.log1p()
        entropy = self.rest.log1p() + self.spread / (1 + self.rest)
        impossible = self.top.isneginf()
        return (
            log_confidence.masked_fill(impossible, torch.nan),
            entropy.masked_fill(impossible, torch.nan),
        )


def certainty(log_p):
    """Compute the log-confidence and entropy of rows of probabilities.

    Parameters
    ----------
    log_p : Tensor of shape (n, n_outcomes)
        Log-probabilities in nats, -inf for impossible outcomes.

    Returns
    -------
    log_confidence : Tensor of shape (n,), float64
        Log of the largest probability, at most 0.
    entropy : Tensor of shape (n,), float64
        In nats.
    """
    return LogSums.of(log_p).certainty
