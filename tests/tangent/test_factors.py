"""Per-example gradients agree with autograd, and the user's model stays as it is."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import TangentFeatures, TangentModel, TangentRows, tangent_kernel

from ..checks import thorough
from .conftest import NETWORKS, TwoHeads, build, reference

pytestmark = pytest.mark.filterwarnings("ignore:the gradients of .* row by row")


def jacobian(network, x, labels, **parameters):
    batches = {"batch_size": parameters.pop("batch_size", 2)}
    features = TangentFeatures(network, "exact", **batches, **parameters).fit(x)
    return torch.as_tensor(features.transform(x, labels))


def relative(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("measurement", ["label_logit", "margin"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), *thorough((torch.float32, 1e-5))]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_kernel_equal_autograd(name, dtype, tolerance, measurement):
    network, x, labels = build(name, dtype)
    expected = reference(network, x, labels, measurement)
    assert relative(jacobian(network, x, labels, measurement=measurement), expected) < tolerance
    model = TangentModel(network, measurement=measurement)
    kernel = tangent_kernel(model, x, labels, batch_size=2)
    assert relative(kernel, expected.double() @ expected.double().T) < tolerance
    other = tangent_kernel(model, x[:2], labels[:2], x, labels, batch_size=3)
    torch.testing.assert_close(other, kernel[:2], rtol=1e-5, atol=1e-5 * float(kernel.abs().max()))


@pytest.mark.parametrize(
    ("name", "functional"),
    [
        ("mlp", set()),
        ("convolutions", set()),
        ("tokens", set()),
        ("positions", set()),
        ("flat positions", set()),
        ("shapes", {"position.weight"}),
        ("labels", set()),
        ("shared", set()),
        ("volumes", {"3.weight", "3.bias"}),
        ("own", {"gain", "mixing", "temperature"}),
        ("tied", set()),
        ("lies", {"0.weight", "0.bias"}),
        ("functional", {"first.weight", "first.bias", "second.weight", "second.bias"}),
        ("time first", {"layer.weight", "layer.bias"}),
    ],
)
def test_coverage_names_what_takes_the_slow_route(name, functional):
    network, x, _ = build(name)
    coverage = TangentModel(network).plan(x).coverage
    assert {n for n, route in coverage.routes.items() if route == "functional"} == functional
    assert set(coverage.routes.values()) <= {"factors", "functional"}
    sizes = {n: p.numel() for n, p in network.named_parameters()}
    slow = sum(sizes[n] for n in functional) / sum(sizes.values())
    assert coverage.shares["functional"] == pytest.approx(slow)
    assert sum(coverage.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("names", [["first.weight", "second.bias"], ["first.bias"]])
@pytest.mark.parametrize("scale", [False, 2.0])
def test_layers_of_some_of_their_parameters(names, scale):
    network, x, labels = build("transposed")
    model = TangentModel(network, parameters=names, ntk_parameterization=scale).plan(x)
    assert {model.coverage.routes[name] for name in names} == {"factors"}
    sizes = [p.numel() for p in network.parameters()]
    parts = reference(network, x, labels).split(sizes, 1)
    expected = {n: g for (n, _), g in zip(network.named_parameters(), parts, strict=True)}
    if scale:
        expected["first.weight"] = expected["first.weight"] * scale / 3**0.5
    expected = torch.cat([expected[name] for name in names], 1)
    assert relative(TangentRows(model, x, labels).matrix(), expected) < 1e-10


@pytest.mark.parametrize("name", ["positions", "flat positions"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("n", [1, 2, 6, 12])  # 6 and 12: as many rows as positions, or a multiple
def test_tables_that_all_rows_share(name, frozen, n):
    network, x, labels = build(name, n=n)
    network.requires_grad_(not frozen)
    for batch_size in (1, 5, 6, 12):
        found = jacobian(network, x, labels, batch_size=batch_size)
        expected = reference(network, x, labels)
        expected = expected[:, expected.any(0)] if found.shape != expected.shape else expected
        assert relative(found, expected) < 1e-10
    assert not any(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_positions_before_examples_are_never_taken_for_examples(n):
    network, x, labels = build("time first", n=n)
    assert relative(jacobian(network, x, labels), reference(network, x, labels)) < 1e-10


def test_several_labels_share_a_forward_pass():
    network, x, _ = build("convolutions")
    calls = []
    network.register_forward_hook(lambda *_: calls.append(0))
    model = TangentModel(network).plan(x)
    calls.clear()
    batch = model.linearise(x)
    for c in range(3):
        labels = torch.full((len(x),), c)
        found = {}
        for layer, factor in batch.factors(labels):
            found |= layer.split(factor.matrix())
        found = torch.cat([found[name] for name in model.weights], 1)
        network_copy = copy.deepcopy(network)
        assert relative(found, reference(network_copy, x, labels)) < 1e-10
    assert len(calls) == 1 + 3 * len(x)  # one of ours, the others of the reference


def test_a_branch_without_influence_has_no_features():
    torch.manual_seed(0)
    network, x, labels = (
        TwoHeads().double(),
        torch.randn(5, 6).double(),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    forward = lambda module, batch: module(batch)[0]  # noqa: E731
    features = TangentFeatures(network, "exact", forward=forward).fit(x)
    expected = reference(network, x, labels, forward=forward)
    n = sum(p.numel() for part in (network.trunk, network.head) for p in part.parameters())
    assert not expected[:, n:].any()
    assert features.transform(x, labels).shape == (5, n)
    np.testing.assert_allclose(features.transform(x, labels), expected[:, :n], rtol=1e-10)
    assert features.coverage_.routes["other.weight"] == "idle"
    assert features.coverage_.shares["idle"] == pytest.approx(1 - n / expected.shape[1])


class Routed(nn.Module):
    """Rows with a positive first number see one layer, the others another."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        positive = x[:, 0] > 0
        logits = x.new_zeros(len(x), 3)
        for layer, rows in ((self.low, ~positive), (self.high, positive)):
            if rows.any():
                logits[rows] = layer(x[rows])
        return logits


