"""Objectives of further families of estimators, against training again without rows."""

import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline as make_resampling
from imblearn.under_sampling import RandomUnderSampler
from scipy.special import log_expit, logsumexp
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import EnsembleAttributor
from sklearn_provenance.information import _newton

from ..checks import thorough
from ..versions import L1, L2_CV
from .test_influence import DATA, N_QUERIES, N_TRAIN, TIGHT, WEIGHTS

LIBLINEAR = {"tol": 1e-9, "max_iter": 10**6, "dual": False}
SGD = {"tol": None, "max_iter": 3000, "learning_rate": "adaptive", "eta0": 0.05, "random_state": 0}
CASES = {
    "LinearSVC": (LinearSVC(C=0.1, **LIBLINEAR), "binary"),
    "LinearSVC, balanced": (LinearSVC(C=0.1, class_weight="balanced", **LIBLINEAR), "binary"),
    "LinearSVC, classes": (LinearSVC(C=0.1, intercept_scaling=3, **LIBLINEAR), "classes"),
    "LinearSVC, balanced classes": (
        LinearSVC(C=0.1, class_weight="balanced", **LIBLINEAR),
        "classes",
    ),
    "LinearSVC, weighted classes": (
        LinearSVC(C=0.1, class_weight={0: 2, 2: 0.3}, **LIBLINEAR),
        "classes",
    ),
    "LinearSVR": (
        LinearSVR(loss="squared_epsilon_insensitive", epsilon=5, C=0.1, **LIBLINEAR),
        "numbers",
    ),
    "one-vs-rest": (OneVsRestClassifier(LogisticRegression(C=0.1, **TIGHT)), "classes"),
    "one-vs-rest, balanced": (
        OneVsRestClassifier(LogisticRegression(C=0.1, class_weight="balanced", **TIGHT)),
        "classes",
    ),
    "one-vs-rest, two classes": (OneVsRestClassifier(LogisticRegression(**TIGHT)), "binary"),
    "KernelRidge": (KernelRidge(kernel="rbf", gamma=0.05, alpha=0.3), "numbers"),
    "GaussianProcessRegressor": (
        GaussianProcessRegressor(
            ConstantKernel(2000) * RBF(3) + WhiteKernel(50), optimizer=None, alpha=1
        ),
        "numbers",
    ),
    "GaussianProcessClassifier": (
        GaussianProcessClassifier(4 * RBF(3), optimizer=None),
        "binary",
    ),
    "GaussianProcessClassifier, classes": (
        GaussianProcessClassifier(4 * RBF(3), optimizer=None),
        "classes",
    ),
}
WEIGHTED = [name for name in CASES if not name.startswith(("Gaussian", "one-vs-rest"))]


def train(model, X, y, weights, rows):
    kwargs = {} if weights is None else {"sample_weight": weights[rows]}
    return clone(model).fit(X[rows], y[rows], **kwargs)


def latent(process, X):
    gradient = process.y_train_ - process.pi_
    return process.kernel_(X, process.X_train_) @ gradient


def outputs(model, X):
    """Numbers (n, n_outputs) in which margins are written."""
    if isinstance(model, GaussianProcessClassifier):
        inner = model.base_estimator_
        return np.stack([latent(p, X) for p in getattr(inner, "estimators_", [inner])], 1)
    if isinstance(model, OneVsRestClassifier):
        found = [one.decision_function(X) for one in model.estimators_]
        return np.stack(found, 1)
    found = model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)
    return found.reshape(len(X), -1)


def margins(model, X, y):
    found = outputs(model, X)
    if not hasattr(model, "classes_"):
        return found[:, 0]
    if found.shape[1] == 1:
        return np.where(y == model.classes_[1], found[:, 0], -found[:, 0])
    if isinstance(model, OneVsRestClassifier):  # their probabilities are scaled to sum to 1
        found = log_expit(found)
        most = logsumexp
    else:
        most = np.max
    return np.array(
        [row[label] - most(np.delete(row, label)) for row, label in zip(found, y, strict=True)]
    )


