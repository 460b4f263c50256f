"""Rows linearised once: labels, logits, norms, kernels and gradients of one pass."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from torch import nn

from sklearn_provenance.attribution import InfoGainAttributor
from sklearn_provenance.information import pointwise_information_gain
from sklearn_provenance.tangent import (
    TangentFeatures,
    TangentModel,
    TangentRows,
    tangent_diagonal,
    tangent_kernel,
)

from .conftest import NETWORKS, build, every_network, reference
from .test_factors import Routed

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


@given(
    name=st.sampled_from(sorted(NETWORKS)), n=st.integers(1, 9), batch_size=st.integers(1, 10),
    limit=st.sampled_from([0, 3000, 1e9]), seed=st.integers(0, 100), given_labels=st.booleans(),
)  # fmt: skip
def test_everything_equals_autograd(name, n, batch_size, limit, seed, given_labels):
    network, x, labels = build(name, n=n, seed=seed)
    model = TangentModel(network)
    rows = TangentRows(
        model, x, labels if given_labels else None, batch_size=batch_size, memory_limit=limit
    )
    logits = network.eval()(x).detach()
    labels = labels if given_labels else logits.argmax(1)
    jacobian = reference(network, x, labels)
    scale = float(jacobian.square().sum(1).max()) + 1e-12
    assert torch.equal(rows.labels, labels)
    torch.testing.assert_close(rows.logits, logits)
    torch.testing.assert_close(model.logits(x, batch_size), logits)
    torch.testing.assert_close(rows.norms(), jacobian.square().sum(1), rtol=0, atol=1e-9 * scale)
    kernel = jacobian @ jacobian.T
    torch.testing.assert_close(rows.inner(), kernel, rtol=0, atol=1e-9 * scale)
    assert torch.equal(rows.inner(), rows.inner().T)
    active = [n for layer in model.layers if layer.route != "idle" for n in layer.weights]
    columns = torch.cat([
        torch.full((p.numel(),), name in active) for name, p in network.named_parameters()
    ])  # fmt: skip
    assert rows.n_components == columns.sum()
    torch.testing.assert_close(rows.matrix(), jacobian[:, columns])
    assert (rows.nbytes == 0) or limit > 0
    numbers = np.random.default_rng(seed).integers(0, n, 4)
    some = rows.take(numbers)
    assert torch.equal(some.labels, labels[numbers])
    torch.testing.assert_close(some.norms(), rows.norms()[numbers])
    torch.testing.assert_close(some.inner(rows), kernel[numbers], rtol=0, atol=1e-9 * scale)
    torch.testing.assert_close(some.inner(), kernel[numbers][:, numbers], rtol=0, atol=1e-9 * scale)
    sums = kernel[numbers].sum(0)
    torch.testing.assert_close(some.inner_sum(rows), sums, rtol=0, atol=1e-9 * n * scale)
    assert len(rows.take(slice(0, 1))) == 1


@pytest.mark.parametrize("limit", [0, 1e9])
@every_network
def test_the_same_as_tangent_kernel_to_the_last_bit(name, limit):
    network, x, labels = build(name, torch.float32, n=20)
    model = TangentModel(network)
    rows = TangentRows(model, x, labels, batch_size=6, memory_limit=limit)
    assert torch.equal(rows.inner(), tangent_kernel(model, x, labels, batch_size=6))
    assert torch.equal(rows.norms(), tangent_diagonal(model, x, labels, batch_size=6))


def test_kept_rows_run_the_network_once():
    network, x, labels = build("convolutions", n=9)
    model = TangentModel(network).plan(x)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(0))
    rows = TangentRows(model, x, labels, batch_size=9)
    others = TangentRows(model.measuring("margin").plan(x), x, batch_size=9)
    calls.clear()
    rows.inner(others)
    rows.take([3, 1]).inner(others.take([2]))
    rows.matrix()
    assert not calls
    assert rows.nbytes > 0
    assert rows.take([0]).nbytes * 9 == rows.nbytes


def test_what_is_kept_is_not_pickled():
    network, x, labels = build("mlp", n=7)
    rows = TangentRows(TangentModel(network), x, labels)
    loaded = pickle.loads(pickle.dumps(rows))
    assert (rows.nbytes > 0, loaded.nbytes) == (True, 0)
    assert torch.equal(loaded.inner(), rows.inner())
    assert torch.equal(loaded.take([2, 1]).norms(), rows.take([2, 1]).norms())


@pytest.mark.parametrize("limit", [0, 1e9])
def test_two_measurements(limit):
    network, x, labels = build("mlp", n=7)
    left, right = (reference(network, x, labels, m) for m in ("margin", "log_probability"))
    model = TangentModel(network, measurement="margin")
    rows = TangentRows(model, x, labels, memory_limit=limit)
    others = TangentRows(model.measuring("log_probability"), x, labels, memory_limit=1e9 - limit)
    torch.testing.assert_close(rows.inner(others), left @ right.T)
    torch.testing.assert_close(rows.inner_sum(others), left.sum(0) @ right.T)
    with pytest.raises(ValueError, match="same module"):
        rows.inner(TangentRows(TangentModel(build("mlp")[0]), x))


@pytest.mark.parametrize("limit", [0, 1e9])
def test_layers_that_wake_up(limit):
    torch.manual_seed(0)
    network, x, labels = Routed().double(), torch.randn(16, 6).double(), torch.arange(16) % 3
    x = x[x[:, 0].argsort()]
    expected = reference(network, x, labels)
    rows = TangentRows(TangentModel(network), x, labels, batch_size=3, memory_limit=limit)
    torch.testing.assert_close(rows.inner(), expected @ expected.T)
    torch.testing.assert_close(rows.inner_sum(rows), expected @ expected.sum(0))
    torch.testing.assert_close(rows.matrix(), expected)
    order = torch.randperm(16)
    torch.testing.assert_close(rows.take(order).matrix(), expected[order])


def test_decided_labels():
    network, x, _ = build("mlp", n=7)
    rows = TangentRows(TangentModel(network), x, decide=lambda logits: logits.argmin(1))
    assert torch.equal(rows.labels, network.eval()(x).argmin(1))


def test_rows_of_every_container(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(8, 6) * (torch.rand(8, 6) < 0.5)
    expected = TangentRows(TangentModel(network), x)
    np.save(tmp_path / "x.npy", x.numpy())
    dense = x.numpy().astype(np.float64)
    containers = [
        x.numpy(), dense, dense.tolist(), sparse.csr_matrix(dense), sparse.coo_array(dense),
        np.load(tmp_path / "x.npy", mmap_mode="r"), x.to_sparse(), dense[::-1][::-1],
        dense.astype(">f8"),
    ]  # fmt: skip
    for X in containers:
        rows = TangentRows(TangentModel(network), X, batch_size=3, memory_limit=0)
        torch.testing.assert_close(rows.norms(), expected.norms())
        torch.testing.assert_close(rows.take([5, 0, 5]).inner(), expected.take([5, 0, 5]).inner())
    forward = lambda module, batch: module(batch["x"] + batch["more"][0])  # noqa: E731
    model = TangentModel(network, forward=forward)
    rows = TangentRows(model, {"x": dense, "more": (torch.zeros(8, 1),)}, batch_size=3)
    torch.testing.assert_close(rows.inner(), expected.inner())
    with pytest.raises(ValueError, match="one number of rows"):
        TangentRows(model, {"x": dense, "more": (torch.zeros(7, 1),)})
    with pytest.raises(ValueError, match="one number of rows, got none"):
        TangentRows(model, {})


def test_integers():
    table = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3))
    ids = torch.randint(0, 9, (6, 3))
    expected = TangentRows(TangentModel(table), ids).norms()
    for X in (ids.numpy(), ids.numpy().astype(np.uint8), ids.tolist(), ids.int()):
        torch.testing.assert_close(TangentRows(TangentModel(table), X).norms(), expected)
    counts = TangentRows(TangentModel(nn.Linear(3, 2)), ids.numpy())
    expected = TangentRows(TangentModel(nn.Linear(3, 2)), ids.float()).norms()
    torch.testing.assert_close(counts.norms(), expected)


class Hole(nn.Module):
    """Logits that are not finite where the first number is large."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, x):
        return torch.where(x[:, :1] > 5, torch.nan, self.inner(x))


