"""What methods share that compare a query's gradient with those of the training loss."""

from sklearn.utils._param_validation import StrOptions

from ...tangent._measurements import MEASUREMENTS
from ..features import ExactFeatures, linearised
from ..models import SUPPORTED
from ._base import BaseAttributor
from ._pointwise import PointwiseAttributor


class GradientAttributor(PointwiseAttributor):
    """Base of methods that score a row by ∇m(x_*) and ∇log p(y_i | x_i).

    Training rows are measured by their log probability at their own labels.
    """

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "measurement": [StrOptions(set(MEASUREMENTS)), callable],
    }
    ntk_parameterization = False

    def _make_features(self, X, y):
        model = self._fitted_model()
        if model.module is None:
            raise TypeError(f"estimator must be {SUPPORTED}; got {type(model.estimator).__name__}")
        inputs = model.inputs(X)
        model = model.examined(inputs)
        features = ExactFeatures(
            model,
            linearised(model, self.measurement, self.ntk_parameterization),
            row_measurement="log_probability",
            batch_size=self.batch_size,
            verbose=self.verbose,
            memory_limit=self.memory_limit,
            cache=self._cache(model),
        ).plan(inputs)
        self.coverage_ = features.coverage
        return features, inputs

    def _cache(self, model):
        """What keeps products of gradients on disk."""
