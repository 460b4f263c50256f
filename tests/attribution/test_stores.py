"""Stores: the same answers, whatever was killed, and clear errors for what is damaged."""

import io
import json
import os
import shutil
import signal
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import attribution as att
from sklearn_provenance._utils import files
from sklearn_provenance._utils.files import checksum
from sklearn_provenance._utils.shards import ShardedTable, _content_checksum, _has_checksum
from sklearn_provenance.attribution import AttributionStore, InfoGainAttributor
from sklearn_provenance.attribution.features._sketched import SketchedFeatures
from sklearn_provenance.attribution.stores._model_file import model_bytes, read_model
from sklearn_provenance.attribution.stores._probe import Probe
from sklearn_provenance.tangent import TangentFeatures

from ..checks import thorough


def itself(X):
    return X


X, Y = load_iris(return_X_y=True)
ROWS = np.random.default_rng(0).permutation(150)
X, Y = X[ROWS], Y[ROWS]
X[[50, 90]] = X[3]
X, Y, QUERIES = X[:120], Y[:120], X[120:126]
IDS = np.array([f"row {i}" for i in range(120)])


@pytest.fixture(scope="module")
def model():
    return LogisticRegression(max_iter=500).fit(X, Y)


@pytest.fixture(scope="module")
def network():
    return make_pipeline(StandardScaler(), MLPClassifier((6,), max_iter=30, random_state=0)).fit(
        X, Y
    )


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
MARGIN = {"measurement": "margin", "candidates": "all"}
METHODS = {
    "gain": (att.InfoGainAttributor, {}),
    "gain of margins": (att.InfoGainAttributor, MARGIN),
    "gain, sketch": (att.InfoGainAttributor, {"features": TangentFeatures(n_components=32)}),
    "gain, own rows": (att.InfoGainAttributor, {"features": itself}),
    "gain, scanned": (att.InfoGainAttributor, {"features": itself, "memory_limit": 4000}),
    "gain, index": (att.InfoGainAttributor, {"pool_size": 9, "index": "exact", **MARGIN}),
    "loss": (att.InfoLossAttributor, MARGIN),
    "RelatIF": (att.RelatIFAttributor, MARGIN),
    "RepSim": (att.RepSimAttributor, {}),
}


def same(found, expected, rtol=1e-7):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=rtol, atol=1e-12)


# The others are stored in the same way.
STORED = ["gain of margins", "gain, scanned", "gain, index", "loss", "RepSim"]


@pytest.mark.parametrize("name", [*STORED, *thorough(*(n for n in METHODS if n not in STORED))])
def test_answers_are_those_of_memory(name, network, tmp_path):
    cls, params = METHODS[name]
    expected = cls(network, **params).fit(X, Y)
    store = AttributionStore(tmp_path, shard_rows=37, dtype="float64")
    stored = cls(network, **params).fit(X, Y, store=store)
    again = {name: params[name] for name in ("features",) if callable(params.get(name))}
    for attributor in (stored, cls.load(tmp_path, **again), cls.load(tmp_path, network, **again)):
        for rows in (QUERIES, None):
            same(attributor.explain(rows, k=4), expected.explain(rows, k=4))
        np.testing.assert_allclose(
            attributor.attribute(QUERIES), expected.attribute(QUERIES), rtol=1e-7, atol=1e-12
        )
        np.testing.assert_array_equal(attributor.training_.y, Y)
    explanation = attributor.explain(QUERIES, k=2)
    assert explanation.training_data is None
    assert "row" in str(explanation)


@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float32", 1e-5), ("float16", 2e-3), ("bfloat16", 2e-2)]
)
def test_fewer_bytes_keep_scores(dtype, rtol, model, tmp_path):
    expected = InfoGainAttributor(model).fit(X, Y).attribute(QUERIES)
    InfoGainAttributor(model).fit(X, Y, store=AttributionStore(tmp_path, dtype=dtype))
    found = InfoGainAttributor.load(tmp_path).attribute(QUERIES)
    np.testing.assert_allclose(found, expected, rtol=rtol)
    assert AttributionStore(tmp_path).info()["dtype"] == dtype


