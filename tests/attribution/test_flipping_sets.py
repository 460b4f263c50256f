"""Sets of rows that change predictions, and what training without them says."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import FlippingSets
from sklearn_provenance.attribution.estimators._certificate import random_sets
from sklearn_provenance.attribution.estimators._paths import attempts
from sklearn_provenance.retraining import Recipe, retrain

X, Y = load_breast_cancer(return_X_y=True)
X = scale(X)
MODEL = LogisticRegression(C=0.1, tol=1e-9).fit(X[:200], Y[:200])
DECISIONS = MODEL.decision_function(X[200:])
QUERIES = X[200:][np.argsort(abs(DECISIONS))[[0, 3, 6]]]
FAR = X[200:][np.argsort(abs(DECISIONS))[[-1]]]


@pytest.fixture(scope="module")
def attributor():
    return InfluenceAttributor(MODEL).fit(X[:200], Y[:200])


@pytest.fixture(scope="module")
def sets(attributor):
    return attributor.flipping_set(np.vstack([QUERIES, FAR]), max_rows=15)


def without(rows, model=MODEL, training=(X[:200], Y[:200])):
    return clone(model).fit(*(np.delete(part, rows, 0) for part in training))


def test_the_prediction_changes_with_the_last_row_of_a_set(sets):
    labels = MODEL.predict(QUERIES)
    for query, size in enumerate(sets.sizes[:3]):
        rows = sets.indices[query, :size]
        asked = QUERIES[query : query + 1]
        assert without(rows).predict(asked)[0] != labels[query]
        assert without(rows[:-1]).predict(asked)[0] == labels[query]


def test_margins_on_the_way_are_those_of_training_again(sets):
    signs = np.where(MODEL.predict(QUERIES) == 1, 1, -1)
    for query, size in enumerate(sets.sizes[:3]):
        for n_gone in range(size + 1):
            model = without(sets.indices[query, :n_gone])
            margin = signs[query] * model.decision_function(QUERIES[query : query + 1])[0]
            np.testing.assert_allclose(sets.margins[query, n_gone], margin, atol=1e-5)
        np.testing.assert_allclose(
            sets.scores[query, :size], -np.diff(sets.margins[query, : size + 1])
        )
        assert sets.predicted[query] == sets.margins[query, size] < 0


def test_no_set_is_padding(sets):
    assert (sets.indices[3] == -1).all()
    assert np.isnan(sets.predicted[3])
    assert sets.sizes[3] == 0
    assert sets.margins[3, 0] > 0


def test_sets_have_at_most_as_many_rows_as_they_may(attributor, sets):
    size = sets.sizes[2]
    assert size > 1
    for max_rows, found in ((size, size), (size - 1, 0)):
        again = attributor.flipping_set(QUERIES[[2]], max_rows=max_rows)
        np.testing.assert_array_equal(again.sizes, found)


@given(st.integers(1, 10**6))
def test_attempts_grow_to_the_most_rows(max_rows):
    sizes = list(attempts(max_rows))
    assert sizes[-1] == max_rows
    assert sizes == sorted(set(sizes))
    assert sum(sizes) < 4 * max_rows


def test_sets_are_sliced_by_query(sets):
    part = sets[[3, 1]]
    assert isinstance(part, FlippingSets)
    np.testing.assert_array_equal(part.sizes, sets.sizes[[3, 1]])
    np.testing.assert_array_equal(part.predicted, sets.predicted[[3, 1]])


def test_a_certificate_says_what_training_again_does(attributor, sets):
    result = attributor.certify(np.vstack([QUERIES, FAR]), sets, n_random=19)
    np.testing.assert_array_equal(result.queries, [0, 1, 2])
    np.testing.assert_allclose(result.realised, result.predicted, atol=1e-5)
    assert result.r2 > 0.99
    np.testing.assert_array_equal(result.flipped, 1)
    # None of 19 random sets moves the margin as far.
    np.testing.assert_allclose(result.p_value, 1 / 20)
    table = result.to_frame()
    assert list(table.columns) == [
        "query",
        "size",
        "before",
        "predicted",
        "realised",
        "flipped",
        "p_value",
    ]
    summary = result.summary()
    assert summary["n_sets"].item() == 3
    assert summary["significant"].item() == 1
    assert summary["r2_falls"].item() > 0.99
    assert "3 sets" in repr(result)
    assert "of their falls 1.000" in repr(result)


def test_few_random_sets_say_nothing_of_significance(attributor, sets):
    result = attributor.certify(np.vstack([QUERIES, FAR]), sets, n_random=9)
    np.testing.assert_allclose(result.p_value, 1 / 10)
    assert np.isnan(result.summary()["significant"].item())


def test_a_certificate_is_drawn(attributor, sets):
    pytest.importorskip("matplotlib")
    result = attributor.certify(np.vstack([QUERIES, FAR]), sets, n_random=0)
    assert np.isnan(result.p_value).all()
    display = result.plot()
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), result.realised)


def test_one_set_has_no_correlation(attributor, sets):
    result = attributor.certify(QUERIES[:1], sets[:1], n_random=0)
    assert np.isnan(result.r2)
    assert np.isnan(result.r2_falls)
    assert repr(result).startswith("Certificate of 1 set of ")
    assert "no R² of predicted and realised margins, which takes sets" in repr(result)
    np.testing.assert_array_equal(result.flipped, [1])


def test_random_rows_make_no_significant_set(attributor, sets):
    """Rows at random do no more than others at random."""
    rng = np.random.default_rng(0)
    fake = FlippingSets(
        [rng.choice(200, 6, replace=False) for _ in range(4)],
        np.full((4, 6), 0.1),
        margins=np.tile(np.linspace(0.5, -0.1, 7), (4, 1)),
        query_labels=sets.query_labels,
    )
    result = attributor.certify(np.vstack([QUERIES, FAR]), fake, n_random=9)
    assert result.p_value.mean() > 0.15


def test_random_sets_have_as_many_rows_of_each_class(sets):
    labels = Y[:200]
    drawn = random_sets(sets, labels, 200, 5, 0)
    assert [len(of_query) for of_query in drawn] == [5, 5, 5, 0]
    for rows, of_query in zip(sets.indices, drawn, strict=True):
        expected = np.bincount(labels[rows[rows >= 0]], minlength=2)
        for random in of_query:
            assert len(set(random)) == len(random)
            np.testing.assert_array_equal(np.bincount(labels[random], minlength=2), expected)


def test_what_is_frozen_is_trained_again(sets):
    frozen = InfluenceAttributor(FrozenEstimator(MODEL)).fit(X[:200], Y[:200])
    result = frozen.certify(np.vstack([QUERIES, FAR]), sets, n_random=0)
    np.testing.assert_allclose(result.realised, result.predicted, atol=1e-5)


def test_steps_before_the_model_are_fitted_again():
    Xi, Yi = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, tol=1e-8)).fit(Xi, Yi)
    attributor = InfluenceAttributor(model).fit(Xi, Yi)
    doubtful = np.argsort(np.diff(np.sort(model.predict_proba(Xi), 1)[:, 1:])[:, 0])[:3]
    sets = attributor.flipping_set(Xi[doubtful])
    assert (sets.sizes > 0).all()
    result = attributor.certify(Xi[doubtful], sets, n_random=0)
    for query, size in enumerate(sets.sizes):
        refitted = without(sets.indices[query, :size], model, (Xi, Yi))
        p = refitted.predict_proba(Xi[doubtful[query]][None])[0]
        own = p[sets.query_labels[query]]
        np.testing.assert_allclose(result.realised[query], np.log(own / (1 - own)), atol=1e-6)


class TestRegression:
    XR, YR = load_diabetes(return_X_y=True)

    def test_predictions_pass_the_threshold(self):
        model = Ridge(alpha=0.1).fit(self.XR[:150], self.YR[:150])
        attributor = InfluenceAttributor(model).fit(self.XR[:150], self.YR[:150])
        queries = self.XR[150:160]
        threshold = float(np.median(model.predict(queries)))
        sets = attributor.flipping_set(queries, threshold=threshold)
        found = np.flatnonzero(sets.sizes)
        assert len(found) > 1
        result = attributor.certify(queries, sets, n_random=3)
        np.testing.assert_allclose(result.realised, result.predicted, rtol=1e-9)
        np.testing.assert_array_equal(result.flipped, 1)
        before = sets.margins[found, 0] > threshold
        assert (before != (sets.predicted[found] > threshold)).all()
        assert before.any()
        assert not before.all()
        assert result.p_value.max() < 0.6  # whichever way predictions move

    def test_a_regressor_needs_a_threshold_and_a_classifier_has_none(self, attributor):
        regressor = InfluenceAttributor(Ridge()).fit(self.XR[:50], self.YR[:50])
        with pytest.raises(ValueError, match="threshold must be a number for a regressor"):
            regressor.flipping_set(self.XR[:1])
        with pytest.raises(ValueError, match="threshold must be None for a classifier"):
            attributor.flipping_set(QUERIES, threshold=1.0)


class TestNetworks:
    def test_prefixes_of_a_set_leave_the_predicted_class(self):
        Xi, Yi = load_iris(return_X_y=True)
        Xi = scale(Xi)
        model = MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=500, random_state=0)
        attributor = InfluenceAttributor(model).fit(Xi, Yi)
        p = np.sort(attributor.estimator_.predict_proba(Xi), 1)
        queries = Xi[np.argsort(p[:, -1] - p[:, -2])[:3]]
        labels = attributor.predict(queries)
        sets = attributor.flipping_set(queries, max_rows=30)
        assert sets.sizes.any()
        for query in np.flatnonzero(sets.sizes):
            rows = sets.indices[query, : sets.sizes[query]]
            after = attributor.predict_without(queries[[query]], rows).argmax(1)
            earlier = attributor.predict_without(queries[[query]], rows[:-1]).argmax(1)
            assert after != labels[query]
            assert earlier == labels[query]
        result = attributor.certify(queries, sets, n_random=2)
        assert np.isfinite(result.realised).all()

    def test_each_network_of_a_list_is_trained_again(self, tmp_path):
        Xi, Yi = load_iris(return_X_y=True)
        Xi = scale(Xi)
        models = [
            MLPClassifier((4,), solver="lbfgs", alpha=1.0, max_iter=500, random_state=seed)
            for seed in range(2)
        ]
        attributor = InfluenceAttributor(models).fit(Xi, Yi)
        p = np.sort(sum(model.predict_proba(Xi) for model in attributor.estimator_), 1)
        queries = Xi[np.argsort(p[:, -1] - p[:, -2])[:2]]
        sets = attributor.flipping_set(queries, max_rows=30)
        assert sets.sizes.any()
        labels = attributor.predict(queries)

        def margins(fitted, query):
            own = fitted.predict_proba(queries[[query]])[0, labels[query]]
            return np.log(own / (1 - own))

        for _ in range(2):  # the second time from the store
            result = attributor.certify(queries, sets, n_random=0, store=tmp_path)
            for number, query in enumerate(result.queries):
                rows = sets.indices[query, : sets.sizes[query]]
                refitted = [without(rows, model, (Xi, Yi)) for model in models]
                before = np.mean([margins(one, query) for one in attributor.estimator_])
                realised = np.mean([margins(one, query) for one in refitted])
                flips = [one.predict(queries[[query]])[0] != labels[query] for one in refitted]
                np.testing.assert_allclose(result.before[number], before, rtol=1e-5)
                np.testing.assert_allclose(result.realised[number], realised, rtol=1e-5)
                assert result.flipped[number] == np.mean(flips)
                np.testing.assert_allclose(sets.margins[query, 0], before, rtol=1e-5)

    def test_modules_of_a_list_are_trained_from_a_seed_each(self):
        Xi, Yi = load_iris(return_X_y=True)
        Xi, Yi = scale(Xi).astype(np.float32)[Yi > 0], Yi[Yi > 0] - 1
        recipe = Recipe(max_epochs=4, lr=0.1, batch_size=16)

        def make():
            return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))

        torch.manual_seed(0)
        attributor = InfluenceAttributor([make(), make()]).fit(Xi, Yi)
        label = attributor.predict(Xi[:1])
        fake = FlippingSets([[3, 8]], [[0.1, 0.1]], margins=[[0.1, 0, -0.1]], query_labels=label)
        options = {"model": make, "recipe": recipe, "n_random": 0, "device": "cpu"}
        result = attributor.certify(Xi[:1], fake, **options)
        again = attributor.certify(Xi[:1], fake, seeds=(0, 1), **options)
        np.testing.assert_array_equal(result.realised, again.realised)

    def test_modules_are_trained_by_a_recipe(self):
        Xi, Yi = load_iris(return_X_y=True)
        Xi, Yi = scale(Xi).astype(np.float32)[Yi > 0], Yi[Yi > 0] - 1
        torch.manual_seed(0)
        start = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
        recipe = Recipe(max_epochs=4, lr=0.1, batch_size=16)
        trained = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
        trained.load_state_dict(start.state_dict())
        optimiser = torch.optim.SGD(trained.parameters(), lr=0.1)
        for _ in range(60):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(trained(torch.tensor(Xi)), torch.tensor(Yi))
            loss.backward()
            optimiser.step()
        attributor = InfluenceAttributor(trained).fit(Xi, Yi)
        with torch.no_grad():
            gap = trained(torch.tensor(Xi)).diff(dim=1).abs()[:, 0]
        queries = Xi[gap.argsort()[:2]]
        sets = attributor.flipping_set(queries)
        assert sets.sizes.any()
        options = {"model": start, "recipe": recipe, "n_random": 2, "seeds": (0, 1)}
        result = attributor.certify(queries, sets, **options, device="cpu")
        query = result.queries[0]
        mask = np.ones((2, len(Xi)), dtype=bool)
        mask[:, sets.indices[query, : sets.sizes[query]]] = False
        direct = retrain(
            start,
            Xi,
            Yi,
            mask,
            X_eval=queries,
            y_eval=sets.query_labels,
            recipe=recipe,
            seeds=[0, 1],
            device="cpu",
        )
        np.testing.assert_allclose(result.realised[0], direct.margins()[:, query].mean(), rtol=1e-4)
        full = retrain(
            start,
            Xi,
            Yi,
            np.ones((2, len(Xi)), dtype=bool),
            X_eval=queries,
            y_eval=sets.query_labels,
            recipe=recipe,
            seeds=[0, 1],
            device="cpu",
        )
        np.testing.assert_allclose(result.before[0], full.margins()[:, query].mean(), rtol=1e-4)

    def test_outputs_of_a_regressor_pass_the_threshold(self):
        Xr, Yr = load_diabetes(return_X_y=True)
        Xr, Yr = scale(Xr)[:80], scale(Yr)[:80]
        model = MLPRegressor(
            hidden_layer_sizes=(4,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0
        )
        attributor = InfluenceAttributor(model).fit(Xr, Yr)
        outputs = attributor.predict(Xr)
        threshold = float(np.median(outputs))
        queries = Xr[np.argsort(np.abs(outputs - threshold))[:4]]
        before = attributor.predict(queries) > threshold
        assert before.any()
        assert not before.all()
        sets = attributor.flipping_set(queries, max_rows=30, threshold=threshold)
        assert (sets.sizes > 0).all()
        for query, size in enumerate(sets.sizes):
            rows = sets.indices[query, :size]
            after = attributor.predict_without(queries[[query]], rows)[0]
            earlier = attributor.predict_without(queries[[query]], rows[:-1])[0]
            assert (after > threshold) != before[query]
            assert (earlier > threshold) == before[query]

    def test_a_module_needs_its_weights_before_training(self):
        Xi, Yi = load_iris(return_X_y=True)
        Xi = Xi.astype(np.float32)
        attributor = InfluenceAttributor(nn.Linear(4, 3)).fit(Xi, Yi)
        sets = attributor.flipping_set(Xi[:2])
        with pytest.raises(ValueError, match="weights before training"):
            attributor.certify(Xi[:2], sets)


def test_predictions_that_change_with_all_rows_are_told(attributor, sets):
    every = np.vstack([QUERIES, FAR])
    assert "so do" not in repr(attributor.certify(every, sets, n_random=0))
    margins = [[0.1, 0, -0.1]]
    labels = 1 - MODEL.predict(QUERIES[:1])
    other = FlippingSets([[3, 8]], [[0.1, 0.1]], margins=margins, query_labels=labels)
    text = repr(attributor.certify(QUERIES[:1], other, n_random=0))
    assert "so do 100 % of those with all rows" in text


class TestRefusals:
    def test_sets_of_other_queries(self, attributor, sets):
        with pytest.raises(ValueError, match="what flipping_set returned for these 1 queries"):
            attributor.certify(QUERIES[:1], sets)
        with pytest.raises(ValueError, match="but it was given other rows"):
            attributor.certify(np.vstack([FAR, QUERIES]), sets)
        with pytest.raises(ValueError, match="at least one query"):
            attributor.certify(FAR, sets[3:])

    def test_arguments(self, attributor, sets):
        every = np.vstack([QUERIES, FAR])
        with pytest.raises(ValueError, match="n_random must be an integer"):
            attributor.certify(every, sets, n_random=-1)
        with pytest.raises(ValueError, match="model and recipe must be None"):
            attributor.certify(every, sets, model=MODEL)
        with pytest.raises(ValueError, match="max_rows must be an integer between 1 and 200"):
            attributor.flipping_set(QUERIES, max_rows=201)
        with pytest.raises(ValueError, match="margins must have shape"):
            FlippingSets([[1, 2]], [[0.1, 0.2]], margins=[[1.0, 0.9]])

    def test_weights_of_rows(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weighted = InfluenceAttributor(LogisticRegression(), prefit=False)
            weighted.fit(X[:200], Y[:200], sample_weight=np.ones(200))
        sets = weighted.flipping_set(QUERIES)
        with pytest.raises(ValueError, match="without sample_weight"):
            weighted.certify(QUERIES, sets)
