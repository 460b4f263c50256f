"""What users rely on beyond the numbers: errors, padding, and a model that stays as it was."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_provenance import explain
from sklearn_provenance.attribution import (
    EKFACAttributor,
    InfoGainAttributor,
    InfoLossAttributor,
    TRAKAttributor,
)
from sklearn_provenance.tangent import TangentFeatures

from .conftest import N_FEATURES, RULES, make

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Noisy(torch.nn.Module):
    """Batch normalisation and dropout, which training mode would give away."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(N_FEATURES, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(8, 3),
        )

    def forward(self, x):
        if (x > 1e6).any():
            raise RuntimeError("the module's own error")
        return self.layers(x)


def state(module):
    """Everything that must be as before."""
    return {
        "modes": [m.training for m in module.modules()],
        "hooks": [dict(m._forward_hooks) | dict(m._backward_hooks) for m in module.modules()],
        "pre_hooks": [dict(m._forward_pre_hooks) for m in module.modules()],
        "gradients": [p.grad for p in module.parameters()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "state": {name: value.numpy().tobytes() for name, value in module.state_dict().items()},
        "generator": torch.get_rng_state().numpy().tobytes(),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cls", [InfoGainAttributor, InfoLossAttributor])
def test_the_model_stays_as_it_was(data, cls, training):
    X, y, queries = data
    torch.manual_seed(0)
    module = Noisy()
    module(torch.as_tensor(X, dtype=torch.float32)).sum().backward()
    module.train(training)
    module.layers[3].eval()
    module.layers[0].bias.requires_grad_(False)
    before = state(module)
    attributor = cls(module, measurement="margin").fit(X, y)
    exp = attributor.explain(queries)
    attributor.attribute(queries)
    attributor.predict(queries)
    attributor.score(queries, attributor.predict(queries))
    attributor.transform(queries)
    assert state(module) == before
    np.testing.assert_array_equal(attributor.explain(queries).scores, exp.scores)
    with pytest.raises(RuntimeError, match="own error"):
        attributor.explain(queries * 1e8)
    with pytest.raises(RuntimeError, match="own error"):
        cls(module).fit(X * 1e8, y)
    assert state(module) == before
    expected = copy.deepcopy(module).eval()(torch.as_tensor(queries).float()).argmax(1)
    np.testing.assert_array_equal(exp.query_labels, expected)


def test_a_skorch_net_stays_in_training_mode(data):
    from skorch import NeuralNetClassifier

    X, y, queries = (a.astype(np.float32) if a.dtype == np.float64 else a for a in data)
    net = NeuralNetClassifier(
        Noisy, criterion=torch.nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
    ).fit(X, y)
    net.module_.train()
    before = state(net.module_)
    attributor = InfoGainAttributor(net).fit(X, y)
    attributor.predict(queries)
    attributor.explain(queries)
    # Iterating over batches draws from the global generator: that is how skorch predicts.
    assert state(net.module_) | {"generator": None} == before | {"generator": None}


BAD = {
    "zero noise": ({"noise_variance": 0}, "noise_variance"),
    "negative noise": ({"noise_variance": -1.0}, "noise_variance"),
    "infinite noise": ({"noise_variance": np.inf}, "noise_variance"),
    "no number": ({"noise_variance": np.nan}, "noise_variance"),
    "unknown word": ({"noise_variance": "auto"}, "noise_variance"),
    "no multiple": ({"noise_variance": "ten*diagonal"}, "noise_variance"),
    "negative multiple": ({"noise_variance": "-1*diagonal"}, "noise_variance"),
    "candidates": ({"candidates": "other"}, "candidates"),
    "measurement": ({"measurement": "loss"}, "measurement"),
    "features": ({"features": "sketch"}, "features"),
    "solver": ({"solver": "greedy"}, "solver"),
    "prefit": ({"prefit": "yes"}, "prefit"),
    "batch size": ({"batch_size": 0}, "batch_size"),
    "two measurements": (
        {"features": TangentFeatures(measurement="margin")},
        "give measurement to the attributor",
    ),
    "another module": (
        {"features": TangentFeatures(torch.nn.Linear(2, 2))},
        "the attributor supplies the estimator's",
    ),
    "missing rows": ({"features": lambda X: X[1:]}, "each of the 30 rows of X; got 29 rows"),
    "zero features": ({"features": np.zeros_like}, "are zero"),
}


@pytest.mark.parametrize("params", BAD)
def test_bad_parameters_are_named(network, data, params):
    X, y, _ = data
    params, message = BAD[params]
    with pytest.raises(ValueError, match=message):
        InfoGainAttributor(network, **params).fit(X, y)


def test_labels_that_the_model_does_not_know(network, data):
    X, y, queries = data
    with pytest.raises(ValueError, match=r"y holds the label .*3.*classes are \[0, 1, 2\]"):
        InfoGainAttributor(network).fit(X, np.where(y == 0, 3, y))
    attributor = InfoGainAttributor(network).fit(X, y)
    for method in (attributor.explain, attributor.attribute, attributor.score):
        with pytest.raises(ValueError, match="does not know"):
            method(queries, np.full(7, 9))
    with pytest.raises(ValueError, match="does not know"):
        attributor.select(queries, 2, ["a"] * 7)


def test_modules_without_tangent_features(data):
    X, y, _ = data
    with pytest.raises(ValueError, match=r"single or double.*float16"):
        InfoGainAttributor(torch.nn.Linear(5, 3).half()).fit(X, y)
    with pytest.raises(ValueError, match="must have parameters"):
        InfoGainAttributor(torch.nn.Identity()).fit(X, y)


def test_queries_of_another_shape(network, data):
    X, y, queries = data
    attributor = InfoGainAttributor(network).fit(X, y)
    with pytest.raises(ValueError, match="4 features"):
        attributor.explain(queries[:, :4])
    for single in (queries[0], torch.as_tensor(queries[0])):
        with pytest.raises(ValueError, match="Reshape your data"):
            attributor.explain(single)
    with pytest.raises(ValueError, match="no rows"):
        attributor.explain(queries[:0])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        attributor.explain(queries, y[:3])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        InfoGainAttributor(network).fit(X, y[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers"):
        InfoGainAttributor(network).fit(X, y, sample_id=y[:-1])


@pytest.mark.parametrize("rule", RULES)
def test_padding(network, data, rule):
    X, y, queries = data
    attributor = make(rule, network).fit(X, y)
    with pytest.warns(UserWarning, match=r"7 of 7 queries have fewer than k=12 candidates"):
        exp = attributor.explain(queries, k=12)
    assert (exp.indices[:, :10] >= 0).all()
    assert (exp.indices[:, 10:] == -1).all()
    assert np.isnan(exp.scores[:, 10:]).all()
    for k in (0, 31, -1):
        with pytest.raises(ValueError, match="between 1 and 30"):
            attributor.explain(queries, k=k)
    for k in (2.0, True):
        with pytest.raises(TypeError, match="integer"):
            attributor.explain(queries, k=k)
    everything = make(rule, network, candidates="all").fit(X, y).explain(queries, k=30)
    assert (np.sort(everything.indices) == np.arange(30)).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_class_without_training_rows(network, data, rule):
    X, y, queries = data
    attributor = make(rule, network).fit(X[y > 0], y[y > 0])
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    with pytest.warns(UserWarning, match="3 of 7"):
        exp = attributor.explain(queries, labels, k=2)
    np.testing.assert_array_equal(exp.indices[:, 0] == -1, labels == 0)
    np.testing.assert_array_equal(
        np.isnan(attributor.attribute(queries, labels)[:, 0]), labels != 1
    )
    assert np.isfinite(attributor.score(queries, labels))


def test_ids_labels_and_names_are_carried(data):
    X, _, queries = data
    y = np.array(["cat", "dog", "eel"])[np.arange(30) % 3]
    names = [f"feature {i}" for i in range(5)]
    ids = np.array([f"row {i}" for i in range(30)])
    frame = pd.DataFrame(X, columns=names)
    attributor = InfoGainAttributor(LogisticRegression()).fit(frame, y, sample_id=ids)
    exp = attributor.explain(pd.DataFrame(queries, columns=names), k=3)
    np.testing.assert_array_equal(exp.sample_id, ids[exp.indices])
    np.testing.assert_array_equal(exp.exemplar_labels, y[exp.indices])
    assert exp.feature_names == names
    assert exp.method == "InfoGain"
    assert exp.score_name == "information gain (nats)"
    same = explain(attributor, pd.DataFrame(queries, columns=names), k=3)
    np.testing.assert_array_equal(same.indices, exp.indices)
    assert InfoLossAttributor(LogisticRegression()).fit(X, y).explain(queries).sample_id is None


def test_training_rows_may_change_after_fit(network, data):
    X, y, queries = data
    X = X.copy()
    attributor = InfoGainAttributor(network).fit(X, y)
    before = attributor.attribute(queries)
    X[:] = 1
    np.testing.assert_array_equal(attributor.attribute(queries), before)


def test_tensors_and_arrays_agree(network, data):
    X, y, queries = data
    arrays = InfoGainAttributor(network).fit(X, y).explain(queries)
    tensors = InfoGainAttributor(network).fit(torch.as_tensor(X), torch.as_tensor(y))
    exp = tensors.explain(torch.as_tensor(queries))
    np.testing.assert_array_equal(exp.indices, arrays.indices)
    np.testing.assert_array_equal(exp.queries, queries)
    picked = InfoGainAttributor(network).fit(X.tolist(), y.tolist()).explain(queries.tolist())
    # Lists of floats are as precise as arrays.
    np.testing.assert_array_equal(picked.scores, arrays.scores)


FEATURES = {
    "auto": "auto",
    "tangent": TangentFeatures(n_components=16),
    "transformer": StandardScaler(),
    "callable": np.asarray,
}


@pytest.mark.parametrize("features", FEATURES)
def test_clone_and_pickle(data, features):
    X, y, queries = data
    params = {
        "noise_variance": 3.0,
        "candidates": "all",
        "measurement": "margin",
        "features": FEATURES[features],
        "ntk_parameterization": True,
        "prefit": False,
        "memory": None,
        "batch_size": 4,
        "verbose": 0,
    }
    estimator = MLPClassifier((4,), max_iter=20, random_state=0)
    attributor = InfoGainAttributor(estimator, solver="linear_response", **params)
    got = attributor.get_params(deep=False)
    assert all(got[name] is value for name, value in params.items())
    assert got["solver"] == "linear_response"
    copied = clone(attributor)
    assert copied.get_params(deep=False).keys() == got.keys()
    attributor.fit(X, y, sample_id=y)
    before = attributor.explain(queries)
    loaded = pickle.loads(pickle.dumps(attributor)).explain(queries)
    np.testing.assert_array_equal(loaded.scores, before.scores)
    np.testing.assert_array_equal(copied.fit(X, y).explain(queries).scores, before.scores)


@pytest.mark.parametrize(
    "estimator", [torch.nn.Sequential(torch.nn.Linear(5, 3)), LogisticRegression()]
)
def test_pickle_keeps_the_model_in_use_one_object(data, estimator):
    X, y, _ = data
    attributor = pickle.loads(pickle.dumps(InfoLossAttributor(estimator).fit(X, y)))
    if isinstance(estimator, torch.nn.Module):
        assert attributor._features.model.module is attributor.estimator_
    assert attributor._features.model.estimator is attributor.estimator_


def test_every_fold_fits_a_model_of_its_own():
    X, y = load_iris(return_X_y=True)
    fitted = LogisticRegression(max_iter=500).fit(X, y)
    attributor = InfoGainAttributor(fitted, noise_variance=5.0)
    # Rows are sorted by class: folds that were not stratified would miss one.
    scores = cross_val_score(attributor, X, y, cv=3)
    assert np.isfinite(scores).all()
    assert attributor.estimator is fitted


def test_ids_pass_through_cross_validation():
    X, y = load_iris(return_X_y=True)
    ids = np.array([f"flower {i}" for i in range(len(X))])
    with config_context(enable_metadata_routing=True):
        attributor = InfoGainAttributor(LogisticRegression(max_iter=500))
        attributor.set_fit_request(sample_id=True)
        found = cross_validate(
            attributor, X, y, cv=3, params={"sample_id": ids}, return_estimator=True,
            return_indices=True,
        )  # fmt: skip
    for fold, rows in zip(found["estimator"], found["indices"]["train"], strict=True):
        exp = fold.explain(X[:4])
        np.testing.assert_array_equal(exp.sample_id, ids[rows][exp.indices])


def test_texts_are_explained_through_a_pipeline():
    texts = ["a good film", "a bad film", "good good plot", "bad acting", "so good", "so bad"]
    pipeline = make_pipeline(
        TfidfVectorizer(), FunctionTransformer(lambda X: X.toarray()), LogisticRegression()
    )
    attributor = InfoGainAttributor(pipeline).fit(texts, [1, 0, 1, 0, 1, 0])
    exp = attributor.explain(["good acting", "so bad"], k=1)
    assert exp.training_data[exp.indices[1, 0]] == "so bad"
    np.testing.assert_array_equal(exp.query_labels, [1, 0])


@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
def test_a_weight_counts_a_held_out_row_as_often(network, data, measurement):
    X, y, queries = data
    truth, counts = np.arange(7) % 3, np.array([2, 0, 1, 1, 3, 0, 1])
    attributor = InfoGainAttributor(network, measurement=measurement).fit(X, y)
    weighted = attributor.score(queries, truth, sample_weight=counts)
    repeated = attributor.score(queries.repeat(counts, axis=0), truth.repeat(counts))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


def test_scores_that_cannot_be_are_refused(network, data):
    X, y, _ = data
    attributor = InfoGainAttributor(network).fit(X, y)
    with pytest.raises(ValueError, match="weights must"):
        attributor.score(X, y, sample_weight=-np.ones(30))
    with pytest.raises(ValueError, match="weights must have shape"):
        attributor.score(X, y, sample_weight=np.ones(29))
    with pytest.raises(ValueError, match="at least two classes"):
        InfoGainAttributor(network).fit(X, np.zeros(30, dtype=int)).score(X, y)


def test_the_whole_jacobian_of_a_large_model_is_refused(data):
    X, y, queries = data
    attributor = InfoGainAttributor(torch.nn.Sequential(torch.nn.Linear(5, 20000))).fit(X, y)
    with pytest.raises(ValueError, match=r"120000 numbers a row.*TangentFeatures"):
        attributor.transform(queries)


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((4, 5), (4, 5)),
        ((1, 4, 5), (1, 4, 5)),
        ((5, 6, 3), (3, 5, 6)),
        ((4, 6, 3), None),
        ((2, 4, 5), None),
        ((20,), None),
    ],
)
def test_images_are_shown_as_images(rng, shape, image_shape):
    X, y = rng.normal(size=(12, *shape)), np.arange(12) % 2
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), 2))
    exp = InfoGainAttributor(network).fit(X, y).explain(X[:2], k=2)
    assert exp.image_shape == image_shape
    if image_shape:
        exp.plot()


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (InfoGainAttributor, "pool_size"),
        (InfoGainAttributor, "batch_size"),
        (TRAKAttributor, "n_components"),
        (EKFACAttributor, "n_samples"),
    ],
)
def test_true_is_no_number(network, data, cls, name):
    X, y, _ = data
    with pytest.raises(ValueError, match=name):
        cls(network, **{name: True}).fit(X, y)