def test_parameters_come_back_and_some_may_be_given(model, tmp_path):
    names = {"noise_variance": "3*diagonal", "pool_size": 7, "index": att_index()}
    fitted = InfoGainAttributor(model, **names).fit(X, Y, IDS, store=tmp_path)
    loaded = InfoGainAttributor.load(tmp_path)
    assert loaded.noise_variance == "3*diagonal"
    assert loaded.pool_size == 7
    assert loaded.index.chunk_rows == 11
    assert loaded.noise_variance_ == fitted.noise_variance_
    assert AttributionStore(tmp_path).info()["noise_variance"] == fitted.noise_variance_
    np.testing.assert_array_equal(loaded.training_.sample_id, IDS)
    loaded = InfoGainAttributor.load(tmp_path, noise_variance=2.0)
    assert loaded.noise_variance_ == 2.0
    loaded.drop_rows(IDS[:3])  # what was given to one load is not that of the next
    info = AttributionStore(tmp_path).info()
    assert info["noise_variance"] == InfoGainAttributor.load(tmp_path).noise_variance_ != 2.0
    with pytest.raises(ValueError, match="measurement must be 'label_logit', with which"):
        InfoGainAttributor.load(tmp_path, measurement="margin")


def att_index():
    from sklearn_provenance.retrieval import ExactIndex

    return ExactIndex(chunk_rows=11)


def test_rows_are_appended_and_dropped(model, tmp_path):
    store = AttributionStore(tmp_path, shard_rows=32)
    attributor = InfoGainAttributor(model).fit(X[:50], Y[:50], IDS[:50], store=store)
    attributor.append_rows(X[50:], Y[50:], IDS[50:])
    dropped = IDS[[3, 49, 50, 119]]
    attributor.drop_rows(dropped)
    left = ~np.isin(IDS, dropped)
    expected = InfoGainAttributor(model).fit(X[left], Y[left], IDS[left])
    for found in (attributor, InfoGainAttributor.load(tmp_path)):
        same(found.explain(QUERIES, k=5), expected.explain(QUERIES, k=5))
        np.testing.assert_array_equal(found.training_.sample_id, IDS[left])
        assert found.noise_variance_ == pytest.approx(expected.noise_variance_, rel=1e-12)
    info = store.info()
    assert info["n_rows"] == len(store) == 116
    assert info["n_shards"] == 4  # shards are filled up
    assert info["noise_variance"] == found.noise_variance_
    store.verify()


@pytest.mark.parametrize("noise_variance", [0.25, "diagonal", "3*diagonal"])
def test_the_noise_variance_after_rows_are_dropped(noise_variance, model, tmp_path):
    """Also without an attributor: it is that of the next explanation."""
    store = AttributionStore(tmp_path, dtype="float16")
    InfoGainAttributor(model, noise_variance=noise_variance).fit(X, Y, IDS, store=store)
    store.drop_rows(IDS[:40])
    assert store.info()["noise_variance"] == InfoGainAttributor.load(tmp_path).noise_variance_
    att.RepSimAttributor(model).fit(X, Y, store=tmp_path / "cosines")
    AttributionStore(tmp_path / "cosines").drop_rows([3])
    assert AttributionStore(tmp_path / "cosines").info()["noise_variance"] is None


def test_numbers_stay_when_rows_are_dropped(model, tmp_path):
    attributor = InfoGainAttributor(model).fit(X[:50], Y[:50], store=tmp_path)
    assert attributor.explain(QUERIES).sample_id is None
    attributor.drop_rows([0, 7]).append_rows(X[50:52], Y[50:52])
    expected = [*np.delete(np.arange(50), [0, 7]), 50, 51]
    np.testing.assert_array_equal(attributor.training_.sample_id, expected)


def test_calls_may_be_repeated(model, tmp_path):
    attributor = InfoGainAttributor(model).fit(X[:60], Y[:60], IDS[:60], store=tmp_path)
    attributor.append_rows(X[60:], Y[60:], IDS[60:]).append_rows(X[60:], Y[60:], IDS[60:])
    assert len(AttributionStore(tmp_path)) == 120
    attributor.drop_rows(IDS[:2]).drop_rows(IDS[:2], ignore_missing=True)
    assert len(AttributionStore(tmp_path)) == 118
    again = InfoGainAttributor(model).fit(X[2:], Y[2:], IDS[2:], store=tmp_path)
    same(again.explain(QUERIES), attributor.explain(QUERIES))


