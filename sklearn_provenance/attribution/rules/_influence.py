"""Influence of rows on what a linearised network predicts, one by one and as a set."""

import torch

from ...information._mean_system import MeanSystem, pick_mean
from ...information._ranking import first_of, largest
from ...information._softmax import one_minus_p
from ...information._systems import FeatureSystem, KernelSystem
from ._base import GaussianRule, Rule
from ._mean import parts_of

LOG_ODDS = "drop of the log odds (nats)"
NUMBERS = "drop of the prediction (units of y)"
# Weights of rows are at least this, in units of their mean.
_LEAST_WEIGHT = 1e-12


class ModelInfluence(GaussianRule):
    """Drops of what one model predicts without rows, by ridge regression on its features.

    Parameters
    ----------
    ridge : float
        λ in units of the mean squared norm of the rows' features, times their weights if these
        are their own.
    curvature : {"mean", "row"}
        Whether all rows of classes have the mean of the weights w = p (1 - p), or each its own.
    rest : points or None
        Gradients whose squares are the curvature that those of margins do not have.
    residuals : Tensor of shape (n_rows,), default=None
        Targets less predictions; None for classes, of which it is 1 - p.
    memory_limit : float
        Bytes that a kernel may take.
    """

    name = "influence"
    needs_all_rows = True

    def __init__(self, ridge, curvature, rest, residuals, memory_limit):
        super().__init__(None, memory_limit)
        self.ridge = ridge
        self.curvature = curvature
        self.rest = rest
        self.residuals = residuals

    def _fit(self):
        super()._fit()
        norms = self.points.norms().cpu()
        _check_scale(norms)
        residuals, weights = self._working_residuals(norms)
        if self.copies is not None:
            first = first_of(self.copies)
            residuals = residuals[first]
            if weights is not None:
                weights = weights[first]
        self.roots = None
        if weights is not None:
            self.roots = weights.sqrt()
            norms = norms * weights
            residuals = residuals * self.roots
        if self.rest is not None:
            # Rows that fit what is predicted, and never go.
            norms = norms + self.rest.norms().cpu()
            residuals = torch.cat([residuals, torch.zeros_like(residuals)])
        self.ridge *= _check_scale(norms)
        if self.explicit:
            system = FeatureSystem(self._weighted_features(), self.ridge, "info_loss")
        else:
            system = KernelSystem(self._weighted_kernel(), self.ridge, "info_loss", overwrite=True)
        self.system = MeanSystem(system, residuals.to(system.device))

    def _weighted_features(self):
        """Return features of the rows, times the roots of their weights, and of the rest."""
        if self.roots is None:
            return self.features(3)
        n_copies = 4
        if self.rest is not None:
            n_copies = 7
        features = self.features(n_copies)
        features = features * self.roots.to(features.device)[:, None]
        if self.rest is None:
            return features
        return torch.cat([features, self.rest.matrix()])

    def _weighted_kernel(self):
        """Compute the kernel of the rows, times the roots of their weights, and of the rest."""
        self.check_kernel_fits(self.n_system_rows(len(self.points)))
        kernel = self.points.inner()
        if self.roots is None:
            return kernel
        roots = self.roots.to(kernel.device)
        kernel.mul_(roots).mul_(roots[:, None])
        if self.rest is None:
            return kernel
        n = len(kernel)
        whole = kernel.new_empty(2 * n, 2 * n)
        whole[:n, :n] = kernel
        whole[:n, n:] = self.points.inner(self.rest) * roots[:, None]
        whole[n:, :n] = whole[:n, n:].mT
        whole[n:, n:] = self.rest.inner()
        return whole

    def n_system_rows(self, n_rows):
        """Count the rows of the system that n rows make."""
        if self.rest is None:
            return n_rows
        return 2 * n_rows

    def asked(self, queries):
        """Turn queries into what the system takes, whose rows are weighted."""
        found = super().asked(queries)
        if self.roots is None or self.explicit:
            return found
        cross, variance = found
        cross = cross * self.roots.to(cross.device)
        if self.rest is not None:
            cross = torch.cat([cross, queries.inner(self.rest)], 1)
        return cross, variance

    def own_drops(self):
        """Compute falls (n_rows,) of what is predicted at rows without themselves."""
        drops = self.system.own_drops().cpu()[: len(self.points)]
        if self.roots is None:
            return drops
        return drops / self.roots

    def _working_residuals(self, norms):
        """Compute -ℓ' / w of each row, and the weights w = ℓ'' (n,) if rows have their own.

        Otherwise w is the mean, which counts rows by the squared norms of their features.
        """
        if self.residuals is not None:
            return self.residuals, None
        own = self.points.labels[:, None]
        residuals = one_minus_p(self.points.logits).gather(1, own)[:, 0]
        weights = residuals * self.points.logits.softmax(1).gather(1, own)[:, 0]
        mean = (weights * norms).sum() / norms.sum()
        if mean > 0 and self.curvature == "row":
            # A row of which the model is certain has a weight of 0, and no part in anything.
            weights = weights.clamp(min=_LEAST_WEIGHT * mean)
            return residuals / weights, weights
        if not mean > 0:
            raise ValueError(
                "the model must leave some doubt about its training rows, but it is certain of "
                "the labels of all, so that p (1 - p) is 0"
            )
        return residuals / mean, None

    def scores(self, queries, rows=None, own=None):
        """Compute drops (n_queries, n_rows) without each row alone and without the query itself."""
        rows = self.every(rows).to(self.system.device)
        asked = self.asked(queries)
        if own is None:
            return self.system.drops(asked, rows).cpu()
        return self.system.drops_without_own(asked, rows, own.to(rows.device)).cpu()


