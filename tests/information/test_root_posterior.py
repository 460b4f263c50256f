"""Posterior cosines of rows that are read in blocks are those of rows in memory."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sklearn_provenance.information._local_shards import RowBlocks
from sklearn_provenance.information._root_posterior import block_posterior, block_roots
from sklearn_provenance.information._weight_space import FeaturePosterior
from sklearn_provenance.tangent._points import ExplicitPoints

from .test_block_system import problems


def in_blocks(array, noise_variance):
    rows = RowBlocks(ExplicitPoints(array, torch.zeros(len(array), dtype=torch.int64)))
    return block_posterior(rows, *block_roots(rows, noise_variance))


def by_definition(phi, queries, noise_variance):
    """Eq. 86 of [IT] with a plain inverse: v_x* / sqrt(v_x v_*); 0 of rows without features."""
    posterior = np.linalg.inv(np.eye(phi.shape[1]) + phi.T @ phi / noise_variance)
    of_rows, of_queries = (np.einsum("ij,jk,ik->i", a, posterior, a) for a in (phi, queries))
    scale = np.sqrt(np.outer(of_queries, of_rows))
    return np.divide(queries @ posterior @ phi.T, scale, np.zeros_like(scale), where=scale > 0)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(problem=problems(), numbers=st.sampled_from([1, 6, 2**20]))
def test_as_in_memory_and_by_definition(small_blocks, problem, numbers):
    rows, queries, _, allowed, _, noise = problem
    phi = torch.as_tensor(rows)
    memory = FeaturePosterior(phi, noise)
    small_blocks(numbers)
    blocks = in_blocks(rows, noise)
    wanted = torch.arange(len(rows)) if allowed is None else allowed.nonzero()[:, 0]
    found = blocks.cosine(queries, wanted)
    torch.testing.assert_close(found, memory.cosine(queries, wanted), rtol=1e-9, atol=1e-11)
    exact = by_definition(rows, queries.numpy(), noise)
    np.testing.assert_allclose(found, exact[:, wanted.numpy()], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        blocks.total([queries[:1], queries[1:]]), exact.sum(0), rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        blocks.loss(queries, wanted), memory.loss(queries, wanted), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("noise_variance", [1.0, 1e-3, 1e-7, 1e-9])
def test_digits_that_are_kept(noise_variance):
    """Absolute errors of about ε sqrt(k / σ²), from a Gram matrix or a triangle."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 12)) * np.logspace(0, -4, 12)
    queries = torch.as_tensor(random.normal(size=(5, 12)))
    everything = torch.arange(300)
    expected = FeaturePosterior(torch.as_tensor(rows), noise_variance).cosine(queries, everything)
    found = in_blocks(rows, noise_variance).cosine(queries, everything)
    error = (found - expected).abs().max()
    assert error <= 1e-11 + 1e-15 * (1 / noise_variance) ** 0.5


def test_rows_without_features():
    rows = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    queries = torch.tensor([[0.0, 0.0], [3.0, 6.0]], dtype=torch.float64)
    found = in_blocks(rows, 0.5).cosine(queries, torch.arange(3))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0, 0], [0, 1, 1]]).double())


def test_a_noise_variance_below_rounding():
    posterior = in_blocks(np.random.default_rng(0).normal(size=(9, 2)), 1e-17)
    queries = torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="too small for float64"):
        posterior.loss(queries, torch.arange(1))
