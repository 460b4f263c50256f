"""A network cut in two is the network with its lower parameters left out."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import nn

from sklearn_provenance.tangent import TangentModel, TangentRows, cached_trunk
from sklearn_provenance.tangent._read_logits import call_module

IDS = torch.tensor([[5, 3, 7, 2, 9], [4, 8, 2, 0, 0], [6, 2, 0, 0, 0], [3, 3, 5, 9, 2]])
TOKENS = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=8, num_labels=3,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config), "bert.encoder.layer.1", TOKENS


def gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=10, n_embd=8, n_layer=2, n_head=2, n_positions=8, num_labels=3,
        bos_token_id=1, eos_token_id=1, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return transformers.GPT2ForSequenceClassification(config), "transformer.h.1", TOKENS


def perceptron():
    network = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Linear(6, 4), nn.Linear(4, 3)
    )
    return network, "3", torch.randn(4, 5)


@pytest.mark.parametrize("make", [bert, gpt2, perceptron])
def test_features_are_those_of_the_whole_network(make):
    torch.manual_seed(0)
    network, split, X = make()
    network = network.double().eval()
    if isinstance(X, torch.Tensor):
        X = X.double()
    before = copy.deepcopy(network.state_dict())
    trunk = cached_trunk(network, split, X, batch_size=3)
    upper = [name for name, _ in network.named_parameters() if name not in trunk.lower_names]
    assert [f"network.{name}" for name in upper] == [n for n, _ in trunk.upper.named_parameters()]
    labels = torch.tensor([0, 1, 2, 1])
    whole = TangentModel(network, forward=call_module, parameters=upper).plan(X)
    cut = TangentModel(trunk.upper).plan(trunk.rows)
    expected = TangentRows(whole, X, labels).matrix()
    assert len(trunk.lower_names) + len(upper) == len(before) - 3 * (make is perceptron)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(
        TangentRows(cut, trunk.rows, labels).matrix(), expected, rtol=0, atol=2e-8
    )
    assert all(torch.equal(before[name], p) for name, p in network.state_dict().items())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            bert,
            "CachedTrunk(BertForSequenceClassification cut before 'bert.encoder.layer.1', "
            "4 rows of shape (5, 8) in float64 cached, 1.28 kB)",
        ),
        (
            perceptron,
            "CachedTrunk(Sequential cut before '3', 4 rows of shape (6,) in float64 cached, "
            "192 bytes)",
        ),
    ],
)
def test_a_trunk_says_where_it_is_cut_and_what_it_holds(make, expected):
    network, split, X = make()
    trunk = cached_trunk(network.double().eval(), split, X)
    assert repr(trunk) == expected
    trunk.rows = None  # as a user may do who keeps the rows elsewhere
    assert repr(trunk).endswith(", no rows cached)")


def test_the_upper_part_is_trained_and_put_back():
    torch.manual_seed(0)
    network, split, X = perceptron()
    trunk = cached_trunk(network.eval(), split, X)
    trunk.upper.train()
    optimizer = torch.optim.SGD(trunk.upper.parameters(), 0.1)
    trunk.upper(trunk.rows).square().sum().backward()
    optimizer.step()
    whole = trunk.whole()
    torch.testing.assert_close(whole(X), trunk.upper(trunk.rows))
    assert not torch.equal(whole[4].weight, network[4].weight)
    assert torch.equal(whole[0].weight, network[0].weight)
    queries = torch.randn(2, 5)
    torch.testing.assert_close(trunk.upper(trunk.cache(queries)), whole(queries))


Layered = namedtuple("Layered", ["hidden", "cache"])


class ReturnsMore(nn.Module):
    """Each layer returns more than its hidden states, and the network returns all of it."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.layers = nn.ModuleList([_Layer(kind), _Layer(kind)])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        caches = []
        for layer in self.layers:
            returned = layer(x)
            x, cache = returned.values() if self.kind is dict else returned
            caches.append(cache)
        return {"logits": self.head(x), "caches": tuple(caches)}


class _Layer(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        hidden = self.linear(x).tanh()
        if self.kind is tuple:
            return hidden, x
        return self.kind(hidden=hidden, cache=x)


@pytest.mark.parametrize("kind", [tuple, Layered, dict])
def test_modules_may_return_more_than_hidden_states(kind):
    torch.manual_seed(0)
    network = ReturnsMore(kind).eval()
    X = torch.randn(4, 3)
    trunk = cached_trunk(network, "layers.1", X)
    whole = network(X)
    cut = trunk.upper(trunk.rows)
    torch.testing.assert_close(cut["logits"], whole["logits"])
    first, second = cut["caches"]
    assert first is None  # it is an output of the lower part
    torch.testing.assert_close(second, whole["caches"][1])


class NeedsMore(ReturnsMore):
    def forward(self, x):
        outputs = super().forward(x)
        first, *others = outputs["caches"]
        if first is not None:
            return outputs["logits"] + first[:, :2], first
        return outputs["logits"], *others


class Skips(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(3, 3) for _ in range(3))

    def forward(self, x):
        h = self.first(x)
        return self.third(self.second(h.tanh()) + h)


class ByName(Skips):
    def forward(self, x):
        return self.third(self.second(input=self.first(x)))


class OneForAll(Skips):
    def forward(self, x):
        return self.third(self.second(self.first(x).mean(0)))


class Repeats(Skips):
    def forward(self, x):
        return self.third(self.second(self.first(self.second(x))))


def tied():
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    network[2].weight = network[0].weight
    return network


def test_a_weight_of_both_parts_stays_frozen():
    network = tied()
    trunk = cached_trunk(network, "2", torch.randn(4, 3))
    assert trunk.lower_names == ["0.weight", "0.bias", "2.weight"]
    trained = [name for name, p in trunk.upper.named_parameters() if p.requires_grad]
    assert trained == ["network.2.bias", "network.3.weight", "network.3.bias"]
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "split", "message"),
    [
        (Skips, "second", "nothing skips"),
        (lambda: NeedsMore(tuple), "layers.1", "nothing skips"),
        (ByName, "second", "one entry for each of 3 rows, got NoneType"),
        (OneForAll, "second", r"one entry for each of 4 rows, got \(3,\)"),
        (Repeats, "second", "once, got 2"),
        (Repeats, "first", "before and after"),
        (Skips, "first", "nothing to cache"),
        (Skips, "last", r"such as \['third'\]; got 'last'"),
        (lambda: Skips().requires_grad_(False), "third", "trained, got none"),
    ],
)
def test_what_cannot_be_cut_is_refused(make, split, message):
    with pytest.raises(ValueError, match=message):
        cached_trunk(make(), split, torch.randn(4, 3))


def test_a_module_is_needed():
    with pytest.raises(TypeError, match=r"torch.nn.Module, got str"):
        cached_trunk("bert", "0", torch.randn(4, 3))
