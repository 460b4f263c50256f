"""Containers: estimators that predict by another one, and what is inside of them."""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline


def inside(estimator):
    """Return the estimator that a container predicts by; None where it is no container.

    Containers are pipelines, frozen estimators, and fitted searches, of scikit-learn or not, which
    keep what they have found in ``best_estimator_``.
    """
    if isinstance(estimator, Pipeline):
        return estimator.steps[-1][1]
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    return getattr(estimator, "best_estimator_", None)


def steps_before(pipeline):
    """Return the steps in front of a pipeline's last one, without those that do nothing."""
    steps = [step for _, step in pipeline.steps[:-1]]
    return tuple(step for step in steps if step is not None and not isinstance(step, str))


def without_frozen(estimator):
    """Take an estimator out of FrozenEstimators, which are not fitted again."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator
