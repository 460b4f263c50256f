"""EK-FAC Fisher matrices against matrices that are written out in full."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sklearn_provenance.tangent import TangentModel, TangentRows, _influence
from sklearn_provenance.tangent import _curvature as curvature
from sklearn_provenance.tangent import _forms as forms
from sklearn_provenance.tangent import _influence as influences
from sklearn_provenance.tangent._curvature import (
    LayerFisher,
    expected_labels,
    fit_fisher,
    given_labels,
)
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._lookup import Lookup
from sklearn_provenance.tangent._outer import Outer

from ..checks import thorough
from .conftest import build, every_network, reference
from .test_factors import Routed

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


def influence(fisher, damping, queries, rows, batch_size="auto", **params):
    """Of rows given as (model, x, labels)."""
    points = [TangentRows(*p, batch_size=batch_size) for p in (queries, rows)]
    return _influence.influence(fisher, damping, *points, **params)


def whitened(fisher, damping, rows, batch_size="auto"):
    """Of rows given as (model, x, labels)."""
    return _influence.whitened(fisher, damping, TangentRows(*rows, batch_size=batch_size))


def blocks(model, jacobian):
    """Gradient matrices (n, O, I) of each layer by number, from a Jacobian of all parameters."""
    named = dict(model.module.named_parameters())
    parts = jacobian.split([p.numel() for p in named.values()], 1)
    columns = dict(zip(named, parts, strict=True))
    return {
        layer.number: layer.join(
            {n: columns[n].reshape(-1, *p.shape) for n, p in layer.weights.items()}
        ).matrix()
        for layer in model.layers
    }


def by_definition(left, right, moments, damping, queries, rows):
    """g_*ᵀ (Q diag(Λ) Qᵀ + λ I)⁻¹ g with Q written out, gradients (n, O, I) row by row."""
    basis = torch.kron(left.contiguous(), right.contiguous())
    matrix = basis @ torch.diag(moments.flatten()) @ basis.T
    matrix.diagonal().add_(damping)
    return queries.flatten(1) @ torch.linalg.solve(matrix, rows.flatten(1).T)


def eigenvalue_corrected(left, right, gradients):
    """E[(Q_Sᵀ G Q_A)²] of gradients (n, O, I)."""
    return (left.T @ gradients @ right).square().mean(0)


def vectors(moment):
    return torch.linalg.eigh(moment)[1]


def full(basis, n):
    return torch.eye(n, dtype=torch.float64) if basis is None else basis


def setting(name, n=24, seed=0):
    """A network, its two linearisations, training rows with labels and queries with labels."""
    network, x, labels = build(name, n=n, seed=seed)
    with torch.no_grad():
        predicted = network.eval()(x[:6]).argmax(1)
    network.train()
    model = TangentModel(network, measurement="log_probability").plan(x)
    queries = model.measuring("margin").plan(x)
    return network, model, queries, x, labels, x[:6].flip(0), predicted.flip(0)


def closeness(actual, expected):
    return float((actual - expected).abs().max() / expected.abs().max())


class Recorded:
    """Inputs and output gradients of a network's layers, with plain hooks."""

    def __init__(self, network, x, labels):
        network.eval()
        self.inputs, self.outputs = [], []
        layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        hooks = [m.register_forward_hook(self._keep) for m in layers]
        log_p = F.log_softmax(network(x), 1)[torch.arange(len(x)), labels]
        self.gradients = torch.autograd.grad(log_p.sum(), self.outputs)
        for hook in hooks:
            hook.remove()

    def _keep(self, module, args, output):
        self.inputs.append(args[0].detach())
        self.outputs.append(output)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(5, 3), (5, 6, 4, 3)])
