"""Modules that are not what a few rows make of them: right, slow with a warning, or refused."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sklearn_provenance.tangent import (
    Layer,
    TangentFeatures,
    TangentModel,
    TangentRows,
    register_layer,
    tangent_diagonal,
    tangent_kernel,
)
from sklearn_provenance.tangent._examination import examined_rows
from sklearn_provenance.tangent._forms import Formed

from .conftest import reference

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


class ByLength(nn.Module):
    """Sorts its batch by length and undoes it at the end."""

    def __init__(self, undo=True):
        super().__init__()
        self.table, self.mix = nn.Embedding(12, 4, padding_idx=0), nn.Linear(4, 4)
        self.out, self.undo = nn.Linear(4, 3), undo

    def forward(self, ids):
        order = (ids != 0).sum(1).argsort(descending=True, stable=True)
        logits = self.out(torch.tanh(self.mix(self.table(ids[order]))).mean(1))
        return logits[order.argsort()] if self.undo else logits


class Scaled(nn.Linear):
    """Uses five times its weight."""

    def forward(self, x):
        return F.linear(x, self.weight * 5, self.bias)


class Sometimes(nn.Linear):
    """Uses twice its weight where the first number is large: hooks see another gradient."""

    def forward(self, x):
        twice = F.linear(x, self.weight * 2, self.bias)
        return torch.where(x[:, :1] > 0.5, twice, super().forward(x))


class Writes(nn.Module):
    """Writes to its input."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        x.mul_(2)
        return self.out(torch.tanh(self.inner(x)))


class Twice(nn.Module):
    """One layer used twice, and its weight once more without a call, if numbers are large."""

    def __init__(self):
        super().__init__()
        self.block, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.block(torch.tanh(self.block(x))))
        more = F.linear(h, self.block.weight)
        return self.out(h + more * (x[:, :1] > 0.5))


class Pairs(nn.Module):
    """Rows change places inside the batch, and back: the first with the last, and so on."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x.flip(0)))).flip(0)


class Parts(nn.Module):
    """A part that only some rows use, without calling it."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        rows = x[:, 0] > 0.5
        logits = self.a(x)
        if rows.any():
            logits = logits + rows[:, None] * F.linear(x, self.b.weight, self.b.bias)
        return logits


def scaled(*extra):
    return nn.Sequential(Scaled(6, 5, bias=False), nn.Tanh(), *extra, nn.Linear(5, 3))


ZOO = {
    "by length": ByLength,
    "scaled": scaled,
    "scaled, dropout": lambda: scaled(nn.Dropout(0.5), nn.BatchNorm1d(5)),
    "sometimes": lambda: nn.Sequential(Sometimes(6, 5), nn.Tanh(), nn.Linear(5, 3)),
    "writes": Writes,
    "twice": Twice,
    "pairs": Pairs,
    "parts": Parts,
    "plain": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)),
}


def rows_of(name, n, pattern, seed):
    """Rows of which the examined ones show little."""
    torch.manual_seed(seed)
    if name == "by length":
        x = torch.randint(1, 12, (n, 7))
        lengths = torch.randint(1, 8, (n,))
        if pattern == "equal":
            lengths = torch.full((n,), 4)
        x[torch.arange(7) >= lengths[:, None]] = 0
    else:
        x = torch.randn(n, 6, dtype=torch.float64)
    if pattern == "first zero":
        x[0] = 0
    if pattern == "last zero":
        x[-1] = 0
    if pattern == "mostly zero":
        x[: n - 2] = 0
    if pattern == "mostly the same":
        x[: n - 2] = x[0].clone()
    return x