@pytest.mark.parametrize(
    ("name", "weights"),
    [(name, None) for name in CASES if "balanced" not in name]
    + thorough(*((name, None) for name in CASES if "balanced" in name))
    + thorough(*((name, WEIGHTS) for name in WEIGHTED)),
    ids=lambda value: "weighted" if isinstance(value, np.ndarray) else str(value or ""),
)
def test_training_again(name, weights):
    model, data = CASES[name]
    Xq, yq, X, y = DATA[data]
    everything = np.arange(N_TRAIN)
    fitted = train(model, X, y, weights, everything)
    attributor = InfluenceAttributor(fitted).fit(X, y, sample_weight=weights)
    scores = attributor.attribute(Xq, yq)
    before = margins(fitted, Xq, yq)
    some = everything[::3]
    truth = [
        before - margins(train(model, X, y, weights, np.delete(everything, row)), Xq, yq)
        for row in some
    ]
    truth = np.stack(truth, 1)
    assert np.polyfit(scores[:, some].ravel(), truth.ravel(), 1)[0] == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(scores[:, some], truth, atol=0.1 * abs(truth).max())
    exp = attributor.explain(Xq[:2], yq[:2], k=10)
    without = train(model, X, y, weights, np.setdiff1d(everything, exp.indices[0]))
    fall = before - margins(without, Xq, yq)
    assert exp.scores[0].sum() == pytest.approx(fall[0], rel=1e-3)
    found = attributor.predict_without(Xq, exp.indices[0])
    if isinstance(model, OneVsRestClassifier):
        np.testing.assert_allclose(found, without.predict_proba(Xq), atol=1e-5)
    else:
        expected = outputs(without, Xq)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "same", "data"),
    [
        (
            SGDClassifier("log_loss", alpha=0.1, **SGD),
            LogisticRegression(C=10 / 80, **TIGHT),
            "binary",
        ),
        (SGDRegressor(alpha=0.1, **SGD | {"eta0": 0.005}), Ridge(8.0), "numbers"),
    ],
    ids=["classifier", "regressor"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gradient_descent_is_taken_at_its_minimum(model, same, data):
    """At the same minimum as batch solvers; the mean of the losses changes the penalty too."""
    Xq, _, X, y = DATA[data]
    attributor = InfluenceAttributor(model.fit(X, y)).fit(X, y)
    batch = InfluenceAttributor(same.fit(X, y)).fit(X, y)
    found = attributor.predict_without(Xq, [])
    np.testing.assert_allclose(found, batch.predict_without(Xq, []), rtol=1e-6)
    rows = np.arange(0, 40, 2)
    strength = 0.1 * (N_TRAIN - len(rows))
    again = same.set_params(C=1 / strength) if data == "binary" else same.set_params(alpha=strength)
    again.fit(np.delete(X, rows, 0), np.delete(y, rows))
    expected = again.predict_proba(Xq) if data == "binary" else again.predict(Xq)
    np.testing.assert_allclose(attributor.predict_without(Xq, rows), expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gradient_descent_against_the_rest():
    Xq, yq, X, y = DATA["classes"]
    for loss in ("log_loss", "squared_hinge", "modified_huber", "squared_error"):
        model = SGDClassifier(loss, alpha=0.1, class_weight="balanced", random_state=0).fit(X, y)
        with pytest.warns(match="not at the minimum"):
            attributor = InfluenceAttributor(model).fit(X, y)
        scores = attributor.attribute(Xq, yq)
        assert scores.shape == (N_QUERIES, N_TRAIN)
        without = attributor.predict_without(Xq, [3])
        before = attributor.predict_without(Xq, [])
        if loss != "log_loss":
            lead = [
                out[np.arange(N_QUERIES), yq]
                - np.where(np.arange(3) == yq[:, None], -np.inf, out).max(1)
                for out in (before, without)
            ]
            np.testing.assert_allclose(scores[:, 3], lead[0] - lead[1], rtol=0.1, atol=1e-3)


REFUSED = {
    "hinge": (LinearSVC(loss="hinge"), "binary", "squared_hinge"),
    "Crammer and Singer": (LinearSVC(multi_class="crammer_singer"), "classes", "ovr"),
    "kinks": (LinearSVR(max_iter=10**5), "numbers", "squared_epsilon_insensitive"),
    "support vectors": (SVC(), "binary", r"kinks.*LinearSVC"),
    "support vectors of a regression": (SVR(), "numbers", r"kinks.*KernelRidge"),
    "perceptron": (SGDClassifier("hinge"), "binary", "one of the losses"),
    "L1": (SGDClassifier("log_loss", penalty="l1"), "binary", "penalty"),
    "pairs": (
        GaussianProcessClassifier(optimizer=None, multi_class="one_vs_one"),
        "classes",
        "one_vs_rest",
    ),
    "noise of a classifier": (
        GaussianProcessClassifier(RBF(3) + WhiteKernel(1), optimizer=None),
        "binary",
        "no noise",
    ),
    "indefinite": (KernelRidge(kernel="sigmoid", gamma=0.5, coef0=-1), "numbers", "semidefinite"),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix in solving dual problem")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    model, data, message = REFUSED[name]
    _, _, X, y = DATA[data]
    with pytest.raises(ValueError, match=message):
        InfluenceAttributor(model).fit(X, y)


_, _, XB, YB = DATA["binary"]
_, _, XC, YC = DATA["classes"]
_, _, XN, YN = DATA["numbers"]
TWO = np.stack([YN, YN], 1)
# Since 1.8 the attributes of old are asked for.
LEGACY = {
    name: True for name in LogisticRegressionCV().get_params() if name == "use_legacy_attributes"
}
ONE_HOT = np.eye(3, dtype=int)[YC]
WITHOUT_REFIT = LogisticRegressionCV(Cs=[0.1, 0.01], scoring="accuracy", refit=False, **L2_CV)
# What it is fitted on, what the attributor is given, error and message.
REFUSED_WHEN_FITTED = {
    "kernels of two targets": (KernelRidge(), (XN, TWO), (XN, YN), ValueError, "on one target"),
    "precomputed kernels": (
        KernelRidge(kernel="precomputed"),
        (XN @ XN.T, YN),
        (XN @ XN.T, YN),
        ValueError,
        'kernel must not be "precomputed"',
    ),
    "processes of two targets": (
        GaussianProcessRegressor(optimizer=None),
        (XN, TWO),
        (XN, YN),
        ValueError,
        "GaussianProcessRegressor must be fitted on one target",
    ),
    "weights of a process": (
        GaussianProcessRegressor(optimizer=None),
        (XN, YN),
        (XN, YN, None, WEIGHTS),
        ValueError,
        "sample_weight must be None, because GaussianProcessRegressor has no such weights",
    ),
    "averages over folds": (WITHOUT_REFIT, (XB, YB), (XB, YB), ValueError, "refit=True"),
    "several labels": (
        RidgeClassifier(),
        (XC, ONE_HOT),
        (XC, YC),
        TypeError,
        "RidgeClassifier was fitted on multilabel targets",
    ),
    "several labels against the rest": (
        OneVsRestClassifier(LogisticRegression(C=0.01)),
        (XC, ONE_HOT),
        (XC, YC),
        TypeError,
        "OneVsRestClassifier was fitted on multilabel targets",
    ),
    "bounded coefficients": (
        RidgeClassifier(positive=True),
        (XB, YB),
        (XB, YB),
        ValueError,
        "positive must be False",
    ),
    "a penalty for each class": (
        RidgeClassifier(alpha=np.array([1.0, 2.0, 3.0])),
        (XC, YC),
        (XC, YC),
        ValueError,
        "alpha must be one number; got 3",
    ),
    "a sampler before": (
        make_resampling(RandomUnderSampler(), LogisticRegression()),
        (XB, YB),
        (XB, YB),
        TypeError,
        r"RandomUnderSampler chooses or makes the rows.*Resample first",
    ),
}


@pytest.mark.parametrize("name", REFUSED_WHEN_FITTED)
def test_what_is_refused_of_fitted_estimators(name):
    model, fitted_on, given, error, message = REFUSED_WHEN_FITTED[name]
    model.fit(*fitted_on)
    with pytest.raises(error, match=message):
        InfluenceAttributor(model).fit(*given)


def test_what_only_older_versions_fit_is_refused():
    """Estimators that were pickled with an older scikit-learn, or whose parameters changed."""
    model = LogisticRegression(C=0.1).fit(XC, YC)
    model.multi_class = "ovr"
    with pytest.raises(ValueError, match=r"multi_class must be .* OneVsRestClassifier"):
        InfluenceAttributor(model).fit(XC, YC)
    model = LogisticRegression(C=0.1).fit(XC, YC).set_params(solver="liblinear")
    with pytest.raises(ValueError, match=r"multi_class must be .* OneVsRestClassifier"):
        InfluenceAttributor(model).fit(XC, YC)
    model = LogisticRegressionCV(Cs=[0.1], scoring="accuracy", **L2_CV).fit(XC, YC)
    model.C_ = np.array([0.1, 1.0, 0.1])
    with pytest.raises(ValueError, match=r"must have one C for all classes; got \[0.1 1. \]"):
        InfluenceAttributor(model).fit(XC, YC)


@pytest.mark.parametrize("attributor", [InfluenceAttributor, EnsembleAttributor])
def test_a_pipeline_needs_a_last_estimator(attributor):
    model = make_pipeline(StandardScaler(), "passthrough")
    with pytest.raises(TypeError, match="estimator must"):
        attributor(model).fit(XB, YB)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Inconsistent values.*penalty")
@pytest.mark.filterwarnings("ignore:Setting penalty=None will ignore")
@pytest.mark.parametrize(("penalty", "same"), [("l1", L1), ("l2", {}), (None, {"C": np.inf})])
def test_names_of_penalties(penalty, same):
    """scikit-learn 1.8 deprecated ``penalty``."""
    X = XB[:, :3]
    solver = "liblinear" if penalty else "lbfgs"
    options = {"C": 0.3, "solver": solver, "tol": 1e-9}
    found = InfluenceAttributor(LogisticRegression(penalty=penalty, **options)).fit(X, YB)
    expected = InfluenceAttributor(LogisticRegression(**options | same)).fit(X, YB)
    np.testing.assert_allclose(found.attribute(X[:5]), expected.attribute(X[:5]), atol=1e-6)
    chosen = LogisticRegressionCV(
        Cs=[0.3],
        penalty=penalty or "l2",
        l1_ratios=None,
        solver=solver,
        tol=1e-9,
        scoring="accuracy",
        **LEGACY,
    )
    chosen = InfluenceAttributor(chosen).fit(X, YB)
    if penalty:
        np.testing.assert_allclose(chosen.attribute(X[:5]), found.attribute(X[:5]), atol=1e-6)


def test_an_intercept_that_an_l1_penalty_holds_at_0():
    """liblinear penalises the intercept as it does coefficients."""
    rows = np.argsort(YB, kind="stable")
    half = min(YB.sum(), len(YB) - YB.sum())
    rows = np.r_[rows[:half], rows[-half:]]
    X, y = XB[rows, :4] - XB[rows, :4].mean(0), YB[rows]
    model = LogisticRegression(**L1, solver="liblinear", C=0.2, tol=1e-8).fit(X, y)
    assert model.intercept_[0] == 0
    attributor = InfluenceAttributor(model).fit(X, y)
    np.testing.assert_allclose(attributor.predict_without(X, []), model.predict_proba(X), atol=1e-5)
    gone = [0, len(X) - 1]  # one of each class
    again = clone(model).fit(np.delete(X, gone, 0), np.delete(y, gone))
    np.testing.assert_array_equal(np.sign(again.coef_), np.sign(model.coef_))
    assert again.intercept_[0] == 0
    found = attributor.predict_without(X[:6], gone)
    np.testing.assert_allclose(found, again.predict_proba(X[:6]), atol=1e-5)


def test_rows_are_read_in_every_form():
    Xq, yq, X, y = DATA["binary"]
    model = LogisticRegression(C=0.1, **TIGHT).fit(X, y)
    attributor = InfluenceAttributor(model).fit(X, y)
    expected = attributor.attribute(Xq, yq)
    np.testing.assert_array_equal(attributor.attribute(torch.tensor(Xq), yq), expected)
    alone = InfluenceAttributor(make_pipeline(model)).fit(X, y)
    np.testing.assert_array_equal(alone.attribute(Xq, yq), expected)
    assert alone.assumptions_ == attributor.assumptions_
    sparse = InfluenceAttributor(model.sparsify()).fit(X, y)
    np.testing.assert_allclose(sparse.attribute(Xq, yq), expected, rtol=1e-10)


def test_weights_reach_the_last_step_of_a_pipeline():
    Xq, _, X, y = DATA["numbers"]
    model = make_pipeline(StandardScaler(), Ridge(2.0))
    found = InfluenceAttributor(model).fit(X, y, sample_weight=WEIGHTS).attribute(Xq)
    model.fit(X, y, ridge__sample_weight=WEIGHTS)
    fitted = InfluenceAttributor(model, prefit=True).fit(X, y, sample_weight=WEIGHTS)
    np.testing.assert_allclose(found, fitted.attribute(Xq), rtol=1e-8)


def test_fit_says_what_does_not_fit_the_memory(monkeypatch):
    """Before a kernel is computed, and before a Hessian is formed."""
    needed = 5 * 8 * 80**2
    InfluenceAttributor(KernelRidge(), memory_limit=needed).fit(XN, YN)
    needed_of_columns = 8 * (2 * 11**2 + 8 * 80)
    InfluenceAttributor(Ridge(), memory_limit=needed_of_columns).fit(XN, YN)

    def refused(*arguments):
        raise AssertionError("something was computed")

    kernel = KernelRidge().fit(XN, YN)
    monkeypatch.setattr(KernelRidge, "_get_kernel", refused)
    monkeypatch.setattr(_newton, "gram", refused)
    with pytest.raises(MemoryError, match="matrices of all pairs of 80 rows, of which 5 take"):
        InfluenceAttributor(kernel, memory_limit=needed - 1).fit(XN, YN)
    with pytest.raises(MemoryError, match=r"Hessian of 11 parameters.*memory_limit.*PCA"):
        InfluenceAttributor(Ridge(), memory_limit=needed_of_columns - 1).fit(XN, YN)


class TestRowsThatCannotGo:
    """Rows without which the minimum is not unique: one alone has the last column."""

    X = np.c_[XN[:12, :2], np.eye(12)[:, 4]]
    y = YN[:12]
    queries = np.ones((2, 3))

    @pytest.fixture
    def attributor(self):
        return InfluenceAttributor(LinearRegression()).fit(self.X, self.y)

    def test_they_have_no_score(self, attributor):
        with pytest.warns(UserWarning, match=r"without one of 1 rows, row 4 among them"):
            scores = attributor.attribute(self.queries)
        np.testing.assert_array_equal(np.isnan(scores), np.tile(np.arange(12) == 4, (2, 1)))
        model = attributor.estimator_
        again = clone(model).fit(np.delete(self.X, 3, 0), np.delete(self.y, 3))
        drop = model.predict(self.queries) - again.predict(self.queries)
        np.testing.assert_allclose(scores[:, 3], drop, rtol=1e-6)

    @pytest.mark.parametrize("selection", ["greedy", "additive"])
    def test_they_are_not_picked(self, selection):
        attributor = InfluenceAttributor(LinearRegression(), selection=selection)
        attributor.fit(self.X, self.y)
        with pytest.warns(UserWarning, match="rows that can be removed"):
            exp = attributor.explain(self.queries, k=12)
        # Four parameters are determined by four rows, of which one has the last column.
        assert ((exp.indices >= 0).sum(1) == 8).all()
        assert not (exp.indices == 4).any()

    def test_predictions_without_them_are_refused(self, attributor):
        with pytest.raises(ValueError, match="exactly one minimum without these 2 rows"):
            attributor.predict_without(self.queries, [4, 5])

    def test_no_set_of_others_is_enough(self, attributor):
        below = attributor.predict(self.queries).min() - 1e6
        sets = attributor.flipping_set(self.queries, max_rows=12, threshold=below)
        np.testing.assert_array_equal(sets.sizes, 0)
        np.testing.assert_allclose(sets.margins[:, 0], attributor.predict(self.queries))


def test_all_rows_may_be_picked():
    """A penalty on all parameters determines them without any row: all are zero then."""
    X, y = XN[:6, :2], YN[:6]
    model = Ridge(1.0, fit_intercept=False).fit(X, y)
    exp = InfluenceAttributor(model).fit(X, y).explain(X[:2], k=6)
    np.testing.assert_array_equal(np.sort(exp.indices, axis=1), np.tile(np.arange(6), (2, 1)))
    np.testing.assert_allclose(exp.scores.sum(1), model.predict(X[:2]))


def test_additive_picks_are_those_that_move_most_alone():
    X, y = XB[:, :3], YB
    Xq, yq = X[:2], y[:2]
    model = LogisticRegression(C=0.1, **TIGHT).fit(X, y)
    attributor = InfluenceAttributor(model, selection="additive", n_steps=1).fit(X, y)
    exp = attributor.explain(Xq, yq, k=4)
    alone = attributor.attribute(Xq, yq)
    np.testing.assert_array_equal(exp.indices, np.argsort(-alone, axis=1, kind="stable")[:, :4])
    for query, rows in enumerate(exp.indices):
        without = clone(model).fit(np.delete(X, rows, 0), np.delete(y, rows))
        fall = margins(model, Xq, yq) - margins(without, Xq, yq)
        assert exp.scores[query].sum() == pytest.approx(fall[query], rel=1e-4)


def test_names_of_rows_are_those_given_to_fit():
    Xq, _, X, y = DATA["numbers"]
    names = np.array([f"patient {row}" for row in range(N_TRAIN)])
    attributor = InfluenceAttributor(Ridge()).fit(X, y, sample_id=names)
    exp = attributor.explain(Xq, k=2)
    np.testing.assert_array_equal(exp.sample_id, names[exp.indices])
    np.testing.assert_array_equal(attributor.explain(k=1).query_id, names)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        attributor.fit(X, y, sample_id=names[:-1])


def test_sets_of_decision_values():
    """Without probabilities a prediction changes where the decision value changes its sign."""
    X, y = XB[:, :4], YB
    model = RidgeClassifier().fit(X, y)
    attributor = InfluenceAttributor(model).fit(X, y)
    doubtful = X[np.argsort(abs(model.decision_function(X)))[:2]]
    sets = attributor.flipping_set(doubtful)
    assert sets.sizes.all()
    for query, size in enumerate(sets.sizes):
        rows = sets.indices[query, :size]
        for gone, changes in ((rows, True), (rows[:-1], False)):
            again = clone(model).fit(np.delete(X, gone, 0), np.delete(y, gone))
            changed = again.predict(doubtful) != model.predict(doubtful)
            assert changed[query] == changes


# scikit-learn before 1.8 says so wherever no penalty is L1; that of Ridge is the same minimum.
@pytest.mark.filterwarnings("ignore:Objective did not converge")
def test_penalties_may_be_none():
    """Of L1, and of a descent by gradients."""
    X, y = XN[:, :3], YN
    net = ElasticNet(alpha=0.1, l1_ratio=0.0, tol=1e-10, max_iter=10**5).fit(X, y)
    found = InfluenceAttributor(net).fit(X, y)
    assert not found.assumptions_
    ridge = InfluenceAttributor(Ridge(0.1 * len(y))).fit(X, y)
    np.testing.assert_allclose(found.predict_without(X, []), ridge.predict_without(X, []))
    free = SGDRegressor(penalty=None, **SGD | {"eta0": 0.005}).fit(X, y)
    plain = InfluenceAttributor(LinearRegression()).fit(X, y)
    np.testing.assert_allclose(
        InfluenceAttributor(free).fit(X, y).attribute(X[:4]), plain.attribute(X[:4]), rtol=1e-4
    )
