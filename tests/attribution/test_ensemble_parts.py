"""Parts of ensembles that were dropped, prepared, left out of a fit or have seen some rows only."""

import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline as make_resampling
from imblearn.under_sampling import RandomUnderSampler
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    KFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
)
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import EnsembleAttributor

X, Y = (part[:60] for part in load_diabetes(return_X_y=True))
X = X * 20
QUERIES = X[::20] + 0.1
IRIS, LABELS = (part[::3] for part in load_iris(return_X_y=True))
IRIS_QUERIES = IRIS[::13] + 0.05
BINARY, SIDES = IRIS[LABELS > 0], LABELS[LABELS > 0] - 1
LOGISTIC = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000)


def test_a_part_that_was_dropped_has_no_share():
    parts = [("a", Ridge(0.5)), ("b", LinearRegression()), ("c", Ridge(20))]
    model = VotingRegressor(parts, weights=[1, 2, 3]).set_params(b="drop").fit(X, Y)
    falls = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    first, last = (InfluenceAttributor(m).fit(X, Y).attribute(QUERIES) for m in model.estimators_)
    np.testing.assert_allclose(falls, (first + 3 * last) / 4, rtol=1e-8, atol=1e-12)


def test_steps_before_are_held_fixed_and_may_do_nothing():
    vote = VotingRegressor([("a", Ridge(0.5)), ("b", Ridge(20))])
    model = make_pipeline("passthrough", StandardScaler(), vote).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    assert "the steps before the last" in attributor.assumptions_
    scaler = model[1]
    inner = EnsembleAttributor(model[-1]).fit(scaler.transform(X), Y)
    np.testing.assert_allclose(
        attributor.attribute(QUERIES), inner.attribute(scaler.transform(QUERIES))
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_of_one_against_the_rest(n_classes):
    """Trees may give all classes to the rest."""
    kept = n_classes > LABELS
    model = OneVsRestClassifier(DecisionTreeClassifier(random_state=0))
    model.fit(IRIS[kept][:, :2], LABELS[kept])
    queries = IRIS[:, :2][::2] + np.array([0.3, -0.3])
    p = model.predict_proba(queries)
    assert n_classes == 2 or (p.sum(1) == 0).any()
    attributor = EnsembleAttributor(model).fit(IRIS[kept][:, :2], LABELS[kept])
    np.testing.assert_allclose(attributor._decomposition.outputs(queries), p)


def test_a_stack_of_classifiers_was_fitted_on_predictions_of_other_folds():
    parts = [("a", LOGISTIC), ("b", DecisionTreeClassifier(max_depth=2, random_state=0))]
    model = StackingClassifier(parts, LOGISTIC, cv=KFold(3, shuffle=True, random_state=1))
    model.fit(IRIS, LABELS)
    attributor = EnsembleAttributor(model, candidates="all").fit(IRIS, LABELS)
    seen = np.hstack(
        [cross_val_predict(m, IRIS, LABELS, cv=model.cv, method="predict_proba") for _, m in parts]
    )
    found = attributor.outputs_without_each(IRIS_QUERIES)
    for row in range(0, len(IRIS), 11):
        kept = np.delete(np.arange(len(IRIS)), row)
        again = clone(LOGISTIC).fit(seen[kept], LABELS[kept])
        expected = again.predict_proba(model.transform(IRIS_QUERIES))
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_a_stack_of_fitted_parts_was_fitted_on_their_predictions():
    parts = [("a", Ridge().fit(X[:30], Y[:30])), ("b", Ridge(50.0).fit(X[30:], Y[30:]))]
    model = StackingRegressor(parts, Ridge(10.0), cv="prefit").fit(X, Y)
    expected = InfluenceAttributor(model.final_estimator_).fit(model.transform(X), Y)
    np.testing.assert_allclose(
        EnsembleAttributor(model).fit(X, Y).attribute(QUERIES),
        expected.attribute(model.transform(QUERIES)),
    )


def test_folds_that_cannot_be_drawn_again_are_refused():
    model = StackingRegressor([("a", Ridge())], Ridge(), cv=KFold(3, shuffle=True)).fit(X, Y)
    with pytest.raises(ValueError, match="StackingRegressor must have a cv with a random_state"):
        EnsembleAttributor(model).fit(X, Y)


def test_rows_without_a_label_have_no_influence():
    labels = np.where(np.arange(len(SIDES)) % 4 == 1, -1, SIDES)
    model = SelfTrainingClassifier(LOGISTIC, threshold=0.95, max_iter=1).fit(BINARY, labels)
    unlabelled = model.labeled_iter_ < 0
    assert unlabelled.any()
    attributor = EnsembleAttributor(model, candidates="all").fit(BINARY, SIDES)
    falls = attributor.attribute(BINARY[::7])
    np.testing.assert_array_equal(falls[:, unlabelled], 0)
    assert (falls[:, ~unlabelled] != 0).all()


def test_a_threshold_of_an_estimator_of_some_rows_is_refused():
    model = TunedThresholdClassifierCV(LOGISTIC, cv=0.5, refit=False, random_state=0)
    model.fit(BINARY, SIDES)
    with pytest.raises(ValueError, match="must have refit=True"):
        EnsembleAttributor(model).fit(BINARY, SIDES)


def test_forests_have_weights_and_falls():
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    model = VotingClassifier([("a", forest)], voting="soft").fit(IRIS, LABELS)
    for kind in ("weights", "removal"):
        attributor = EnsembleAttributor(model, kind=kind, candidates="all").fit(IRIS, LABELS)
        assert attributor.kind_ == kind
    found = attributor.outputs_without_each(IRIS_QUERIES)
    p = model.predict_proba(IRIS_QUERIES)
    expected = (p - found)[:, np.arange(len(p)), p.argmax(1)].T
    np.testing.assert_allclose(attributor.attribute(IRIS_QUERIES), expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.* queries have fewer than")
def test_rows_without_weight_are_not_picked():
    attributor = EnsembleAttributor(KNeighborsRegressor(3).fit(X, Y)).fit(X, Y)
    found = attributor.explain(QUERIES, k=8)
    np.testing.assert_array_equal((found.indices >= 0).sum(1), 3)


def test_answers_do_not_depend_on_the_memory_limit():
    model = VotingRegressor([("a", Ridge(0.5)), ("b", Ridge(20))]).fit(X, Y)
    expected = EnsembleAttributor(model).fit(X, Y).attribute(X[:7])
    found = EnsembleAttributor(model, memory_limit=20_000).fit(X, Y)
    assert found._decomposition.queries_within(20_000) in (2, 3, 4)
    np.testing.assert_allclose(found.attribute(X[:7]), expected)


class Median(VotingRegressor):
    """Combines its parts otherwise."""

    def predict(self, X):
        return np.median(self.transform(X), 1) + 1


def test_parts_that_are_combined_otherwise_are_refused():
    model = Median([("a", Ridge(0.5)), ("b", Ridge(20))]).fit(X, Y)
    with pytest.raises(ValueError, match="must be those of its parts, combined as"):
        EnsembleAttributor(model).fit(X, Y)


def test_training_rows_are_explained_by_neighbors_other_than_themselves():
    """A sample may be all rows in another order."""
    rows, targets = X[:4], Y[:4]
    for seed in range(300):
        model = BaggingRegressor(KNeighborsRegressor(2), 1, random_state=seed).fit(rows, targets)
        order = model.estimators_samples_[0]
        if len(set(order)) == 4 and (order != np.argsort(order)).any():
            break
    attributor = EnsembleAttributor(model).fit(rows, targets)
    weights = attributor._decomposition.weights(rows, own=np.arange(4))
    for row in range(4):
        kept = np.delete(np.arange(4), row)
        again = KNeighborsRegressor(2).fit(rows[kept], targets[kept])
        np.testing.assert_allclose((weights @ targets)[row], again.predict(rows[[row]])[0])


def test_a_query_at_a_training_row_takes_its_target():
    model = KNeighborsRegressor(3, weights="distance").fit(X, Y)
    weights = EnsembleAttributor(model).fit(X, Y).weights(X[:5])
    np.testing.assert_array_equal(weights.toarray(), np.eye(60)[:5])


def test_inliers_are_explained_by_other_inliers():
    tree = DecisionTreeRegressor(min_samples_leaf=5, random_state=0)
    model = RANSACRegressor(tree, min_samples=30, random_state=0, residual_threshold=60).fit(X, Y)
    inliers = model.inlier_mask_
    assert not inliers.all()
    attributor = EnsembleAttributor(model, kind="weights").fit(X, Y)
    weights = attributor._decomposition.weights(X, own=np.arange(len(X))).toarray()
    assert not weights[:, ~inliers].any()
    leaves = model.estimator_.apply(X)
    for row in range(len(X)):
        others = inliers & (leaves == leaves[row]) & (np.arange(len(X)) != row)
        np.testing.assert_allclose(weights[row], others / others.sum())


def test_parts_with_more_columns_than_are_solved_for_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    rows, labels = csr_array(rng.normal(size=(30, 20))), np.arange(30) % 2
    parts = [(str(C), clone(LOGISTIC).set_params(C=C)) for C in (0.02, 0.05)]
    model = VotingClassifier(parts, voting="soft").fit(rows, labels)
    expected = EnsembleAttributor(model).fit(rows, labels).outputs_without_each(rows[:3])
    monkeypatch.setattr("sklearn_provenance.information._convex_problem.MOST_FORMED", 10)
    monkeypatch.setattr("sklearn_provenance.attribution.objectives._linear.MOST_FORMED", 10)
    attributor = EnsembleAttributor(model).fit(rows, labels)
    assert attributor._decomposition.parts[0].attributor._minima.implicit
    found = attributor.outputs_without_each(rows[:3])
    p = model.predict_proba(rows[:3])
    assert np.abs(expected - p).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=5e-4)  # one step


def test_probabilities_of_one_against_one():
    """Without decision values a duel is won where the probability is above one half."""
    model = OneVsOneClassifier(DecisionTreeClassifier(max_depth=2, random_state=0))
    model.fit(IRIS[:, :2], LABELS)
    queries = IRIS[:, :2][::2] + np.array([0.3, -0.3])
    attributor = EnsembleAttributor(model).fit(IRIS[:, :2], LABELS)
    np.testing.assert_allclose(
        attributor._decomposition.outputs(queries), model.decision_function(queries)
    )


def test_stacks_of_parts_that_cannot_be_fitted_again_are_refused():
    """Else the final estimator would be explained on predictions that it has not seen."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = X[:, 0] + rng.normal(size=40)
    forest = RandomForestRegressor(3)
    stack = StackingRegressor([("forest", forest)], final_estimator=Ridge()).fit(X, y)
    with pytest.raises(ValueError, match=r"'forest' predicts otherwise"):
        EnsembleAttributor(stack).fit(X, y)
    forest.set_params(random_state=0)
    stack = StackingRegressor([("forest", forest)], final_estimator=Ridge()).fit(X, y)
    assert np.isfinite(EnsembleAttributor(stack).fit(X, y).attribute(X[:2])).all()


@pytest.mark.parametrize("wrap", [make_pipeline, FrozenEstimator])
def test_what_only_wraps_an_ensemble_changes_nothing(wrap):
    vote = VotingRegressor([("a", Ridge(0.5)), ("b", Ridge(20))]).fit(X, Y)
    inner = EnsembleAttributor(vote).fit(X, Y)
    attributor = EnsembleAttributor(wrap(vote)).fit(X, Y)
    np.testing.assert_array_equal(attributor.attribute(QUERIES), inner.attribute(QUERIES))
    assert attributor.assumptions_ == inner.assumptions_


def test_the_fall_of_nested_votes_is_the_mean_of_their_falls():
    inner = VotingRegressor([("c", Ridge()), ("d", Ridge(20))])
    model = VotingRegressor([("a", inner), ("b", LinearRegression())]).fit(X, Y)
    first, second = model.estimators_
    falls = EnsembleAttributor(first).fit(X, Y).attribute(QUERIES)
    falls = (falls + InfluenceAttributor(second).fit(X, Y).attribute(QUERIES)) / 2
    found = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    np.testing.assert_allclose(found, falls, atol=1e-10)


def test_tensors_are_handed_to_bagged_parts():
    model = BaggingRegressor(Ridge(), 3, random_state=0).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    np.testing.assert_array_equal(
        attributor.attribute(torch.tensor(QUERIES)), attributor.attribute(QUERIES)
    )


def test_a_query_without_neighbors_has_no_weights():
    model = RadiusNeighborsClassifier(2.0, outlier_label=0).fit(IRIS, LABELS)
    attributor = EnsembleAttributor(model).fit(IRIS, LABELS)
    far = np.vstack([IRIS[:1] + 50, IRIS[:2]])
    weights = attributor.weights(far)
    np.testing.assert_array_equal(weights.sum(1).ravel(), [[0, 1, 1]])
    np.testing.assert_allclose(
        (weights @ np.eye(3)[LABELS])[1:], model.predict_proba(far)[1:], atol=1e-12
    )


@pytest.mark.parametrize(
    ("around", "n_classes"),
    [(OneVsRestClassifier, 2), (OneVsRestClassifier, 3), (FixedThresholdClassifier, 2)],
)
def test_decision_values_without_probabilities(around, n_classes):
    """The fall of the lead, as training again without the row gives it."""
    kept = n_classes > LABELS
    rows, labels = IRIS[kept], LABELS[kept]
    model = around(RidgeClassifier()).fit(rows, labels)
    attributor = EnsembleAttributor(model, candidates="all").fit(rows, labels)
    queries = rows[::9] + 0.05
    places = np.arange(len(queries)), model.predict(queries)

    def lead(model):
        decisions = model.decision_function(queries)
        if n_classes == 2:
            decisions = np.stack([-decisions, decisions], 1)
        others = decisions.copy()
        others[places] = -np.inf
        return decisions[places] - others.max(1)

    falls = attributor.attribute(queries)
    for row in range(0, len(rows), 8):
        again = clone(model).fit(np.delete(rows, row, 0), np.delete(labels, row))
        np.testing.assert_allclose(falls[:, row], lead(model) - lead(again), atol=1e-8)


def squares_too(y):
    return np.hstack([y.reshape(-1, 1), y.reshape(-1, 1) ** 2])


TWO_TARGETS = TransformedTargetRegressor(
    Ridge(), func=squares_too, inverse_func=lambda targets: targets[:, :1], check_inverse=False
)
ONCE = iter(list(KFold(3, shuffle=True, random_state=0).split(IRIS)))
UNLABELLED = np.where(np.arange(len(SIDES)) % 4 == 1, -1, SIDES)
HALF = slice(None, 10)
QUICK = LogisticRegression(C=0.01)
# Model, what it is fitted on, what the attributor is given, error and message.
REFUSED = {
    "samples of more rows": (
        BaggingRegressor(Ridge(), 3, random_state=0),
        (X, Y),
        (X[HALF], Y[HALF]),
        ValueError,
        r"rows that BaggingRegressor was fitted on; it drew row \d+, and got 10 rows",
    ),
    "inliers of more rows": (
        RANSACRegressor(Ridge(), min_samples=20, random_state=0),
        (X, Y),
        (X[HALF], Y[HALF]),
        ValueError,
        "RANSACRegressor was fitted on; it was fitted on 60 rows, and got 10",
    ),
    "labels of more rows": (
        SelfTrainingClassifier(QUICK),
        (BINARY, UNLABELLED),
        (BINARY[HALF], SIDES[HALF]),
        ValueError,
        f"SelfTrainingClassifier was fitted on; it was fitted on {len(SIDES)} rows, and got 10",
    ),
    "folds that are gone": (
        CalibratedClassifierCV(QUICK, cv=ONCE),
        (IRIS, LABELS),
        (IRIS, LABELS),
        ValueError,
        "it has 3 classifiers, and cv gave 0 folds now",
    ),
    "two transformed targets": (
        TWO_TARGETS,
        (X, Y),
        (X, Y),
        TypeError,
        "transformer of TransformedTargetRegressor must give one target; got 2",
    ),
    "regressors against the rest": (
        OneVsRestClassifier(Ridge()),
        (IRIS, LABELS),
        (IRIS, LABELS),
        TypeError,
        "must be made of classifiers; got Ridge, a regressor",
    ),
    "regressors of pairs": (
        OneVsOneClassifier(Ridge()),
        (IRIS, LABELS),
        (IRIS, LABELS),
        TypeError,
        "must be made of classifiers; got Ridge, a regressor",
    ),
    "kernels of pairs": (
        OneVsOneClassifier(SVC(kernel="precomputed")),
        (IRIS @ IRIS.T, LABELS),
        (IRIS @ IRIS.T, LABELS),
        ValueError,
        "OneVsOneClassifier must have an estimator that takes rows",
    ),
    "several labels against the rest": (
        OneVsRestClassifier(QUICK),
        (IRIS, np.eye(3, dtype=int)[LABELS]),
        (IRIS, LABELS),
        TypeError,
        "OneVsRestClassifier was fitted on multilabel targets",
    ),
    "several labels of neighbors": (
        KNeighborsClassifier(),
        (IRIS, np.stack([LABELS, LABELS], 1)),
        (IRIS, LABELS),
        TypeError,
        r"KNeighborsClassifier was fitted on several targets.*single_output",
    ),
    "several labels of a stack": (
        StackingClassifier([("a", KNeighborsClassifier())], KNeighborsClassifier()),
        (IRIS, np.eye(3, dtype=int)[LABELS]),
        (IRIS, LABELS),
        TypeError,
        "StackingClassifier was fitted on multilabel targets",
    ),
    "a stack without probabilities": (
        StackingClassifier([("a", QUICK)], LinearSVC()),
        (IRIS, LABELS),
        (IRIS, LABELS),
        ValueError,
        "must have predict_proba; LinearSVC has not",
    ),
    "networks that were bagged": (
        BaggingRegressor(MLPRegressor(max_iter=1000, tol=10.0), 2, random_state=0),
        (X, Y),
        (X, Y),
        TypeError,
        "parts of BaggingRegressor must be forests, .* got MLPRegressor",
    ),
    "probabilities that are no function of the objective": (
        VotingClassifier(
            [("a", SGDClassifier("modified_huber", alpha=1.0, random_state=0))], voting="soft"
        ),
        (BINARY, SIDES),
        (BINARY, SIDES),
        TypeError,
        "parts of VotingClassifier must be forests, .* got SGDClassifier",
    ),
    "bagged votes": (
        BaggingClassifier(SVC(), 2, random_state=0),
        (IRIS, LABELS),
        (IRIS, LABELS),
        ValueError,
        "those of this one .SVC. have not, so that it counts votes",
    ),
    "a sampler before": (
        make_resampling(RandomUnderSampler(), VotingClassifier([("a", QUICK)], voting="soft")),
        (IRIS, LABELS),
        (IRIS, LABELS),
        TypeError,
        r"RandomUnderSampler chooses or makes the rows.*Resample first",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:SGDClassifier is not at the minimum")
def test_what_is_refused(name):
    model, fitted_on, given, error, message = REFUSED[name]
    model.fit(*fitted_on)
    with pytest.raises(error, match=message):
        EnsembleAttributor(model).fit(*given)


def test_an_error_of_a_part_names_the_part():
    model = VotingRegressor([("a", Ridge()), ("b", Ridge(positive=True))]).fit(X, Y)
    with pytest.raises(ValueError, match="positive must be False") as caught:
        EnsembleAttributor(model).fit(X, Y)
    assert caught.value.__notes__ == ["This is Ridge, a part of VotingRegressor"]


def test_falls_are_no_weights():
    model = VotingRegressor([("a", Ridge())]).fit(X, Y)
    with pytest.raises(AttributeError, match="VotingRegressor are no weighted sums"):
        EnsembleAttributor(model).fit(X, Y).weights(X)