def test_a_store_is_made_of_a_fitted_attributor(model, tmp_path):
    fitted = InfoGainAttributor(model).fit(X, Y, IDS)
    fitted.save(tmp_path / "one")
    loaded = InfoGainAttributor.load(tmp_path / "one")
    same(loaded.explain(QUERIES), fitted.explain(QUERIES))
    loaded.save(tmp_path / "two")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")
    with pytest.raises(ValueError, match="must not hold"):
        loaded.save(tmp_path / "two")


def test_models_of_their_own_code_are_given(tmp_path):
    class Own(torch.nn.Linear):
        pass

    torch.manual_seed(0)
    module = Own(4, 3)
    InfoGainAttributor(module).fit(X.astype(np.float32), Y, store=tmp_path)
    assert not AttributionStore(tmp_path).info()["holds_model"]
    with pytest.raises(ValueError, match="estimator must be given"):
        InfoGainAttributor.load(tmp_path)
    loaded = InfoGainAttributor.load(tmp_path, module)
    assert (loaded.explain(X[:3].astype(np.float32), k=1).indices >= 0).all()
    with torch.no_grad():
        module.weight += 1
    with pytest.raises(ValueError, match="built with another model"):
        InfoGainAttributor.load(tmp_path, module)


# --- killed at any moment ---


def content_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def build(folder, model):
    store = AttributionStore(folder, shard_rows=16)
    InfoGainAttributor(model).fit(X[:50], Y[:50], IDS[:50], store=store)


def append(folder, model):
    InfoGainAttributor.load(folder, model).append_rows(X[50:90], Y[50:90], IDS[50:90])


def drop(folder, model):
    wanted = IDS[[1, 20, 45]]
    InfoGainAttributor.load(folder, model).drop_rows(wanted, ignore_missing=True)


