"""Estimators around another one: pipelines, searches, frozen estimators."""

from dataclasses import dataclass, fields

from sklearn.pipeline import Pipeline

from ..._utils.containers import inside, steps_before
from ..._utils.dask_rows import in_blocks
from ..._utils.feature_names import names_out
from ..._utils.rows import as_given
from ._base import SUPPORTED, FittedModel, adapt


@dataclass(frozen=True, eq=False)
class ContainedModel(FittedModel):
    """The model inside a container; X goes through the steps before it once."""

    inner: FittedModel | None = None
    steps: tuple = ()

    def inputs(self, X):
        """Return inputs of the inner model."""
        return self.inner.inputs(self._transform(X))

    def preprocessing(self):
        """Return the steps, and what is before the inner model."""
        return (*self.steps, *self.inner.preprocessing())

    @property
    def users_module(self):
        """The module of the inner model."""
        return self.inner.users_module

    def decide(self, logits):
        """Predict from logits as the inner model does."""
        return self.inner.decide(logits)

    def predict(self, X):
        """Predict labels as the inner model does."""
        return in_blocks(lambda rows: self.inner.predict(self._transform(rows)), X)

    def feature_names(self, names):
        """Name the columns of the inner model's inputs."""
        for step in self.steps:
            names = names_out(step, names)
        return self.inner.feature_names(names)

    def shown(self, *parts):
        """Return rows as the inner model shows them, if it is given the same."""
        return super().shown(*parts) if self.steps else self.inner.shown(*parts)

    def with_forward(self, forward, logits=True):
        """Replace how outputs are computed, here and inside."""
        return contained(self.estimator, self.inner.with_forward(forward, logits), self.steps)

    def examined(self, inputs, compared=True):
        """Look at the outputs of a few rows once."""
        return contained(self.estimator, self.inner.examined(inputs, compared), self.steps)

    def _transform(self, X):
        X = as_given(X)
        for step in self.steps:
            X = step.transform(X)
        return X


def contained(estimator, inner, steps=()):
    """Return the model of a container: the fields of the inner model, and the container itself."""
    shared = {field.name: getattr(inner, field.name) for field in fields(FittedModel)}
    return ContainedModel(**shared | {"estimator": estimator}, inner=inner, steps=tuple(steps))


@adapt.register(Pipeline)
def _(estimator):
    last = inside(estimator)
    if last is None or isinstance(last, str):
        raise TypeError(f"estimator must be {SUPPORTED}; got a Pipeline without a last estimator")
    # Samplers of imbalanced-learn are passed over at prediction.
    steps = [step for step in steps_before(estimator) if not hasattr(step, "fit_resample")]
    return contained(estimator, adapt(last), steps)
