"""Influence through the tangent features of a network, which InfluenceAttributor hands on to.

Shapes in comments: n queries, C classes, k rows that go.
"""

import numpy as np
import torch
from torch import nn

from ..._utils.arguments import store_arguments
from ..._utils.rows import check_rows, n_rows, take_rows
from ...information._candidates import SameClass
from ...tangent import TangentFeatures, measure
from ..features import make_features
from ..features._joined import JoinedFeatures
from ..features._rest import RestOfCurvature
from ..features._rows import predicted
from ..models import adapt
from ..rules._influence import LOG_ODDS, NUMBERS, InfluenceRule, ModelInfluence
from ..rules._mean import parts_of
from ._flipping_sets import FlippingSets
from ._influence_checks import check_classes_left, check_removed
from ._paths import attempts, padded_paths
from ._picks import Picks
from ._pointwise import PointwiseAttributor
from ._trak import draw_seeds

# Components of the sketch that takes the place of gradients of more parameters.
N_COMPONENTS = 4096
# Rows of a system up to which gradients are exact.
KERNEL_ROWS = 8192
# Parameters whose gradients are always exact: products of them are cheap.
_SMALL = 1024
# What rows of classes are measured by, because their loss is a function of it.
_OF_ROWS = "margin"
_UNITS = {
    "margin": LOG_ODDS,
    "label_logit": "drop of the logit",
    "log_probability": "drop of the log probability (nats)",
}


def is_network(estimator):
    """Return whether a fitted estimator is a network, which is not linear in its inputs."""
    if isinstance(estimator, nn.Module | list | tuple):
        return True
    model = adapt(estimator)
    return (model.module is not None and model.linear is None) or model.network is not None