def test_logits_and_gradients_that_are_not_finite_are_named():
    x = torch.zeros(9, 6)
    x[7, 0] = 9
    model = TangentModel(Hole()).plan(x[:3])
    for call in (
        lambda: TangentRows(model, x, batch_size=2),
        lambda: model.logits(x, 2),
        lambda: tangent_kernel(model, x, [0] * 9, batch_size=2),
        lambda: tangent_diagonal(model, x, [0] * 9, batch_size=2),
    ):
        with pytest.raises(ValueError, match=r"logits must be finite; .* row 7 are not \(nan\)"):
            call()
    root = TangentModel(nn.Linear(6, 3), forward=lambda m, x: m(x).square().sqrt())
    with torch.no_grad():
        root.module.bias.zero_()
    x = torch.randn(9, 6)
    x[4] = 0
    with pytest.raises(ValueError, match="gradients must be finite; those of row 4 are not"):
        TangentRows(root.plan(x[:3]), x, [0] * 9, batch_size=2)


@pytest.mark.parametrize("limit", [0, 1e9])
@pytest.mark.parametrize("start", [0, 1, 3, 7])
def test_gradients_from_some_row_on(limit, start):
    network, x, labels = build("mlp", n=7)
    rows = TangentRows(TangentModel(network), x, labels, batch_size=3, memory_limit=limit)
    found = torch.zeros(7, rows.model.n_components, dtype=torch.float64)
    expected = reference(network, x, labels)
    expected[:start] = 0
    names = [name for name, p in network.named_parameters() for _ in p.flatten()]
    for block in rows.blocks(torch.float64, 1e9, start):
        for numbers, gradients in block:
            for number, matrix in gradients.matrices().items():
                layer = rows.model.layers[number]
                for name, part in layer.split(matrix).items():
                    found[numbers, torch.tensor([n == name for n in names])] += part
    torch.testing.assert_close(found, expected)