@pytest.mark.parametrize("frozen", [False, True])
def test_a_part_that_wakes_up_later_is_not_forgotten(frozen):
    torch.manual_seed(0)
    network, x, labels = Routed().double(), torch.randn(8, 6).double(), torch.arange(8) % 3
    network.requires_grad_(not frozen)
    expected = reference(network, x, labels)
    low = x[x[:, 0] < 0]
    features = TangentFeatures(network, 64).fit(low)
    assert features.coverage_.routes["high.weight"] == "idle"
    exact = TangentFeatures(network, "exact").fit(low)
    with pytest.raises(RuntimeError, match="had no influence"):
        exact.transform(x, labels)
    sketches = features.transform(x, labels)
    fresh = TangentFeatures(network, 64).fit(x).transform(x, labels)
    np.testing.assert_allclose(sketches, fresh, atol=1e-12)
    kernel = tangent_kernel(TangentModel(network).plan(low), x, labels)
    torch.testing.assert_close(kernel, expected @ expected.T)


def test_batches_as_structures_of_tensors():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)
            self.gain = nn.Parameter(torch.tensor([2.0]))

        def forward(self, x):
            return torch.tanh(self.layer(x["a"])) * x["b"][0] * self.gain

    torch.manual_seed(0)
    network, a, b = Pair(), torch.randn(4, 3), torch.randn(4, 2)
    labels = torch.tensor([0, 1, 1, 0])
    model = TangentModel(network)
    factors = model.linearise({"a": a, "b": (b,)}).factors(labels)
    found = torch.cat([f.matrix().flatten(1) for _, f in factors], 1)

    for i in range(4):
        f = network({"a": a[i : i + 1], "b": (b[i : i + 1],)})[0, labels[i]]
        gradients = torch.autograd.grad(f, list(network.parameters()))
        norm = sum(g.square().sum() for g in gradients)
        torch.testing.assert_close(found[i].square().sum(), norm)


@pytest.mark.parametrize("name", ["mlp", "convolutions", "own", "functional"])
@pytest.mark.parametrize("scale", [True, 1.5])
def test_ntk_parameterization_is_the_gradient_in_the_rescaled_weights(name, scale):
    network, x, labels = build(name)
    expected = reference(network, x, labels)
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    factors = []
    for path, p in network.named_parameters():
        module = network.get_submodule(path.rpartition(".")[0])
        is_weight = isinstance(module, layers) and path.endswith("weight")
        # The fan-in of W = (s / √fan_in) Ω, counted on the layer's definition.
        fan_in = module.in_features if isinstance(module, nn.Linear) else None
        if fan_in is None and is_weight:
            fan_in = module.in_channels // module.groups * np.prod(module.kernel_size)
        factors.append(torch.full((p.numel(),), scale / fan_in**0.5 if is_weight else 1.0).double())
    found = jacobian(network, x, labels, ntk_parameterization=scale)
    assert relative(found, expected * torch.cat(factors)) < 1e-6


