"""A fitted model as attribution sees it: logits, decisions and inputs are the estimator's own."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array, csr_matrix, issparse
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution.models import FittedModel, adapt
from sklearn_provenance.tangent._run import run

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:sklearn"),
]

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS32 = IRIS.astype(np.float32)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
BINARY = np.where(SPECIES == 2, "virginica", "other")
TEXTS = np.array(["a cat ran", "the dog sat", "a cat sat", "dogs ran far"] * 10, dtype=object)
TOPIC = np.array(["cat", "dog"] * 20)


def net(*widths, last=None):
    torch.manual_seed(0)
    layers = [nn.Linear(widths[0], widths[1]), nn.Dropout(0.5), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(widths[1], widths[2]), *([last] if last else []))


class Flat(nn.Sequential):
    """One number a row, without an axis for it."""

    def forward(self, x):
        return super().forward(x)[:, 0]


def skorch_net(module, cls=NeuralNetClassifier, **params):
    return cls(module, max_epochs=3, train_split=None, verbose=0, **params)


def mlp(*args, **params):
    return MLPClassifier((6,), *args, max_iter=15, random_state=0, **params)


def provenance(architecture):
    return ProvenanceClassifier(
        architecture, width="small", max_epochs=3, device="cpu", random_state=0
    )


LINEAR = {
    "logistic": LogisticRegression(max_iter=500),
    "logistic, no intercept": LogisticRegression(fit_intercept=False, max_iter=500),
    "logistic, cv": LogisticRegressionCV(Cs=2, max_iter=500),
    "ridge": RidgeClassifier(),
    "ridge, no intercept": RidgeClassifier(fit_intercept=False),
    "ridge, cv": RidgeClassifierCV(),
    "sgd": SGDClassifier(random_state=0),
    "perceptron": Perceptron(random_state=0),
    "svc": LinearSVC(random_state=0, max_iter=5000),
    "discriminant": LinearDiscriminantAnalysis(),
}
OTHERS = {
    "mlp": (mlp(), IRIS, NAMES),
    "mlp, logistic": (mlp("logistic"), IRIS, NAMES),
    "mlp, identity": (mlp("identity"), IRIS, BINARY),
    "mlp, tanh": (mlp("tanh"), IRIS, BINARY),
    "skorch": (skorch_net(net(4, 8, 3), criterion=nn.CrossEntropyLoss), IRIS32, SPECIES),
    "skorch, probabilities": (skorch_net(net(4, 8, 3, last=nn.Softmax(1))), IRIS32, SPECIES),
    "skorch, binary": (
        skorch_net(net(4, 8, 1), NeuralNetBinaryClassifier),
        IRIS32,
        (SPECIES == 2).astype(np.float32),
    ),
    "skorch, flat binary": (
        skorch_net(Flat(*net(4, 8, 1)), NeuralNetBinaryClassifier, threshold=0.31),
        IRIS32,
        (SPECIES == 2).astype(np.float32),
    ),
    "skorch, binary probabilities": (
        skorch_net(
            Flat(*net(4, 8, 1, last=nn.Sigmoid())), NeuralNetBinaryClassifier, criterion=nn.BCELoss
        ),
        IRIS32,
        (SPECIES == 2).astype(np.float32),
    ),
    "class conditional": (provenance("class_conditional"), IRIS, NAMES),
    "class independent": (provenance("class_independent"), IRIS, BINARY),
    "single branch": (provenance("single_branch"), IRIS, NAMES),
    "pipeline": (make_pipeline(StandardScaler(), mlp()), IRIS, NAMES),
    "pipeline of skorch": (
        make_pipeline(
            FunctionTransformer(np.float32),
            skorch_net(net(4, 8, 3), criterion=nn.CrossEntropyLoss),
        ),
        IRIS,
        SPECIES,
    ),
    "pipeline in a pipeline": (
        make_pipeline(
            "passthrough", make_pipeline(StandardScaler(), None, LogisticRegression(max_iter=500))
        ),
        IRIS,
        NAMES,
    ),
    "search": (
        GridSearchCV(make_pipeline(StandardScaler(), mlp()), {"mlpclassifier__alpha": [0.1]}, cv=2),
        IRIS,
        NAMES,
    ),
    "texts": (make_pipeline(TfidfVectorizer(), LogisticRegression()), TEXTS, TOPIC),
}
CASES = {f"{name}, {n}": (e, IRIS, y) for name, e in LINEAR.items() for n, y in
         (("binary", BINARY), ("multiclass", NAMES))} | OTHERS  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    estimator, X, y = CASES[request.param]
    return clone(estimator).fit(X, y), X


def logits_of(model, X):
    return run(model, model.inputs(X))


def truth_of(estimator, X, logits):
    """The estimator's numbers, and ours in the same form."""
    if hasattr(estimator, "decision_function"):
        decision = estimator.decision_function(X)
        if decision.ndim == 1:
            decision = np.stack([-decision / 2, decision / 2], 1)
        return decision, logits
    return estimator.predict_proba(X), softmax(logits, 1)


