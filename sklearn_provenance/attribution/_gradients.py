"""What methods share that compare a query's gradient with those of the training loss."""

from sklearn.utils._param_validation import StrOptions

from ..tangent._batches import as_batch
from ..tangent._measurements import MEASUREMENTS
from ._base import BaseAttributor
from ._link import Link
from ._pointwise import PointwiseAttributor


class GradientAttributor(PointwiseAttributor):
    """Base of methods that score a row by ∇m(x_*) and ∇log p(y_i | x_i).

    A subclass has the parameter ``measurement``, m. The two linearised networks are
    ``_link.tangent`` and ``_likelihood``.
    """

    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "measurement": [StrOptions(set(MEASUREMENTS))],
    }

    def _make_link(self, X, y):
        link = Link(
            self.estimator_,
            X,
            y,
            features="exact",
            measurement=self.measurement,
            ntk_parameterization=getattr(self, "ntk_parameterization", False),
            batch_size=self.batch_size,
            verbose=self.verbose,
            memory=self.memory,
        )
        # Rows are measured at their own labels, whatever the query's.
        link.label_independent = True
        self._likelihood = link.tangent.measuring("log_probability")
        return link

    def _learn(self):
        # Routes are found on training rows: which queries come first must not matter.
        for model in (self._link.tangent, self._likelihood):
            model.plan(as_batch(self._train.inputs, model))
        self.coverage_ = self._link.coverage()
