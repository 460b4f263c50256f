"""Products with the Fisher matrix, and its inverse, against the matrix written out in full."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance.tangent import TangentRows
from sklearn_provenance.tangent import _directions as directions_module
from sklearn_provenance.tangent import _gauss_newton as module
from sklearn_provenance.tangent._curvature import (
    LayerFisher,
    expected_labels,
    fit_fisher,
    given_labels,
    random_signs,
)
from sklearn_provenance.tangent._directions import Directions, SharedInputs, rotated_directions
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._gauss_newton import GaussNewton
from sklearn_provenance.tangent._influence import influence
from sklearn_provenance.tangent._lookup import Lookup
from sklearn_provenance.tangent._outer import Outer

from .conftest import every_network, reference
from .test_curvature import blocks, closeness, full, setting

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


def weighted_labels(labels, weights):
    """Targets at given labels, rows weighted."""

    def draw(logits, rows):
        yield labels[rows], weights[rows].to(logits)

    return draw


def in_eigenbases(fisher, gradients):
    """Gradient matrices (n, O, I) by layer as vectors in the eigenbases."""
    parts = []
    for n, layer in fisher.items():
        n_out, n_in = gradients[n].shape[1:]
        rotated = full(layer.left, n_out).T @ gradients[n] @ full(layer.right, n_in)
        parts.append(rotated.flatten(1))
    return torch.cat(parts, 1)


def written_out(network, model, fisher, x, targets, q, q_labels):
    """F, made of (labels, weights), and the queries' gradients; all in the eigenbases."""
    matrix = 0
    for labels, weights in targets:
        jacobian = reference(network, x, labels, "log_probability")
        rows = in_eigenbases(fisher, blocks(model, jacobian))
        matrix = matrix + (rows * weights[:, None]).T @ rows / len(x)
    gradients = blocks(model, reference(network, q, q_labels, "margin"))
    return matrix, in_eigenbases(fisher, gradients)


def damped(fisher, damping):
    """λ of each coordinate."""
    return torch.cat([full_like(fisher[n], value) for n, value in damping.items()])


def full_like(layer, value):
    return torch.full_like(layer.moments, value).flatten()


def auto(fisher, constant=0.1):
    return {n: constant * layer.moments.mean().item() for n, layer in fisher.items()}


def expected_targets(network, x):
    with torch.no_grad():
        p = network.eval()(x)
    p = (p[0] if isinstance(p, tuple) else p).softmax(1)
    return [(torch.full((len(x),), c), p[:, c]) for c in range(p.shape[1])]


@every_network
def test_solutions_are_the_direct_ones(name):
    """All kinds of layers, shared and tied ones; batch norm is in evaluation mode."""
    network, model, measured, x, labels, q, q_labels = setting(name)
    fisher = fit_fisher(model, x, expected_labels)
    damping = auto(fisher)
    targets = expected_targets(network, x)
    network.train()
    matrix, b = written_out(network, model, fisher, x, targets, q, q_labels)
    scale = damped(fisher, damping)
    matrix += torch.diag(scale)
    exact = torch.linalg.solve(matrix, b.T).T
    parts = b.split([layer.moments.numel() for layer in fisher.values()], 1)
    gradients = {
        n: part.unflatten(1, fisher[n].moments.shape) for n, part in zip(fisher, parts, strict=True)
    }
    before = torch.inf
    for n_iterations in (1, 4, 16, 1000):
        solver = GaussNewton(
            model, x, expected_labels, len(targets), fisher, damping, n_iterations, batch_size=16
        )
        found = solver.solve(gradients)
        found = torch.cat([part.flatten(1) for part in found.values()], 1) / scale
        error = found - exact
        energy = ((error @ matrix) * error).sum(1)
        assert (energy <= before + 1e-20 * (exact @ matrix * exact).sum(1)).all()
        before = energy
    assert closeness(found, exact) < 1e-8
    rows = TangentRows(model, x, labels)
    expected = (
        exact
        @ in_eigenbases(fisher, blocks(model, reference(network, x, labels, "log_probability"))).T
    )
    scores = influence(
        fisher, damping, TangentRows(measured, q, q_labels), rows, make_solver=lambda: solver
    )
    assert closeness(scores, expected) < 1e-8
    assert network.training


def test_ek_fac_misses_so_much_that_neumann_steps_diverge():
    network, model, _, x, labels, q, q_labels = setting("mlp")
    fisher = fit_fisher(model, x, expected_labels)
    damping = auto(fisher)
    matrix, _ = written_out(network, model, fisher, x, expected_targets(network, x), q, q_labels)
    scale = damped(fisher, damping)
    moments = torch.cat([f.moments.flatten() for f in fisher.values()])
    root = (moments + scale).rsqrt()
    preconditioned = root[:, None] * (matrix + torch.diag(scale)) * root
    assert torch.linalg.eigvalsh(preconditioned).max() > 2  # steps of I - P A grow


