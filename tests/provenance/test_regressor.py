"""ProvenanceRegressor as a user meets it."""

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from torch import nn

from sklearn_provenance import ProvenanceRegressor, explain

from ..checks import thorough
from .conftest import quick_regressor


@pytest.fixture(scope="module")
def fitted(diabetes):
    return quick_regressor(max_epochs=40).fit(*diabetes, sample_id=np.arange(1000, 1200))


def test_targets_and_training_rows_are_learned(fitted, diabetes):
    X, y = diabetes
    assert fitted.score(X, y) > 0.8
    assert np.mean(fitted.predict_index(X) == np.arange(len(X))) > 0.95
    first, last = fitted.history_[0], fitted.history_[-1]
    assert last["output_loss"] < 0.3 * first["output_loss"]
    assert last["index_loss"] < first["index_loss"]
    assert last["train_loss"] == pytest.approx(last["output_loss"] + last["index_loss"], rel=1e-5)


def test_rows_that_were_not_seen_are_predicted():
    """A smooth function of two columns, with 300 rows to learn it from."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (500, 2)).astype(np.float32)
    y = 50 * np.sin(3 * X[:, 0]) + 20 * X[:, 1] + 1000
    reg = quick_regressor(max_epochs=40).fit(X[:300], y[:300])
    assert reg.score(X[300:], y[300:]) > 0.95
    # Rows that are named have targets near the query's, far nearer than rows at random.
    named = reg.explain(X[300:], k=5).exemplar_labels
    error = np.abs(named - y[300:, None]).mean()
    assert error < 0.4 * np.abs(y[:300] - y[300:, None]).mean()


def test_an_explanation_holds_targets_and_probabilities(fitted, diabetes):
    X, y = diabetes
    explanation = fitted.explain(X[:7], k=4)
    np.testing.assert_array_equal(explanation.exemplar_labels, y[explanation.indices])
    np.testing.assert_allclose(explanation.query_labels, fitted.predict(X[:7]), rtol=1e-6)
    np.testing.assert_array_equal(explanation.sample_id, explanation.indices + 1000)
    np.testing.assert_array_equal(explanation.queries, X[:7])
    proba = fitted.index_proba(X[:7])
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    order = np.argsort(-proba, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(explanation.indices, order)
    np.testing.assert_allclose(
        explanation.scores, np.take_along_axis(proba, order, axis=1), rtol=1e-5
    )
    np.testing.assert_array_equal(fitted.predict_index(X[:7]), order[:, 0])
    distances, indices = fitted.kneighbors(X[:7], 4)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, -np.log(explanation.scores))
    differences = y[explanation.indices] - explanation.query_labels[:, None]
    np.testing.assert_allclose(explanation.target_differences, differences)
    whole = quick_regressor(max_epochs=1).fit(X, y.astype(int)).explain(X[:2])
    assert whole.targets == "numbers"
    assert "regression network" in repr(explanation)
    explanation.to_frame()
    explanation.to_html()


def test_scores_are_the_softmax_of_the_last_layer_at_the_features(fitted, diabetes):
    X = diabetes[0][:5]
    head = fitted.net_.module_.index_head
    logits = fitted.transform(X) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(fitted.index_proba(X), softmax(logits, axis=1), rtol=1e-4, atol=1e-7)


def test_training_rows_are_explained_by_the_others(fitted, diabetes):
    X, _ = diabetes
    n = len(X)
    explanation = fitted.explain(k=n - 1)
    assert (explanation.indices != np.arange(n)[:, None]).all()
    np.testing.assert_allclose(explanation.scores.sum(1), 1, rtol=1e-5)
    assert (fitted.kneighbors(n_neighbors=3)[1] != np.arange(n)[:, None]).all()


def test_alpha_moves_probability_from_the_row_to_those_of_near_targets(diabetes):
    X, y = (values[:100] for values in diabetes)
    near = np.argsort(np.abs(y[:, None] - y), axis=1, kind="stable")[:, 1:15]
    own, beside = [], []
    for alpha in (0.0, 0.5, 1.0):
        reg = quick_regressor(alpha=alpha, max_epochs=60, target_neighbors=14).fit(X, y)
        proba = reg.index_proba(X)
        own.append(np.diagonal(proba).mean())
        beside.append(np.take_along_axis(proba, near, axis=1).sum(1).mean())
    assert own[0] > own[1] > own[2]
    assert beside[0] < beside[1] < beside[2]
    assert own[0] > 0.7  # 0.95 with smoothing, once it is learned by heart
    assert own[2] < 0.1


@pytest.mark.parametrize("factor", [1e-3, 1e150, *thorough(1e-200, 1.0)])
def test_predictions_are_in_the_units_of_y(diabetes, factor):
    X, y = diabetes
    base = quick_regressor(max_epochs=3).fit(X, y)
    moved = quick_regressor(max_epochs=3).fit(X, factor * (y - 500))
    expected = factor * (base.predict(X) - 500)
    np.testing.assert_allclose(moved.predict(X), expected, rtol=1e-3)
    np.testing.assert_array_equal(moved.predict_index(X), base.predict_index(X))


def test_a_constant_target_is_predicted_exactly():
    X = np.random.default_rng(0).normal(size=(30, 3))
    for value in (0.0, 0.1, -3e9):
        reg = quick_regressor(max_epochs=2).fit(X, np.full(30, value))
        np.testing.assert_array_equal(reg.predict(X), value)
        assert reg.explain(X, k=2).indices.shape == (30, 2)


def test_huber_heeds_outliers_less(diabetes):
    X, y = diabetes
    spoilt = y.copy()
    spoilt[::20] += 5000
    errors = {}
    for loss in ("squared_error", "huber"):
        reg = quick_regressor(loss, huber_delta=0.01, lambda_index=0.0).fit(X, spoilt)
        errors[loss] = np.median(np.abs(reg.predict(X) - y))
    assert errors["huber"] < 0.7 * errors["squared_error"]


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_the_loss_is_the_weighted_sum_of_its_terms(diabetes, loss):
    X, y = diabetes
    reg = quick_regressor(loss, huber_delta=0.5, lambda_output=0.3, lambda_index=2.0, max_epochs=2)
    last = reg.fit(X, y).history_[-1]
    total = 0.3 * last["output_loss"] + 2 * last["index_loss"]
    assert last["train_loss"] == pytest.approx(total, rel=1e-5)
    # A step of no size: losses are those of the network as it stands, in training mode.
    reg.set_params(warm_start=True, lr=1e-12, max_epochs=1, batch_size=200, warmup_epochs=0)
    reg.fit(X, y)
    module = copy.deepcopy(reg.net_.module_).train()
    with torch.no_grad():
        output = module(torch.tensor(X))
    z = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    error = (output.values - z).abs()
    expected = error.square()
    if loss == "huber":
        expected = torch.where(error <= 0.5, error.square() / 2, 0.5 * (error - 0.25))
    assert reg.history_[-1]["output_loss"] == pytest.approx(float(expected.mean()), rel=1e-3)


def test_several_targets(diabetes):
    X, y = diabetes
    Y = np.column_stack([y, -100 * y + X[:, 0], X[:, 2]])
    reg = quick_regressor(max_epochs=25).fit(X, Y)
    assert reg.predict(X).shape == Y.shape
    assert reg.score(X, Y) > 0.8
    explanation = reg.explain(X[:3], k=2)
    assert explanation.exemplar_labels is None
    assert explanation.query_labels is None
    column = quick_regressor(max_epochs=2).fit(X, y[:, None])
    assert column.predict(X).shape == (200, 1)
    np.testing.assert_array_equal(
        column.predict(X)[:, 0], quick_regressor(max_epochs=2).fit(X, y).predict(X)
    )
    assert column.explain(X[:3], k=2).exemplar_labels.shape == (3, 2)


@pytest.mark.parametrize(
    "subset", [60, np.arange(200) % 5 == 0, *thorough(0.3, np.arange(0, 200, 4))]
)
def test_rows_without_an_output_are_not_named_but_trained_on(diabetes, subset):
    X, y = diabetes
    reg = quick_regressor(index_subset=subset, max_epochs=30).fit(X, y)
    assert set(np.unique(reg.explain(X, k=5).indices)) <= set(reg.index_)
    proba = reg.index_proba(X)
    others = np.setdiff1d(np.arange(200), reg.index_)
    assert (proba[:, others] == 0).all()
    assert reg.score(X[others], y[others]) > 0.6
    assert np.mean(reg.predict_index(X[reg.index_]) == reg.index_) > 0.9


def test_images():
    """How far a square lies from the left, in pictures of three layouts."""
    rng = np.random.default_rng(0)
    left, top = rng.integers(0, 9, 120), rng.integers(0, 9, 120)
    X = np.zeros((120, 12, 12), dtype=np.uint8)
    for image, i, j in zip(X, top, left, strict=True):
        image[i : i + 4, j : j + 4] = 255
    reg = quick_regressor(max_epochs=15).fit(X, left)
    assert reg.score(X, left) > 0.9
    assert reg.input_shape_ == (1, 12, 12)
    assert reg.explain(X[:2]).image_shape == (1, 12, 12)
    short = quick_regressor(max_epochs=2).fit(X, left)
    flat = quick_regressor(max_epochs=2, input_shape=(12, 12)).fit(X.reshape(120, -1), left)
    np.testing.assert_array_equal(flat.predict(X), short.predict(X))


@pytest.mark.parametrize("options", [{"mixing": "sampled"}, *thorough({}, {"dropout": 0.3})])
def test_same_seed_same_result_and_global_generators_are_left_alone(diabetes, options):
    X, y = diabetes
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = quick_regressor(max_epochs=2, **options).fit(X, y)
    one.explain(X)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    torch.manual_seed(7)
    two = quick_regressor(max_epochs=2, **options).fit(X, y)
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_array_equal(one.explain(X).scores, two.explain(X).scores)
    other = quick_regressor(max_epochs=2, random_state=1, **options).fit(X, y)
    assert (one.predict(X) != other.predict(X)).any()


def test_threads_with_one_seed_agree(diabetes):
    X, y = diabetes
    results = [None] * 4
    start = threading.Barrier(4)

    def fit(i):
        torch.set_num_threads(1)
        start.wait()
        results[i] = quick_regressor(max_epochs=4, mixing="sampled", dropout=0.3).fit(X, y)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reg in results[1:]:
        np.testing.assert_array_equal(reg.predict(X), results[0].predict(X))


def test_sampled_targets_are_scored_both_ways(diabetes):
    reg = quick_regressor(mixing="sampled", alpha=0.5, max_epochs=60, target_neighbors=5)
    last = reg.fit(*(values[:80] for values in diabetes)).history_[-1]
    assert last["index_accuracy"] > last["sampled_target_accuracy"]


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_copies_agree(fitted, diabetes, copier):
    X, _ = diabetes
    twin = copier(fitted)
    np.testing.assert_array_equal(twin.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(twin.explain(X).scores, fitted.explain(X).scores)


@pytest.mark.parametrize("kind", ["one", "several", *thorough("column")])
def test_a_loaded_regressor_does_what_the_saved_one_did(diabetes, tmp_path, kind):
    X, y = diabetes
    y = {"one": y, "column": y[:, None], "several": np.column_stack([y, -(y**2)])}[kind]
    reg = quick_regressor(max_epochs=2, index_subset=0.5, target_neighbors=0.1)
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(10)])
    reg.fit(frame, y, sample_id=[f"id {i}" for i in range(200)])
    reg.save(tmp_path / "reg")
    loaded = ProvenanceRegressor.load(tmp_path / "reg", device="cpu")
    np.testing.assert_array_equal(loaded.predict(frame), reg.predict(frame))
    one, two = loaded.explain(frame), reg.explain(frame)
    np.testing.assert_array_equal(one.scores, two.scores)
    np.testing.assert_array_equal(one.sample_id, two.sample_id)
    if kind != "several":
        np.testing.assert_array_equal(one.exemplar_labels, two.exemplar_labels)
    assert loaded.get_params() == reg.get_params() | {"device": "cpu"}
    assert loaded.history_ == reg.history_
    loaded.set_params(warm_start=True).fit(frame, y)
    assert [epoch["epoch"] for epoch in loaded.history_] == [1, 2, 3, 4]


def test_a_backbone_of_ones_own(diabetes, tmp_path):
    X, y = diabetes
    backbone = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
    reg = quick_regressor(backbone=backbone).fit(X, y)
    assert reg.score(X, y) > 0.15
    twin = clone(reg).fit(X, y)
    np.testing.assert_array_equal(twin.predict(X), reg.predict(X))
    reg.save(tmp_path / "reg")
    with pytest.raises(ValueError, match=r"load\(path, backbone="):
        ProvenanceRegressor.load(tmp_path / "reg")
    loaded = ProvenanceRegressor.load(tmp_path / "reg", backbone=backbone, device="cpu")
    np.testing.assert_array_equal(loaded.predict(X), reg.predict(X))


def test_warm_start_goes_on_and_interrupting_keeps_what_there_is(diabetes):
    class Interrupt(Callback):
        def on_batch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    X, y = diabetes
    reg = quick_regressor(max_epochs=4, warm_start=True, callbacks=[Interrupt()])
    with pytest.warns(ConvergenceWarning, match="interrupted after 2 epochs"):
        reg.fit(X, y)
    assert reg.predict(X).shape == (200,)
    reg.set_params(callbacks=None, max_epochs=2, alpha=0.9, target_neighbors=50, lr=5e-4)
    reg.fit(X, y)
    assert [epoch["epoch"] for epoch in reg.history_] == [1, 2, 3, 4]
    assert reg.history_[-1]["lr"] == 5e-4
    criterion = reg.net_.criterion_
    assert criterion.alpha == 0.9
    z = (y - y.mean()) / y.std()
    radii = np.sort(np.abs(z[:, None] - z), axis=1)[:, 50]
    np.testing.assert_allclose(criterion.radii.numpy(), radii)
    with pytest.raises(ValueError, match="same rows and targets"):
        reg.fit(X, y + 1)
    with pytest.raises(ValueError, match="width changed"):
        reg.set_params(width="medium").fit(X, y)


def test_pipelines_searches_and_frames(diabetes):
    X, y = diabetes
    pipe = make_pipeline(StandardScaler(), quick_regressor(max_epochs=8))
    grid = {"provenanceregressor__alpha": [0, 0.5]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(10 * X + 3, y)
    assert is_regressor(search.best_estimator_[-1])
    explanation = explain(search, 10 * X[:4] + 3, k=3)
    np.testing.assert_allclose(explanation.training_data[[5]], 10 * X[[5]] + 3, rtol=1e-3)
    np.testing.assert_array_equal(explanation.exemplar_labels, y[explanation.indices])
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(10)])
    reg = quick_regressor(max_epochs=2).set_output(transform="pandas").fit(frame, pd.Series(y))
    features = reg.transform(frame)
    assert list(features.columns) == list(reg.get_feature_names_out())
    assert features.columns[0] == "provenanceregressor0"
    np.testing.assert_array_equal(
        reg.predict(frame), quick_regressor(max_epochs=2).fit(X, y).predict(X)
    )


def test_what_set_params_changes_after_fit_changes_nothing(diabetes):
    X, y = diabetes
    reg = quick_regressor(max_epochs=2).fit(X, y)
    before = reg.predict(X)
    reg.set_params(width="large", loss="huber", target_neighbors=3)
    np.testing.assert_array_equal(reg.predict(X), before)


def test_data_are_copied(diabetes):
    X, y = (values.copy() for values in diabetes)
    reg = quick_regressor(max_epochs=2).fit(X, y)
    before = reg.explain(X[:3])
    queries = X[:3].copy()
    X[:], y[:] = 0, 0
    after = reg.explain(queries)
    np.testing.assert_array_equal(after.exemplar_labels, before.exemplar_labels)
    np.testing.assert_array_equal(after.training_data, before.training_data)


def test_two_rows():
    reg = quick_regressor(max_epochs=2).fit([[0.0], [1.0]], [3.0, 5.0])
    assert reg.explain([[0.5]], k=2).indices.shape == (1, 2)
    assert reg.explain(k=1).indices.ravel().tolist() == [1, 0]
    with pytest.raises(ValueError, match="k must be between 1 and 1"):
        reg.explain(k=2)


@pytest.mark.parametrize(
    ("params", "change", "message"),
    [
        ({"backbone": "cnn"}, {}, "backbone='cnn' needs images"),
        ({"width": "paper"}, {}, "width='paper' names the convolutional networks"),
        ({"sharing_level": 3}, {}, "at most 2, the layers that the MLP backbone has; got 3"),
        ({"target_neighbors": 200}, {}, "less than the 200 rows .* got 200"),
        ({"target_neighbors": 60, "index_subset": 50}, {}, "less than the 50 rows"),
        ({"target_neighbors": 0}, {}, "target_neighbors"),
        ({"target_neighbors": 1.5}, {}, "target_neighbors"),
        ({"huber_delta": 0}, {}, "huber_delta"),
        ({"loss": "absolute_error"}, {}, "loss"),
        ({"index_subset": 300}, {}, "index_subset=300"),
        ({}, {"y": np.array([["a"]] * 200)}, "could not convert|numeric"),
        ({}, {"y": np.full(200, np.nan)}, "y contains NaN"),
        ({}, {"y": np.zeros((200, 0))}, "at least one target|0 feature"),
        ({}, {"y": np.zeros((200, 2, 2))}, "dim"),
        ({}, {"y": np.zeros(199)}, "inconsistent numbers of samples"),
    ],
)
def test_what_cannot_be_is_refused(diabetes, params, change, message):
    X, y = diabetes
    reg = quick_regressor(**params)
    with pytest.raises(ValueError, match=message):
        reg.fit(X, change.get("y", y))
    assert not hasattr(reg, "net_")


def test_sparse_targets_are_refused(diabetes):
    X, y = diabetes
    with pytest.raises(TypeError, match=r"y must be dense.*toarray"):
        quick_regressor().fit(X, csr_array(np.column_stack([y, y])))


def test_not_fitted():
    for method in ("predict", "explain", "transform", "kneighbors", "predict_index"):
        with pytest.raises(NotFittedError):
            getattr(ProvenanceRegressor(), method)(np.zeros((2, 3)))


def test_sampled_targets_are_the_rows_themselves_without_smoothing(diabetes):
    """With alpha = 0 nothing is drawn, so that both ways of mixing are one."""
    X, y = diabetes
    sampled, expected = (
        quick_regressor(alpha=0.0, mixing=mixing, max_epochs=2).fit(X[:50], y[:50])
        for mixing in ("sampled", "expected")
    )
    np.testing.assert_allclose(
        [epoch["index_loss"] for epoch in sampled.history_],
        [epoch["index_loss"] for epoch in expected.history_],
        rtol=1e-5,
    )