@given(
    name=st.sampled_from(sorted(ZOO)), n=st.integers(1, 25), batch_size=st.integers(1, 30),
    pattern=st.sampled_from(
        ["plain", "first zero", "last zero", "mostly zero", "mostly the same", "equal"]
    ),
    seed=st.integers(0, 1000), frozen=st.booleans(), n_planned=st.integers(1, 25),
)  # fmt: skip
def test_never_silently_wrong(name, n, batch_size, pattern, seed, frozen, n_planned):
    x = rows_of(name, n, pattern, seed)
    network = ZOO[name]().double().requires_grad_(not frozen)
    labels = torch.arange(n) % 3
    expected = reference(network, x.clone(), labels) if name != "writes" else None
    if expected is None:
        clean = nn.Sequential(network.inner, nn.Tanh(), network.out)
        expected = reference(clean, x * 2, labels)
    before = x.clone()
    model = TangentModel(network).plan(x[:n_planned])
    rows = TangentRows(model, x, labels, batch_size=batch_size)
    scale = float(expected.square().sum(1).max()) + 1e-9
    kernel = expected @ expected.T
    for found in (rows.inner(), tangent_kernel(model, x, labels, batch_size=batch_size)):
        torch.testing.assert_close(found, kernel, rtol=0, atol=1e-6 * scale)
    torch.testing.assert_close(rows.norms(), kernel.diagonal(), rtol=0, atol=1e-6 * scale)
    sketch = TangentFeatures(network, 64, batch_size=batch_size).fit(x)
    other = TangentFeatures(network, 64, batch_size=1).fit(x)
    np.testing.assert_allclose(
        sketch.transform(x, labels), other.transform(x, labels), atol=1e-6 * scale**0.5
    )
    assert torch.equal(x, before)
    assert all(p.requires_grad is not frozen for p in network.parameters())