def test_logits_and_decisions_are_the_estimators(case):
    estimator, X = case
    adapted = adapt(estimator)
    assert adapted.estimator is estimator
    inputs = adapted.inputs(X)
    for model in (adapted, adapted.examined(inputs), pickle.loads(pickle.dumps(adapted))):
        logits = run(model, inputs)
        truth, ours = truth_of(estimator, X, logits.numpy())
        tolerance = 1e-10 if logits.dtype == torch.float64 else 5e-6
        np.testing.assert_allclose(ours, truth, rtol=tolerance, atol=tolerance)
        decided = model.decide(logits)
        assert decided.dtype == torch.int64
        classes = np.arange(logits.shape[1]) if model.classes is None else model.classes
        np.testing.assert_array_equal(classes[decided], estimator.predict(X))
        np.testing.assert_array_equal(model.predict(X), estimator.predict(X))
    # Rows one at a time, and what examination learned.
    one = run(model, model.inputs(X[:1]))
    np.testing.assert_allclose(one, logits[:1], rtol=1e-5, atol=1e-5)
    examined = model.examined(inputs)
    assert len(examined.classes) == logits.shape[1]
    if examined.n_outputs == 1:
        np.testing.assert_array_equal(logits[:, 0], -logits[:, 1])


@pytest.mark.parametrize("y", [BINARY, NAMES], ids=["binary", "multiclass"])
@pytest.mark.parametrize("name", LINEAR)
def test_coefficients_of_linear_models(name, y):
    estimator = clone(LINEAR[name]).fit(IRIS, y)
    dense = adapt(estimator)
    if hasattr(estimator, "sparsify"):
        estimator = copy.deepcopy(estimator).sparsify()
    model = adapt(make_pipeline(estimator))
    coefficients, intercept = model.linear
    assert coefficients.dtype == np.float64
    assert coefficients.shape == (model.n_outputs, 4)
    assert (intercept is None) == ("no intercept" in name)
    outputs = IRIS @ coefficients.T + (0 if intercept is None else intercept)
    decision = estimator.decision_function(IRIS).reshape(len(IRIS), -1)
    np.testing.assert_allclose(outputs, decision, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(coefficients, dense.linear.coefficients)
    # Sparse rows stay sparse, and count as the same numbers do.
    for kind in (csr_matrix, csr_array, lambda X: csr_matrix(X).tocoo().astype(np.float32)):
        inputs = model.inputs(kind(IRIS))
        assert issparse(inputs)
        assert inputs.format == "csr"
        assert inputs.dtype == np.float64
        logits = run(model, inputs)
        np.testing.assert_allclose(logits, run(model, inputs.toarray()), rtol=1e-12, atol=1e-12)


class Counting(StandardScaler):
    calls = 0

    def transform(self, X, copy=None):
        type(self).calls += 1
        return super().transform(X, copy)


def test_a_pipeline_transforms_once():
    estimator = make_pipeline(Counting(), make_pipeline(Counting(), mlp())).fit(IRIS, NAMES)
    frozen = FrozenEstimator(estimator)
    model = adapt(frozen)
    Counting.calls = 0
    inputs = model.inputs(IRIS)
    assert Counting.calls == 2
    model = model.examined(inputs)
    model.decide(run(model, inputs))
    assert Counting.calls == 2
    model.predict(IRIS)
    assert Counting.calls == 4
    assert model.linear is None


def test_frozen_estimators_and_other_searches():
    estimator = LogisticRegression(max_iter=500).fit(IRIS, NAMES)

    class Search(BaseEstimator):
        best_estimator_ = FrozenEstimator(estimator)

    for outer in (
        FrozenEstimator(estimator),
        FrozenEstimator(FrozenEstimator(estimator)),
        Search(),
    ):
        model = adapt(outer)
        assert model.estimator is outer
        np.testing.assert_array_equal(model.predict(IRIS), estimator.predict(IRIS))
        np.testing.assert_allclose(logits_of(model, IRIS), estimator.decision_function(IRIS))


def test_a_forward_of_ones_own_is_no_closed_form():
    estimator = LogisticRegression().fit(IRIS, BINARY)
    model = adapt(make_pipeline(estimator)).with_forward(lambda module, x: 3 * module(x))
    assert model.linear is None
    model = model.examined(model.inputs(IRIS))
    decision = logits_of(model, IRIS)[:, 1]
    np.testing.assert_allclose(2 * decision, 3 * estimator.decision_function(IRIS))


def test_texts_become_sparse_rows():
    pipe = make_pipeline(TfidfVectorizer(), LinearSVC()).fit(TEXTS, TOPIC)
    model = adapt(pipe)
    for X in (TEXTS, TEXTS.tolist(), pd.Series(TEXTS, index=np.arange(40) + 7)):
        inputs = model.inputs(X)
        assert issparse(inputs)
        np.testing.assert_array_equal(inputs.toarray(), pipe[0].transform(TEXTS).toarray())
        np.testing.assert_array_equal(
            model.classes[model.decide(run(model, inputs))], pipe.predict(TEXTS)
        )


def test_samplers_are_passed_over():
    imblearn = pytest.importorskip("imblearn.pipeline")
    from imblearn.under_sampling import RandomUnderSampler

    y = np.where(np.arange(150) < 20, "few", "many")
    pipe = imblearn.make_pipeline(
        StandardScaler(), RandomUnderSampler(random_state=0), LogisticRegression()
    ).fit(IRIS, y)
    model = adapt(pipe)
    assert len(model.inputs(IRIS)) == 150
    np.testing.assert_array_equal(
        model.classes[model.decide(logits_of(model, IRIS))], pipe.predict(IRIS)
    )


def test_a_pipeline_needs_a_last_estimator():
    for last in ("passthrough", None):
        with pytest.raises(TypeError, match="without a last estimator"):
            adapt(Pipeline([("scale", StandardScaler()), ("last", last)]))


def test_other_classifiers_only_predict():
    forest = RandomForestClassifier(5, random_state=0).fit(IRIS, NAMES)
    for model in (adapt(forest), adapt(make_pipeline(forest)), adapt(FrozenEstimator(forest))):
        assert model.module is None
        assert model.examined(IRIS) is not None
        np.testing.assert_array_equal(model.classes, forest.classes_)
        np.testing.assert_array_equal(model.predict(IRIS), forest.predict(IRIS))
        rows = torch.tensor(IRIS, requires_grad=True)
        np.testing.assert_array_equal(model.predict(rows), forest.predict(IRIS))


def test_what_is_not_supported():
    two_targets = RandomForestClassifier(2).fit(IRIS, np.stack([SPECIES, SPECIES], 1))
    labels = np.eye(3)[SPECIES]
    for estimator, message in [
        (
            KMeans(3, n_init=1).fit(IRIS),
            "ProvenanceClassifier.*features=.*KMeans",
        ),
        (StandardScaler().fit(IRIS), "got StandardScaler"),
        (None, "got NoneType"),
        (two_targets, "several targets"),
        (mlp().fit(IRIS, labels), "multilabel"),
        (RidgeClassifier().fit(IRIS, labels), "multilabel"),
    ]:
        with pytest.raises(TypeError, match=message):
            adapt(estimator)
    with pytest.raises(NotFittedError):
        adapt(LogisticRegression())


def test_a_family_of_ones_own():
    class Mine(ClassifierMixin, BaseEstimator):
        classes_ = np.array(["a", "b", "c"])

    @adapt.register(Mine)
    def _(estimator):
        return FittedModel(estimator, classes=estimator.classes_, module=nn.Linear(4, 3))

    assert adapt(FrozenEstimator(Mine())).examined(IRIS32).module.out_features == 3


# ----------------------------------------------------------------- ties, modes, threads
def test_ties_are_decided_as_the_estimator_does():
    rows = np.zeros((1, 4))
    for y in (BINARY, NAMES):
        for estimator in (LogisticRegression(fit_intercept=False), mlp(), Perceptron()):
            estimator.fit(IRIS, y)
            for weights in [getattr(estimator, "coef_", []), *getattr(estimator, "coefs_", [])]:
                np.multiply(weights, 0, out=weights) if len(weights) else None
            for bias in getattr(estimator, "intercepts_", [np.asarray(0)]):
                np.multiply(bias, 0, out=bias)
            estimator.intercept_ = np.zeros(1)
            # Logits that differ by less than their probabilities can tell.
            if isinstance(estimator, MLPClassifier):
                estimator.intercepts_[-1][-1] = 1e-17
            model = adapt(estimator)
            decided = model.classes[model.decide(logits_of(model, rows))]
            np.testing.assert_array_equal(decided, estimator.predict(rows))


def test_the_mode_of_a_network_survives():
    estimator = skorch_net(net(4, 8, 3), criterion=nn.CrossEntropyLoss).fit(IRIS32, SPECIES)
    for model in (adapt(estimator), adapt(make_pipeline(estimator)), adapt(net(4, 8, 3))):
        model.module.train()
        model.module[1].eval()
        model.predict(IRIS32)
        model.examined(model.inputs(IRIS32))
        assert model.module.training
        assert not model.module[1].training


def test_random_numbers_are_left_alone():
    estimators = [mlp().fit(IRIS, NAMES), LogisticRegression().fit(IRIS, BINARY)]
    state = torch.get_rng_state()
    for estimator in estimators:
        adapt(estimator).predict(IRIS)
    assert (torch.get_rng_state() == state).all()


def test_array_api_dispatch():
    script = """
import numpy as np, sklearn, torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_provenance.attribution.models import adapt
from sklearn_provenance.tangent._run import run
sklearn.set_config(array_api_dispatch=True)
X, y = load_iris(return_X_y=True)
x, t = torch.tensor(X), torch.tensor(y)
for fitted in [(X, y), (x, t)]:
    ridge = RidgeClassifier(solver="svd")
    for estimator in [ridge, make_pipeline(StandardScaler(), ridge)]:
        estimator.fit(*fitted)
        model = adapt(estimator)
        truth = np.asarray(estimator.predict(fitted[0]))
        for rows in (X, x) if not hasattr(estimator, "steps") else fitted[:1]:
            inputs = model.inputs(rows)
            assert isinstance(inputs, np.ndarray), type(inputs)
            assert (model.classes[model.decide(run(model, inputs))] == truth).all()
        assert (model.predict(fitted[0]) == truth).all()
for estimator in [LogisticRegression(max_iter=500), MLPClassifier((5,), max_iter=500)]:
    model = adapt(estimator.fit(X, y))
    for rows in (X, x.requires_grad_()):
        decided = model.classes[model.decide(run(model, model.inputs(rows)))]
        assert (decided == estimator.predict(X)).all()
model = adapt(torch.nn.Linear(4, 3).double())
model.examined(model.inputs(x))
print("done")
"""
    pytest.importorskip("scipy", "1.14", reason="scikit-learn dispatches arrays from SciPy 1.14 on")
    env = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_one_model_in_threads():
    estimator = provenance("class_conditional").fit(IRIS, NAMES)
    model = adapt(estimator)
    truth, answers = model.predict(IRIS), []
    threads = [
        threading.Thread(target=lambda: answers.append(model.predict(IRIS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for answer in answers:
        np.testing.assert_array_equal(answer, truth)
