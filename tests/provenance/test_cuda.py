"""What differs on a GPU; skipped where there is none."""

import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE

from .conftest import ARCHITECTURES, quick, quick_regressor, quick_vae

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fit_explain_and_save(iris, tmp_path, architecture, precision):
    X, y = iris
    clf = quick(architecture, device="cuda", precision=precision, dropout=0.1, mixing="sampled")
    clf.set_params(max_epochs=40).fit(X, y)
    assert next(clf.net_.module_.parameters()).is_cuda
    assert clf.score(X, y) > 0.9
    indices, scores = clf.explain(X, k=3)
    np.testing.assert_allclose(
        scores, np.take_along_axis(clf.index_proba(X), indices, 1), rtol=1e-2, atol=1e-4
    )
    clf.explain(k=3)
    clf.set_params(warm_start=True).fit(X, y)
    twin = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(twin.predict(X), clf.predict(X))
    clf.save(tmp_path / "clf")
    on_cpu = ProvenanceClassifier.load(tmp_path / "clf", device="cpu")
    assert np.mean(on_cpu.predict(X) == clf.predict(X)) > 0.95


def test_data_are_moved_once(iris):
    """Rows go to the device before training; a batch is an index into them."""
    X, y = iris

    class Device(Callback):
        def on_batch_begin(self, net, batch, **kwargs):
            assert batch[0]["x"].is_cuda
            assert batch[1]["label"].is_cuda

    quick(device="cuda", max_epochs=2, callbacks=[Device()]).fit(X, y)


def test_a_backbone_on_the_gpu_is_copied_from_there(iris):
    backbone = torch.nn.Linear(4, 8).cuda()
    clf = quick(backbone=backbone, device="cuda").fit(*iris)
    assert clf.score(*iris) > 0.3
    assert backbone.weight.is_cuda


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_autoencoder_on_the_gpu(tmp_path, precision):
    X = np.random.default_rng(0).integers(0, 256, (64, 9, 9, 3), dtype=np.uint8)
    y = np.arange(64) % 4
    vae = quick_vae(device="cuda", precision=precision, warm_start=True).fit(X, y).fit(X, y)
    assert next(vae.net_.module_.parameters()).is_cuda
    assert np.isfinite(vae.score(X))
    assert vae.reconstruct(X).shape == X.shape
    assert vae.explain(k=3).indices.shape == (64, 3)
    vae.save(tmp_path / "vae")
    on_cpu = ProvenanceVAE.load(tmp_path / "vae", device="cpu")
    np.testing.assert_allclose(on_cpu.transform(X), vae.transform(X), atol=0.1)


@pytest.mark.parametrize("mixing", ["expected", "sampled"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_regressor_on_the_gpu(diabetes, tmp_path, precision, mixing):
    X, y = diabetes
    reg = quick_regressor(
        device="cuda", precision=precision, mixing=mixing, warm_start=True, index_subset=0.5
    )
    reg.set_params(max_epochs=30).fit(X, y).set_params(target_neighbors=9).fit(X, y)
    assert next(reg.net_.module_.parameters()).is_cuda
    assert reg.net_.criterion_.radii.is_cuda
    assert reg.score(X, y) > 0.6
    assert reg.explain(k=3).indices.shape == (200, 3)
    reg.save(tmp_path / "reg")
    on_cpu = ProvenanceRegressor.load(tmp_path / "reg", device="cpu")
    np.testing.assert_allclose(on_cpu.predict(X), reg.predict(X), rtol=0.05)
