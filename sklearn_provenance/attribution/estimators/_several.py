"""Scores of several models, averaged."""

import copy

from ..features._joined import JoinedFeatures, JoinedRows
from ..rules._mean import MeanRule


class SeveralModelsMixin:
    """What an attributor learns of a list of models, and how it averages what they say.

    Each model has a member: a copy of the attributor that knows this model alone.
    """

    # Whether the mean of scores of several models is a score, and why not.
    _averages_models = False
    _one_model_because = "its scores are not averaged over models"

    def _learn_models(self, X, y, targets):
        """Let a member learn of each model, and join what they know."""
        name = type(self).__name__
        if not self._averages_models:
            raise TypeError(
                f"estimator must be one model for {name}, because {self._one_model_because}; got "
                f"a list of {len(self.estimator)}"
            )
        if not self.estimator:
            raise ValueError("estimator must hold one or more models; got an empty list")
        if callable(getattr(self, "measurement", None)):
            raise ValueError(
                "measurement must be a name for a list of models, whose predictions are averaged "
                "as probabilities; got a callable"
            )
        self._members = [self._member(model, X, y, targets) for model in self.estimator]
        self.estimator_ = [member.estimator_ for member in self._members]
        self._features = JoinedFeatures.of([member._features for member in self._members])
        self._learn_classes()
        parts = [member._rows for member in self._members]
        self._rows = JoinedRows(self._features, parts, self._measured_at(y))
        self._rule = MeanRule([member._rule for member in self._members])
        self._gather()

    def _member(self, model, X, y, targets):
        """Return a copy of the attributor that has learned of one model."""
        member = copy.copy(self)
        member.estimator = model
        member.memory_limit = self.memory_limit / len(self.estimator)
        member._kept = type(self._kept)(member.memory_limit)
        member._learn_model(X, y, targets)
        member._watched = []  # this attributor looks after the weights
        return member

    def _gather(self):
        """List what members know and this attributor does not yet."""
        if not self._members:
            return
        for name in vars(self._members[0]):
            is_learned = name.endswith("_") and not name.startswith("_")
            if is_learned and name not in vars(self):
                setattr(self, name, [getattr(member, name) for member in self._members])

    def _fitted_rules(self):
        """Pair each member, or the attributor itself, with its rule for all rows."""
        rule = self._rule_at(None, everything=True)
        if not self._members:
            return [(self, rule)]
        return list(zip(self._members, rule.rules, strict=True))
