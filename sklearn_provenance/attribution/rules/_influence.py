"""Influence of rows on what a linearised network predicts, one by one and as a set."""

from functools import cached_property

import torch

from ..._utils.cluster import current_client
from ...information._candidates import mask_of
from ...information._mean_system import MeanSystem, SystemMeans
from ...information._ranking import first_of, largest
from ...information._softmax import one_minus_p
from ...information._systems import FeatureSystem, KernelSystem
from ...tangent._points import ExplicitPoints
from ._base import GaussianRule, Rule, named
from ._influence_by_workers import SharedInfluence
from ._influence_in_blocks import block_means, check_means_fit
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
        self.ridge *= _check_scale(norms)
        # Σ w |φ|² of the rows and the rest, and a bound of one of them.
        self.squares = norms.sum().item()
        self.largest_square = norms.max().item()
        self.row_residuals = residuals

    @cached_property
    def system(self):
        """The rows in memory, ready to say what is predicted without some."""
        if self.explicit:
            system = FeatureSystem(self._weighted_features(), self.ridge, "info_loss")
        else:
            system = KernelSystem(self._weighted_kernel(), self.ridge, "info_loss", overwrite=True)
        residuals = self.row_residuals
        if self.rest is not None:
            residuals = torch.cat([residuals, torch.zeros_like(residuals)])
        return MeanSystem(system, residuals.to(system.device))

    def n_feature_copies(self):
        """Count the copies of the rows' features that the system takes in memory."""
        if self.rest is not None:
            return 7
        return 4 if self.curvature == "row" else 3

    def _weighted_features(self):
        """Return features of the rows, times the roots of their weights, and of the rest."""
        features = self.features(self.n_feature_copies())
        if self.roots is None:
            return features
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
        """Compute drops (n_queries, n_rows) without each row alone, and without ``own``."""
        means = SystemMeans([self.system], len(self.points))
        return means.drops([self.asked(queries)], self.every(rows), own)


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
        first = self.models[0]
        if n_components >= min(n_rows, most_components):
            first.check_kernel_fits(first.n_system_rows(n_rows))
            return
        n_numbers = n_rows * n_components * len(self.models)
        if 8.0 * first.n_feature_copies() * n_numbers > first.memory_limit:
            check_means_fit(n_rows, [n_components] * len(self.models), first.memory_limit)

    def _fit(self):
        pairs = zip(self.models, parts_of(self.points), strict=True)
        self.models = [model.fit(part, self.copies) for model, part in pairs]
        # Workers of a client that is in use make their own, and blocks are read when needed.
        if self._shared_by() is None and self._fits():
            _ = self.means

    def _fits(self):
        """Return whether what is kept of rows fits the budget as a whole; kernels must."""
        explicit = [model for model in self.models if model.explicit]
        if len(explicit) < len(self.models):
            return True
        n_bytes = [
            8.0 * model.n_feature_copies() * len(model.points) * model.n_components
            for model in explicit
        ]
        return sum(n_bytes) <= self.models[0].memory_limit

    @cached_property
    def means(self):
        """The rows, ready to say what is predicted without some."""
        if self._fits():
            return SystemMeans([model.system for model in self.models], len(self.points))
        return block_means(self.models, self.copies)

    @cached_property
    def _shared(self):
        """The rows as workers share them."""
        return SharedInfluence(self.models, self.copies)

    def can_be_shared(self):
        """Return whether workers can hold the rows: by explicit features, fewer than rows."""
        points = [model.points for model in self.models]
        points += [model.rest for model in self.models if model.rest is not None]
        explicit = all(model.explicit for model in self.models)
        return explicit and all(isinstance(one, ExplicitPoints) for one in points)

    def _shared_by(self):
        """Return the client that is in use, if its workers can hold the rows."""
        client = current_client()
        return client if client is not None and self.can_be_shared() else None

    def _asked(self, queries):
        """Return the means that answer queries, and what they take."""
        client = self._shared_by()
        pairs = zip(self.models, parts_of(queries), strict=True)
        asked = [model.asked(part) for model, part in pairs]
        if client is None:
            return self.means, asked
        return self._shared.means(client), [one.cpu() for one in asked]

    @property
    def ridges(self):
        """λ of each model."""
        return [model.ridge for model in self.models]

    def scores(self, queries, rows=None, own=None):
        """Compute mean drops of what is predicted without each row alone, and without ``own``."""
        means, asked = self._asked(queries)
        if rows is None:
            rows = torch.arange(len(self.points))
        return means.drops(asked, rows, own).cpu()

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
        return self.pick_greedily(queries, k, mask_of(rows, len(self.points)), sign, own)

    def takes_classes(self):
        """Return whether workers hold the rows, and so all of them for each class."""
        return self._shared_by() is not None

    def pick_greedily(self, queries, k, allowed, sign, own=None):
        """Pick k of the rows that are allowed, a mask or SameClass; see :func:`pick_mean`."""
        means, asked = self._asked(queries)
        return tuple(values.cpu() for values in means.pick(asked, k, sign, allowed, own))

    def _pick_alone(self, queries, k, rows, own, sign):
        """Pick the rows of largest drops by themselves."""
        scores, numbers = self.scores_to_rank(queries, rows, own, sign)
        picks, _, n_tied = named(numbers, *largest(scores, k))
        gone = picks if own is None else torch.cat([own[:, None], picks], 1)
        falls = self.falls(queries, gone)[:, gone.shape[1] - k :]
        return picks, falls.masked_fill(picks < 0, torch.nan), n_tied

    def falls(self, queries, sets):
        """Compute mean drops (n_queries, k) with each row of a set (n_queries, k) in turn."""
        return torch.stack(self.falls_of_models(queries, sets)).mean(0)

    def falls_of_models(self, queries, sets):
        """Compute drops (n_queries, k) of each model with each row of a set in turn."""
        means, asked = self._asked(queries)
        return [falls.cpu() for falls in means.paths(asked, sets)]

    def own_drops(self):
        """Compute mean falls (n_rows,) of what is predicted at rows without themselves."""
        client = self._shared_by()
        means = self.means if client is None else self._shared.means(client)
        drops = []
        for model, of_model in zip(self.models, means.own_drops(), strict=True):
            of_model = of_model.cpu()[: len(self.points)]
            if model.roots is not None:
                of_model = of_model / model.roots
            drops.append(of_model)
        return torch.stack(drops).mean(0)
