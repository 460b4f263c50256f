import json

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open
from torch import nn

from sklearn_provenance import ProvenanceClassifier

from .conftest import quick


def agree(one, two, X):
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X))
    for a, b in zip(one.explain(X, k=4), two.explain(X, k=4), strict=True):
        np.testing.assert_allclose(a, b)


def test_a_loaded_classifier_does_what_the_saved_one_did(fitted, iris, tmp_path):
    fitted.save(tmp_path / "clf.safetensors")
    loaded = ProvenanceClassifier.load(tmp_path / "clf.safetensors", device="cpu")
    agree(fitted, loaded, iris[0])
    assert loaded.get_params() == fitted.get_params()
    assert loaded.history_ == fitted.history_
    assert loaded.classes_.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(loaded.transform(iris[0]), fitted.transform(iris[0]))


@pytest.mark.parametrize(
    "labels", [[0, 1, 2], [False, True, True], [0.0, 1.0, 2.0], np.array(["x", "yy", "z"], object)]
)
def test_labels_ids_and_names_survive(iris, tmp_path, labels):
    import pandas as pd

    X, y = iris
    y = np.array(labels)[np.unique(y, return_inverse=True)[1]]
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    clf = quick(max_epochs=2, index_subset=0.4, input_shape=None).fit(
        frame, y, sample_id=[f"id {i}" for i in range(150)]
    )
    clf.save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(tmp_path / "clf", device="cpu")
    agree(clf, loaded, frame)
    assert loaded.classes_.dtype == clf.classes_.dtype
    np.testing.assert_array_equal(loaded.explain(frame).sample_id, clf.explain(frame).sample_id)
    assert list(loaded.feature_names_in_) == ["a", "b", "c", "d"]


def test_images_survive(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), np.arange(30) % 3
    clf = quick(max_epochs=1).fit(X, y)
    clf.save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(tmp_path / "clf", device="cpu")
    agree(clf, loaded, X)
    assert loaded.explain(X[:1]).training_data.shape == (30, 8, 8, 3)


def test_a_loaded_classifier_can_go_on_training(iris, tmp_path):
    clf = quick(max_epochs=2, warm_start=True).fit(*iris)
    clf.save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(tmp_path / "clf", device="cpu").fit(*iris)
    assert [epoch["epoch"] for epoch in loaded.history_] == [1, 2, 3, 4]


def test_what_set_params_changed_after_fit_is_not_saved(iris, tmp_path):
    clf = quick(max_epochs=1).fit(*iris)
    clf.set_params(width="medium", lr=np.float32(0.1)).save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(tmp_path / "clf", device="cpu")
    agree(clf, loaded, iris[0])
    assert loaded.width == "small"
    clf.set_params(architecture="single_branch")
    assert "class-conditional" in clf.explain(iris[0]).method


def test_numpy_ids_and_tied_weights_can_be_saved(iris, tmp_path):
    layer = nn.Linear(4, 4)
    clf = quick(backbone=nn.Sequential(layer, nn.ReLU(), layer), max_epochs=1)
    ids = np.array([np.int64(i) for i in range(150)], dtype=object)
    clf.fit(*iris, sample_id=ids).save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(
        tmp_path / "clf", backbone=nn.Sequential(layer, nn.ReLU(), layer), device="cpu"
    )
    agree(clf, loaded, iris[0])


def test_a_backbone_of_ones_own_is_given_again(iris, tmp_path):
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU())

    clf = quick(backbone=make).fit(*iris)
    clf.save(tmp_path / "clf")
    with pytest.raises(ValueError, match=r"load\(path, backbone="):
        ProvenanceClassifier.load(tmp_path / "clf")
    for backbone in (make, make()):
        agree(clf, ProvenanceClassifier.load(tmp_path / "clf", backbone=backbone), iris[0])
    with pytest.raises(ValueError, match="do not fit"):
        ProvenanceClassifier.load(tmp_path / "clf", backbone=nn.Linear(4, 5))
    plain = quick().fit(*iris)
    plain.save(tmp_path / "plain")
    with pytest.raises(ValueError, match="only for classifiers saved with one of your own"):
        ProvenanceClassifier.load(tmp_path / "plain", backbone=make)


def test_the_file_is_tensors_and_json(fitted, tmp_path):
    path = tmp_path / "clf"
    fitted.save(path)
    with safe_open(path, framework="np") as file:
        state = json.loads(file.metadata()["state"])
    assert state["params"]["alpha"] == 0.3
    assert "fit_X" in safetensors.numpy.load_file(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        ProvenanceClassifier.load(tmp_path / "absent")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        ProvenanceClassifier.load(tmp_path / "text")
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="not written by this version"):
        ProvenanceClassifier.load(tmp_path / "other")


def test_labels_that_json_cannot_hold_are_refused(iris, tmp_path):
    X, y = iris
    clf = quick(max_epochs=1).fit(X, y, sample_id=np.array([b"x"] * 150, object))
    with pytest.raises(TypeError, match="bytes"):
        clf.save(tmp_path / "clf")