def snapshot(network):
    return (
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
         for m in network.modules()],
        [(n, id(p), p.requires_grad, p._version, None if p.grad is None else p.grad.clone())
         for n, p in network.named_parameters()],
        {n: t.clone() for n, t in network.state_dict().items()},
        [list(vars(m)) for m in network.modules()],
    )  # fmt: skip


def assert_same(before, after):
    assert before[0] == after[0]
    assert before[3] == after[3]
    for old, new in zip(before[1], after[1], strict=True):
        assert old[:4] == new[:4]
        assert (old[4] is None) == (new[4] is None)
        assert old[4] is None or torch.equal(old[4], new[4])
    for name, value in before[2].items():
        assert torch.equal(value, after[2][name])


def unusual_state(name):
    """A network with mixed modes, a frozen parameter, gradients and hooks of its owner's."""
    network, x, labels = build(name)
    modules = list(network.modules())
    for i, module in enumerate(modules):
        module.training = i % 2 == 0
    parameters = list(network.parameters())
    if len(parameters) > 1:
        parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.ones_like(parameters[-1])
    modules[-1].register_forward_hook(lambda *_: None)
    return network, x, labels


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_is_not_changed(name):
    network, x, labels = unusual_state(name)
    before = snapshot(network)
    features = TangentFeatures(network, 16).fit(x)
    features.transform(x, labels)
    tangent_kernel(features.model_, x, labels)
    assert_same(before, snapshot(network))


class Exploding(nn.Module):
    """Fails in the forward pass from some call on."""

    def __init__(self, calls):
        super().__init__()
        self.inner, self.own = nn.Linear(6, 3), nn.Parameter(torch.ones(3))
        object.__setattr__(self, "left", [calls])

    def forward(self, x):
        h = self.inner(x) * self.own
        self.left[0] -= 1
        if self.left[0] < 0:
            raise ZeroDivisionError("boom")
        return h


@pytest.mark.parametrize("calls", range(12))
def test_the_model_is_not_changed_by_a_failing_forward_pass(calls):
    network, x = Exploding(calls).double(), torch.randn(5, 6).double()
    network.inner.training = False
    before = snapshot(network)

    def work_until_it_fails():
        for _ in range(10):
            TangentFeatures(network, 16, batch_size=3).fit(x).transform(x)

    with pytest.raises(ZeroDivisionError):
        work_until_it_fails()
    assert_same(before, snapshot(network))


def test_dropout_and_batch_norm_are_evaluated_in_evaluation_mode():
    network, x, labels = build("mlp")
    network.train()
    first = jacobian(network, x, labels)
    assert torch.equal(first, jacobian(network, x, labels))


def test_frozen_parameters_are_left_out_unless_all_are_frozen():
    network, x, labels = build("convolutions")
    expected = reference(network, x, labels)
    network[0].requires_grad_(False)
    n = sum(p.numel() for p in network[0].parameters())
    assert relative(jacobian(network, x, labels), expected[:, n:]) < 1e-10
    assert relative(jacobian(network, x, labels, parameters="all"), expected) < 1e-10
    network.requires_grad_(False)
    assert relative(jacobian(network, x, labels), expected) < 1e-10
    last = ["11.weight"]
    assert relative(jacobian(network, x, labels, parameters=last), expected[:, -12:]) < 1e-10
    with pytest.raises(ValueError, match='parameters="all"'):
        TangentModel(network, parameters="trainable")
    with pytest.raises(ValueError, match="nowhere"):
        TangentModel(network, parameters=["nowhere"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode):
    network, x, labels = build("own")
    with mode():
        found = jacobian(network, x + 0, labels + 0)
    assert relative(found, reference(network, x, labels)) < 1e-10


def test_a_users_hook_that_replaces_an_output_is_respected():
    network, x, labels = build("mlp")
    network[0].register_forward_hook(lambda module, args, out: 3 * out)
    network[3].register_forward_pre_hook(lambda module, args: (args[0] - 1,))
    assert relative(jacobian(network, x, labels), reference(network, x, labels)) < 1e-10
    assert set(TangentModel(network).plan(x).coverage.routes.values()) == {"factors"}


class BatchDependent(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Part(nn.Linear):
    """Some of the rows and columns."""

    def __init__(self, n_rows, n_columns):
        super().__init__(6, 3)
        self.n_rows, self.n_columns = n_rows, n_columns

    def forward(self, x):
        return super().forward(x)[: self.n_rows, : self.n_columns]


@pytest.mark.parametrize(
    ("network", "error", "message"),
    [
        (nn.Linear(6, 3).half(), ValueError, "copy.deepcopy"),
        (nn.Linear(6, 3).bfloat16(), ValueError, "bfloat16"),
        (nn.ReLU(), ValueError, "must have parameters"),
        (lambda x: x, TypeError, "torch.nn.Module"),
        (nn.LazyLinear(3), ValueError, "Call the module"),
        (nn.BatchNorm1d(6, track_running_stats=False), ValueError, "statistics of its batch"),
        (nn.Embedding(6, 3, max_norm=1.0), ValueError, "max_norm"),
        (BatchDependent(6, 3), ValueError, "other rows of its batch"),
        (Part(1, 3), ValueError, "one row of logits for each of 5 rows, got 1"),
        (Part(5, 0), ValueError, "at least one logit for each row, got none"),
        (
            nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3, device="meta")),
            ValueError,
            r"must be on one device, got \['cpu', 'meta'\]",
        ),
        (TwoHeads(), ValueError, r"Pass forward=lambda module, x: module\(x\)\[1\]"),
        (nn.Unflatten(1, (2, 3)), ValueError, "must have parameters"),
        (nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3))), ValueError, "must return logits"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(network, error, message):
    with pytest.raises(error, match=message):
        TangentModel(network).plan(torch.randn(5, 6))


