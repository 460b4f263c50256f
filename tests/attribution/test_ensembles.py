"""Ensembles are explained through their parts, as if these were trained without the row."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RANSACRegressor, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import EnsembleAttributor, ForestAttributor

X, Y = (part[:60] for part in load_diabetes(return_X_y=True))
X = X * 20
QUERIES = X[::20] + 0.1
IRIS, LABELS = (part[::3] for part in load_iris(return_X_y=True))
NAMES = load_iris().target_names[LABELS]
IRIS_QUERIES = IRIS[::13] + 0.05
BINARY, SIDES = IRIS[LABELS > 0], NAMES[LABELS > 0]
LOGISTIC = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000)
KEPT = np.arange(0, 60, 17)  # rows that are left out one at a time


def voting_regressor(**params):
    parts = [("a", Ridge(0.5)), ("b", LinearRegression()), ("c", Ridge(20))]
    return VotingRegressor(parts, **params)


def without_each(fit, n_rows, predict):
    """Predictions (n_rows, n_queries, ...) of models that were fitted without a row each."""
    return np.stack([predict(fit(np.delete(np.arange(n_rows), row))) for row in range(n_rows)])


@pytest.mark.parametrize("weights", [None, [1, 2, 0.5]])
def test_voting_falls_as_training_again_says(weights):
    model = voting_regressor(weights=weights).fit(X, Y)
    falls = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    again = without_each(
        lambda rows: clone(model).fit(X[rows], Y[rows]), len(X), lambda m: m.predict(QUERIES)
    )
    np.testing.assert_allclose(falls, model.predict(QUERIES)[:, None] - again.T, atol=1e-8)


def test_the_fall_of_a_mean_is_the_mean_of_the_falls():
    model = voting_regressor().fit(X, Y)
    found = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    parts = [InfluenceAttributor(m).fit(X, Y).attribute(QUERIES) for m in model.estimators_]
    np.testing.assert_allclose(found, np.mean(parts, 0), rtol=1e-12, atol=1e-12)


def test_soft_votes_fall_as_training_again_says():
    parts = [("a", LOGISTIC), ("b", clone(LOGISTIC).set_params(C=0.05))]
    model = VotingClassifier(parts, voting="soft", weights=[2, 1]).fit(IRIS, NAMES)
    attributor = EnsembleAttributor(model, candidates="all").fit(IRIS, NAMES)
    falls = attributor.attribute(IRIS_QUERIES)
    again = without_each(
        lambda rows: clone(model).fit(IRIS[rows], NAMES[rows]),
        len(IRIS),
        lambda m: m.predict_proba(IRIS_QUERIES),
    )
    p = model.predict_proba(IRIS_QUERIES)
    expected = (p - again)[:, np.arange(len(p)), p.argmax(1)].T
    np.testing.assert_allclose(falls, expected, atol=3e-3 * np.abs(expected).max())
    np.testing.assert_allclose(attributor.outputs_without_each(IRIS_QUERIES), again, atol=1e-4)
    assert attributor.explain(IRIS_QUERIES, k=2).score_name == "drop of the probability"


@pytest.mark.parametrize("columns", [1.0, 0.5])
@pytest.mark.parametrize("bootstrap", [True, False])
def test_bagging_falls_as_its_samples_without_the_row_say(bootstrap, columns):
    model = BaggingRegressor(
        Ridge(), 4, max_samples=0.7, max_features=columns, bootstrap=bootstrap, random_state=0
    ).fit(X, Y)
    falls = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    expected = np.zeros_like(falls)
    drawn = zip(
        model.estimators_, model.estimators_samples_, model.estimators_features_, strict=True
    )
    for part, sample, own in drawn:
        before = part.predict(QUERIES[:, own])
        for row in range(len(X)):
            rest = sample[sample != row]
            again = clone(part).fit(X[rest][:, own], Y[rest])
            expected[:, row] += (before - again.predict(QUERIES[:, own])) / 4
    np.testing.assert_allclose(falls, expected, atol=1e-8)


def test_bagged_classifiers_may_have_seen_some_classes_only():
    model = BaggingClassifier(
        make_pipeline(StandardScaler(), LOGISTIC), 6, max_samples=5, random_state=2
    ).fit(IRIS, NAMES)
    assert any(len(part.classes_) == 2 for part in model.estimators_)
    attributor = EnsembleAttributor(model, candidates="all").fit(IRIS, NAMES)
    np.testing.assert_allclose(
        attributor._decomposition.outputs(IRIS_QUERIES),
        model.predict_proba(IRIS_QUERIES),
        atol=1e-5,
    )


WEIGHTED = {
    "voting": VotingRegressor(
        [
            ("forest", RandomForestRegressor(5, random_state=0)),
            ("near", KNeighborsRegressor(4, weights="distance")),
            ("tree", DecisionTreeRegressor(min_samples_leaf=3, random_state=0)),
        ],
        weights=[1, 2, 3],
    ),
    "bagged trees": BaggingRegressor(
        DecisionTreeRegressor(min_samples_leaf=2), 6, max_features=0.5, random_state=0
    ),
    "bagged forests": BaggingRegressor(RandomForestRegressor(3), 3, random_state=0),
    "neighbors": KNeighborsRegressor(3),
    "bagged neighbors": BaggingRegressor(KNeighborsRegressor(3), 4, random_state=0),
    "bagged whole": BaggingRegressor(
        KNeighborsRegressor(3), 3, bootstrap=False, max_features=0.5, random_state=0
    ),
    "bagged pipelines": BaggingRegressor(
        make_pipeline(StandardScaler(), DecisionTreeRegressor(min_samples_leaf=2)),
        4,
        random_state=0,
    ),
    "stack": StackingRegressor([("a", Ridge())], KNeighborsRegressor(), cv=3),
    "own weights": KNeighborsRegressor(3, weights=lambda d: 1 / (1 + d)),
    "radius": RadiusNeighborsRegressor(60.0, weights="distance"),
    "pipeline": make_pipeline(
        StandardScaler(),
        VotingRegressor([("a", KNeighborsRegressor()), ("b", ExtraTreesRegressor(3))]),
    ),
    "search": GridSearchCV(KNeighborsRegressor(), {"n_neighbors": [2, 4]}),
    "nested": VotingRegressor(
        [("a", BaggingRegressor(n_estimators=3, random_state=0)), ("b", KNeighborsRegressor())]
    ),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_times_targets_are_the_prediction(name):
    model = clone(WEIGHTED[name]).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    assert attributor.kind_ == "weights"
    weights = attributor.weights(QUERIES)
    np.testing.assert_allclose(weights @ Y, model.predict(QUERIES), rtol=1e-10)
    np.testing.assert_allclose(np.asarray(weights.sum(1)).ravel(), 1, rtol=1e-12)
    np.testing.assert_allclose(attributor.attribute(QUERIES), weights.toarray())


@pytest.mark.parametrize(
    "model",
    [
        KNeighborsClassifier(4, weights="distance"),
        RadiusNeighborsClassifier(1.5),
        BaggingClassifier(DecisionTreeClassifier(max_depth=2), 5, max_samples=0.3, random_state=0),
        VotingClassifier(
            [("a", RandomForestClassifier(4)), ("b", KNeighborsClassifier())], voting="soft"
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_weights_of_a_class_add_up_to_its_probability(model):
    model = clone(model).fit(IRIS, NAMES)
    weights = EnsembleAttributor(model).fit(IRIS, NAMES).weights(IRIS_QUERIES)
    found = weights @ (NAMES[:, None] == model.classes_)
    np.testing.assert_allclose(found, model.predict_proba(IRIS_QUERIES), atol=1e-12)


def test_a_vote_of_trees_is_a_forest():
    forest = RandomForestRegressor(
        4, bootstrap=False, max_features=3, min_samples_leaf=4, random_state=0
    ).fit(X, Y)
    vote = VotingRegressor([(str(i), tree) for i, tree in enumerate(forest.estimators_)]).fit(X, Y)
    expected = ForestAttributor(forest).fit(X, Y)
    for attributor in (EnsembleAttributor(vote), EnsembleAttributor(vote, kind="weights")):
        attributor.fit(X, Y)
        np.testing.assert_allclose(
            attributor.attribute(QUERIES), expected.attribute(QUERIES), atol=1e-12
        )
        found = attributor.explain(QUERIES, k=4)
        np.testing.assert_array_equal(found.indices, expected.explain(QUERIES, k=4).indices)


def test_a_forest_loses_rows_from_its_leaves():
    forest = RandomForestClassifier(6, max_depth=3, random_state=0).fit(IRIS, NAMES)
    vote = VotingClassifier([("forest", forest), ("other", LOGISTIC)], voting="soft")
    vote.fit(IRIS, NAMES)
    attributor = EnsembleAttributor(vote).fit(IRIS, NAMES)
    assert attributor.kind_ == "removal"
    assert "the structure of trees" in attributor.assumptions_
    without = attributor._decomposition.parts[0].outputs_without(IRIS_QUERIES)
    reference = ForestAttributor(vote.estimators_[0]).fit(IRIS, LABELS)
    for row in range(len(IRIS)):
        expected = reference.predict_without(IRIS_QUERIES, [row])
        np.testing.assert_allclose(without[row], expected, atol=1e-12)


def test_a_row_that_has_leaves_to_itself():
    """A tree whose leaf loses all its rows does not vote."""
    model = VotingRegressor([("a", RandomForestRegressor(3, random_state=0)), ("b", Ridge())])
    attributor = EnsembleAttributor(model.fit(X, Y)).fit(X, Y)
    forest = attributor._decomposition.parts[0]
    reference = ForestAttributor(model.estimators_[0]).fit(X, Y)
    without = forest.outputs_without(X[:6])
    for row in range(6):
        expected = reference.predict_without(X[:6], [row])
        np.testing.assert_allclose(without[row, :, 0], expected, rtol=1e-12)


def test_one_against_the_rest_of_forests_and_one_against_one():
    for model in (
        OneVsOneClassifier(LOGISTIC),
        OneVsOneClassifier(LinearSVC(tol=1e-10, max_iter=100000)),
    ):
        model = clone(model).fit(IRIS, NAMES)
        falls = EnsembleAttributor(model, candidates="all").fit(IRIS, NAMES).attribute(IRIS_QUERIES)
        before, labels = model.decision_function(IRIS_QUERIES), model.predict(IRIS_QUERIES)
        places = np.searchsorted(model.classes_, labels)

        def lead(decisions, places=places):
            own = np.take_along_axis(decisions, places[:, None], 1)[:, 0]
            others = decisions.copy()
            others[np.arange(len(places)), places] = -np.inf
            return own - others.max(1)

        for row in range(0, len(IRIS), 7):
            kept = np.delete(np.arange(len(IRIS)), row)
            again = clone(model).fit(IRIS[kept], NAMES[kept]).decision_function(IRIS_QUERIES)
            np.testing.assert_allclose(falls[:, row], lead(before) - lead(again), atol=2e-3)
    model = OneVsRestClassifier(RandomForestClassifier(4, random_state=0)).fit(IRIS, NAMES)
    attributor = EnsembleAttributor(model).fit(IRIS, NAMES)
    np.testing.assert_allclose(
        attributor._decomposition.outputs(IRIS_QUERIES), model.predict_proba(IRIS_QUERIES)
    )


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("labels", ["three", "two"])
def test_calibrated_classifiers(method, ensemble, labels):
    rows, names = (IRIS, NAMES) if labels == "three" else (BINARY, SIDES)
    queries = rows[::11] + 0.05
    model = CalibratedClassifierCV(LOGISTIC, method=method, ensemble=ensemble, cv=3)
    model.fit(rows, names)
    attributor = EnsembleAttributor(model, candidates="all").fit(rows, names)
    assert "the calibrators" in attributor.assumptions_
    found = attributor.outputs_without_each(queries)
    splits = list(StratifiedKFold(3).split(rows, names)) if ensemble else [(np.arange(len(rows)),)]
    for row in range(0, len(rows), 9):
        expected = 0
        for pair, (seen, *_) in zip(model.calibrated_classifiers_, splits, strict=True):
            kept = seen[seen != row]
            pair = type(pair)(
                clone(LOGISTIC).fit(rows[kept], names[kept]),
                pair.calibrators,
                classes=pair.classes,
                method=pair.method,
            )
            expected = expected + pair.predict_proba(queries) / len(splits)
        tolerance = 2e-4 if method == "sigmoid" else 2e-3  # which is steep
        np.testing.assert_allclose(found[row], expected, atol=tolerance)


def test_calibrated_forests_were_given_their_folds_alone():
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    model = CalibratedClassifierCV(forest, cv=3).fit(IRIS, NAMES)
    attributor = EnsembleAttributor(model).fit(IRIS, NAMES)
    splits = list(StratifiedKFold(3).split(IRIS, NAMES))
    for part, pair, (seen, left) in zip(
        attributor._decomposition.parts, model.calibrated_classifiers_, splits, strict=True
    ):
        without = part.outputs_without(IRIS_QUERIES)
        reference = ForestAttributor(pair.estimator).fit(IRIS[seen], NAMES[seen])
        for place in range(0, len(seen), 5):
            expected = reference.predict_without(IRIS_QUERIES, [place])
            np.testing.assert_allclose(without[seen[place]], expected, atol=1e-12)
        before = pair.estimator.predict_proba(IRIS_QUERIES)
        np.testing.assert_allclose(without[left[0]], before, atol=1e-12)


def test_one_against_one_of_trees_sees_two_classes_at_a_time():
    model = OneVsOneClassifier(DecisionTreeClassifier(max_depth=2, random_state=0))
    model.fit(IRIS, NAMES)
    found = EnsembleAttributor(model).fit(IRIS, NAMES).explain(IRIS_QUERIES, k=2)
    np.testing.assert_array_equal(found.query_labels, model.predict(IRIS_QUERIES))


def test_bagged_neighbors_explain_training_rows_out_of_bag():
    model = BaggingRegressor(
        KNeighborsRegressor(3), 8, max_samples=0.5, oob_score=True, random_state=0
    ).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    weights = attributor._decomposition.weights(X, own=np.arange(len(X)))
    out = np.asarray(weights.sum(1)).ravel() > 0
    np.testing.assert_allclose((weights @ Y)[out], model.oob_prediction_[out])


def test_transformed_targets_fall_in_their_units():
    model = TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp).fit(X, Y)
    falls = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    again = without_each(
        lambda rows: clone(model).fit(X[rows], Y[rows]), len(X), lambda m: m.predict(QUERIES)
    )
    np.testing.assert_allclose(falls, model.predict(QUERIES)[:, None] - again.T, rtol=1e-6)


def test_stacks_are_explained_by_their_final_estimator():
    parts = [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=2, random_state=0))]
    model = StackingRegressor(parts, Ridge(10.0), cv=KFold(4)).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    seen = np.stack([cross_val_predict(part, X, Y, cv=KFold(4)) for _, part in parts], 1)
    expected = InfluenceAttributor(model.final_estimator_).fit(seen, Y)
    np.testing.assert_allclose(
        attributor.attribute(QUERIES), expected.attribute(model.transform(QUERIES)), rtol=1e-8
    )
    assert "the predictions of the parts" in attributor.assumptions_[0]
    parts = [("a", LOGISTIC), ("b", DecisionTreeClassifier(max_depth=2, random_state=0))]
    stack = StackingClassifier(parts, LOGISTIC, passthrough=True).fit(IRIS, NAMES)
    found = EnsembleAttributor(stack).fit(IRIS, NAMES).explain(IRIS_QUERIES, k=3)
    assert (found.exemplar_labels == found.query_labels[:, None]).all()


def test_rows_that_were_left_aside_have_no_influence():
    model = RANSACRegressor(Ridge(), min_samples=20, random_state=0).fit(X, Y)
    falls = EnsembleAttributor(model).fit(X, Y).attribute(QUERIES)
    assert (~model.inlier_mask_).any()
    assert (falls[:, ~model.inlier_mask_] == 0).all()
    inner = model.estimator_
    kept = np.flatnonzero(model.inlier_mask_)
    expected = InfluenceAttributor(inner).fit(X[kept], Y[kept]).attribute(QUERIES)
    np.testing.assert_allclose(falls[:, kept], expected)


@pytest.mark.parametrize(
    "model",
    [
        FixedThresholdClassifier(LOGISTIC, threshold=0.8),
        TunedThresholdClassifierCV(LOGISTIC),
        SelfTrainingClassifier(LOGISTIC),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
def test_labels_are_those_of_the_whole(model):
    names = np.where(SIDES == "virginica", 1, 0)
    model = clone(model).fit(BINARY, names)
    queries = BINARY[::5]
    found = EnsembleAttributor(model).fit(BINARY, names).explain(queries, k=2)
    np.testing.assert_array_equal(found.query_labels, model.predict(queries))


CASES = {
    **{name: (model, X, Y) for name, model in WEIGHTED.items() if name != "own weights"},
    "falls": (voting_regressor(), X, Y),
    "one vs one": (OneVsOneClassifier(LOGISTIC), IRIS, NAMES),
    "calibrated": (CalibratedClassifierCV(LOGISTIC, cv=3), IRIS, NAMES),
    "frames": (
        make_pipeline(StandardScaler(), voting_regressor()),
        load_diabetes(as_frame=True).data[:60],
        Y,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.* queries have fewer than")
def test_explanations_of_queries_and_of_training_rows(name):
    model, rows, targets = CASES[name]
    model = clone(model).fit(rows, targets)
    attributor = EnsembleAttributor(model).fit(rows, targets)
    found = attributor.explain(rows[:4], k=3)
    scores = attributor.attribute(rows[:4])
    np.testing.assert_array_equal(found.query_labels, model.predict(rows[:4]))
    scores = -np.sort(-np.nan_to_num(scores, nan=-np.inf), 1)[:, :3]
    picked = found.indices >= 0
    np.testing.assert_allclose(found.scores[picked], scores[picked])
    among = attributor.explain(k=2)
    assert not (among.indices == np.arange(len(rows))[:, None]).any()
    again = pickle.loads(pickle.dumps(attributor))
    np.testing.assert_array_equal(again.explain(rows[:4], k=3).indices, found.indices)
    assert attributor.select(rows[:4], 5).shape == (5,)


def test_bagged_trees_explain_training_rows_out_of_bag():
    model = BaggingRegressor(n_estimators=10, oob_score=True, random_state=0).fit(X, Y)
    attributor = EnsembleAttributor(model).fit(X, Y)
    weights = attributor._decomposition.weights(X, own=np.arange(len(X)))
    out = np.asarray(weights.sum(1)).ravel() > 0
    np.testing.assert_allclose((weights @ Y)[out], model.oob_prediction_[out])


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (VotingClassifier([("a", LOGISTIC)]), ValueError, "voting='soft'; got voting='hard'"),
        (BaggingClassifier(LinearSVC()), ValueError, "must have predict_proba; .*LinearSVC"),
        (
            VotingClassifier([("a", LOGISTIC), ("b", KNeighborsClassifier())], voting="soft"),
            TypeError,
            "neighbors are not known without a row",
        ),
        (
            CalibratedClassifierCV(LOGISTIC, cv=StratifiedKFold(3, shuffle=True)),
            ValueError,
            "random_state that is an integer",
        ),
        (LOGISTIC, TypeError, "estimator must be VotingClassifier"),
    ],
)
def test_refusals_of_classifiers(model, error, message):
    model = clone(model).fit(IRIS, NAMES)
    with pytest.raises(error, match=message):
        EnsembleAttributor(model).fit(IRIS, NAMES)


def test_refusals_of_regressors():
    network = MLPRegressor(max_iter=5000, tol=10, random_state=0)
    model = VotingRegressor([("a", Ridge()), ("b", network)]).fit(X, Y)
    with pytest.raises(TypeError, match=r"parts of VotingRegressor must be .* got MLPRegressor"):
        EnsembleAttributor(model).fit(X, Y)
    with pytest.raises(ValueError, match='kind="weights" needs a mean of forests'):
        EnsembleAttributor(voting_regressor(), kind="weights").fit(X, Y)
    model = KNeighborsRegressor().fit(X, Y)
    with pytest.raises(ValueError, match="it was fitted on 60 rows, and got 30"):
        EnsembleAttributor(model).fit(X[::2], Y[::2])
    for rows, targets in ((X[::-1], Y), (X, Y[::-1])):
        with pytest.raises(ValueError, match="it keeps other rows or targets"):
            EnsembleAttributor(model).fit(rows, targets)
    with pytest.raises(AttributeError, match="not known without a row"):
        EnsembleAttributor(model).fit(X, Y).outputs_without_each(X)
