"""The module behind each estimator computes what the estimator computes."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from skorch import NeuralNetClassifier

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution import InfoGainAttributor, InfoLossAttributor
from sklearn_provenance.attribution.models import adapt
from sklearn_provenance.tangent import TangentFeatures, TangentModel

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
BINARY = NAMES != "setosa"


class Net(torch.nn.Module):
    def __init__(self, probabilities=False):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Tanh(), torch.nn.Linear(8, 3)
        )
        self.probabilities = probabilities

    def forward(self, x):
        logits = self.layers(x)
        return logits.softmax(1) if self.probabilities else logits


def skorch_net(**params):
    params = {"criterion": torch.nn.CrossEntropyLoss, **params}
    torch.manual_seed(0)
    return NeuralNetClassifier(Net, max_epochs=2, train_split=None, verbose=0, **params)


def provenance(architecture):
    return ProvenanceClassifier(
        architecture, width="small", max_epochs=3, device="cpu", random_state=0
    )


def logits_of(estimator, X):
    """Logits of the adapter, through the model that attribution differentiates."""
    model = adapt(estimator)
    tangent = TangentModel(model.module, forward=model.forward)
    x = model.inputs(X)
    x = torch.as_tensor(x).to(tangent.dtype) if np.asarray(x).dtype.kind == "f" else x
    return tangent.linearise(x).logits.detach().numpy()


ESTIMATORS = {
    "logistic": (LogisticRegression(max_iter=500), NAMES),
    "logistic, binary": (LogisticRegression(), BINARY),
    "logistic, no intercept": (LogisticRegression(fit_intercept=False, max_iter=500), NAMES),
    "sgd": (SGDClassifier(random_state=0), NAMES),
    "svc, sparse": (LinearSVC(random_state=0, max_iter=5000), BINARY),
    "mlp": (MLPClassifier((7, 5), max_iter=20, random_state=0), NAMES),
    "mlp, binary": (MLPClassifier((7,), "logistic", max_iter=20, random_state=0), BINARY),
    "mlp, tanh": (MLPClassifier((7,), "tanh", max_iter=20, random_state=0), NAMES),
    "mlp, identity": (MLPClassifier((7,), "identity", max_iter=20, random_state=0), NAMES),
    "class conditional": (provenance("class_conditional"), NAMES),
    "class independent": (provenance("class_independent"), NAMES),
    "single branch": (provenance("single_branch"), NAMES),
    "skorch": (skorch_net(), SPECIES),
    "skorch, probabilities": (
        skorch_net(criterion=torch.nn.NLLLoss, module__probabilities=True),
        SPECIES,
    ),
    "pipeline": (
        make_pipeline(StandardScaler(), MLPClassifier((7,), max_iter=20, random_state=0)),
        NAMES,
    ),
    "one-step pipeline": (make_pipeline(LogisticRegression(max_iter=500)), NAMES),
}


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request):
    estimator, y = ESTIMATORS[request.param]
    estimator = clone(estimator)
    X = IRIS.astype(np.float32) if "skorch" in request.param else IRIS
    estimator.fit(X, y)
    if "sparse" in request.param:
        estimator.sparsify()
    return estimator, X, y


def test_logits_of_the_adapter_are_the_estimators(fitted):
    estimator, X, y = fitted
    logits = logits_of(estimator, X)
    if hasattr(estimator, "predict_proba"):
        proba = estimator.predict_proba(X)
        tolerance = 1e-12 if proba.dtype == np.float64 else 2e-6
        np.testing.assert_allclose(softmax(logits, 1), proba, rtol=0, atol=tolerance)
    else:
        decision = estimator.decision_function(X)
        if decision.ndim == 1:
            decision = np.stack([-decision / 2, decision / 2], 1)
        np.testing.assert_allclose(logits, decision, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", [InfoGainAttributor, InfoLossAttributor])
def test_every_model_is_explained(fitted, cls):
    estimator, X, y = fitted
    attributor = cls(estimator, candidates="same_class").fit(X, y)
    assert attributor.estimator_ is estimator
    exp = attributor.explain(X[::30], k=3)
    np.testing.assert_array_equal(exp.query_labels, estimator.predict(X[::30]))
    np.testing.assert_array_equal(attributor.predict(X[::30]), estimator.predict(X[::30]))
    assert (exp.exemplar_labels == exp.query_labels[:, None]).all()
    assert (exp.scores > 0).all()
    # Each pick of InfoGain starts from the row that tells the most alone.
    if cls is InfoGainAttributor:
        scores = attributor.attribute(X[::30])
        np.testing.assert_allclose(exp.scores[:, 0], np.nanmax(scores, 1), rtol=1e-6)


def test_features_of_a_linear_model_are_its_inputs_and_a_one():
    estimator = LogisticRegression().fit(IRIS, BINARY)
    phi = np.column_stack([IRIS, np.ones(len(IRIS))])
    exact = InfoGainAttributor(estimator, noise_variance=2.0).fit(IRIS, BINARY)
    # Both logits are half of the decision, up to a sign.
    own = InfoGainAttributor(
        estimator, noise_variance=8.0, features=lambda X: np.column_stack([X, np.ones(len(X))])
    ).fit(IRIS, BINARY)
    np.testing.assert_allclose(exact.attribute(IRIS[:5]), own.attribute(IRIS[:5]), rtol=1e-9)
    np.testing.assert_allclose(own.transform(IRIS), phi, rtol=1e-12)
    jacobian = exact.transform(IRIS)
    np.testing.assert_allclose(jacobian @ jacobian.T, _signed_gram(estimator, phi) / 4, rtol=1e-9)


def _signed_gram(estimator, phi):
    sign = np.where(estimator.predict(IRIS), 1, -1)
    return np.outer(sign, sign) * (phi @ phi.T)


def test_single_branch_sums_the_index_probability_of_a_class():
    estimator = provenance("single_branch").fit(IRIS, NAMES)
    logits = logits_of(estimator, IRIS)
    index = estimator.index_proba(IRIS)
    mass = np.stack([index[:, name == NAMES].sum(1) for name in estimator.classes_], 1)
    np.testing.assert_allclose(log_softmax(logits, 1), np.log(mass), rtol=1e-3, atol=1e-4)


def test_images_of_a_provenance_network_are_shown(rng):
    images = rng.integers(0, 256, size=(40, 8, 8), dtype=np.uint8)
    y = np.arange(40) % 2
    estimator = provenance("class_conditional").set_params(backbone="mlp").fit(images, y)
    exp = InfoGainAttributor(FrozenEstimator(estimator)).fit(images, y).explain(images[:3])
    assert exp.image_shape == (1, 8, 8)
    np.testing.assert_array_equal(exp.training_data[:, 0], images)
    np.testing.assert_array_equal(exp.queries[:, 0], images[:3])


def test_mixed_precision_is_off_while_a_network_is_differentiated():
    estimator = provenance("class_conditional").fit(IRIS, NAMES)
    full = logits_of(estimator, IRIS)
    estimator.net_.module_.amp_dtype = torch.bfloat16
    np.testing.assert_array_equal(logits_of(estimator, IRIS), full)
    assert estimator.net_.module_.amp_dtype is torch.bfloat16


def leaves(forest):
    """One-hot leaves, a callable on X."""
    encoder = OneHotEncoder().fit(forest.apply(IRIS))
    return lambda X: encoder.transform(forest.apply(X))


@pytest.mark.parametrize("cls", [InfoGainAttributor, InfoLossAttributor])
def test_a_forest_is_explained_by_its_leaves(cls):
    forest = RandomForestClassifier(5, random_state=0).fit(IRIS, NAMES)
    attributor = cls(forest, features=leaves(forest)).fit(IRIS, NAMES)
    # 5 trees with one leaf each.
    np.testing.assert_allclose(attributor.noise_variance_, 10 * 5)
    indices, scores = attributor.explain(IRIS[:4], k=2)
    if cls is InfoGainAttributor:
        shared = (forest.apply(IRIS[:4])[:, None] == forest.apply(IRIS)).sum(2)
        np.testing.assert_array_equal(
            np.take_along_axis(shared, indices[:, :1], 1)[:, 0], shared.max(1)
        )


@pytest.mark.parametrize("n_components", [2, 4])
def test_a_transformer_is_fitted_on_the_training_rows(n_components):
    from sklearn.decomposition import PCA

    template = PCA(n_components)
    attributor = InfoLossAttributor(
        RandomForestClassifier(5, random_state=0), features=template
    ).fit(IRIS, NAMES)
    assert not hasattr(template, "components_")
    np.testing.assert_allclose(
        attributor.transform(IRIS), PCA(n_components).fit_transform(IRIS), atol=1e-12
    )
    assert attributor.get_feature_names_out().shape == (n_components,)
    given = InfoLossAttributor(attributor.estimator_, features=attributor.features_)
    assert given.fit(IRIS[:60], NAMES[:60]).features_ is attributor.features_


def test_transform_gives_sketches_at_the_predicted_label():
    estimator = MLPClassifier((7,), max_iter=20, random_state=0).fit(IRIS, NAMES)
    sketch = TangentFeatures(n_components=64, random_state=3)
    attributor = InfoGainAttributor(estimator, features=sketch).fit(IRIS, NAMES)
    phi = attributor.transform(IRIS[:9])
    assert phi.shape == (9, 64)
    labels = np.searchsorted(attributor.classes_, estimator.predict(IRIS[:9]))
    np.testing.assert_array_equal(phi, attributor.features_.transform(IRIS[:9], labels))
    assert sketch.module is None
    exact = InfoGainAttributor(estimator).fit(IRIS, NAMES).transform(IRIS[:9])
    assert exact.shape == (9, 4 * 7 + 7 + 7 * 3 + 3)


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components=16), StandardScaler()])
def test_data_frames_as_global_output_change_nothing(features):
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, NAMES)
    attributor = InfoLossAttributor(estimator, features=features)
    expected = attributor.fit(IRIS, NAMES).explain(IRIS[:3]).scores
    with config_context(transform_output="pandas"):
        scores = attributor.fit(IRIS, NAMES).explain(IRIS[:3]).scores
    np.testing.assert_array_equal(scores, expected)


UNSUPPORTED = [
    KNeighborsClassifier(),
    OneVsRestClassifier(LogisticRegression(max_iter=500)),
    KNeighborsRegressor(),
    StandardScaler(),
]


@pytest.mark.parametrize("estimator", UNSUPPORTED, ids=lambda e: type(e).__name__)
def test_what_is_not_supported_is_named_along_with_what_is(estimator):
    with pytest.raises(TypeError, match=rf"features=.*got {type(estimator).__name__}"):
        InfoGainAttributor(estimator).fit(IRIS, SPECIES)
    with pytest.raises(TypeError, match="ProvenanceClassifier"):
        InfoGainAttributor(None).fit(IRIS, SPECIES)


def test_multilabel_networks_are_refused():
    estimator = MLPClassifier((3,), max_iter=20).fit(IRIS, np.eye(3)[SPECIES] == 1)
    with pytest.raises(TypeError, match="multilabel"):
        InfoGainAttributor(estimator).fit(IRIS, SPECIES)


def test_prefit():
    estimator = LogisticRegression(max_iter=500)
    fitted = clone(estimator).fit(IRIS, NAMES)
    assert InfoGainAttributor(fitted).fit(IRIS, NAMES).estimator_ is fitted
    other = InfoGainAttributor(estimator).fit(IRIS, NAMES).estimator_
    assert other is not estimator
    assert not hasattr(estimator, "coef_")
    np.testing.assert_allclose(other.coef_, fitted.coef_)
    again = InfoGainAttributor(fitted, prefit=False).fit(IRIS[50:], NAMES[50:]).estimator_
    assert again is not fitted
    assert len(again.classes_) == 2
    frozen = FrozenEstimator(fitted)
    assert InfoGainAttributor(frozen, prefit=False).fit(IRIS, NAMES).estimator_ is frozen
    for bad in (
        InfoGainAttributor(estimator, prefit=True),
        InfoGainAttributor(FrozenEstimator(estimator)),
        InfoGainAttributor(skorch_net(), prefit=True),
    ):
        with pytest.raises(NotFittedError, match="is not fitted, and"):
            bad.fit(IRIS, NAMES)
    with pytest.raises(NotFittedError):
        InfoGainAttributor(fitted).explain(IRIS)


def test_binary_logits_are_the_decision_split_evenly():
    estimator = LogisticRegression().fit(IRIS, BINARY)
    logits = logits_of(estimator, IRIS)
    np.testing.assert_allclose(logits.sum(1), 0, atol=1e-12)
    np.testing.assert_allclose(
        expit(logits[:, 1] - logits[:, 0]), estimator.predict_proba(IRIS)[:, 1], rtol=1e-9
    )