def _check_scale(norms):
    """Return the mean of squared norms, or raise a ValueError if it is no scale."""
    scale = norms.mean().item()
    if not 0 < scale < float("inf"):
        raise ValueError(
            "the mean squared norm of the features of training rows must be positive and "
            f"finite; got {scale:.3g}"
        )
    return scale


class InfluenceRule(Rule):
    """Pick rows whose joint removal moves what is predicted most.

    Several models may see the same rows; drops are averaged over them.

    Parameters
    ----------
    models : list of ModelInfluence
        What each model knows of rows.
    direction : {"down", "up", "any"}
        Where predictions are to go.
    selection : {"greedy", "additive"}
        Whether rows are picked one after the other, or by their scores alone.
    unit : str
        What a score is.
    """

    name = "influence"
    needs_all_rows = True

    def __init__(self, models, direction, selection, unit):
        self.models, self.direction = models, direction
        self.selection, self.unit = selection, unit

    def check(self, n_rows, n_components, most_components):
        """Refuse rows whose kernel would not fit the budget."""
        if n_components >= min(n_rows, most_components):
            self.models[0].check_kernel_fits(self.models[0].n_system_rows(n_rows))

    def _fit(self):
        pairs = zip(self.models, parts_of(self.points), strict=True)
        self.models = [model.fit(part, self.copies) for model, part in pairs]

    @property
    def ridges(self):
        """λ of each model."""
        return [model.ridge for model in self.models]

    def scores(self, queries, rows=None, own=None):
        """Compute mean drops of what is predicted without each row alone."""
        pairs = zip(self.models, parts_of(queries), strict=True)
        return sum(model.scores(part, rows, own) for model, part in pairs) / len(self.models)

    def pick(self, queries, k, rows=None, own=None):
        """Pick k rows for each query; see :class:`Rule`.

        Scores are marginal drops, which add up to that without all k rows.
        """
        pick = self._pick_greedily if self.selection == "greedy" else self._pick_alone
        if self.direction == "down":
            return pick(queries, k, rows, own, 1)
        up = pick(queries, k, rows, own, -1)
        if self.direction == "up":
            return up
        down = pick(queries, k, rows, own, 1)
        farther = down[1].nansum(1) >= -up[1].nansum(1)
        columns = farther[:, None]
        return (
            torch.where(columns, down[0], up[0]),
            torch.where(columns, down[1], up[1]),
            torch.where(farther, down[2], up[2]),
        )

    def _pick_greedily(self, queries, k, rows, own, sign):
        """Pick rows one after the other, to lower (sign 1) or raise (-1) predictions."""
        allowed = None
        if rows is not None:
            allowed = torch.zeros(len(self.points), dtype=torch.bool).index_fill(0, rows, True)
        return self.pick_greedily(queries, k, allowed, sign, own)

    def pick_greedily(self, queries, k, allowed, sign, own=None):
        """Pick k of the rows that are allowed; see :func:`pick_mean`."""
        systems = [model.system for model in self.models]
        n_rows = len(self.points)
        n_more = self.models[0].n_system_rows(n_rows) - n_rows
        if n_more:
            if allowed is None:
                allowed = torch.ones(n_rows, dtype=torch.bool)
            allowed = torch.nn.functional.pad(allowed, (0, n_more), value=False)
        found = pick_mean(systems, self._asked(queries), k, sign, allowed, own)
        return tuple(values.cpu() for values in found)

    def _pick_alone(self, queries, k, rows, own, sign):
        """Pick the rows of largest drops by themselves."""
        scores = sign * self.settled(self.scores(queries, rows, own), rows)
        numbers = torch.arange(len(self.points)) if rows is None else rows
        if own is not None:
            scores = scores.masked_fill(numbers == own[:, None], -torch.inf)
        picks, _, n_tied = largest(scores, k)
        picks = torch.where(picks >= 0, numbers[picks], -1)
        gone = picks if own is None else torch.cat([own[:, None], picks], 1)
        falls = self.falls(queries, gone)[:, gone.shape[1] - k :]
        return picks, falls.masked_fill(picks < 0, torch.nan), n_tied

    def falls(self, queries, sets):
        """Compute mean drops (n_queries, k) with each row of a set (n_queries, k) in turn."""
        return torch.stack(self.falls_of_models(queries, sets)).mean(0)

    def falls_of_models(self, queries, sets):
        """Compute drops (n_queries, k) of each model with each row of a set in turn."""
        pairs = zip(self.models, self._asked(queries), strict=True)
        return [model.system.path(asked, sets).cpu() for model, asked in pairs]

    def _asked(self, queries):
        pairs = zip(self.models, parts_of(queries), strict=True)
        return [model.asked(part) for model, part in pairs]
