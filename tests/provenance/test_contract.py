"""scikit-learn's estimator contract where check_estimator does not look."""

import copy
import pickle
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance import ProvenanceClassifier, explain

from ..checks import thorough
from .conftest import ARCHITECTURES, quick, quick_vae


def same_fit(one, two, X):
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_array_equal(one.explain(X).indices, two.explain(X).indices)


@pytest.mark.parametrize("options", [{"mixing": "sampled"}, *thorough({}, {"dropout": 0.3})])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_seed_same_result(iris, architecture, options):
    X, y = iris
    one, two = (quick(architecture, max_epochs=5, **options).fit(X, y) for _ in range(2))
    same_fit(one, two, X)
    other = quick(architecture, max_epochs=5, random_state=1, **options).fit(X, y)
    assert (one.predict_proba(X) != other.predict_proba(X)).any()


def test_six_threads_with_one_seed_agree(iris):
    X, y = iris
    results = [None] * 6
    start = threading.Barrier(6)

    def fit(i):
        torch.set_num_threads(1)
        start.wait()
        clf = quick(max_epochs=8, mixing="sampled", dropout=0.3).fit(X, y)
        results[i] = clf.predict_proba(X)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_global_generators_are_neither_read_nor_changed(iris, architecture):
    X, y = iris
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = quick(architecture, max_epochs=2, mixing="sampled", dropout=0.2).fit(X, y)
    one.explain(X)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    torch.manual_seed(12345)
    two = quick(architecture, max_epochs=2, mixing="sampled", dropout=0.2).fit(X, y)
    same_fit(one, two, X)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_of_a_fitted_classifier_agree(fitted, iris, copier):
    twin = copier(fitted)
    same_fit(fitted, twin, iris[0])
    assert twin.history_ == fitted.history_


def test_clone_copies_parameters_and_no_fit(iris):
    backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    clf = quick(backbone=backbone).fit(*iris)
    twin = clone(clf)
    assert not hasattr(twin, "net_")
    same_fit(clf, twin.fit(*iris), iris[0])
    assert torch.equal(clf.backbone[0].weight, twin.backbone[0].weight)


def test_fit_leaves_the_users_module_and_data_alone(iris):
    X, y = iris
    backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU()).eval()
    state = copy.deepcopy(backbone.state_dict())
    data = X.copy()
    data.flags.writeable = False
    quick(backbone=backbone).fit(data, y).explain(data)
    assert not backbone.training
    assert all(p.grad is None for p in backbone.parameters())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, state[name])
    np.testing.assert_array_equal(data, X)


@pytest.mark.parametrize("make", [quick, quick_vae])
def test_a_fitted_network_is_in_evaluation_mode(make, iris):
    estimator = make(max_epochs=1, warm_start=True)
    for _ in range(2):
        estimator.fit(*iris)
        assert not any(module.training for module in estimator.net_.module_.modules())


def test_predictions_do_not_depend_on_the_mode_of_the_network_and_leave_it(iris):
    X, y = iris
    clf = quick(dropout=0.3).fit(X, y)
    answers = clf.predict_proba(X), clf.explain(X).scores, clf.transform(X)
    clf.net_.module_.train()
    state = copy.deepcopy(clf.net_.module_.state_dict())
    again = clf.predict_proba(X), clf.explain(X).scores, clf.transform(X)
    for one, two in zip(answers, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(module.training for module in clf.net_.module_.modules())
    for name, value in clf.net_.module_.state_dict().items():
        assert torch.equal(value, state[name])


def test_grid_search_over_alpha(iris):
    pipe = make_pipeline(StandardScaler(), quick(max_epochs=8))
    grid = {"provenanceclassifier__alpha": [0, 0.3, 0.7]}
    search = GridSearchCV(pipe, grid, n_jobs=2, cv=3, error_score="raise")
    with joblib.parallel_config("threading"):  # which import nothing again, as processes do
        search.fit(*iris)
    assert search.best_score_ > 0.8
    explanation = explain(search, iris[0][:5], k=3)
    assert explanation.indices.shape == (5, 3)
    scaled = search.best_estimator_[:-1].transform(iris[0][:5])
    direct = search.best_estimator_[-1].explain(scaled, k=3)
    np.testing.assert_array_equal(explanation.indices, direct.indices)
    np.testing.assert_allclose(explanation.training_data[7], iris[0][7], rtol=1e-4)


def test_sample_id_goes_through_cross_validation(iris):
    X, y = iris
    ids = np.arange(1000, 1150)
    with config_context(enable_metadata_routing=True):
        clf = quick(max_epochs=2).set_fit_request(sample_id=True)
        folds = cross_validate(clf, X, y, params={"sample_id": ids}, return_estimator=True, cv=3)
    for fold in folds["estimator"]:
        explanation = fold.explain(X[:3], k=4)
        np.testing.assert_array_equal(explanation.sample_id, fold._sample_id[explanation.indices])
        assert (explanation.sample_id >= 1000).all()


def test_set_output_gives_frames(iris):
    X, y = iris
    clf = quick(max_epochs=2).set_output(transform="pandas")
    features = clf.fit(pd.DataFrame(X, columns=list("abcd"), index=range(10, 160)), y).transform(
        pd.DataFrame(X, columns=list("abcd"), index=range(10, 160))
    )
    assert list(features.columns) == list(clf.get_feature_names_out())
    assert features.columns[0] == "provenanceclassifier0"
    assert features.index[0] == 10


def test_frames_and_arrays_give_the_same_fit(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    one, two = quick(max_epochs=3).fit(X, y), quick(max_epochs=3).fit(frame, pd.Series(y))
    np.testing.assert_array_equal(one.predict(X), two.predict(frame))
    assert two.explain(frame[:3]).feature_names == list("abcd")
    with pytest.warns(UserWarning, match="valid feature names"):
        two.predict(X)


@pytest.mark.parametrize(
    "labels", [np.arange(3), np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object)]
)
def test_labels_come_back_in_their_own_type(iris, labels):
    X, y = iris
    y = labels[np.unique(y, return_inverse=True)[1]]
    clf = quick().fit(X, y)
    assert clf.predict(X).dtype == y.dtype
    assert set(clf.predict(X)) <= set(labels)


def test_cross_validation_scores(iris):
    assert cross_val_score(quick(), *iris, cv=3).mean() > 0.85


def test_the_constructor_only_stores():
    generator = np.random.RandomState(0)
    clf = ProvenanceClassifier(random_state=generator, index_subset=[1, 2], input_shape=[8, 8])
    assert clf.random_state is generator
    assert clf.index_subset == [1, 2]
    assert vars(clf) == clf.get_params(deep=False)
