import errno
import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open
from sklearn.base import clone
from torch import nn

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE

from ..checks import thorough
from .conftest import quick, quick_regressor, quick_vae


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
    with pytest.raises(ValueError, match="unless the estimator was saved with one of yours"):
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


class Raw(str):
    """Text that is the state as it is."""


def rewrite(path, change_state=None, change_tensors=None, version=1):
    """Write a file again as somebody who knows the format would; version 1 has no checksum."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    state, tensors = json.loads(header["state"]), safetensors.torch.load_file(path)
    state = state if change_state is None else change_state(state)
    if change_tensors is not None:
        change_tensors(tensors)
    header["state"] = state if isinstance(state, Raw) else json.dumps(state)
    if version == 1:
        del header["checksum"]
        header["format"] = header["format"].replace("/2", "/1")
    safetensors.torch.save_file(tensors, path, metadata=header)


@pytest.fixture(scope="session")
def models(iris, tmp_path_factory):
    """Files of estimators: path, class and rows."""
    folder, X = tmp_path_factory.mktemp("models"), np.random.default_rng(0).random((30, 8, 8))
    images, y = (255 * X).astype(np.uint8), np.arange(30) % 3
    rows = quick(max_epochs=1).fit(*iris, sample_id=[f"id {i}" for i in range(150)])
    found = []
    for estimator, rows_ in (
        (rows, iris[0]),
        (quick("single_branch", max_epochs=1, index_subset=0.5).fit(images, y), images),
        (quick_vae(max_epochs=1).fit(images, y), images),
        (quick_regressor(max_epochs=1, index_subset=0.5).fit(X[:, 0], X[:, 1, :2]), X[:, 0]),
        (quick(max_epochs=1, normalization="standardize").fit(images, y), images),
    ):
        path = folder / f"model-{len(found)}"
        estimator.save(path)
        found.append((path, type(estimator), rows_, estimator.predict(rows_)))
    return found


def load(path, cls):
    """Estimator, or None for a clear error."""
    try:
        return cls.load(path, device="cpu")
    except (ValueError, OSError) as error:
        message = str(error)
    assert str(path) in message
    return None


def test_files_saved_before_there_was_a_checksum_still_load(models, tmp_path):
    for path, cls, X, expected in models:
        shutil.copy(path, tmp_path / "old")
        rewrite(tmp_path / "old")
        np.testing.assert_array_equal(cls.load(tmp_path / "old", device="cpu").predict(X), expected)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alpha", "os.system", "alpha"),
        ("alpha", float("nan"), "alpha"),
        ("width", "huge", "width"),
        ("architecture", 3, "architecture"),
        ("lr", -1, "lr"),
        ("os", "system", "unknown parameters"),
    ],
)
def test_parameters_are_checked(models, tmp_path, name, value, message, version):
    path, cls, _, _ = models[0]
    shutil.copy(path, tmp_path / "m")
    rewrite(
        tmp_path / "m",
        lambda state: state | {"params": state["params"] | {name: value}},
        version=version,
    )
    with pytest.raises(ValueError, match=message if version == 1 else "checksum"):
        cls.load(tmp_path / "m")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", range(5))
def test_weights_are_finite(models, tmp_path, which, value):
    path, cls, _, _ = models[which]

    def change(tensors):
        name = next(n for n in sorted(tensors) if n.startswith("network") and n.endswith("weight"))
        tensors[name].view(-1)[3] = value

    shutil.copy(path, tmp_path / "m")
    rewrite(tmp_path / "m", change_tensors=change)
    with pytest.raises(ValueError, match="finite"):
        cls.load(tmp_path / "m")


def test_altered_bytes_are_noticed(models, tmp_path):
    """New files: wherever a byte changes, or the file ends."""
    rng = np.random.default_rng(0)
    for path, cls, X, expected in models:
        raw = path.read_bytes()
        header = 8 + int.from_bytes(raw[:8], "little")
        places = {*range(0, header, 97), *rng.integers(header, len(raw), 40)}
        contents = [raw[:place] for place in list(places)[::3]]
        for place in places:
            altered = bytearray(raw)
            altered[place] ^= 1 << rng.integers(8)
            contents.append(bytes(altered))
        loaded = 0
        for content in contents:
            (tmp_path / "m").write_bytes(content)
            if (found := load(tmp_path / "m", cls)) is not None:
                np.testing.assert_array_equal(found.predict(X), expected)
                loaded += 1
        assert loaded < 0.02 * len(contents)


ODD = [
    *(None, True, 0, 1, -1, 2**70, 10**9, 0.5, 1e308, float("nan"), float("inf")),
    *("", "auto", "cpu", "os.system", [], [1], [[1, 2], 3], ["a", 1], {}, {"dtype": "|O"}),
    {"dtype": "<f8", "values": [1.5, 2.5, 3.5]},
    {"dtype": "<U100000000", "values": ["a", "b", "c"]},
    {"dtype": "|V8", "values": [1, 2, 3]},
]


def change_one(value, rng):
    """A JSON value in which one part is another, removed or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: change_one(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        i = rng.integers(len(value))
        return [*value[:i], change_one(value[i], rng), *value[i + (rng.random() < 0.8) :]]
    return ODD[rng.integers(len(ODD))]


@pytest.mark.parametrize("seed", [0, *thorough(1)])
def test_altered_states_without_a_checksum(models, tmp_path, seed):
    """Old files: an estimator that works, or one error."""
    rng = np.random.default_rng(seed)
    refused = 0
    for path, cls, X, _ in models:
        for _ in range(40):
            shutil.copy(path, tmp_path / "m")
            rewrite(tmp_path / "m", lambda state: change_one(state, rng))
            found = load(tmp_path / "m", cls)
            refused += found is None
            if found is not None:
                assert len(found.predict(X[:3])) == 3
                assert found.explain(X[:3], k=1).indices.shape == (3, 1)
                assert len(found.history_) == len(found.net_.history)
                clone(found)
    assert refused > 80


def test_altered_tensors_without_a_checksum(models, tmp_path):
    rng, single = np.random.default_rng(0), torch.float32
    changes = [
        lambda t, n: t.pop(n),
        lambda t, n: t.update({n: t[n][:1] if t[n].ndim else t[n][None]}),
        lambda t, n: t.update({n: t[n][None]}),
        lambda t, n: t.update({n: t[n].to(single if t[n].dtype != single else torch.float64)}),
        lambda t, n: t.update({n: -t[n] - 1}),
        lambda t, n: t.update({n: t[n] + 200}),
        lambda t, n: t.update({n + "x": t[n].clone()}),
    ]
    for path, cls, X, _ in models:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys())
        names = ["fit_X", "fit_y", "index", *rng.choice(names, 2, replace=False)]
        for name in names:
            for number, change in enumerate(changes):
                shutil.copy(path, tmp_path / "m")
                rewrite(tmp_path / "m", change_tensors=lambda t, c=change, n=name: c(t, n))
                found = load(tmp_path / "m", cls)
                # Other numbers are as good as those that were saved: weights, targets.
                free = name.startswith("network") or (cls, name) == (ProvenanceRegressor, "fit_y")
                assert found is None or (number in (4, 5) and free)
                if found is not None:
                    found.predict(X[:3])


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "null", "3", '"a"', "[]", "{}"])
def test_states_that_are_none(models, tmp_path, text):
    path, cls, _, _ = models[0]
    shutil.copy(path, tmp_path / "m")
    rewrite(tmp_path / "m", lambda state: Raw(text))
    with pytest.raises(ValueError, match="cannot be loaded"):
        cls.load(tmp_path / "m")