def test_perceptrons_by_definition(sizes, bias):
    torch.manual_seed(0)
    layers = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, bias=bias), nn.Tanh()]
    network = nn.Sequential(*layers[:-1]).double()
    x, labels = torch.randn(30, 5).double(), torch.arange(30) % 3
    q, q_labels = torch.randn(7, 5).double(), torch.arange(7) % 3
    model = TangentModel(network, measurement="log_probability")
    fisher = fit_fisher(model, x, given_labels(labels), batch_size=7)
    damping = {n: 0.01 * (n + 1) for n in fisher}
    queries = model.measuring("margin")
    scores = influence(fisher, damping, (queries, q, q_labels), (model, x, labels), batch_size=4)
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    gradients = blocks(model, reference(network, q, q_labels, "margin"))
    expected, seen = 0, Recorded(network, x, labels)
    for n, (a, g) in enumerate(zip(seen.inputs, seen.gradients, strict=True)):
        a = torch.cat([a, torch.ones_like(a[:, :1])], 1) if bias else a
        left, right = vectors(g.T @ g / 30), vectors(a.T @ a / 30)
        moments = eigenvalue_corrected(left, right, rows[n])
        expected += by_definition(left, right, moments, damping[n], gradients[n], rows[n])
    assert scores.dtype == torch.float64
    assert closeness(scores, expected) < 1e-10
    assert {layer.treatment for layer in fisher.values()} == {"kronecker"}


def test_convolutions_by_definition():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.Tanh(), nn.Conv2d(3, 4, 2, bias=False),
        nn.Tanh(), nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip
    x, labels = torch.randn(40, 2, 6, 6).double(), torch.arange(40) % 3
    model = TangentModel(network, measurement="log_probability")
    fisher = fit_fisher(model, x, given_labels(labels), batch_size=16)
    damping = dict.fromkeys(fisher, 0.02)
    scores = influence(
        fisher, damping, (model.measuring("margin"), x[:5], labels[:5]), (model, x, labels)
    )
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    gradients = blocks(model, reference(network, x[:5], labels[:5], "margin"))
    seen = Recorded(network, x, labels)
    patches = [
        F.unfold(seen.inputs[0], 3, padding=1, stride=2).mT,
        F.unfold(seen.inputs[1], 2).mT,
        seen.inputs[2][:, None],
    ]
    expected = 0
    for n, (a, g) in enumerate(zip(patches, seen.gradients, strict=True)):
        a = a.flatten(0, 1)
        if n != 1:
            a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
        g = g.flatten(2).mT.flatten(0, 1) if g.ndim == 4 else g
        left, right = vectors(g.T @ g), vectors(a.T @ a)
        moments = eigenvalue_corrected(left, right, rows[n])
        expected += by_definition(left, right, moments, damping[n], gradients[n], rows[n])
    assert closeness(scores, expected) < 1e-10


@pytest.mark.parametrize("rotated", [True, False, *thorough(None)])
@every_network
def test_every_network_by_its_bases(monkeypatch, name, rotated):
    """Λ, scores and whitened coordinates are those of the bases; all forms of factors."""
    if rotated is not None:
        monkeypatch.setattr(influences, "_rotates_rows", lambda *_: rotated)
    network, model, measured, x, labels, q, q_labels = setting(name)
    fisher = fit_fisher(model, x, given_labels(labels), batch_size=5)
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    gradients = blocks(model, reference(network, q, q_labels, "margin"))
    assert set(fisher) == {layer.number for layer in model.layers}
    damping = {n: 0.1 * float(layer.moments.mean()) for n, layer in fisher.items()}
    expected = 0
    for n, layer in fisher.items():
        n_out, n_in = rows[n].shape[1:]
        left, right = full(layer.left, n_out), full(layer.right, n_in)
        torch.testing.assert_close(left.T @ left, full(None, n_out))
        torch.testing.assert_close(right.T @ right, full(None, n_in))
        moments = eigenvalue_corrected(left, right, rows[n])
        torch.testing.assert_close(layer.moments, moments, rtol=1e-9, atol=1e-14)
        expected += by_definition(left, right, moments, damping[n], gradients[n], rows[n])
    points, others = (measured, q, q_labels), (model, x, labels)
    for batch_size in (4, "auto"):
        scores = influence(fisher, damping, points, others, batch_size=batch_size)
        assert closeness(scores, expected) < 1e-9
    parts = [whitened(fisher, damping, p, batch_size=5) for p in (points, others)]
    assert closeness(parts[0] @ parts[1].T, expected) < 1e-9


@pytest.mark.parametrize("name", ["tokens", "convolutions", "own", "mlp", "lies"])
def test_where_bases_come_from(name):
    network, model, _, x, labels, *_ = setting(name)
    fisher = fit_fisher(model, x, given_labels(labels))
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    for layer in model.layers:
        found = fisher[layer.number]
        G = rows[layer.number]
        if layer.one_hot:
            assert (found.treatment, found.left) == ("kronecker", None)
            continue
        grouped = any(getattr(m, "groups", 1) > 1 for m in layer.modules)
        formed = not layer.low_rank or grouped or layer.route == "functional"
        assert found.treatment == ("formed" if formed else "kronecker")
        if formed:
            for basis, moment in (
                (found.left, (G @ G.mT).sum(0)),
                (found.right, (G.mT @ G).sum(0)),
            ):
                rotated = basis.T @ moment @ basis
                off = rotated - torch.diag(rotated.diagonal())
                assert off.abs().max() <= 1e-10 * moment.abs().max()


def test_the_block_of_a_vector_is_exact():
    """Norms with one kind of parameter and unknown vectors: F is the Fisher matrix itself."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.RMSNorm(5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, labels = torch.randn(30, 6).double(), torch.arange(30) % 3
    model = TangentModel(network, measurement="log_probability", parameters=["1.weight"])
    fisher = fit_fisher(model, x, given_labels(labels))
    scores = influence(fisher, {0: 0.1}, (model, x[:4], labels[:4]), (model, x, labels))
    columns = slice(35, 40)
    G = reference(network, x, labels, "log_probability")[:, columns]
    matrix = G.T @ G / 30 + 0.1 * full(None, 5)
    assert closeness(scores, G[:4] @ torch.linalg.solve(matrix, G.T)) < 1e-10


def test_softmax_regression_whose_fisher_matrix_is_a_kronecker_product():
    """Without weights p is the same for every row: F = (diag(p) - p pᵀ) ⊗ E[x xᵀ] exactly."""
    torch.manual_seed(0)
    network = nn.Linear(4, 3).double()
    with torch.no_grad():
        network.weight.zero_()
    x, labels = torch.randn(30, 4).double(), torch.arange(30) % 3
    model = TangentModel(network, measurement="log_probability")
    fisher = fit_fisher(model, x, expected_labels)
    scores = influence(fisher, {0: 0.03}, (model, x[:5], labels[:5]), (model, x, labels))
    a = torch.cat([x, torch.ones(30, 1)], 1)
    p = network.bias.detach().softmax(0)
    exact = torch.kron(torch.diag(p) - torch.outer(p, p), a.T @ a / 30)
    G = ((torch.eye(3)[labels] - p)[:, :, None] * a[:, None]).flatten(1)
    expected = G[:5] @ torch.linalg.solve(exact + 0.03 * full(None, 15), G.T)
    assert closeness(scores, expected) < 1e-10


@st.composite
def layers(draw):
    """A Fisher matrix of random bases, a factor of the layer, and limits that split the work."""
    n_out, n_in = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    B, T = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    kind = draw(st.sampled_from(["outer", "lookup", "formed"]))
    if kind == "outer":
        factor = Outer(normal(B, T, n_in), normal(B, T, n_out))
    elif kind == "lookup":
        index = torch.randint(0, n_out, (B, T), generator=generator)
        factor = Lookup(index, normal(B, T, n_in), n_out)
    else:
        factor = Formed(normal(B, n_out, n_in))
    sides = [
        torch.linalg.qr(normal(n, n))[0] if draw(st.booleans()) else None for n in (n_out, n_in)
    ]
    moments = torch.zeros(n_out, n_in, dtype=torch.float64)
    fisher = LayerFisher(("weight",), "kronecker", *sides, moments)
    limits = draw(st.tuples(st.sampled_from([1, 30, 2**20]), st.sampled_from([1, 30, 2**25])))
    return fisher, factor, normal(draw(st.integers(1, 5)), n_out, n_in), normal(B) ** 2, limits


@given(layers())
@settings(max_examples=200)
def test_forms_and_limits_do_not_show(drawn):
    fisher, factor, matrices, roots, (cached, formed) = drawn
    G = factor.matrix()
    left, right = full(fisher.left, G.shape[1]), full(fisher.right, G.shape[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "_CACHED", cached)
        patch.setattr(forms, "_FORMED", formed)
        products = factor.inner_with(matrices)
        fisher.add_squares(factor, roots)
        fisher.add_squares(factor, roots)
    torch.testing.assert_close(products, matrices.flatten(1) @ G.flatten(1).T)
    rotated = left.T @ G @ right
    torch.testing.assert_close(fisher.rotate(factor).matrix(), rotated)
    torch.testing.assert_close(fisher.restore(rotated), G)
    squares = (rotated * roots[:, None, None]).square().sum(0)
    torch.testing.assert_close(fisher.moments, 2 * squares)


def test_blocks_of_queries(monkeypatch):
    """The gradients of queries take the bytes that are allowed, or those of one query."""
    _, model, queries, x, labels, q, q_labels = setting("convolutions")
    fisher = fit_fisher(model, x, given_labels(labels))
    damping = dict.fromkeys(fisher, 0.1)
    points = (queries, q, q_labels), (model, x, labels)
    expected = influence(fisher, damping, *points)
    preconditioned, sizes = influences._preconditioned, []

    def noted(fisher, damping, turned, queries):
        sizes.append(len(queries))
        return preconditioned(fisher, damping, turned, queries)

    monkeypatch.setattr(influences, "_preconditioned", noted)
    numbers = sum(f.moments.numel() for f in fisher.values())
    for n_bytes, most in ((1, 1), (2 * numbers * model.dtype.itemsize, 2)):
        sizes.clear()
        scores = influence(fisher, damping, *points, batch_size=3, n_bytes=n_bytes)
        assert closeness(scores, expected) < 1e-12
        assert max(sizes) == most


@pytest.mark.parametrize("rotated", [False, True])
@every_network
def test_a_sum_of_queries_is_the_sum_of_their_scores(monkeypatch, name, rotated):
    _, model, queries, x, labels, q, q_labels = setting(name)
    fisher = fit_fisher(model, x, given_labels(labels))
    damping = dict.fromkeys(fisher, 0.1)
    points = (queries, q, q_labels), (model, x, labels)
    expected = influence(fisher, damping, *points).sum(0, keepdim=True)
    monkeypatch.setattr(influences, "_rotates_rows", lambda *_: rotated)
    got = influence(fisher, damping, *points, summed=True, batch_size=3)
    assert closeness(got, expected) < 1e-12


def test_long_sides_are_left_as_they_are(monkeypatch):
    network, model, queries, x, labels, q, q_labels = setting("mlp")
    monkeypatch.setattr(curvature, "_SIDE", 6)
    fisher = fit_fisher(model, x, given_labels(labels))
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    assert {f.treatment for f in fisher.values()} == {"diagonal", "formed", "kronecker"}
    for n, layer in fisher.items():
        n_out, n_in = rows[n].shape[1:]
        assert (layer.left is None, layer.right is None) == (n_out > 6, n_in > 6)
        assert (layer.treatment == "diagonal") == (max(n_out, n_in) > 6)
        if layer.left is None and layer.right is None:
            torch.testing.assert_close(layer.moments, rows[n].square().mean(0))


def test_a_vocabulary_is_neither_formed_nor_rotated(monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9000, 4), nn.Flatten(), nn.Linear(12, 2)).double()
    x = torch.randint(0, 9000, (20, 3))
    x[:, 1] = x[:, 0]
    labels = torch.arange(20) % 2
    model = TangentModel(network, measurement="log_probability").plan(x)
    G = blocks(model, reference(network, x, labels, "log_probability"))[0]
    plain = Lookup.matrix
    with monkeypatch.context() as patch:
        patch.setattr(Lookup, "matrix", lambda self: 1 / 0)
        fisher = fit_fisher(model, x, given_labels(labels), batch_size=6)
    assert Lookup.matrix is plain
    expected = (G @ fisher[0].right).square().mean(0)
    torch.testing.assert_close(fisher[0].moments, expected)
    assert fisher[0].treatment == "kronecker"


def test_small_gradients_do_not_underflow():
    """Rows of which a model in single precision is certain: Λ is far below the smallest float."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[30.0, 0, 0], [-30.0, 0, 0]]))
    x = torch.randn(20, 3)
    labels = (x[:, 0] < 0).long()
    x[:, 0] = 1.0 - 2 * labels
    model = TangentModel(network, measurement="log_probability")
    fisher = fit_fisher(model, x, given_labels(labels))[0]
    doubled = TangentModel(nn.Linear(3, 2, bias=False).double(), measurement="log_probability")
    doubled.module.load_state_dict(network.state_dict())
    exact = fit_fisher(doubled, x, given_labels(labels))[0]
    assert 0 < exact.moments.max() < 1e-45
    torch.testing.assert_close(fisher.moments.amax(), exact.moments.amax(), rtol=1e-4, atol=0)
    damping = {0: 0.1 * float(fisher.moments.mean())}
    points = ((m.measuring("margin"), x[:3], labels[:3]) for m in (model, doubled))
    rows = ((m, x, labels) for m in (model, doubled))
    single, double = (
        influence({0: f}, damping, p, r)
        for f, p, r in zip((fisher, exact), points, rows, strict=True)
    )
    assert closeness(single, double) < 1e-4