class NetworkInfluence(PointwiseAttributor):
    """Predict what a network would say without rows: :class:`InfluenceAttributor` for networks."""

    def __init__(
        self,
        estimator,
        *,
        direction,
        candidates,
        ridge,
        curvature,
        measurement,
        selection,
        features,
        forward,
        prefit,
        memory,
        memory_limit,
        batch_size,
        verbose,
    ):
        store_arguments(locals())

    # The attributor that hands on has validated its parameters.
    _parameter_constraints: dict = {}

    _joins_models = True
    _owns_arguments = False
    _instead_of_sequences = (
        "InfluenceAttributor needs rows whose loss is a function of one margin, but a sequence of "
        "a language model has a margin for each token. EKFACAttributor and TRAKAttributor estimate "
        "influence of sequences"
    )

    def _check_parameters(self):
        if isinstance(self.estimator, list | tuple) and not self.estimator:
            raise ValueError("estimator must be a list of at least one model; got an empty list")

    def _make_features(self, X, y):
        if not isinstance(self.estimator_, list):
            features, inputs = self._features_of(self.estimator_, X, y, self.features)
            self.features_ = features.fitted
            self.coverage_ = features.coverage
            return features, inputs
        kinds = [self.features] * len(self.estimator_)
        if isinstance(self.features, TangentFeatures):
            # Independent sketches, whose errors the mean makes smaller.
            params = self.features.get_params(deep=False)
            drawn = draw_seeds(params["random_state"], len(kinds))
            kinds = [TangentFeatures(**params | {"random_state": seed}) for seed in drawn]
        features = []
        inputs = []
        for model, kind in zip(self.estimator_, kinds, strict=True):
            of_model, rows = self._features_of(model, X, y, kind)
            features.append(of_model)
            inputs.append(rows)
        self.features_ = [of_model.fitted for of_model in features]
        self.coverage_ = [of_model.coverage for of_model in features]
        return JoinedFeatures.of(features), inputs

    def _features_of(self, estimator, X, y, kind):
        """Make the features of one model."""
        model = self._fitted_model(estimator)
        if isinstance(kind, str) and kind == "auto":
            kind = self._chosen_features(model, len(y))
        if model.network is not None:
            return make_features(model, kind, X, y, self._settings())
        settings = self._settings(measurement=self.measurement)
        if self.measurement == _OF_ROWS:
            return make_features(model, kind, X, y, settings)
        return make_features(model, kind, X, y, settings, _OF_ROWS)

    def _chosen_features(self, model, n_train):
        """Choose exact gradients where there are few rows or parameters, else a sketch of them."""
        module = model.module
        if module is None:
            module = model.network
        n_parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        n_rows = n_train
        if self.curvature == "softmax":
            n_rows = 2 * n_train
        # A kernel of so many rows costs less than a sketch, and has no error.
        fits = n_rows <= KERNEL_ROWS and 2 * 8 * n_rows**2 <= self.memory_limit
        if n_parameters <= _SMALL or n_train <= N_COMPONENTS or fits:
            return "exact"
        return TangentFeatures(n_components=N_COMPONENTS)

    def _make_rule(self):
        parts = getattr(self._features, "features", [self._features])
        residuals = [None] * len(parts)
        unit = "drop of the measurement"
        if not callable(self.measurement):
            unit = _UNITS[self.measurement]
        if self.classes_ is None:
            unit = NUMBERS
            predictions = [predicted(part.regressor, self.training_.X) for part in parts]
            residuals = [torch.as_tensor(self._rows.labels - values) for values in predictions]
        curvature = self.curvature
        rests = [None] * len(parts)
        if curvature == "softmax":
            curvature = "row"
            if len(self.classes_) > 2:  # of two the margin has all curvature
                rests = self._rests(parts)
        models = [
            ModelInfluence(self.ridge, curvature, rest, r, self.memory_limit)
            for rest, r in zip(rests, residuals, strict=True)
        ]
        return InfluenceRule(models, self.direction, self.selection, unit)

    def _rests(self, parts):
        """Compute gradients that make the curvature beside that of margins, for each model."""
        inputs = [self._rows.inputs]
        if isinstance(self._features, JoinedFeatures):
            inputs = self._rows.inputs
        rest = RestOfCurvature.drawn(self._rows.labels, len(self.classes_))
        numbers = torch.arange(len(self._rows))
        pairs = zip(parts, inputs, strict=True)
        return [part.points_by(rest, own, numbers) for part, own in pairs]

    def _fit(self, X, y, sample_id):
        super()._fit(X, y, sample_id)
        self.ridge_ = np.array(self._rule_at(None, everything=True).ridges)

    def _margins_of(self, X, labels=None):
        """Measure the margins of queries, at labels or at the predicted ones."""
        if not self._features.rows_differ:
            if labels is None:
                return self._queries(X)
            return self._features.query(X, labels)
        if labels is None:
            labels = self._queries(X).labels
        return self._features.training_points(self._features.inputs(X), labels)

    def _margins_at_each(self, X, n_classes):
        """Yield each class and the margins of queries at it."""
        inputs = self._features.inputs(X)
        if not self._features.rows_differ:
            yield from self._features.each_at(inputs, range(n_classes), self.memory_limit)
            return
        for label in range(n_classes):
            labels = torch.full((n_rows(X),), label)
            yield label, self._features.training_points(inputs, labels)

    def outputs_without(self, X, rows):
        """Predict what the network would return without rows, to one step.

        Parameters
        ----------
        X : array-like of shape (n_queries, ...)
            Queries.
        rows : ndarray of int of shape (n_queries, k)
            Rows that go; -1 for none.

        Returns
        -------
        ndarray of shape (n_queries, k, n_classes) or (n_queries, k)
            Probabilities, or numbers, without the first 1 to k rows.
        """
        sets = torch.as_tensor(rows)
        rule = self._rule_at(None, everything=True)
        if self.classes_ is None:
            queries = self._queries(X)
            falls = rule.falls(queries, sets).cumsum(1)
            return (queries.labels[:, None] - falls).numpy()
        n_classes = len(self.classes_)
        odds = None
        for label, queries in self._margins_at_each(X, n_classes):
            falls = rule.falls_of_models(queries, sets)
            if odds is None:
                odds = torch.empty(len(falls), *sets.shape, n_classes, dtype=torch.float64)
            for model, (part, fall) in enumerate(zip(parts_of(queries), falls, strict=True)):
                margin = measure(part.logits, part.labels, "margin")  # (n,)
                odds[model, :, :, label] = margin[:, None] - fall.cumsum(1)
        # With no row gone these are the probabilities, which then sum to 1.
        p = odds.sigmoid()
        return (p / p.sum(-1, keepdim=True)).mean(0).numpy()

    def self_influence(self):
        """Compute the drop of what is predicted at each training row (n_train,) without it."""
        return self._rule_at(None, everything=True).own_drops().numpy()

    def has_explicit_features(self):
        """Return whether rows have explicit features, such as sketches, in every model."""
        kinds = self.features_ if isinstance(self.features_, list) else [self.features_]
        return all(kind is not None for kind in kinds)

    def margins_along(self, queries, sets):
        """Predict margins (n_queries, k + 1) without the first 0 to k rows of each set."""
        rule = self._rule_at(None, everything=True)
        if self.classes_ is None:
            start = queries.labels
        else:
            of_models = [measure(p.logits, p.labels, "margin") for p in parts_of(queries)]
            start = torch.stack(of_models).mean(0)
        falls = rule.falls(queries, torch.as_tensor(sets)).cumsum(1)
        return torch.cat([start[:, None], start[:, None] - falls], 1).numpy()

    def flipping_set(self, X, max_rows, threshold):
        """See :meth:`InfluenceAttributor.flipping_set`."""
        self._check_fitted()
        X = check_rows(self, X)
        n_train = len(self.training_.y)
        queries = self._margins_of(X)
        numbers = np.arange(len(queries))
        paths = [([], []) for _ in numbers]
        left = numbers
        for size in attempts(max_rows):
            part = self._margins_of(take_rows(X, left), queries.labels[left])
            picks = self._picks_towards(part, size, threshold)
            margins = self.margins_along(part, picks)
            changed = self._changed(take_rows(X, left), part, picks, margins, threshold)
            changed &= picks >= 0
            found = changed.any(1)
            lengths = np.where(found, changed.argmax(1) + 1, 0)
            for place, query in enumerate(left):
                length = lengths[place]
                paths[query] = picks[place, :length], margins[place, : length + 1]
            left = left[~found]
            if not len(left) or size >= n_train:
                break
        indices, margins = padded_paths(paths)
        picked = Picks(
            queries.labels.numpy(),
            indices,
            margins[:, :-1] - margins[:, 1:],
            np.zeros(len(indices), dtype=np.int64),
            None,
            None,
            None,
        )
        described = vars(self._explanation(X, picked))
        own = {"margins": margins, "threshold": threshold, "n_tied": None}
        return FlippingSets(**described | own)

    def _picks_towards(self, queries, k, threshold):
        """Pick rows (n_queries, k) whose removal lowers margins or moves numbers to a threshold."""
        rule = self._rule_at(None, everything=True)
        allowed = None
        if self._same_class:
            allowed = SameClass(torch.as_tensor(self._rows.labels), queries.labels)
        if threshold is None:
            return rule.pick_greedily(queries, k, allowed, 1)[0].numpy()
        down = rule.pick_greedily(queries, k, allowed, 1)[0]
        up = rule.pick_greedily(queries, k, allowed, -1)[0]
        return torch.where(queries.labels[:, None] > threshold, down, up).numpy()

    def _changed(self, X, queries, picks, margins, threshold):
        """Return whether predictions (n_queries, k) change without the first 1 to k picks."""
        if threshold is not None:
            above = margins > threshold
            return above[:, 1:] != above[:, :1]
        answers = self.outputs_without(X, picks).argmax(-1)
        return answers != queries.labels[:, None].numpy()

    def predict_without(self, X, rows):
        """See :meth:`InfluenceAttributor.predict_without`."""
        self._check_fitted()
        X = check_rows(self, X)
        self._check_unchanged()
        rows = check_removed(rows, len(self.training_.y), n_rows(X))
        if rows.ndim == 1 and len(rows) and self.classes_ is not None:
            check_classes_left(self.classes_[np.unique(self._rows.labels)], self.training_.y, rows)
        if rows.ndim == 1:
            rows = np.tile(np.unique(rows), (n_rows(X), 1))
        # The last of the sets that begin with no row.
        none = np.full((len(rows), 1), -1)
        return self.outputs_without(X, np.hstack([none, rows]))[:, -1]
