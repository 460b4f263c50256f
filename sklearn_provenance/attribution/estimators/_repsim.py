"""Similarity of representations: RepSim."""

from collections.abc import Callable
from typing import Any

from sklearn.utils._param_validation import HasMethods, StrOptions

from ..._utils.arguments import store_arguments
from ..._utils.kept import MEMORY_LIMIT, check_fits
from ..._utils.rows import n_rows
from ..features import make_features
from ..features._leaves import LeafFeatures
from ..features._penultimate import last_layer_inputs
from ..rules._products import CosineRule
from ._base import BaseAttributor
from ._docs import documented
from ._pointwise import PointwiseAttributor


@documented
class RepSimAttributor(PointwiseAttributor):
    """Name the training rows that look most alike to the model.

    The score is the cosine of the penultimate features z of row and query, the input of the
    model's last linear layer, ``<z_i, z> / (|z_i| |z|)``: between -1 and 1, with no unit, larger
    is more alike. Labels and gradients play no part in it, so a row may score high whether
    training on it helped the prediction or harmed it.

    With ``candidates="all"`` the label of the best row is the influence-based prediction of [PN]
    (its Algorithm 1). :class:`LastLayerAttributor` says how that is related to influence.

    Parameters
    ----------
    {estimators}
        The features of a provenance network are those of its class branch, or of its single
        branch; those of a linear classifier are its inputs; those of trees are leaves, whose
        cosine is the share of trees in which two rows meet.
    {trees}
    features : "penultimate", transformer or callable, default="penultimate"
        What is compared. A transformer (fitted here unless it is fitted), or a callable of X,
        gives rows of your own: leaf embeddings of a forest, say. A TangentFeatures without a
        module gives the cosine of tangent features at the query's label.
    {candidates} {forward} {prefit} {memory} {memory_limit} {batch_size} {verbose}

    Attributes
    ----------
    {estimator_} {training_} {classes_} {candidates_}
    features_ : object
        What gives the features, fitted.
    {n_features_in_} {feature_names_in_}

    See Also
    --------
    LastLayerAttributor : What the last layer learned from a row.

    Notes
    -----
    The last layer is found by running the network: it is the last torch.nn.Linear of whose output
    the logits are a function. A network without one, for instance with a convolution at its end,
    needs ``features``. A row of zeros has the cosine 0 with everything.

    References
    ----------
    [PN] Provenance Networks: End-to-End Exemplar-Based Explainability, Eqs. 24-26, Algorithm 1.

    [IT] A Bayesian information-theoretic approach to data attribution, RepSim of section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_provenance.attribution import RepSimAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier((16,), max_iter=2000, random_state=0).fit(X, y)
    >>> attributor = RepSimAttributor(model, candidates="all").fit(X, y)
    >>> indices, cosines = attributor.explain(X[:2], k=1)
    >>> y[indices[:, 0]], cosines[:, 0].round(6)  # the training rows find themselves
    (array([0, 0]), array([1., 1.]))
    """

    _averages_models = True
    _stores = True
    _parameter_constraints: dict = {
        **BaseAttributor._parameter_constraints,
        "features": [StrOptions({"penultimate"}), HasMethods("transform"), callable],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        features: Any = "penultimate",
        candidates: str = "auto",
        forward: Callable | None = None,
        prefit: bool | str = "auto",
        memory: Any = None,
        memory_limit: float = MEMORY_LIMIT,
        batch_size: int | str = "auto",
        verbose: bool = False,
    ):
        store_arguments(locals())

    def _make_features(self, X, y):
        model = self._fitted_model()
        if not isinstance(self.features, str):
            features, inputs = make_features(model, self.features, X, y, self._settings())
        elif model.likelihood is not None:
            raise TypeError(
                "features must be given for a language model, which has penultimate features for "
                "each token, such as functools.partial(mean_embeddings, encoder) with "
                f"mean_embeddings of sklearn_provenance.text; got {self.features!r}"
            )
        elif model.trees is None:
            features, inputs = last_layer_inputs(model, X, self._settings())
        else:
            features = LeafFeatures(model, share=True)
            inputs = model.inputs(X)
        self.features_ = features.fitted
        return features, inputs

    def _check_memory(self, inputs):
        what = f"the features of {n_rows(inputs)} rows take"
        advice = "pass features with fewer columns, or a TangentFeatures with a store"
        check_fits(self._features.n_bytes(inputs), what, self.memory_limit, advice)

    def _make_rule(self):
        return CosineRule()