def test_a_batch_without_gradients_adds_nothing():
    """Hidden units that are silent for all rows of a batch."""
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        network[0].weight.abs_()
        network[0].bias.zero_()
    x = torch.rand(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    x[4:] *= -1
    model, labels = TangentModel(network), torch.arange(8) % 2
    both = fit_fisher(model, x, given_labels(labels), batch_size=4)
    whole = fit_fisher(model, x, given_labels(labels), batch_size=8)
    first = fit_fisher(model, x[:4], given_labels(labels[:4]), batch_size=4)
    for number, layer in both.items():
        torch.testing.assert_close(layer.moments.sum(), whole[number].moments.sum())
    silent = next(iter(both))
    torch.testing.assert_close(2 * both[silent].moments.sum(), first[silent].moments.sum())


def test_layers_that_change_their_form_between_batches():
    torch.manual_seed(0)
    network, x, labels = Routed().double(), torch.randn(16, 6).double(), torch.arange(16) % 3
    x = x[x[:, 0].argsort()]
    model = TangentModel(network, measurement="log_probability").plan(x[:3])
    fisher = fit_fisher(model, x, given_labels(labels), batch_size=3)
    rows = blocks(model, reference(network, x, labels, "log_probability"))
    damping = dict.fromkeys(fisher, 0.1)
    assert len(fisher) == 2
    expected = 0
    for n, layer in fisher.items():
        moments = eigenvalue_corrected(layer.left, layer.right, rows[n])
        torch.testing.assert_close(layer.moments, moments)
        expected += by_definition(layer.left, layer.right, moments, 0.1, rows[n], rows[n])
    points = (model, x, labels)
    assert closeness(influence(fisher, damping, points, points, batch_size=3), expected) < 1e-9


def test_gradients_that_are_not_finite_are_refused():
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.fill_(3e38)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 2.0]])
    model = TangentModel(network, measurement="log_probability").plan(x[1:2])
    with pytest.raises(ValueError, match="must be finite"):
        fit_fisher(model, x, given_labels([0, 1, 0]))