class Partly(nn.Module):
    """Layers that are called by keyword, without gradients, and as usual."""

    def __init__(self):
        super().__init__()
        self.fixed, self.named, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        with torch.no_grad():
            fixed = self.fixed(x)
        return self.head(torch.tanh(fixed + self.named(input=x)))


def test_calls_that_tell_nothing_take_the_slow_route():
    torch.manual_seed(0)
    network, x, labels = Partly().double(), torch.randn(5, 6).double(), torch.arange(5) % 3
    model = TangentModel(network).plan(x)
    routes = {name.partition(".")[0]: route for name, route in model.coverage.routes.items()}
    assert routes == {"fixed": "idle", "named": "functional", "head": "factors"}
    expected = reference(network, x, labels)[:, 28:]  # without those of the fixed layer
    torch.testing.assert_close(TangentRows(model, x, labels).matrix(), expected)


def test_the_scale_of_a_recurrent_layer_is_that_of_its_inputs():
    """In [IT] weights are divided by the root of the number of inputs that they sum over."""
    network, x, labels = build("mlp")
    network = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.RNN(3, 4, batch_first=True)).double()
    forward = lambda module, x: module(x)[0][:, -1]  # noqa: E731
    plain = TangentModel(network, forward=forward)
    scaled = TangentModel(network, forward=forward, ntk_parameterization=1.0)
    names = dict(network.named_parameters())
    sizes = [p.numel() for p in names.values()]
    fan_in = {"1.weight_ih_l0": 3, "1.weight_hh_l0": 4}
    parts = TangentRows(plain, x, labels).matrix().split(sizes, 1)
    expected = [g / fan_in.get(name, 1) ** 0.5 for name, g in zip(names, parts, strict=True)]
    found = TangentRows(scaled, x, labels).matrix()
    torch.testing.assert_close(found, torch.cat(expected, 1))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_normalisations_of_one_of_their_parameters(name):
    network, x, labels = build("convolutions")
    names = [f"1.{name}", f"4.{name}"]
    rows = TangentRows(TangentModel(network, parameters=names), x, labels)
    assert set(rows.model.coverage.routes.values()) == {"factors", "excluded"}
    sizes = [p.numel() for p in network.parameters()]
    parts = reference(network, x, labels).split(sizes, 1)
    by_name = dict(zip([n for n, _ in network.named_parameters()], parts, strict=True))
    expected = torch.cat([by_name[name] for name in names], 1)
    torch.testing.assert_close(rows.matrix(), expected)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("some", r'parameters must be "auto", "trainable", "all", "linear", .*; got \'some\''),
        (["weight", "scale"], r"parameters must name some of .*; got \['scale'\]"),
        ([], "got none"),
    ],
)
def test_parameters_must_be_those_of_the_module(parameters, message):
    with pytest.raises(ValueError, match=message):
        TangentModel(nn.Linear(6, 3), parameters=parameters)