def counting(monkeypatch, stop_at, after):
    """Count steps that change the folder, and kill the process at one, before it or after."""
    steps = []

    def wrap(function):
        def step(*arguments, **options):
            steps.append(function)
            if len(steps) == stop_at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if len(steps) == stop_at and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    monkeypatch.setattr(files.os, "replace", wrap(os.replace))
    monkeypatch.setattr(Path, "unlink", wrap(Path.unlink))
    return steps


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("change", [build, append, drop])
def test_a_killed_change_is_taken_up_to_the_same_bytes(change, model, tmp_path):
    start = tmp_path / "start"
    if change is not build:
        build(start, model)
    else:
        start.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(start, tmp_path / "whole")
        steps = counting(patch, 0, False)
        change(tmp_path / "whole", model)
    expected = content_of(tmp_path / "whole")
    n = len(steps)
    assert n > 4
    moments = [(at, after) for at in {1, n // 2, n - 1, n} for after in (False, True)]
    for at, after in moments:
        folder = tmp_path / f"killed {at} {after}"
        shutil.copytree(start, folder)
        child = os.fork()
        if not child:
            counting(pytest.MonkeyPatch(), at, after)
            change(folder, model)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        if change is not build:  # what there was is there, or what there shall be
            assert len(AttributionStore(folder)) in (50, len(AttributionStore(tmp_path / "whole")))
            InfoGainAttributor.load(folder, model).explain(QUERIES, k=2)
        change(folder, model)
        assert content_of(folder) == expected, (at, after)


def test_shards_that_are_done_are_not_measured_again(model, tmp_path, monkeypatch):
    n_measured = []

    def watched(rows):
        n_measured.append(len(rows))
        if sum(n_measured) > 70:
            raise KeyboardInterrupt
        return rows

    store = AttributionStore(tmp_path, shard_rows=16)
    for _ in range(2):
        attributor = InfoGainAttributor(model, features=Watched(watched))
        try:
            attributor.fit(X, Y, store=store)
        except KeyboardInterrupt:
            n_measured.clear()
            n_measured.append(-1000)
    assert sum(n_measured) + 1000 == 120 - 64


def test_sketches_are_measured_once_and_fill_shards(network, tmp_path, monkeypatch):
    n_measured = []
    measured = SketchedFeatures.training_points

    def counted(self, inputs, labels):
        n_measured.append(len(labels))
        return measured(self, inputs, labels)

    monkeypatch.setattr(SketchedFeatures, "training_points", counted)
    monkeypatch.setattr("sklearn_provenance.attribution.stores._folder._SHARD_BYTES", 50 * 32 * 4)
    store = AttributionStore(tmp_path, dtype="float32")
    features = TangentFeatures(n_components=32)
    InfoGainAttributor(network, features=features, **MARGIN).fit(X, Y, store=store)
    assert n_measured == [50, 50, 20]


class Watched:
    """A fitted transformer, which is known by its name."""

    def __init__(self, function):
        self.function = function

    def transform(self, X):
        return self.function(X)

    def __reduce__(self):
        return str, ("watched",)


# --- damaged, foreign, newer ---


@pytest.fixture(scope="module")
def sound(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "sound"
    InfoGainAttributor(model).fit(X, Y, store=AttributionStore(folder, shard_rows=64))
    return folder


def use(folder, model=None):
    InfoGainAttributor.load(folder, model).explain(QUERIES, k=2)


def damage(kind, path):
    content = bytearray(path.read_bytes())
    if kind == "flipped":
        content[len(content) // 2] ^= 64
    elif kind == "cut":
        content = content[:-3]
    elif kind == "empty":
        content = b""
    elif kind == "longer":
        content += b"0"
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty", "longer", "missing"])
@pytest.mark.parametrize("name", ["features", "norms", "digests", "y", "ids", "probe", "model"])
def test_a_damaged_file_is_named(sound, tmp_path, name, kind):
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    path = sorted(folder.glob(f"{name}-*"))[-1]
    damage(kind, path)
    for act in (use, lambda folder: AttributionStore(folder).verify()):
        with pytest.raises(ValueError, match=path.name):
            act(folder)


def test_files_that_change_while_they_are_read(model, tmp_path):
    store = AttributionStore(tmp_path, shard_rows=50)
    InfoGainAttributor(model).fit(X, Y, store=store)
    rows = store.folder.content().features
    np.testing.assert_array_equal(rows[40:60], np.concatenate([rows[40:50], rows[50:60]]))
    path, _ = rows.files[0]
    os.truncate(path, path.stat().st_size - 8 * rows.shape[1])
    np.testing.assert_array_equal(rows[40:49].shape, (9, rows.shape[1]))
    with pytest.raises(ValueError, match=f"{path.name}.* is damaged"):
        rows[40:50]
    path.unlink()
    with pytest.raises(ValueError, match=f"{path.name}.* is missing"):
        rows[40:49]


def test_some_inputs_are_kept_without_pickle():
    inputs = {
        "ids": torch.arange(6).reshape(2, 3),
        "counts": csr_array(np.eye(2, 4)),
        "numbers": np.ones((2, 1), np.float32),
    }
    again = Probe.from_bytes(Probe(inputs).to_bytes()).inputs
    assert list(again) == list(inputs)
    for name, part in inputs.items():
        assert type(again[name]) is type(part)
        assert again[name].dtype == part.dtype
        assert (again[name] != part).sum() == 0
    assert Probe.from_bytes(Probe().to_bytes()).inputs is None
    with pytest.raises(ValueError, match=r"must take arrays, tensors.* for a store; got list"):
        Probe([1, 2]).to_bytes()


def test_features_of_ones_own_need_no_network(tmp_path):
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    expected = InfoGainAttributor(forest, features=itself).fit(X, Y)
    InfoGainAttributor(forest, features=itself).fit(X, Y, store=tmp_path)
    loaded = InfoGainAttributor.load(tmp_path, forest, features=itself)
    same(loaded.explain(QUERIES, k=4), expected.explain(QUERIES, k=4))


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty"])
def test_a_damaged_manifest_is_refused(sound, tmp_path, kind):
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    damage(kind, folder / "manifest.json")
    for act in (use, lambda folder: build(folder, LogisticRegression().fit(X, Y))):
        with pytest.raises(ValueError, match=r"manifest.json.* is damaged"):
            act(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "photographs"}, "must be the manifest of an attribution"),
        ({"version": 2}, "newer"),
    ],
)
def test_foreign_and_newer_stores_are_refused(sound, tmp_path, change, message):
    folder = tmp_path / "store"
    shutil.copytree(sound, folder)
    content = json.loads((folder / "manifest.json").read_text())["content"] | change
    text = json.dumps(content, sort_keys=True).encode()
    outer = {"content": content, "checksum": checksum(text)}
    (folder / "manifest.json").write_text(json.dumps(outer))
    with pytest.raises(ValueError, match=message):
        use(folder)


def test_folders_of_something_else_are_left_alone(model, sound, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"has the file 'letter.txt'"):
        InfoGainAttributor(model).fit(X, Y, store=tmp_path)
    assert (tmp_path / "letter.txt").read_text() == "dear"
    with pytest.raises(FileNotFoundError, match="holds no attribution store"):
        InfoGainAttributor.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no attribution store"):
        InfoGainAttributor.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="must be of RelatIFAttributor; got one of InfoGain"):
        att.RelatIFAttributor.load(sound)
    other = LogisticRegression(C=0.1).fit(X, Y)
    with pytest.raises(ValueError, match="built with another model"):
        InfoGainAttributor.load(sound, other)
    with pytest.raises(ValueError, match="holds other rows"):
        InfoGainAttributor(model).fit(X[:100], Y[:100], store=sound)
    with pytest.raises(ValueError, match="holds features in float64"):
        InfoGainAttributor(model).fit(X, Y, store=AttributionStore(sound, dtype="float16"))


