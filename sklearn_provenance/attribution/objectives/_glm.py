"""Generalised linear models: Σ_i s_i d(y_i, μ_i) / (2 Σ s_i) + α/2 |w|², d the deviance."""

from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor

from ...information._losses import SquaredLoss, TweedieLoss
from ._base import Objective, Validated, objective, row_weights
from ._linear import Fitted, linear_part
from ._responses import Prediction
from ._squared import one_target


def _generalised(estimator, X, y, sample_weight, loss, link):
    """State a generalised linear model with a loss and a link."""
    targets = one_target(estimator, y)
    prepare = Validated(estimator)
    weights = row_weights(sample_weight, len(targets))
    part = linear_part(
        prepare(X),
        Fitted.of(estimator),
        # The loss is an average: with the sum, the penalty is multiplied by the rows' weight.
        estimator.alpha * weights.sum(),
        targets=targets,
        loss=loss,
        weights=weights,
        masses=weights,
        averaged=True,
    )
    return Objective((part,), Prediction(link), prepare)


@objective.register(PoissonRegressor)
def _(estimator, X, y, sample_weight=None):
    return _generalised(estimator, X, y, sample_weight, TweedieLoss(1.0), "log")


@objective.register(GammaRegressor)
def _(estimator, X, y, sample_weight=None):
    return _generalised(estimator, X, y, sample_weight, TweedieLoss(2.0), "log")


@objective.register(TweedieRegressor)
def _(estimator, X, y, sample_weight=None):
    link = estimator.link
    if link == "auto" and estimator.power <= 0:
        link = "identity"
    elif link == "auto":
        link = "log"
    if link == "log":
        return _generalised(
            estimator, X, y, sample_weight, TweedieLoss(float(estimator.power)), link
        )
    if estimator.power == 0:
        return _generalised(estimator, X, y, sample_weight, SquaredLoss(), link)
    raise ValueError(
        'link must be "log", or power 0, for an objective that is smooth and convex everywhere; '
        f"got power={estimator.power} and link={estimator.link!r}"
    )
