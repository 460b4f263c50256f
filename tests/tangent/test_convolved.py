"""Gradients of convolutions from their input are those of autograd and of patches."""

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent._convolved import Convolved
from sklearn_provenance.tangent._forms import Formed
from sklearn_provenance.tangent._network_layers import find_layers
from sklearn_provenance.tangent._outer import Outer
from sklearn_provenance.tangent._patches import (
    order_of_channels_last,
    unfold,
    windows_channels_last,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

CONVOLUTIONS = {
    "lines": (nn.Conv1d(3, 4, 3, padding=1), (9,)),
    "stride": (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)), (9, 8)),
    "more on one side": (nn.Conv1d(3, 4, 2, padding="same", dilation=3), (8,)),
    "reflected": (nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect"), (6, 5)),
    "circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", bias=False), (6, 5)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid", stride=3), (10, 10)),
    "volumes": (nn.Conv3d(2, 4, (3, 2, 2), padding=(1, 0, 1), dilation=(1, 2, 1)), (5, 6, 4)),
    "one position": (nn.Conv2d(3, 4, 3), (3, 3)),
    "channels last": (
        nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last),
        (6, 5),
    ),
}


def form_of(name, n=5):
    """The form of the sum of squared outputs, its layer, and autograd's gradients (n, O, I)."""
    convolution, size = CONVOLUTIONS[name]
    convolution = convolution.double()
    torch.manual_seed(0)
    x = torch.randn(n, convolution.in_channels, *size, dtype=torch.float64)
    if name == "channels last":  # as the output of another such convolution lies
        x = x.contiguous(memory_format=torch.channels_last)
    (layer,) = find_layers(convolution, dict(convolution.named_parameters()), 1.5)
    y = convolution(x)
    rows = []
    for i in range(n):
        value = convolution(x[i : i + 1]).square().sum() / 2
        found = torch.autograd.grad(value, list(layer.weights.values()))
        by_name = zip(layer.weights, found, strict=True)
        rows.append(layer.join({name: g[None] for name, g in by_name}).matrix())
    form = layer.factor(convolution, x, y.detach(), n)
    return form, torch.cat(rows)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_are_those_of_autograd_and_of_patches(name):
    form, expected = form_of(name)
    assert type(form) is Convolved
    patches = Outer(form.a, form.g)
    assert form.shape == patches.shape == expected.shape[1:]
    assert form.positions == patches.positions
    weights = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    for one in (form, patches):
        torch.testing.assert_close(one.matrix(), expected)
        torch.testing.assert_close(one.total(weights), torch.tensordot(weights, expected, 1))
        torch.testing.assert_close(one.norms(), expected.square().sum((1, 2)))
        kernel = expected.flatten(1) @ expected.flatten(1).mT
        torch.testing.assert_close(one.inner(one[1:4]), kernel[:, 1:4])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patches_with_channels_last_are_the_others_in_another_order(name):
    form, _ = form_of(name)
    expected = unfold(form.module, form.x)
    windows = windows_channels_last(form.module, form.x)
    found = windows.reshape(len(form), form.positions, -1)
    assert torch.equal(found, expected[:, :, order_of_channels_last(form.module)])
    inputs, order = form.ordered_inputs()
    assert torch.equal(inputs, form.a[:, :, order])


@pytest.mark.parametrize("in_cache", [1, 10**6])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_at_several_labels_are_formed_from_the_same_patches(name, in_cache, monkeypatch):
    for module in ("_convolved", "_outer"):
        rows = lambda n: max(1, in_cache // n)  # noqa: E731
        monkeypatch.setattr(f"sklearn_provenance.tangent.{module}.cached_rows", rows)
    form, expected = form_of(name)
    other = Convolved(form.x, -2 * form.y, form.layer, form.module)
    for one in (form, Outer(form.a, form.g)):
        doubled = other if one is form else Outer(one.a, -2 * one.g)
        seen = []
        for rows, matrices, order in one.formed_together([one, doubled]):
            columns = slice(None) if order is None else order
            for factor, matrix in zip((1, -2), matrices, strict=True):
                torch.testing.assert_close(matrix, factor * expected[rows][:, :, columns])
            seen += range(len(form))[rows]
        assert seen == list(range(len(form)))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_batches_are_selected_joined_and_converted(name):
    form, expected = form_of(name)
    joined = Convolved.concatenate([form[3:], form[torch.tensor([2, 0])]])
    torch.testing.assert_close(joined.matrix(), expected[[3, 4, 2, 0]])
    torch.testing.assert_close(
        form.cast(torch.float32).matrix(), expected.float(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close((form + form).matrix(), 2 * expected)
    compact = form.compact()
    assert compact.n_numbers <= form.n_numbers
    torch.testing.assert_close(compact.matrix(), expected)


def test_what_is_kept_is_the_smaller_of_input_and_gradients():
    kinds = {name: type(form_of(name)[0].compact()) for name in ("volumes", "one position")}
    assert kinds == {"volumes": Formed, "one position": Convolved}
