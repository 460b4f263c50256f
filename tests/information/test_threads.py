"""What is kept between calls is asked from several threads."""

from concurrent.futures import ThreadPoolExecutor

import torch

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
        return torch.equal(loss, losses[i]) and torch.equal(picked, picks[i])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
