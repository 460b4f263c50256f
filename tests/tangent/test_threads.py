"""Threads take turns with a module, and find it as it was."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from sklearn_provenance._utils.modules import Generators, evaluation_mode
from sklearn_provenance.tangent import TangentFeatures, TangentModel, TangentRows, tangent_kernel
from sklearn_provenance.tangent._fingerprint import transformer_fingerprint


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3)
    )


def test_answers_of_threads_are_those_of_one():
    module, x = network(), torch.randn(60, 6)
    model = TangentModel(module)
    expected = TangentRows(model, x, batch_size=7)
    kernel = expected.inner()
    features = TangentFeatures(module, 32, batch_size=7).fit(x)
    sketch = features.transform(x)

    def work(i):
        if i % 4 == 0:
            rows = TangentRows(fresh, x, batch_size=7)
            return torch.equal(rows.inner(), kernel) and torch.equal(rows.labels, expected.labels)
        if i % 4 == 1:
            return torch.equal(tangent_kernel(fresh, x, expected.labels, batch_size=7), kernel)
        if i % 4 == 2:
            return np.array_equal(features.transform(x), sketch)
        return torch.equal(fresh.logits(x, 7).double(), expected.logits)

    for _ in range(3):
        fresh = TangentModel(module)  # planned by whichever thread comes first
        module.train()
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(16)))
        assert all(m.training for m in module.modules())
        assert not any(m._forward_hooks for m in module.modules())


class Slow(nn.Linear):
    """Says when it runs."""

    def forward(self, x):
        self.inside.set()
        time.sleep(0.02)
        return super().forward(x)


def test_a_model_is_made_of_the_parameters_while_others_swap_them():
    module = Slow(6, 3)
    module.inside = threading.Event()
    parameters = list(module.parameters())
    thread = threading.Thread(target=TangentModel(module).plan, args=(torch.randn(5, 6),))
    thread.start()
    module.inside.wait()
    while thread.is_alive():
        model = TangentModel(module)
        assert [id(p) for p in model.weights.values()] == [id(p) for p in parameters]
        assert set(model.coverage.routes) == {"weight", "bias"}
    thread.join()


class Sleeping(nn.Linear):
    """Holds nothing that a digest cannot see."""

    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)


def test_a_network_has_the_same_digest_while_others_use_it():
    module = Sleeping(6, 3)
    features = TangentFeatures(module, 32)
    expected = transformer_fingerprint(features)
    thread = threading.Thread(target=TangentModel(module).plan, args=(torch.randn(5, 6),))
    thread.start()
    seen = set()
    while thread.is_alive():
        seen.add(transformer_fingerprint(features))
    assert seen == {expected}


def test_modules_that_share_parts_wait_for_each_other():
    module = network()
    seen, inside = [], threading.Event()

    def first():
        with evaluation_mode(module):
            inside.set()
            time.sleep(0.05)
            seen.append(module[2].training)

    def second():
        inside.wait()
        with evaluation_mode(module[2]):
            seen.append("second")

    threads = [threading.Thread(target=f) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False, "second"]
    assert module[2].training


def test_a_module_may_be_taken_again():
    module = network()
    with evaluation_mode(module), evaluation_mode(module[1]):
        assert not module[1].training
    assert module[1].training


def test_modes_survive_whatever_the_module_does():
    class Switches(nn.Linear):
        def forward(self, x):
            self.train()
            raise ZeroDivisionError

    module = nn.Sequential(Switches(6, 3), nn.Dropout())
    module[1].eval()
    with pytest.raises(ZeroDivisionError):
        TangentModel(module).plan(torch.randn(5, 6))
    assert [m.training for m in module.modules()] == [True, True, False]


def test_generators():
    generators = Generators(torch.device("cpu"))
    assert not generators.restore()
    torch.rand(1)
    assert generators.restore()
    np.random.rand()  # noqa: NPY002
    assert generators.restore()
    assert not generators.restore()


def test_features_of_structures_and_sparse_rows(tmp_path):
    torch.manual_seed(0)
    module, x = nn.Linear(6, 3), torch.randn(9, 6) * (torch.rand(9, 6) < 0.5)
    expected = TangentFeatures(module, 16).fit(x).transform(x)
    forward = lambda m, batch: m(batch["x"])  # noqa: E731
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for X, own in (({"x": x}, forward), (sparse.csr_array(x.numpy()), None), (mapped, None)):
        features = TangentFeatures(module, 16, forward=own, batch_size=4).fit(X)
        np.testing.assert_allclose(features.transform(X), expected, rtol=1e-5, atol=1e-6)
        kept = features.set_params(store=tmp_path / "store").transform(X)
        np.testing.assert_allclose(kept, expected, rtol=1e-5, atol=1e-6)
        if own:
            with pytest.raises(ValueError, match="X must have rows of shape"):
                features.transform({"x": x[:, :5]})


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
def test_compiled_modules_go_through_torch_func():
    module, x = network().eval(), torch.randn(9, 6)
    expected = TangentRows(TangentModel(module), x).norms()
    traced = torch.jit.trace(module, x)
    traced.train()
    model = TangentModel(traced)
    torch.testing.assert_close(TangentRows(model, x).norms(), expected)
    assert set(model.coverage.routes.values()) == {"functional"}
    assert traced.training