class Centred(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Noisy(nn.Linear):
    """Draws in evaluation mode; ``size`` of what it draws shows."""

    size = 1.0

    def forward(self, x):
        noise = torch.randn(len(x), 1).double() + np.random.rand()  # noqa: NPY002
        return super().forward(x) + self.size * noise * torch.arange(3.0).double()


@pytest.mark.parametrize(
    ("network", "ids"),
    [
        (Centred(6, 3), False), (ByLength(undo=False), True), (Noisy(6, 3), False),
        (nn.Sequential(nn.Linear(6, 5), Centred(5, 3)), False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["plain", "first zero", "last zero", "mostly zero"])
def test_outputs_that_depend_on_batch_mates_are_refused(network, ids, pattern):
    x = rows_of("by length" if ids else "plain", 20, pattern, seed=3)
    with pytest.raises(ValueError, match="must not depend on the other rows"):
        TangentModel(network.double()).plan(x)


def test_generators_are_left_alone():
    torch.manual_seed(0)
    quiet = type("Quiet", (Noisy,), {"size": 0.0})(6, 3).double()
    x = torch.randn(9, 6).double()
    for network, refused in ((quiet, False), (Noisy(6, 3).double(), True)):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        model = TangentModel(network)
        if refused:
            with pytest.raises(ValueError, match="call to call"):
                model.plan(x)
        else:
            rows = TangentRows(model, x, batch_size=2)
            rows.take([1]).inner(TangentRows(model, x, memory_limit=0))
            model.logits(x)
        after = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert before[1][2:] == after[1][2:]
        assert np.array_equal(before[1][1], after[1][1])


def test_buffers_are_left_alone():
    class Counts(nn.Linear):
        def __init__(self):
            super().__init__(6, 3)
            self.register_buffer("seen", torch.zeros(()))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.seen += len(x)
            self.calls = self.calls + 1
            return super().forward(x)

    network, x = Counts(), torch.randn(9, 6)
    buffers = network.seen, network.calls
    TangentRows(TangentModel(network), x, batch_size=2)
    assert network.seen is buffers[0]
    assert network.calls is buffers[1]
    assert not network.seen
    assert not network.calls


def test_row_by_row_says_so():
    class Branches(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * (2 if float(x.detach().sum()) > 1e9 else 3), self.bias)

    x = torch.randn(9, 6)
    with pytest.warns(UserWarning, match="weight, bias are computed row by row, which is slow"):
        model = TangentModel(Branches(6, 3)).plan(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TangentRows(model, x)


def test_examined_rows_differ():
    x = torch.zeros(1000, 5)
    assert examined_rows(x) == [0, 0, 0]
    x[700, 3] = 1
    assert set(examined_rows(x)) == {0, 700}
    x = torch.randn(1000, 5)
    assert {0, 500, 999} < set(examined_rows(x))
    assert 6 <= len(examined_rows(x)) <= 8
    lengths = torch.arange(5) < torch.randint(2, 5, (1000, 1))
    lengths[313], lengths[9] = False, True
    assert {313, 9} <= set(examined_rows({"mask": lengths.long(), "x": x[:, 0]}))


class Turned(nn.Module):
    """A linear layer whose weight is stored (n_in, n_out), as in GPT-2."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))

    def forward(self, x):
        return x @ self.weight


def test_layers_of_users():
    torch.manual_seed(0)
    network = nn.Sequential(Turned(6, 5), nn.Tanh(), Turned(5, 3)).double()
    x, labels = torch.randn(9, 6).double(), torch.arange(9) % 3
    expected = (reference(network, x, labels) ** 2).sum(1)
    slow = TangentModel(network).plan(x)
    assert set(slow.coverage.routes.values()) == {"functional"}

    @register_layer(Turned)
    class TurnedLayer(Layer):
        def factor(self, module, x, g, n_rows):
            return self.formed(torch.einsum("bi,bo->bio", x, g))

    fast = TangentModel(network).plan(x)
    assert set(fast.coverage.routes.values()) == {"factors"}
    for model in (slow, fast):
        torch.testing.assert_close(tangent_diagonal(model, x, labels), expected)


class Answer:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: {"loss": None, "logits": z}, Answer, lambda z: (z, z.mean()), lambda z: [z],
        lambda z: (z[:, :, None], z),
    ],
)  # fmt: skip
def test_logits_in_other_outputs(wrap):
    torch.manual_seed(0)
    network, x = nn.Linear(6, 3), torch.randn(9, 6)
    expected = TangentRows(TangentModel(network), x)
    for forward in (None, lambda module, x: wrap(module(x))):
        module = network
        if forward is None:
            module = nn.Sequential(network)
            module.forward = lambda x: wrap(network(x))
        rows = TangentRows(TangentModel(module, forward=forward), x)
        torch.testing.assert_close(rows.logits, expected.logits)
        torch.testing.assert_close(rows.inner(), expected.inner())


def test_measurements_of_users():
    """Regression: the gradient of half the squared error is the residual times the output's."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x, target = torch.randn(9, 6).double(), torch.randn(9).double()
    outputs = lambda module, x: {"mean": module(x)[:, 0]}  # noqa: E731
    loss = lambda out, y: (out["mean"] - y) ** 2 / 2  # noqa: E731
    model = TangentModel(network, forward=outputs, measurement=loss)
    rows = TangentRows(model, x, target, batch_size=4)
    jacobian = reference(network, x, torch.zeros(9, dtype=torch.long))
    residual = network(x)[:, 0].detach() - target
    torch.testing.assert_close(rows.matrix(), jacobian * residual[:, None])
    torch.testing.assert_close(rows.labels, target)
    assert rows.logits is None
    features = TangentFeatures(network, "exact", forward=outputs, measurement=loss).fit(x)
    np.testing.assert_allclose(features.transform(x, target), rows.matrix())
    with pytest.raises(ValueError, match="labels must be given"):
        TangentRows(model, x)
    bad = TangentModel(network, forward=outputs, measurement=lambda out, y: out["mean"].sum())
    with pytest.raises(ValueError, match="one number a row"):
        bad.plan(x)
    own = TangentModel(network, measurement=lambda out, y: out[:, 0])
    torch.testing.assert_close(TangentRows(own, x).matrix(), jacobian)


@pytest.mark.parametrize("where", ["rows", "kernel", "diagonal", "features"])
def test_what_was_computed_before_a_route_changed_is_computed_again(where):
    """Planned on rows for which a layer's calls tell its gradient, and asked about others."""
    torch.manual_seed(0)
    network = nn.Sequential(Sometimes(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, labels = torch.randn(9, 6).double(), torch.arange(9) % 3
    x[:, 0] = torch.tensor([0.0] * 5 + [1.0] * 4)
    expected = reference(network, x, labels)
    kernel = expected @ expected.T
    model = TangentModel(network).plan(x[:4])
    assert set(model.coverage.routes.values()) == {"factors"}
    if where == "rows":
        found = TangentRows(model, x, labels, batch_size=2).inner()
    elif where == "kernel":
        found = tangent_kernel(model, x, labels, batch_size=2)
    elif where == "diagonal":
        found = tangent_diagonal(model, x, labels, batch_size=2)
        kernel = kernel.diagonal()
    else:
        features = TangentFeatures(network, "exact", batch_size=2).fit(x[:4])
        model = features.model_
        found = torch.as_tensor(features.transform(x, labels))
        found = found @ found.T
    assert model.coverage.routes["0.weight"] == "functional"
    torch.testing.assert_close(found, kernel)


def test_measurements_that_depend_on_the_batch_are_refused():
    """Finite for a row alone, and not in a batch."""
    outputs = lambda module, x: {"mean": module(x)[:, 0]}  # noqa: E731

    def measurement(out, y):
        return out["mean"] / (len(out["mean"]) == 1)

    model = TangentModel(nn.Linear(6, 1), forward=outputs, measurement=measurement)
    with pytest.raises(ValueError, match="must not depend on the other rows"):
        model.plan(torch.randn(5, 6))


def test_one_number_is_measured_for_a_row_alone():
    model = TangentModel(nn.Linear(6, 1), measurement=lambda out, y: out.squeeze())
    with pytest.raises(ValueError, match=r"a tensor of shape \(1,\); got Tensor of shape \(\)"):
        model.plan(torch.randn(5, 6))


class Mistaken(nn.Linear):
    """A module whose layer gives gradients of another shape."""


def test_layers_of_users_that_give_another_shape_take_the_slow_route():
    torch.manual_seed(0)
    x, labels = torch.randn(7, 6).double(), torch.arange(7) % 3
    network = nn.Sequential(Mistaken(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)).double()

    @register_layer(Mistaken)
    class MistakenLayer(Layer):
        def factor(self, module, x, g, n_rows):
            return Formed(torch.einsum("bi,bo->bio", x, g))

    rows = TangentRows(TangentModel(network), x, labels)
    assert rows.model.coverage.routes["0.weight"] == "functional"
    torch.testing.assert_close(rows.matrix(), reference(network, x, labels))


def test_targets_of_users_are_one_for_each_row_and_made_in_any_mode():
    torch.manual_seed(0)
    network, x = nn.Linear(6, 1, bias=False), torch.randn(5, 6)
    measurement = lambda out, y: out[:, 0] * y  # noqa: E731
    model = TangentModel(network, measurement=measurement).plan(x, torch.ones(5))
    with torch.inference_mode():
        targets = torch.arange(5.0)
    batch = model.linearise(x)
    forms = {layer.key: form.matrix()[:, 0] for layer, form in batch.factors(targets)}
    torch.testing.assert_close(forms["weight"], x * targets[:, None])
    with pytest.raises(ValueError, match="one entry for each of 5 rows, got 3"):
        list(batch.factors(targets[:3]))
    with pytest.raises(ValueError, match=r"labels must have shape \(5,\), one for each row; got"):
        list(TangentModel(nn.Linear(6, 3)).linearise(x).factors([0, 1]))


class Raises(nn.Linear):
    """A module whose layer cannot describe its calls from some time on."""


@pytest.mark.parametrize("fails_in_plan", [True, False])
def test_layers_of_users_that_raise(fails_in_plan):
    """While layers are examined it means that they do not fit; afterwards it is an error."""
    torch.manual_seed(0)
    x, labels = torch.randn(200, 6).double(), torch.arange(200) % 3
    network = nn.Sequential(Raises(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 3)).double()
    failing = []

    @register_layer(Raises)
    class RaisesLayer(Layer):
        def factor(self, module, x, g, n_rows):
            if failing:
                raise RuntimeError("the factor is of another shape")
            return self.formed(torch.einsum("bi,bo->boi", x, g))

    if fails_in_plan:
        failing.append(0)
    model = TangentModel(network).plan(x)
    if fails_in_plan:
        assert model.coverage.routes["0.weight"] == "functional"
        expected = reference(network, x[:5], labels[:5])
        torch.testing.assert_close(TangentRows(model, x[:5], labels[:5]).matrix(), expected)
        return
    TangentRows(model, x, labels, batch_size=64)
    failing.append(0)
    with pytest.raises(RuntimeError, match="the factor is of another shape"):
        TangentRows(model, x[:50], labels[:50])


def test_no_rows_are_not_examined():
    with pytest.raises(ValueError, match="x must have at least one row, got none"):
        TangentModel(nn.Linear(6, 3)).plan(torch.zeros(0, 6))