def test_outputs_that_are_no_logits_are_sketched():
    network, x, target = nn.Linear(6, 1), torch.randn(7, 6), torch.randn(7)
    settings = {
        "forward": lambda module, x: {"mean": module(x)[:, 0]},
        "measurement": lambda out, y: (out["mean"] - y) ** 2,
    }
    features = TangentFeatures(n_components=8, random_state=0)
    attributor = InfoGainAttributor(
        network, features=features, noise_variance=1.0, candidates="all", **settings
    )
    found = attributor.fit(x, target).attribute(x[:3], target[:3])
    phi = TangentFeatures(network, 8, random_state=0, **settings).fit(x).transform(x, target)
    kernel = torch.as_tensor(phi @ phi.T, dtype=torch.float64)
    variance = kernel.diagonal()
    gain = pointwise_information_gain(variance, kernel[:3], variance[:3], 1.0)
    np.testing.assert_allclose(found, gain, rtol=1e-5)


def test_kernels_are_made_where_they_are_wanted():
    network, x, labels = build("mlp", n=7)
    rows = TangentRows(TangentModel(network), x, labels)
    assert rows.inner(device=torch.device("cpu")).equal(rows.inner())


def test_copies_share_factors_where_positions_are_looked_up_once():
    network, x, labels = build("positions", n=4)
    x = x[[0, 1, 0, 2]]
    rows = TangentRows(TangentModel(network), x, labels[[0, 1, 0, 2]])
    kernel = rows.inner()
    rows.equalise(torch.tensor([0, 1, 0, 3]))
    torch.testing.assert_close(rows.inner(), kernel)
    assert torch.equal(rows.inner()[0], rows.inner()[2])
