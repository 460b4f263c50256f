"""A fingerprint sees all that features depend on, and is the same in every process."""

import functools
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from sklearn_provenance._utils.budget import within
from sklearn_provenance._utils.hashing import fingerprint, row_digests
from sklearn_provenance.tangent import TangentFeatures
from sklearn_provenance.tangent._fingerprint import transformer_fingerprint

GAIN = 2.0


def helper(x):
    return x * GAIN


def by_helper(module, x):
    return helper(module(x))


def scaled(scale):
    return lambda module, x: module(x) * scale


def with_default(scale):
    def forward(module, x, scale=scale):
        return module(x) * scale

    return forward


def through(inner):
    return lambda module, x: module(inner(x))


class Scale:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, module, x):
        return module(x) * self.scale

    def method(self, module, x):
        return module(x) * self.scale


def times(module, x, scale):
    return module(x) * scale


def eye(value):
    layer = nn.Linear(4, 4, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def of(module=None, **parameters):
    torch.manual_seed(0)
    module = nn.Linear(4, 3) if module is None else module
    return transformer_fingerprint(TangentFeatures(module, **parameters))


@pytest.mark.parametrize(
    "make",
    [
        scaled,
        with_default,
        Scale,
        lambda s: Scale(s).method,
        lambda s: functools.partial(times, scale=s),
        lambda s: scaled((1, (s,))),
        lambda s: scaled([1, {"a": s}]),
        lambda s: scaled(np.full(3, s)),
        lambda s: scaled(torch.full((3,), s)),
        lambda s: through(eye(s)),
    ],
)
def test_forward_functions_are_told_apart_by_what_they_hold(make):
    assert of(forward=make(2.0)) == of(forward=make(2.0))
    assert of(forward=make(2.0)) != of(forward=make(3.0))


def test_constants_of_the_file_count(monkeypatch):
    before = of(forward=by_helper)
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 3.0)
    assert of(forward=by_helper) != before


def defined(source, **attributes):
    """A module of a class whose body is ``source``."""
    namespace = {"nn": nn, "torch": torch}
    lines = "\n".join("    " + line for line in source.splitlines())
    exec(f"class Net(nn.Linear):\n{lines}", namespace)
    torch.manual_seed(0)
    network = namespace["Net"](4, 3)
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


PLAIN = "def forward(self, x):\n    return super().forward(x) * self.gain"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (defined(PLAIN, gain=2.0), defined(PLAIN, gain=3.0)),
        (defined(PLAIN, gain=torch.ones(3)), defined(PLAIN, gain=torch.zeros(3))),
        (defined("gain = 2.0\n" + PLAIN), defined("gain = 3.0\n" + PLAIN)),
        (defined(PLAIN, gain=2.0), defined(PLAIN.replace("*", "+"), gain=2.0)),
        (
            defined(PLAIN + " * self.more(x)\ndef more(self, x): return x.sum() * 2", gain=1.0),
            defined(PLAIN + " * self.more(x)\ndef more(self, x): return x.sum() * 3", gain=1.0),
        ),
        (
            defined(PLAIN + "\n@property\ndef gain(self): return self.a()\ndef a(self): return 2"),
            defined(PLAIN + "\n@property\ndef gain(self): return self.a()\ndef a(self): return 3"),
        ),
        (
            defined("@property\ndef gain(self): return 2\n" + PLAIN),
            defined("@property\ndef gain(self): return 3\n" + PLAIN),
        ),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
        (nn.Sequential(nn.ReLU(), nn.Sequential()), nn.Sequential(nn.Sequential(nn.ReLU()))),
    ],
)
def test_modules_are_told_apart_by_class_code_and_attributes(one, other):
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


def test_hooks_and_replaced_forward_methods_count():
    digests = {of()}
    for scale in (2, 3):
        hooked = nn.Linear(4, 3)
        hooked.register_forward_hook(lambda module, args, out, scale=scale: out * scale)
        replaced = nn.Linear(4, 3)
        replaced.forward = lambda x, scale=scale: x * scale
        digests |= {of(hooked), of(replaced)}
    assert len(digests) == 5


def test_tied_weights_are_not_equal_weights():
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    equal = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    equal.load_state_dict(tied.state_dict())
    equal[1].load_state_dict(equal[0].state_dict())
    tied.load_state_dict(equal.state_dict())
    assert of(tied) == of(equal)
    tied[1].weight = tied[0].weight
    assert of(tied) != of(equal)


def test_what_forward_writes_itself_is_no_setting():
    source = "def forward(self, x):\n    self.calls += 1\n    return super().forward(x)"
    network = defined(source, calls=0)
    before = of(network)
    network(torch.ones(1, 4))
    assert network.calls == 1
    assert of(network) == before


def test_every_kind_of_tensor_has_a_digest():
    values = torch.arange(6).reshape(2, 3)
    kinds = [
        values, values.T, values.reshape(3, 2), values.float(), values.bfloat16(), values.bool(),
        values.cfloat(), values[0, 1], values[:0], values.float().to_sparse() * 2, None,
    ]  # fmt: skip
    digests = [fingerprint(kind) for kind in kinds]
    assert len(set(digests)) == len(kinds)
    copies = [None if kind is None else kind.clone() for kind in kinds]
    assert [fingerprint(kind) for kind in copies] == digests


def test_arrays_are_hashed_in_pieces(monkeypatch):
    x = np.random.default_rng(0).normal(size=(50, 3))
    whole = fingerprint(x)
    monkeypatch.setattr("sklearn_provenance._utils.digest.CHUNK", 60)
    for same in (x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        assert fingerprint(same) == whole
    changed = x.copy()
    changed[-1, -1] += 1e-12
    assert fingerprint(changed) != whole


def test_values_next_to_each_other_are_not_run_together():
    pairs = [
        ("a", "b"),
        ("ab",),
        ("a", ("b",)),
        (("a", "b"),),
        (1, 1),
        (True, 1),
        (1.0, 1),
        (None,),
    ]
    assert len({fingerprint(*pair) for pair in pairs}) == len(pairs)


def test_digests_of_forwards_differ():
    assert len(set(digests().split())) == 6


def digests():
    """What test_hashing_properties compares between processes."""
    words = {"a", "b", "c", "d"}
    forwards = scaled(words), Scale(2.0).method, by_helper, through(eye(1.0)), print
    return " ".join(
        [*(of(forward=forward) for forward in forwards), of(nn.Sequential(nn.Tanh(), eye(1.0)))]
    )


@pytest.mark.parametrize("limit", [1.0, 3e6])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_matrix, torch.tensor])
def test_digests_keep_to_a_budget_and_do_not_depend_on_it(kind, limit):
    rows = np.random.default_rng(0).integers(-1, 2, (3000, 400)).astype(float)  # 9.6 MB
    rows[::7] = rows[0]
    X = kind(rows)
    expected = row_digests(X)
    assert len(np.unique(expected, axis=0)) == len(np.unique(rows, axis=0))
    with within(limit):
        tracemalloc.start()
        found = row_digests(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    converted = 0
    if kind is sparse.csc_matrix:  # to csr
        converted = 13 * X.nnz
    of_digests = 150 * len(rows)  # bytes and objects of Python
    assert peak < of_digests + converted + 3 * max(2**16, limit / 16)
    np.testing.assert_array_equal(row_digests(-0.0 * rows[:1]), row_digests(0.0 * rows[:1]))
