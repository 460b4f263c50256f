"""What is kept between calls is asked from several threads, and torch keeps its number of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sklearn_provenance.information import _selection
from sklearn_provenance.information._posterior import KernelPosterior
from sklearn_provenance.information._systems import KernelSystem


def test_threads_that_ask_for_other_rows():
    torch.manual_seed(0)
    phi = torch.randn(40, 60, dtype=torch.float64)
    query = torch.randn(3, 60, dtype=torch.float64)
    kernel, queries = phi @ phi.mT, (query @ phi.mT, query.square().sum(1))
    posterior = KernelPosterior(kernel, 1.0)
    system = KernelSystem(kernel, 1.0, "info_loss")
    asked = [torch.arange(first, 40 - first) for first in range(4)]
    masks = [torch.zeros(40, dtype=torch.bool).index_fill(0, rows, True) for rows in asked]
    losses = [posterior.loss(queries, rows) for rows in asked]
    picks = [system.pick(queries, 5, mask)[0] for mask in masks]

    def work(i):
        i %= len(asked)
        loss, picked = posterior.loss(queries, asked[i]), system.pick(queries, 5, masks[i])[0]
        # Products may differ by rounding where memory is aligned otherwise.
        alike = torch.allclose(loss, losses[i], rtol=1e-9, atol=1e-12)
        return alike and torch.equal(picked, picks[i])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))


@pytest.fixture
def three_threads():
    """Another number than that which selection sets, and which tests run with."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_selection_gives_threads_back(three_threads):
    phi = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    during = []

    def start(n_selections, n_picks):
        during.append(torch.get_num_threads())
        return _selection.FeatureConditioning(
            phi, 1, torch.ones(30), torch.ones(30), n_selections, n_picks
        )

    blocked = torch.zeros(4, 30, dtype=torch.bool)
    _selection.select_each(start, phi[:4] @ phi.mT, blocked, 2, 8)
    assert during == [1]
    assert torch.get_num_threads() == 3


def test_large_selections_have_all_threads(three_threads):
    """Selections that fill the cache are made one by one."""
    device = torch.device("cpu")
    for size, threads in ((_selection.CACHE_BYTES // 2, 1), (_selection.CACHE_BYTES, 3)):
        during = [
            (block.stop - block.start, torch.get_num_threads())
            for block in _selection.blocks(4, size, device)
        ]
        assert sum(n for n, _ in during) == 4
        assert {n for _, n in during} == {threads}
        assert torch.get_num_threads() == 3


def test_selection_that_fails_gives_threads_back(three_threads):
    def start(n_selections, n_picks):
        raise ArithmeticError

    blocked = torch.zeros(4, 30, dtype=torch.bool)
    with pytest.raises(ArithmeticError):
        _selection.select_each(start, torch.ones(4, 30), blocked, 2, 8)
    assert torch.get_num_threads() == 3


def test_the_last_to_leave_gives_threads_back(three_threads):
    first, second = _selection.one_thread(), _selection.one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 3


def test_what_is_kept_is_kept_for_its_rows():
    """Questions about as many other rows, before and after."""
    phi = torch.randn(12, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel, queries = phi @ phi.mT, (phi[:2] @ phi.mT, phi[:2].square().sum(1))
    posterior, system = KernelPosterior(kernel, 1.0), KernelSystem(kernel, 1.0, "info_loss")
    for rows in ([0, 1, 2], [3, 4, 5], [5, 4, 3], [0, 1, 2]):
        rows = torch.tensor(rows)
        fresh = KernelPosterior(kernel, 1.0)
        assert torch.equal(posterior.loss(queries, rows), fresh.loss(queries, rows))
        assert torch.equal(posterior.cosine(queries, rows), fresh.cosine(queries, rows))
        mask = torch.zeros(12, dtype=torch.bool).index_fill(0, rows, True)
        fresh = KernelSystem(kernel, 1.0, "info_loss")
        for kept, new in zip(
            system.pick(queries, 2, mask), fresh.pick(queries, 2, mask), strict=True
        ):
            assert torch.equal(kept, new)
