"""TRAK: influence in logistic regression on sketched tangent features."""

import numpy as np
import torch

from ...information._own_row import solve_without_own
from ...information._softmax import one_minus_p
from ._base import Rule

# λ in units of the mean eigenvalue of Φ^T Φ for ridge="auto". Of powers of ten this had the best
# linear datamodeling score, or nearly, for 512 and 4096 components.
RIDGE_CONSTANT = 1.0


class TRAKRule(Rule):
    """Score rows by φ_*^T (Φ^T Φ + λ I)^-1 φ_i (1 - p_i), averaged over models.

    Points have ``parts``, explicit points of each model; ``ridge`` is λ or "auto". Where targets
    are numbers, ``residual`` (n,) takes the place of 1 - p_i: what targets exceed predictions by.
    Where rows are sequences of tokens, ``losses`` takes the place of φ_i (1 - p_i): points of each
    model's rows, measured by their log probability.

    References
    ----------
    Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale, ICML,
    algorithm 1.
    """

    name = "TRAK"
    unit = "TRAK score"
    needs_all_rows = True

    def __init__(self, ridge, residual=None, losses=None):
        self.ridge = ridge
        self.residual = residual
        self.losses = losses

    def _fit(self):
        parts = self.points.parts
        if self.losses is not None:
            self.residual = torch.ones(len(self.points), dtype=torch.float64)
        if self.residual is None:
            own = self.points.labels[:, None]
            residuals = [one_minus_p(part.logits).gather(1, own)[:, 0] for part in parts]
            self.residual = torch.stack(residuals).mean(0)  # (n,)
        self.ridges = np.empty(len(parts))
        self.factors = []
        for number, part in enumerate(parts):
            gram = torch.zeros(
                part.n_components, part.n_components, dtype=torch.float64, device=part.device
            )
            for block in part.blocks():
                gram.addmm_(block.mT, block)
            if not gram.isfinite().all():
                raise ValueError(
                    "Φ^T Φ must be finite, but tangent features of the training rows are so large "
                    "that their squares are not. Scale the rows, or the outputs of the network"
                )
            self.ridges[number] = self._ridge(gram)
            gram.diagonal().add_(self.ridges[number])
            factor, failed = torch.linalg.cholesky_ex(gram)
            if failed:
                raise ValueError(
                    f"ridge must be large enough to invert Φ^T Φ + λ I; got {self.ridge}, where "
                    f"the mean eigenvalue is {gram.diagonal().mean().item():.3g}. Give more"
                )
            self.factors.append(factor)

    def _ridge(self, gram):
        """Find λ, in units of the mean eigenvalue of Φ^T Φ where it is "auto"."""
        if not isinstance(self.ridge, str):
            return float(self.ridge)
        scale = gram.diagonal().mean().item()
        if not scale > 0:
            raise ValueError("the tangent features of all training rows are zero")
        return RIDGE_CONSTANT * scale

    def scores(self, queries, rows=None, own=None):
        """Score rows: the mean over models, times the residuals."""
        parts = self.losses or self.points.parts
        residual = self.residual
        if rows is not None:
            parts = [part.take(rows) for part in parts]
            residual = residual[rows]
        total = 0.0
        for query, part, factor in zip(queries.parts, parts, self.factors, strict=True):
            phi = query.matrix()
            solved = torch.cholesky_solve(phi.mT, factor)  # (n_components, n_queries)
            if own is not None:
                solved = solve_without_own(phi.mT, solved)
            total += part.times(solved.mT).mT.cpu()
        return total / len(parts) * residual