@pytest.mark.parametrize(("n_bytes", "batch_size"), [(0, 5), (2**29, 5), (2**29, "auto")])
@pytest.mark.parametrize("name", ["mlp", "convolutions", "tokens", "own"])
def test_products_of_all_targets(name, n_bytes, batch_size, monkeypatch):
    """Weighted rows and drawn directions; factors kept or computed again; few queries at a time."""
    monkeypatch.setattr(module, "_TEMPORARY", 100)
    network, model, _, x, labels, q, q_labels = setting(name)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(len(x), generator=generator, dtype=torch.float64)
    fisher = fit_fisher(model, x, given_labels(labels))
    damping = {n: 0.1 * (n + 1) for n in fisher}
    matrix, b = written_out(network, model, fisher, x, [(labels, weights)], q, q_labels)
    scale = damped(fisher, damping)
    # The operator is that of layers scaled to one λ.
    scaled = matrix * scale.rsqrt() * scale.rsqrt()[:, None] + torch.eye(len(scale))
    draw = weighted_labels(labels, weights)
    limits = {"batch_size": batch_size, "n_bytes": n_bytes}
    solver = GaussNewton(model, x, draw, 1, fisher, damping, 1, **limits)
    for _ in range(2):
        torch.testing.assert_close(solver.product(b), b @ scaled)
    assert (solver._kept is None) == (n_bytes == 0)
    # Every combination of signs has the mean of the expected labels.
    n_classes = 3
    signs = torch.cartesian_prod(*[torch.tensor([-1, 1], dtype=torch.int8)] * n_classes)
    signs = signs[:, None].expand(-1, len(x), -1)
    drawn, expected = (
        GaussNewton(model, x, draw, n, fisher, damping, 1, **limits).product(b)
        for draw, n in ((random_signs(signs), len(signs)), (expected_labels, n_classes))
    )
    torch.testing.assert_close(drawn, expected)


def test_layers_without_damping_are_left_out():
    _, model, _, x, labels, *_ = setting("mlp")
    fisher = fit_fisher(model, x, given_labels(labels))
    damping = dict.fromkeys(list(fisher)[1:], 0.1)
    solver = GaussNewton(model, x, given_labels(labels), 1, fisher, damping, 3)
    gradients = {n: torch.ones(2, *fisher[n].moments.shape).double() for n in damping}
    assert solver.solve(gradients).keys() == damping.keys()


@st.composite
def gradients_of_a_layer(draw):
    """Gradients in several directions, in every form, with the same inputs or others."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    B, T, D = (draw(st.integers(1, 4)) for _ in range(3))
    n_out, n_in = draw(st.integers(1, 5)), draw(st.integers(1, 5))

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    kind = draw(st.sampled_from(["shared", "outer", "lookup", "formed"]))
    a = normal(B, T, n_in)
    forms = []
    for _ in range(D):
        if kind == "formed":
            forms.append(Formed(normal(B, n_out, n_in)))
        elif kind == "lookup":
            index = torch.randint(0, n_out, (B, T), generator=generator)
            forms.append(Lookup(index, normal(B, T, n_in), n_out))
        else:
            inputs = a.clone() if kind == "shared" else normal(B, T, n_in)
            forms.append(Outer(inputs, normal(B, T, n_out)))
    if D > 1 and draw(st.booleans()):
        forms[draw(st.integers(0, D - 1))] = None
    left = None if kind == "lookup" else torch.linalg.qr(normal(n_out, n_out))[0]
    right = draw(st.sampled_from([None, torch.linalg.qr(normal(n_in, n_in))[0]]))
    moments = torch.zeros(n_out, n_in, dtype=torch.float64)
    fisher = LayerFisher(("weight",), "kronecker", left, right, moments)
    n_queries = draw(st.integers(1, 3))
    matrices, weights = normal(n_queries, n_out, n_in), normal(B, n_queries, D)
    return kind, fisher, forms, matrices, weights, draw(st.sampled_from([0, 4, 10**9]))


@given(gradients_of_a_layer())
@settings(max_examples=60)
def test_directions_in_any_form(drawn):
    kind, fisher, forms, matrices, weights, form_from = drawn
    shape = matrices.shape[1:]
    left, right = full(fisher.left, shape[0]), full(fisher.right, shape[1])
    zeros = torch.zeros(len(weights), *shape, dtype=torch.float64)
    G = torch.stack([zeros if form is None else form.matrix() for form in forms], 1)
    G = left.T @ G @ right  # (B, D, O, I)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directions_module, "_FORMED_FROM", form_from)
        directions = rotated_directions(fisher, forms)
    torch.testing.assert_close(
        directions.inner(matrices), torch.einsum("bdoi,qoi->bqd", G, matrices)
    )
    torch.testing.assert_close(
        directions.totals(weights), torch.einsum("bqd,bdoi->qoi", weights, G)
    )
    assert directions.nbytes > 0
    assert directions.n_temporary > 0
    shared = kind == "shared" and None not in forms and form_from == 10**9
    if shared:
        assert isinstance(directions, SharedInputs)
    elif kind in ("lookup", "formed") or form_from == 0:
        assert isinstance(directions, Directions)