def test_no_code_of_the_writer_is_run(model):
    class Evil:
        def __reduce__(self):
            return os.system, ("exit 1",)

    evil = LogisticRegression(max_iter=500).fit(X, Y)
    evil.note = Evil()
    assert model_bytes(evil) is None
    content = io.BytesIO()
    torch.save(evil, content)
    with pytest.raises(ValueError, match="must be of layers and estimators"):
        read_model(content.getvalue())
    again = read_model(model_bytes(model))
    np.testing.assert_array_equal(again.coef_, model.coef_)


# --- what cannot be stored ---


def test_what_cannot_be_stored_is_refused(model, tmp_path):
    def fit(attributor, ids=None):
        return attributor.fit(X, Y, ids, store=tmp_path / "store")

    with pytest.raises(ValueError, match="store is for attributors that compare explicit"):
        fit(att.EKFACAttributor(model))
    with pytest.raises(ValueError, match='pass measurement="margin"'):
        fit(InfoGainAttributor(model, candidates="all"))
    for attributor in (att.InfoLossAttributor, att.RelatIFAttributor):  # need rows of all classes
        for noise_variance in (1.0, "scale"):
            with pytest.raises(ValueError, match="compares rows of all classes at the label of a"):
                fit(attributor(model, candidates="same_class", noise_variance=noise_variance))
    assert not (tmp_path / "store").exists()
    with pytest.raises(ValueError, match="must name each row once"):
        fit(InfoGainAttributor(model), np.zeros(120, dtype=int))
    days = np.arange(120).astype("datetime64[D]")
    mixed = np.array([*range(119), "last"], dtype=object)
    for ids, message in (
        (np.linspace(0, 1, 120), "integers or texts"),
        (days, "numbers or texts for a store; got datetime"),
        (mixed, "numbers or texts for a store; got other objects"),
    ):
        with pytest.raises(TypeError, match=message):
            fit(InfoGainAttributor(model), ids)
    with pytest.raises(ValueError, match="random_state of the features must be an integer"):
        fit(InfoGainAttributor(model, features=TangentFeatures(n_components=8, random_state=None)))
    with pytest.raises(ValueError, match="dtype must be one of"):
        AttributionStore(tmp_path, dtype="int8")
    with pytest.raises(ValueError, match='positive integer or "auto"; got 0'):
        AttributionStore(tmp_path, shard_rows=0)
    with pytest.raises(ValueError, match="has no store"):
        InfoGainAttributor(model).fit(X, Y).append_rows(X, Y)


