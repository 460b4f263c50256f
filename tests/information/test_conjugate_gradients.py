"""Conjugate gradients against direct solves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance.information._conjugate_gradients import conjugate_gradients


def positive_definite(generator, n, spread):
    """A symmetric matrix with eigenvalues between 1 and 10^spread."""
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    exponents = torch.rand(n, generator=generator, dtype=torch.float64)
    return basis @ torch.diag(10 ** (spread * exponents)) @ basis.T


@st.composite
def systems(draw):
    """A matrix, a preconditioner and right-hand sides."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    n = draw(st.integers(1, 6))
    matrix = positive_definite(generator, n, 3)
    near = positive_definite(generator, n, 1)
    m = draw(st.integers(1, 4))
    return matrix, near, torch.randn(m, n, generator=generator, dtype=torch.float64)


def solved(matrix, near, vectors, n_steps):
    return conjugate_gradients(lambda v: v @ matrix, lambda v: v @ near, vectors, n_steps)


@given(systems())
@settings(max_examples=30)
def test_errors_fall_in_the_energy_norm_to_the_direct_solution(system):
    matrix, near, vectors = system
    exact = torch.linalg.solve(matrix, vectors.T).T
    before = torch.inf
    for n_steps in range(2 * len(matrix) + 1):
        error = solved(matrix, near, vectors, n_steps) - exact
        energy = ((error @ matrix) * error).sum(1)
        size = ((exact @ matrix) * exact).sum(1)
        assert (energy <= before + 1e-12 * size).all()
        before = energy
    assert (before <= 1e-16 * size).all()


@given(systems())
@settings(max_examples=30)
def test_the_first_step_is_the_best_multiple_of_the_preconditioned_vector(system):
    matrix, near, vectors = system
    guess = vectors @ near
    lengths = (vectors * guess).sum(1) / ((guess @ matrix) * guess).sum(1)
    torch.testing.assert_close(solved(matrix, near, vectors, 1), lengths[:, None] * guess)


@given(systems())
@settings(max_examples=30)
def test_the_inverse_as_preconditioner_solves_in_one_step(system):
    matrix, _, vectors = system
    inverse = torch.linalg.inv(matrix)
    torch.testing.assert_close(solved(matrix, inverse, vectors, 1), vectors @ inverse)


@given(systems())
@settings(max_examples=30)
def test_vectors_do_not_know_of_each_other(system):
    matrix, near, vectors = system
    alone = torch.cat([solved(matrix, near, v[None], 3) for v in vectors])
    torch.testing.assert_close(solved(matrix, near, vectors, 3), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_further_steps_leave_what_is_solved(dtype):
    """Vectors of very different sizes, and one that is zero."""
    generator = torch.Generator().manual_seed(0)
    matrix = positive_definite(generator, 8, 2).to(dtype)
    vectors = torch.randn(4, 8, generator=generator, dtype=torch.float64).to(dtype)
    vectors *= torch.tensor([1e-12, 1.0, 1e8, 0.0], dtype=dtype)[:, None]
    near = torch.eye(8, dtype=dtype)
    found = solved(matrix, near, vectors, 500)
    exact = torch.linalg.solve(matrix.double(), vectors.double().T).T
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=0)
    assert (found[3] == 0).all()
    calls = []

    def product(v):
        calls.append(1)
        return v @ matrix

    conjugate_gradients(product, lambda v: v @ near, vectors, 500)
    assert len(calls) < 60
