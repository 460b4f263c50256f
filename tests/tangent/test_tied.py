"""A table that is also the weight of a linear layer: looked-up rows and outer products."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sklearn_provenance.tangent import TangentModel, tangent_kernel
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._sketch import SKETCHES
from sklearn_provenance.tangent._tied import Tied

from .conftest import reference
from .test_sketch import sketched

N_OUT, N_IN = 7, 3


def form(seed, n_rows, looked_up, multiplied):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(n_rows, *shape, generator=generator, dtype=torch.float64)

    index = torch.randint(N_OUT, (n_rows, looked_up), generator=generator)
    return Tied(index, normal(looked_up, N_IN), normal(multiplied, N_IN), normal(multiplied, N_OUT))


positions = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any)


@given(seed=st.integers(0, 10**6), ours=positions, theirs=positions)
def test_every_answer_is_that_of_the_gradients_written_out(seed, ours, theirs):
    tied = form(seed, 4, *ours)
    other = form(seed + 1, 2, *theirs)
    formed = Formed(tied.matrix())
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randn(2, N_OUT, N_IN, generator=generator, dtype=torch.float64)
    basis = torch.randn(N_IN, N_IN, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(tied.inner(other), formed.inner(Formed(other.matrix())))
    torch.testing.assert_close(tied.inner_with(matrices), formed.inner_with(matrices))
    torch.testing.assert_close(tied.norms(), formed.norms())
    torch.testing.assert_close(tied.totals(matrices[:, 0, :1]), formed.totals(matrices[:, 0, :1]))
    torch.testing.assert_close(tied.rotate(None, basis).matrix(), tied.matrix() @ basis)
    torch.testing.assert_close(tied.compact().matrix(), tied.matrix())
    both = form(seed, 4, *ours) + form(seed + 2, 4, *theirs)
    expected = tied.matrix() + form(seed + 2, 4, *theirs).matrix()
    torch.testing.assert_close(both.matrix(), expected)
    for kind in SKETCHES:
        torch.testing.assert_close(sketched(kind, 5, seed, tied), sketched(kind, 5, seed, formed))


class Language(nn.Module):
    """Words predicted from the word before them, by the table that looks words up."""

    def __init__(self, bias=False, looked_up=True):
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 9, bias=bias)
        self.head.weight = self.table.weight
        self.looked_up = looked_up

    def forward(self, x):
        words = self.table(x) if self.looked_up else nn.functional.one_hot(x, 9)[..., :4].double()
        return self.head(torch.tanh(self.mix(words))).sum(1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("looked_up", [True, False])
def test_a_table_that_is_also_a_head_has_factors(bias, looked_up, scaled):
    torch.manual_seed(0)
    network = Language(bias, looked_up).double()
    x = torch.randint(9, (5, 6))
    labels = torch.tensor([0, 3, 8, 1, 1])
    model = TangentModel(network, ntk_parameterization=scaled).plan(x, labels)
    assert set(model.coverage.routes.values()) == {"factors"}
    gradients = reference(network, x, labels)
    if scaled:  # both weights sum over 4 inputs
        sizes = [(p.numel(), 0.5 if p.ndim == 2 else 1.0) for p in network.parameters()]
        gradients = gradients * torch.cat([torch.full((n,), factor) for n, factor in sizes])
    kernel = tangent_kernel(model, x, labels, batch_size=2)
    torch.testing.assert_close(kernel, gradients @ gradients.T)
