"""What ProvenanceClassifier returns, and what it does with parameters and bad input."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from sklearn_provenance.provenance import _index_reading

from ..checks import thorough
from .conftest import ARCHITECTURES, quick


def test_the_training_rows_are_learned(fitted, iris):
    X, y = iris
    assert fitted.score(X, y) > 0.95
    own = fitted.predict_index(X)
    duplicates = (X[own] == X).all(1)
    assert np.mean((own == np.arange(len(X))) | duplicates) > 0.5
    assert fitted.n_features_in_ == 4
    assert fitted.input_shape_ == (4,)
    np.testing.assert_array_equal(fitted.index_, np.arange(len(X)))
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))


def test_probabilities_agree_with_each_other(fitted, iris):
    X, y = iris
    proba, index_proba = fitted.predict_proba(X), fitted.index_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(index_proba.sum(1), 1, atol=1e-5)
    assert index_proba.shape == (len(X), len(X))
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[proba.argmax(1)])
    np.testing.assert_array_equal(fitted.predict_index(X), index_proba.argmax(1))
    indices, scores = fitted.explain(X, k=7)
    np.testing.assert_allclose(scores, np.take_along_axis(index_proba, indices, 1), rtol=1e-4)
    np.testing.assert_allclose(scores, -np.sort(-index_proba, 1)[:, :7], rtol=1e-4)
    distances, neighbours = fitted.kneighbors(X, 7)
    np.testing.assert_array_equal(neighbours, indices)
    np.testing.assert_allclose(np.exp(-distances), scores)
    np.testing.assert_array_equal(fitted.kneighbors(X, 7, return_distance=False), indices)
    if fitted.architecture == "single_branch":
        mass = np.stack([index_proba[:, y == c].sum(1) for c in fitted.classes_], 1)
        np.testing.assert_allclose(proba, mass, atol=1e-5)
    if fitted.architecture == "class_conditional":
        predicted = fitted.predict(X)
        assert (index_proba[predicted[:, None] != y] == 0).all()  # hard routing


def test_soft_routing_is_the_joint_probability(iris):
    X, y = iris
    hard = quick().fit(X, y)
    soft = quick(routing="soft").fit(X, y)
    proba, joint = soft.predict_proba(X), soft.index_proba(X)
    for c, name in enumerate(soft.classes_):
        np.testing.assert_allclose(joint[:, y == name].sum(1), proba[:, c], atol=1e-5)
    own = soft.predict(X)[:, None] == y
    np.testing.assert_allclose(
        np.where(own, joint, 0), hard.index_proba(X) * proba.max(1, keepdims=True), atol=1e-5
    )
    indices, scores = soft.explain(X, k=5)
    np.testing.assert_allclose(scores, -np.sort(-joint, 1)[:, :5], rtol=1e-4)
    np.testing.assert_allclose(scores, np.take_along_axis(joint, indices, 1), rtol=1e-4)


@pytest.mark.parametrize("routing", ["hard", "soft"])
def test_leave_one_out_never_names_the_row_itself(fitted, iris, routing):
    X, _ = iris
    clf = copy.deepcopy(fitted).set_params(routing=routing)
    indices, scores = clf.explain(k=6)
    assert indices.shape == (len(X), 6)
    assert (indices != np.arange(len(X))[:, None]).all()
    others = clf.index_proba(X)
    np.fill_diagonal(others, 0)
    others /= others.sum(1, keepdims=True)
    np.testing.assert_allclose(scores, -np.sort(-others, 1)[:, :6], rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(clf.kneighbors(n_neighbors=6, return_distance=False), indices)


def test_transform_gives_what_the_last_layer_sees(fitted, iris):
    X, _ = iris
    features = fitted.transform(X)
    assert features.shape == (len(X), len(fitted.get_feature_names_out()))
    head = fitted.net_.module_.index_head
    logits = head(torch.tensor(features)).detach().numpy()
    if fitted.architecture == "class_conditional":
        assert logits.shape == (len(X), 50)
    else:
        np.testing.assert_array_equal(logits.argmax(1), fitted.predict_index(X))


def test_explanation_knows_what_it_shows(iris):
    X, y = iris
    ids = [f"flower {i}" for i in range(len(X))]
    clf = quick().fit(X, y, sample_id=ids)
    explanation = clf.explain(X[:4], k=3)
    assert explanation.sample_id[2, 1] == f"flower {explanation.indices[2, 1]}"
    np.testing.assert_array_equal(explanation.exemplar_labels, y[explanation.indices])
    np.testing.assert_array_equal(explanation.query_labels, clf.predict(X[:4]))
    np.testing.assert_array_equal(explanation.queries, X[:4])
    assert explanation.training_data is clf._fit_X
    assert explanation.scores.dtype == np.float64
    frame = explanation.to_frame()
    assert len(frame) == 12


def test_history_has_a_line_per_epoch(fitted):
    assert len(fitted.history_) == 40
    first, last = fitted.history_[0], fitted.history_[-1]
    names = {"epoch", "dur", "lr", "train_loss", "index_loss", "index_accuracy"}
    if fitted.architecture != "single_branch":
        names |= {"class_loss", "class_accuracy"}
    assert names <= set(first)
    assert last["index_loss"] < first["index_loss"]
    assert last["lr"] == pytest.approx(2e-3 * 0.6**4)


def test_memory_of_an_explanation_is_bounded_by_a_batch(fitted, iris, monkeypatch):
    X, _ = iris
    whole = fitted.explain(X, k=4), fitted.index_proba(X), fitted.transform(X)
    values = max(len(X), fitted.net_.module_.values_per_row)
    monkeypatch.setattr(_index_reading, "_BATCH_VALUES", 20 * values)
    seen = []
    forward = fitted.net_.module_.register_forward_hook(lambda m, x, out: seen.append(len(x[0])))
    part = fitted.explain(X, k=4), fitted.index_proba(X), fitted.transform(X)
    forward.remove()
    assert max(seen) == 20
    np.testing.assert_array_equal(whole[0].indices, part[0].indices)
    for a, b in zip(whole[1:], part[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_a_row_does_not_depend_on_its_batch(fitted, iris):
    X, _ = iris
    for method in (fitted.predict_proba, fitted.transform, fitted.index_proba):
        alone = np.concatenate([method(X[i : i + 1]) for i in range(20)])
        np.testing.assert_allclose(method(X)[:20], alone, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_index_subset_limits_what_can_be_named(iris, architecture):
    X, y = iris
    for subset, size in [
        (0.2, 30),
        (12, 12),
        (np.arange(0, 150, 5), 30),
        (np.arange(150) < 101, 101),
    ]:
        clf = quick(architecture, index_subset=subset, max_epochs=3).fit(X, y)
        assert len(clf.index_) == size
        proba = clf.index_proba(X)
        assert proba.shape == (150, 150)
        assert (np.delete(proba, clf.index_, axis=1) == 0).all()
        assert np.isin(clf.explain(X, k=1).indices, clf.index_).all()
    with pytest.raises(ValueError, match="k must be between 1 and 101"):
        clf.explain(X, k=102)


@pytest.mark.parametrize(
    ("n_outputs", "quotas"),
    [
        (3, [1, 1, 1]),
        (10, [5, 3, 2]),  # 7 rows by shares 59, 26, 12 of 97: 4.26, 1.88, 0.87
        (13, [7, 4, 2]),  # 10 rows: 6.08, 2.68, 1.24
        (99, [59, 27, 13]),  # 96 rows: 58.39, 25.73, 11.88
        (100, [60, 27, 13]),
    ],
)
def test_a_subset_has_a_row_of_each_class_and_the_rest_by_largest_remainder(n_outputs, quotas):
    y = np.repeat(["a", "b", "c"], [60, 27, 13])
    X = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    clf = quick(index_subset=n_outputs, max_epochs=1).fit(X, y)
    assert np.unique(y[clf.index_], return_counts=True)[1].tolist() == quotas


def test_rows_outside_the_subset_still_train_the_class_branch(iris):
    X, y = iris
    few = [0, 50, 100]
    clf = quick(index_subset=few, max_epochs=40).fit(X, y)
    assert clf.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (2, "between 3"),
        (151, "150"),
        (0.001, "between 3"),
        ([0, 0, 50, 100], "distinct"),
        ([0, 50, 150], "distinct"),
        ([0, 50], "none of 1 of the 3 classes"),
        ([0.5, 1.5], "numbers of rows"),
    ],
)
def test_a_bad_index_subset_is_refused(iris, subset, message):
    with pytest.raises(ValueError, match=message):
        quick(index_subset=subset).fit(*iris)


def test_a_class_of_one_maps_to_itself_and_pads(iris):
    X, y = iris
    y = y.copy()
    y[0] = "alone"
    X = X.copy()
    X[0] = [20, 20, 20, 20]
    clf = quick(max_epochs=40, alpha=1.0).fit(X, y)
    assert all(np.isfinite(epoch["train_loss"]) for epoch in clf.history_)
    assert clf.predict(X[:1]) == "alone"
    with pytest.warns(UserWarning, match="fewer than k=3 candidates"):
        explanation = clf.explain(X[:1], k=3)
    np.testing.assert_array_equal(explanation.indices, [[0, -1, -1]])
    assert explanation.scores[0, 0] == 1
    assert np.isnan(explanation.scores[0, 1:]).all()
    with pytest.warns(UserWarning, match="candidates"):
        left_out = clf.explain(k=2)
    assert (left_out.indices[0] == -1).all()
    with pytest.warns(UserWarning, match="fewer than n_neighbors=3"):
        distances, _ = clf.kneighbors(X[:1], 3)
    assert distances[0].tolist() == [0, np.inf, np.inf]


@pytest.mark.parametrize("k", [0, 151, -1])
def test_k_out_of_range_is_an_error(fitted, iris, k):
    for name, call in [("k", fitted.explain), ("n_neighbors", fitted.kneighbors)]:
        with pytest.raises(ValueError, match=f"{name} must be between 1 and 150"):
            call(iris[0][:2], k)
    with pytest.raises(ValueError, match="between 1 and 149"):
        fitted.explain(k=150)
    with pytest.raises(TypeError, match="integer"):
        fitted.explain(iris[0][:2], k=2.5)


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": 1.1},
        {"alpha": -0.1},
        {"architecture": "two"},
        {"sharing_level": 5},
        {"label_smoothing": 1.0},
        {"batch_size": 1},
        {"width": "huge"},
        {"dropout": 1.0},
    ],
)
def test_parameters_out_of_range_name_themselves(iris, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        quick(**bad).fit(*iris)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"backbone": "cnn"}, "needs images"),
        ({"width": "paper"}, "convolutional networks"),
        ({"sharing_level": 4}, "MLP backbone has"),
        ({"backbone": nn.Linear(4, 2), "sharing_level": 1}, "built-in"),
        ({"backbone": nn.Linear(5, 2)}, "must take a batch of inputs of shape"),
        ({"device": "cuda"}, "no CUDA"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(iris, bad, message):
    if bad.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match=message):
        quick(**bad).fit(*iris)


def test_a_factory_that_gives_no_module_is_refused(iris):
    with pytest.raises(TypeError, match="returned int"):
        quick(backbone=lambda: 3).fit(*iris)


def test_a_failed_refit_leaves_the_classifier_as_it_was(iris):
    X, y = iris
    clf = quick().fit(X, y)
    before = clf.predict_proba(X)
    bad = X.copy()
    bad[3, 2] = np.nan
    for new_X, new_y, message in [
        (bad, y, "NaN"),
        (np.where(np.isnan(bad), np.inf, bad), y, "infinity"),
        (X[:, :2], y[:5], "inconsistent"),
        (X[:, :2], np.repeat("one", 150), "one class"),
        (X[:, :2], np.linspace(0, 1, 150), "continuous"),
    ]:
        with pytest.raises(ValueError, match=message):
            clf.fit(new_X, new_y)
        np.testing.assert_array_equal(clf.predict_proba(X), before)
        assert clf.n_features_in_ == 4
    with pytest.raises(ValueError, match="one entry per row"):
        clf.fit(X, y, sample_id=[1, 2])
    with pytest.raises(ValueError, match="training diverged"):
        clf.set_params(lr=1e30).fit(X, y)
    clf.set_params(lr=2e-3)
    np.testing.assert_array_equal(clf.predict_proba(X), before)


def test_bad_queries_are_refused_and_leave_the_classifier_usable(fitted, iris):
    X, _ = iris
    before = fitted.predict_proba(X)
    bad = X.copy()
    bad[0, 0] = np.nan
    for query, message in [
        (bad, "NaN"),
        (X[:, :3], "3 features"),
        (X[:5].reshape(5, 2, 2), "images of shape"),
        (X[0], "Expected 2D array"),
    ]:
        for method in (fitted.predict, fitted.explain, fitted.transform, fitted.index_proba):
            with pytest.raises(ValueError, match=message):
                method(query)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_unfitted_use_is_an_error(iris):
    clf = quick()
    for method in (clf.predict, clf.explain, clf.kneighbors, clf.index_proba, clf.save):
        with pytest.raises(NotFittedError):
            method(iris[0])
    with pytest.raises(NotFittedError):
        clf.explain()
    with pytest.raises(NotFittedError):
        _ = clf.history_


def test_sample_weight_is_refused(iris):
    with pytest.raises(TypeError, match="sample_weight"):
        quick().fit(*iris, sample_weight=np.ones(150))


def test_warm_start_goes_on(iris):
    X, y = iris
    clf = quick(warm_start=True, max_epochs=5).fit(X, y)
    loss, before = clf.history_[-1]["index_loss"], clf.net_.module_.state_dict()
    clf.set_params(max_epochs=10).fit(X, y)
    assert len(clf.history_) == 15
    started = quick(max_epochs=5).fit(X, y).net_.module_.state_dict()
    assert all(torch.equal(before[name], started[name]) for name in before)
    assert clf.history_[-1]["index_loss"] < loss
    assert clf.history_[5]["lr"] == clf.history_[4]["lr"]  # no second warm-up
    one, two = quick(max_epochs=5).fit(X, y), quick(max_epochs=5).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_warm_start_refuses_other_rows_classes_and_networks(iris):
    X, y = iris
    clf = quick(warm_start=True, max_epochs=2).fit(X, y)
    before = clf.predict_proba(X)
    for new_X, new_y in [(X[:149], y[:149]), (X[::-1], y), (X, np.roll(y, 1)), (X, y == "setosa")]:
        with pytest.raises(ValueError, match="warm_start=True goes on"):
            clf.fit(new_X, new_y)
        np.testing.assert_array_equal(clf.predict_proba(X), before)
    for changed in [
        *({"width": "medium"}, {"index_subset": 0.5}, {"precision": "bfloat16"}),
        {"normalization": "standardize"},
    ]:
        twin = copy.deepcopy(clf).set_params(**changed)
        with pytest.raises(ValueError, match=f"{next(iter(changed))} changed"):
            twin.fit(X, y)
    images = np.abs(X).astype(np.uint8).reshape(-1, 2, 2)
    clf = quick(warm_start=True, max_epochs=1, backbone="mlp").fit(images, y)
    for other in (images.reshape(-1, 1, 4), images.astype(np.float32)):
        with pytest.raises(ValueError, match="warm_start=True goes on"):
            clf.fit(other, y)


def test_warm_start_keeps_a_drawn_subset(iris):
    clf = quick(warm_start=True, max_epochs=1, index_subset=0.3, random_state=None).fit(*iris)
    index = clf.index_
    np.testing.assert_array_equal(clf.fit(*iris).index_, index)
    assert len(clf.history_) == 2


def test_a_failed_warm_start_leaves_the_classifier_as_it_was(iris):
    class Fail(Callback):
        def on_epoch_end(self, net, **kwargs):
            if net.history[-1]["epoch"] == 3:
                raise RuntimeError("out of paper")

    X, y = iris
    clf = quick(warm_start=True, max_epochs=2).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(RuntimeError, match="out of paper"):
        clf.set_params(callbacks=[Fail()]).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert len(clf.history_) == 2


def test_the_training_rows_are_a_copy(iris):
    X, y = iris[0].copy(), iris[1]
    clf = quick(warm_start=True, max_epochs=1).fit(X, y)
    data = clf.explain(X[:2], k=2).training_data
    with pytest.raises(ValueError, match="read-only"):
        data[:] = 0
    X += 5
    np.testing.assert_array_equal(data, iris[0])
    with pytest.raises(ValueError, match="they changed"):
        clf.fit(X, y)


def test_callbacks_are_skorchs(iris):
    epochs = []

    class Count(Callback):
        def on_epoch_end(self, net, **kwargs):
            epochs.append(net.history[-1]["epoch"])

    stop = EarlyStopping(monitor="index_accuracy", lower_is_better=False, patience=2, threshold=5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = quick(callbacks=[Count(), stop]).fit(*iris)
    assert epochs == [1, 2, 3]  # one to compare with, two of patience
    assert len(clf.history_) == 3


def test_an_interrupt_leaves_a_usable_classifier(iris, monkeypatch):
    X, y = iris
    clf = quick(max_epochs=6, warm_start=True)
    calls = []

    def interrupt(self, net, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Callback, "on_epoch_begin", interrupt)
    # EpochLog and EpochTimer both call it: the second epoch does not end.
    with pytest.warns(ConvergenceWarning, match="interrupted after"):
        clf.fit(X, y)
    monkeypatch.undo()
    assert clf.predict(X).shape == (150,)
    done = len(clf.history_)
    assert done < 6
    assert all("train_loss" in epoch for epoch in clf.history_)
    assert len(clf.fit(X, y).history_) == done + 6


def test_progress_bar_only_when_verbose(iris, capsys):
    quick(max_epochs=2).fit(*iris)
    assert capsys.readouterr().err == ""
    quick(max_epochs=2, verbose=1).fit(*iris)
    assert "epochs: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"heads": "per_class"}, {"class_conditioning": False}])
def test_other_index_branches_learn_too(iris, options):
    X, y = iris
    clf = quick(max_epochs=40, alpha=0.0, label_smoothing=0.0, **options).fit(X, y)
    assert clf.score(X, y) > 0.95
    assert clf.history_[-1]["index_loss"] < 0.5 * clf.history_[0]["index_loss"]


def test_lr_index_sets_the_rate_of_the_index_branch_alone(iris):
    clf = quick(lr=1e-3, lr_index=1e-4, max_epochs=1).fit(*iris)
    index, rest = clf.net_.optimizer_.param_groups
    names = {id(p): n for n, p in clf.net_.module_.named_parameters()}
    assert index["initial_lr"] == 1e-4
    assert rest["initial_lr"] == 1e-3
    assert all(names[id(p)].startswith("index_") for p in index["params"])
    assert not any(names[id(p)].startswith("index_") for p in rest["params"])
    assert len(index["params"]) > 0


def test_loss_weights_switch_branches_off(iris):
    X, y = iris
    no_index = quick(lambda_index=0.0).fit(X, y)
    untouched = quick(lambda_index=0.0, weight_decay=0.0, max_epochs=1).fit(X, y)
    again = quick(lambda_index=0.0, weight_decay=0.0, max_epochs=3).fit(X, y)
    head, same = untouched.net_.module_.index_head, again.net_.module_.index_head
    assert torch.equal(head.weight, same.weight)
    assert no_index.score(X, y) > 0.9


LEGAL = [
    (architecture, routing, heads, conditioning)
    for architecture in ARCHITECTURES
    for routing in ("hard", "soft")
    for heads in ("shared", "per_class")
    for conditioning in (True, False)
    if architecture == "class_conditional"
    or (routing, heads, conditioning) == ("hard", "shared", True)
]


@pytest.mark.parametrize(("architecture", "routing", "heads", "conditioning"), LEGAL)
@pytest.mark.parametrize("subset", [0.4, *thorough(None)])
def test_leave_one_out_by_definition(iris, architecture, routing, heads, conditioning, subset):
    """The probabilities of the other rows, normalised without the own one."""
    X, y = iris
    clf = quick(
        architecture,
        routing=routing,
        heads=heads,
        class_conditioning=conditioning,
        index_subset=subset,
        max_epochs=4,
    ).fit(X, y)
    others = clf.index_proba(X).astype(np.float64)
    np.fill_diagonal(others, 0)
    others /= others.sum(1, keepdims=True)
    indices, scores = clf.explain(k=5)
    np.testing.assert_allclose(scores, np.take_along_axis(others, indices, 1), rtol=1e-3)
    np.testing.assert_allclose(scores, -np.sort(-others, 1)[:, :5], rtol=1e-3)


def test_transform_is_conditioned_on_the_predicted_class(iris):
    X, y = iris
    clf = quick(max_epochs=40).fit(X, y)
    logits = clf.net_.module_.index_head(torch.tensor(clf.transform(X))).detach().softmax(1)
    proba, predicted = clf.index_proba(X), clf.predict(X)
    for row in range(0, len(X), 7):
        own = proba[row, y == predicted[row]]
        np.testing.assert_allclose(
            logits[row, : len(own)] / logits[row, : len(own)].sum(), own, atol=1e-5
        )


def test_training_parameters_reach_the_training(iris):
    X, y = iris
    plain = quick(max_epochs=2).fit(X, y).predict_proba(X)
    for name, value in [
        ("weight_decay", 10.0),
        ("label_smoothing", 0.5),
        ("class_conditioning", False),
        ("precision", "bfloat16"),
        ("lambda_class", 0.1),
        ("batch_size", 64),
        ("dropout", 0.5),
        ("warmup_epochs", 0),
    ]:
        other = quick(max_epochs=2, **{name: value}).fit(X, y).predict_proba(X)
        assert np.isfinite(other).all()
        assert np.abs(other - plain).max() > 1e-7, name


def test_warm_start_takes_rows_in_a_new_order(iris):
    orders = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch, **kwargs):
            orders.append(batch[1]["output"].tolist())

    clf = quick(warm_start=True, max_epochs=1, callbacks=[Watch()])
    clf.fit(*iris)
    first = list(orders)
    clf.fit(*iris)
    assert orders[len(first) :] != first


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_the_unit_of_measurement_does_not_matter(iris, unit):
    X, y = iris
    one, two = quick(max_epochs=5).fit(X, y), quick(max_epochs=5).fit(X * unit, y)
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X * unit), rtol=1e-4)


def test_other_callbacks_are_refused(iris):
    with pytest.raises(TypeError, match=r"must be instances of skorch callbacks; got \['stop'\]"):
        quick(callbacks=["stop"]).fit(*iris)


def test_a_warm_start_takes_new_rates(iris):
    clf = quick(lr=1e-3, lr_index=1e-4, max_epochs=1, warm_start=True).fit(*iris)
    clf.set_params(lr=1e-5, lr_index=1e-6).fit(*iris)
    rates = [group["initial_lr"] for group in clf.net_.optimizer_.param_groups]
    assert rates == [1e-6, 1e-5]


def test_layers_say_what_they_drop(iris):
    clf = quick(dropout=0.25, sharing_level=1, max_epochs=1).fit(*iris)
    assert "Dropout(p=0.25)" in repr(clf.net_.module_)