def test_moments_that_overflow_are_refused():
    network = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(1e-200)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [2.0, 2.0]], dtype=torch.float64) * 1e200
    model = TangentModel(network, measurement="log_probability")
    with pytest.raises(ValueError, match="log p must be finite, got others in 'weight'"):
        fit_fisher(model, x, given_labels([0, 1, 0]))


def test_progress_and_silence(capsys):
    _, model, queries, x, labels, q, q_labels = setting("mlp")
    for verbose in (True, False):
        fisher = fit_fisher(model, x, given_labels(labels), verbose=verbose)
        points = (queries, q, q_labels), (model, x, labels)
        influence(fisher, dict.fromkeys(fisher, 1.0), *points, verbose=verbose)
        shown = capsys.readouterr().err
        for name in ("Kronecker factors", "eigenvalues", "influence"):
            assert (name in shown) == verbose


def test_the_callers_inference_mode_does_not_matter():
    _, model, queries, x, labels, q, q_labels = setting("mlp")
    points = (queries, q, q_labels), (model, x, labels)
    fisher = fit_fisher(model, x, expected_labels)
    damping = dict.fromkeys(fisher, 1.0)
    expected = influence(fisher, damping, *points)
    with torch.inference_mode():
        fisher = fit_fisher(model, x + 0, expected_labels)
        found = influence(fisher, damping, (queries, q + 0, q_labels), points[1])
    torch.testing.assert_close(found, expected)