def test_a_class_loads_its_own_files(models):
    with pytest.raises(ValueError, match="not written by this version of ProvenanceVAE"):
        ProvenanceVAE.load(models[0][0])


def test_no_part_of_a_file_is_left_where_saving_fails(fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "clf")
    before = (tmp_path / "clf").read_bytes()
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(descriptor):
        raise full

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        fitted.save(tmp_path / "clf")
    assert caught.value.filename == str(tmp_path / "clf")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ProvenanceClassifier.load(tmp_path / "nowhere")


def test_parameters_of_every_kind_survive(iris, tmp_path):
    """A device, rows as a series, and no seed."""
    import pandas as pd

    X, y = iris
    subset = pd.Series(np.arange(0, 150, 2))
    device = torch.device("cpu")
    clf = quick(max_epochs=1, device=device, index_subset=subset, random_state=None).fit(X, y)
    clf.save(tmp_path / "clf")
    loaded = ProvenanceClassifier.load(tmp_path / "clf", device="cpu")
    agree(clf, loaded, X)
    np.testing.assert_array_equal(loaded.index_subset, subset)
    assert loaded.random_state is None


def test_ids_that_are_not_finite_are_not_saved(iris, tmp_path):
    X, y = iris
    ids = np.array([np.nan, *range(149)], dtype=object)
    clf = quick(max_epochs=1).fit(X, y, sample_id=ids)
    with pytest.raises(ValueError, match="sample ids must be finite to be saved; got nan"):
        clf.save(tmp_path / "clf")
    assert not (tmp_path / "clf").exists()


def test_errors_of_a_backbones_own_files_are_not_those_of_the_estimators_file(iris, tmp_path):
    clf = quick(backbone=nn.Linear(4, 5), max_epochs=1).fit(*iris)
    clf.save(tmp_path / "clf")

    def make():
        raise FileNotFoundError("no weights.pt here")

    with pytest.raises(FileNotFoundError, match=r"no weights\.pt here"):
        ProvenanceClassifier.load(tmp_path / "clf", backbone=make)