def test_features_that_are_not_explicit_are_refused(model, tmp_path):
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    large = torch.nn.Sequential(torch.nn.Linear(4, 700), torch.nn.ReLU(), torch.nn.Linear(700, 3))
    rows = X[:9].astype(np.float32)

    def fit(attributor, rows=X):
        return attributor.fit(rows, Y[: rows.shape[0]], store=tmp_path / "store")

    with pytest.raises(ValueError, match="because this model has no gradients"):
        fit(InfoGainAttributor(forest))
    with pytest.raises(ValueError, match=r"explicit to be stored.*those of a RandomForestClass"):
        fit(att.RepSimAttributor(forest))
    with pytest.raises(ValueError, match=r"explicit to be stored.*got sparse rows"):
        fit(att.RepSimAttributor(model), csr_array(X))
    with pytest.raises(ValueError, match="the gradients in use are 5603 numbers a row"):
        InfoGainAttributor(large.eval()).fit(rows, Y[:9]).save(tmp_path / "store")
    sketched = fit(InfoGainAttributor(large), rows)
    assert AttributionStore(tmp_path / "store").info()["n_components"] == 4096
    assert sketched.features_.n_components == 4096


def test_a_network_that_cannot_be_told_from_others(tmp_path):
    class Locked(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.lock = Lock()

    attributor = InfoGainAttributor(Locked().eval())
    with (
        pytest.warns(UserWarning, match="lock"),
        pytest.raises(ValueError, match="one that can be told from others, to have a store"),
    ):
        attributor.fit(X.astype(np.float32), Y, store=tmp_path)


def test_what_the_store_cannot_hold_is_asked_for(model, tmp_path):
    InfoGainAttributor(model, features=itself).fit(X, Y, store=tmp_path)
    with pytest.raises(ValueError, match=r"^features must be given to load"):
        InfoGainAttributor.load(tmp_path)


def test_a_score_of_each_class_needs_the_rows(model, tmp_path):
    attributor = InfoGainAttributor(model).fit(X, Y, store=tmp_path)
    with pytest.raises(ValueError, match="measured at their own labels, but this needs them at"):
        attributor.score(QUERIES, Y[:6])


def test_unsigned_identifiers_are_integers(model, tmp_path):
    ids = np.arange(200, 250, dtype=np.uint8)
    attributor = InfoGainAttributor(model).fit(X[:50], Y[:50], ids, store=tmp_path)
    attributor.append_rows(X[50:52], Y[50:52])  # counts on, behind 255
    np.testing.assert_array_equal(attributor.training_.sample_id, np.arange(200, 252))
    store = AttributionStore(tmp_path)
    np.testing.assert_array_equal(store.sample_id, np.arange(200, 252))
    np.testing.assert_array_equal(store.y, Y[:52])
    assert repr(store) == f"AttributionStore({str(tmp_path)!r})"


def test_rows_that_do_not_belong_are_refused(model, tmp_path):
    attributor = InfoGainAttributor(model).fit(X[:50], Y[:50], IDS[:50], store=tmp_path)
    before = content_of(tmp_path)
    for rows, ids, message in (
        (slice(40, 60), IDS[40:60], "it has 10 of 20"),
        (slice(50, 52), IDS[:2], "other rows, or labels, under the same"),
        (slice(50, 52), None, "sample_id must be given"),
    ):
        with pytest.raises(ValueError, match=message):
            attributor.append_rows(X[rows], Y[rows], ids)
    with pytest.raises(TypeError, match="must be of the kind"):
        attributor.append_rows(X[50:52], Y[50:52], [1, 2])
    with pytest.raises(ValueError, match="none with 'row 77'"):
        attributor.drop_rows(["row 3", "row 77"])
    with pytest.raises(ValueError, match="a row must be left"):
        attributor.drop_rows(IDS[:50])
    assert content_of(tmp_path) == before
    assert len(attributor.training_) == 50


# --- search indexes ---


def indexed(folder, kind):
    """An attributor with a search index, of each class or of all rows."""
    from sklearn_provenance.retrieval import FaissIndex, LanceIndex

    pytest.importorskip({"faiss": "faiss", "lance": "lancedb"}[kind])
    index = FaissIndex() if kind == "faiss" else LanceIndex(folder / "database")
    return {"features": itself, "pool_size": 12, "index": index}


@pytest.fixture
def counted(monkeypatch):
    """How often search indexes are built."""
    from sklearn_provenance.retrieval._base import RowIndex

    builds = []
    build = RowIndex.build
    monkeypatch.setattr(RowIndex, "build", lambda *a: builds.append(a[0]) or build(*a))
    return builds


def explained_as_new(attributor, model, params, rows):
    """Compare with an attributor that has these rows alone."""
    params = params | {"index": "exact"}
    fresh = InfoGainAttributor(model, **params).fit(X[rows], Y[rows], sample_id=IDS[rows])
    found, expected = (one.explain(QUERIES, k=4) for one in (attributor, fresh))
    np.testing.assert_array_equal(found.sample_id, expected.sample_id)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("kind", ["faiss", "lance"])
def test_search_indexes_are_kept(kind, candidates, tmp_path, model, counted):
    """They are loaded, and follow the rows, without being built again."""
    params = indexed(tmp_path, kind) | {"candidates": candidates}
    store = tmp_path / "store"
    first = np.arange(80)
    attributor = InfoGainAttributor(model, **params)
    attributor.fit(X[first], Y[first], sample_id=IDS[first], store=store)
    n_built = len(counted)
    assert n_built == (1 if candidates == "all" else 3)
    given = {"features": itself}
    again = InfoGainAttributor.load(store, model, **given)
    explained_as_new(again, model, params, first)
    counted.clear()
    again.append_rows(X[80:], Y[80:], IDS[80:])
    InfoGainAttributor.load(store, model, **given).explain(QUERIES, k=4)
    again.drop_rows(IDS[[2, 50, 90]])
    left = np.delete(np.arange(120), [2, 50, 90])
    loaded = InfoGainAttributor.load(store, model, **given)
    assert not counted
    explained_as_new(loaded, model, params, left)
    # Whoever changes the store without an attributor leaves no index of other rows.
    AttributionStore(store).drop_rows(IDS[[60]])
    counted.clear()
    loaded = InfoGainAttributor.load(store, model, **given)
    explained_as_new(loaded, model, params, np.setdiff1d(left, [60]))
    assert counted


def test_killed_while_a_search_index_follows(tmp_path, model, monkeypatch):
    """The store is as before, and the same call ends with the same bytes."""
    params = indexed(tmp_path, "faiss")
    attributors = {}
    for name in ("killed", "whole"):
        attributors[name] = InfoGainAttributor(model, **params).fit(
            X[:80], Y[:80], sample_id=IDS[:80], store=tmp_path / name
        )
    before = {p.name for p in (tmp_path / "killed").iterdir()}
    manifest = (tmp_path / "killed" / "manifest.json").read_bytes()
    adopt = ShardedTable.adopt_file
    calls = []

    def killed(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return adopt(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ShardedTable, "adopt_file", killed)
        with pytest.raises(KeyboardInterrupt):
            attributors["killed"].append_rows(X[80:], Y[80:], IDS[80:])
    assert (tmp_path / "killed" / "manifest.json").read_bytes() == manifest
    assert before < {p.name for p in (tmp_path / "killed").iterdir()}
    for attributor in attributors.values():
        attributor.append_rows(X[80:], Y[80:], IDS[80:])
    killed, whole = (
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in attributors
    )
    assert killed == whole
    explained_as_new(attributors["killed"], model, params, np.arange(120))


def test_other_parameters_build_another_search_index(tmp_path, model, counted):
    params = indexed(tmp_path, "faiss") | {"candidates": "all"}
    store = tmp_path / "store"
    InfoGainAttributor(model, **params).fit(X, Y, sample_id=IDS, store=store)
    other = type(params["index"])("scalar_quantized")
    for n_built in (1, 0):
        counted.clear()
        loaded = InfoGainAttributor.load(store, model, features=itself, index=other)
        explained_as_new(loaded, model, params, np.arange(120))
        assert len([one for one in counted if isinstance(one, type(other))]) == n_built


def test_files_with_checksums_of_older_stores():
    content = b"rows"
    for digest in (checksum(content), _content_checksum(content)):
        assert _has_checksum(digest, content)
        assert not _has_checksum(digest, b"other rows")
