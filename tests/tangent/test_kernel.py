"""Kernels and squared norms from layer factors agree with the gradients that they stand for."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_provenance._utils.budget import kept_numbers, within
from sklearn_provenance._utils.kept import MEMORY_LIMIT, Kept
from sklearn_provenance.tangent import TangentModel, tangent_diagonal, tangent_kernel
from sklearn_provenance.tangent import _forms as forms
from sklearn_provenance.tangent import _products as kernels
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._lookup import Lookup
from sklearn_provenance.tangent._network_layers import batch_size_for, features_batch_size
from sklearn_provenance.tangent._outer import Outer
from sklearn_provenance.tangent._stream import Stream

from ..checks import thorough
from .conftest import NETWORKS, build, reference
from .test_factors import Routed

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


@st.composite
def factors(draw):
    """Two factors of one layer, each of some form, with limits that split the work."""
    seed = draw(st.integers(0, 2**31))
    n_out, n_in = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    def factor(kinds):
        B, T = draw(st.integers(1, 6)), draw(st.integers(1, 5))
        kind = draw(st.sampled_from(kinds))
        if kind == "outer":
            return Outer(normal(B, T, n_in), normal(B, T, n_out))
        if kind == "lookup":
            index = torch.randint(0, n_out, (B, T), generator=generator)
            return Lookup(index, normal(B, T, n_in), n_out)
        return Formed(normal(B, n_out, n_in))

    kinds = draw(st.sampled_from([["outer", "formed"], ["lookup", "formed"]]))
    limits = draw(st.tuples(st.sampled_from([1, 20, 2**24]), st.sampled_from([1, 100, 2**24])))
    return factor(kinds), factor(kinds), limits


@given(factors())
@settings(max_examples=150)
def test_factors_multiply_like_the_matrices_they_stand_for(drawn):
    left, right, (pairs, formed) = drawn
    a, b = left.matrix().flatten(1), right.matrix().flatten(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "_PAIRS", pairs)
        patch.setattr(forms, "_FORMED", formed)
        torch.testing.assert_close(left.inner(right), a @ b.T, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(left.norms(), a.square().sum(1), rtol=1e-10, atol=1e-10)
    assert left.norms().min() >= 0


def test_rows_of_one_position_meet_rows_of_several():
    torch.manual_seed(0)
    for make in (
        lambda T: Outer(torch.randn(3, T, 4), torch.randn(3, T, 5)),
        lambda T: Lookup(torch.randint(0, 5, (3, T)), torch.randn(3, T, 4), 5),
    ):
        for left, right in itertools.product((make(1), make(3)), repeat=2):
            expected = left.matrix().flatten(1) @ right.matrix().flatten(1).T
            torch.testing.assert_close(left.inner(right), expected)


@given(
    name=st.sampled_from(sorted(NETWORKS)), n=st.integers(1, 9), batch_size=st.integers(1, 10),
    tile=st.integers(1, 10), kept=st.sampled_from([1, 1000, 2**27]), seed=st.integers(0, 100),
    streamed=st.sampled_from([1, 1000, 2**24]),
)  # fmt: skip
def test_batches_blocks_and_tiles_do_not_show(name, n, batch_size, tile, kept, streamed, seed):
    network, x, labels = build(name, n=n, seed=seed)
    expected = reference(network, x, labels)
    expected = expected @ expected.T
    tolerance = 1e-9 * float(expected.abs().max()) + 1e-12
    model = TangentModel(network)
    with pytest.MonkeyPatch.context() as patch:
        for limit, value in (("_TILE", tile), ("_KEPT", kept), ("_STREAMED", streamed)):
            patch.setattr(kernels, limit, value)
        kernel = tangent_kernel(model, x, labels, batch_size=batch_size)
        m = (n + 1) // 2
        cross = tangent_kernel(model, x[:m], labels[:m], x, labels, batch_size=batch_size)
    torch.testing.assert_close(kernel, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(cross, expected[:m], rtol=0, atol=tolerance)
    assert torch.equal(kernel, kernel.T)
    diagonal = tangent_diagonal(model, x, labels, batch_size=batch_size)
    torch.testing.assert_close(diagonal, expected.diagonal(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kept", [1, 2**27])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_layers_that_change_their_form_between_batches(monkeypatch, batch_size, kept):
    """Rows of one kind, then mixed: a layer is idle, takes the slow route, and comes back."""
    monkeypatch.setattr(kernels, "_KEPT", kept)
    torch.manual_seed(0)
    network, x, labels = Routed().double(), torch.randn(16, 6).double(), torch.arange(16) % 3
    order = torch.cat([x[:, 0].argsort()[:6], torch.arange(16), x[:, 0].argsort()[-6:]])
    x, labels = x[order], labels[order]
    expected = reference(network, x, labels)
    model = TangentModel(network).plan(x[:3])
    assert set(model.coverage.routes.values()) == {"factors", "idle"}
    kernel = tangent_kernel(model, x, labels, batch_size=batch_size)
    torch.testing.assert_close(kernel, expected @ expected.T)
    diagonal = tangent_diagonal(model, x, labels, batch_size=batch_size)
    torch.testing.assert_close(diagonal, (expected**2).sum(1))


@pytest.mark.parametrize("measurement", ["margin", *thorough("label_logit")])
@pytest.mark.parametrize("name", NETWORKS)
def test_diagonal_is_the_kernels(name, measurement):
    network, x, labels = build(name, torch.float32, n=7)
    model = TangentModel(network, measurement=measurement)
    diagonal = tangent_diagonal(model, x.numpy(), labels.numpy(), 3)
    assert diagonal.dtype == torch.float64
    expected = tangent_kernel(model, x, labels).diagonal()
    torch.testing.assert_close(diagonal, expected, rtol=1e-5, atol=1e-7)


def test_a_large_vocabulary_is_not_formed(monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(1000, 10), nn.Flatten(), nn.Linear(30, 2))
    x = torch.randint(0, 1000, (20, 3))
    x[:, 1] = x[:, 0]
    labels = torch.zeros(20, dtype=torch.long)
    model = TangentModel(network, parameters=["0.weight"]).plan(x)

    def refuse(self):
        raise MemoryError

    monkeypatch.setattr(Lookup, "matrix", refuse)
    diagonal = tangent_diagonal(model, x, labels)
    w = network[2].weight[0].detach().double().reshape(3, 10)
    apart = (w[0] + w[1]).square().sum() + w[2].square().sum()
    together = w.sum(0).square().sum()
    expected = torch.where(x[:, 0] == x[:, 2], together, apart)
    torch.testing.assert_close(diagonal, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(tangent_kernel(model, x, labels).diagonal(), diagonal)


def test_the_kernel_is_kept_where_it_is_wanted():
    network, x, labels = build("mlp")
    model = TangentModel(network)
    kernel = tangent_kernel(model, x, labels)
    assert kernel.device.type == "cpu"
    assert torch.equal(tangent_kernel(model, x, labels, device=model.device), kernel)
    # A device without numbers takes all that is written to it.
    for others in ((), (x[:2], labels[:2])):
        kept = tangent_kernel(model, x, labels, *others, device="meta")
        assert (kept.device.type, len(kept)) == ("meta", len(x))


def test_progress_counts_every_entry(capsys):
    network, x, labels = build("mlp", n=9)
    model = TangentModel(network)
    for others in ((), (x[:4], labels[:4])):
        tangent_kernel(model, x, labels, *others, batch_size=2, verbose=True)
        shown = capsys.readouterr().err
        total = 9 * (4 if others else 9)
        assert "tangent kernel" in shown
        assert "100%" in shown
        assert f"{total:.1f}/{total:.1f}" in shown
    tangent_diagonal(model, x, labels, verbose=True)
    assert "tangent diagonal" in capsys.readouterr().err
    tangent_kernel(model, x, labels)
    tangent_diagonal(model, x, labels)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 4, "one entry for each of 5 rows"),
        ([3] * 5, r"got 3\. Labels"),
        ([0.5] * 5, "integers"),
    ],
)
def test_diagonal_refuses(labels, message):
    network, x, _ = build("mlp")
    with pytest.raises(ValueError, match=message):
        tangent_diagonal(TangentModel(network), x, labels)


def test_the_callers_inference_mode_does_not_matter():
    network, x, labels = build("mlp")
    expected = (reference(network, x, labels) ** 2).sum(1)
    with torch.inference_mode():
        found = tangent_diagonal(TangentModel(network), x + 0, labels + 0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_rows_made_in_inference_mode_are_taken():
    """Autograd cannot keep them, but it keeps the copies that modules get."""
    network, x, labels = build("mlp")
    expected = (reference(network, x, labels) ** 2).sum(1)
    with torch.inference_mode():
        x = x + 0
    assert x.is_inference()
    found = tangent_diagonal(TangentModel(network), x, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("limit", [1.0, 1e5, 4e5, 2e9, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_keep_to_the_budget(monkeypatch, limit, dtype):
    network = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 3)).double()
    x, labels = torch.randn(200, 30).double(), torch.arange(200) % 3
    model = TangentModel(network).plan(x)
    expected = tangent_kernel(model, x[:150], labels[:150], x, labels, dtype=dtype)
    asked = []
    blocks = Stream.blocks

    def counted(self, dtype, n_numbers, *arguments):
        asked.append(n_numbers)
        return blocks(self, dtype, n_numbers, *arguments)

    monkeypatch.setattr(Stream, "blocks", counted)
    # Rows of 117 numbers; smaller blocks than 64 kB, which are 70 rows, would spare nothing.
    with within(limit) if limit else nullcontext():
        found = tangent_kernel(model, x[:150], labels[:150], x, labels, dtype=dtype)
        square = tangent_kernel(model, x, labels, dtype=dtype)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(square[:150], expected, rtol=1e-5, atol=1e-5)
    result = expected.nbytes
    if limit is None:
        assert set(asked) == {kernels._KEPT, kernels._STREAMED}
    else:
        assert 8 * asked[0] <= max(2**16, limit / 16, (limit - result) / 2)
        assert 8 * asked[1] <= max(2**16, limit / 16)
    if limit == 2e9:  # the default costs no more passes
        assert 8 * asked[0] > 0.99e9


def test_passes_and_tiles_keep_to_the_budget(monkeypatch):
    """A pass of 256 rows would hold 1.5 million numbers, and a tile of 512 rows 2 MB."""
    network = nn.Sequential(nn.Linear(20, 1500), nn.Tanh(), nn.Linear(1500, 3)).double()
    x, labels = torch.randn(300, 20).double(), torch.arange(300) % 3
    model = TangentModel(network).plan(x)
    sizes = []
    fill = kernels._fill

    def counted(result, left, right, *arguments):
        sizes.append(max(rows.stop - rows.start for rows, _ in (left, right)))
        return fill(result, left, right, *arguments)

    monkeypatch.setattr(kernels, "_fill", counted)
    expected = tangent_kernel(model, x, labels)
    usual = max(sizes)
    sizes.clear()
    with within(9e6):
        found = tangent_kernel(model, x, labels)
        rows = batch_size_for(model, "auto")
        of_features = features_batch_size(model, "auto", 2**16)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert 8 * max(sizes) ** 2 <= 9e6 / 16 < 8 * usual**2
    assert 4 * 2 * (20 + 1500 + 1500 + 3) * rows <= 9e6 / 7
    assert 1 <= of_features <= 9e6 / 7 / (4 * 2**17)
    for budget in (nullcontext(), within(MEMORY_LIMIT)):  # the default costs no more passes
        with budget:
            assert batch_size_for(model, "auto") == 256


def test_what_is_cached_leaves_less_for_blocks():
    cache = Kept(1e8)
    cache(("rows",), lambda: torch.zeros(5_000_000))  # 20 MB
    with within(1e8):
        alone = kept_numbers(2**40, 1e7)
    with within(1e8, cache):
        beside = kept_numbers(2**40, 1e7)
    assert alone - beside == 2e7 / 16
