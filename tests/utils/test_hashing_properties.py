"""Any change that forward may read changes the digest; copies, processes and lines do not."""

import argparse
import copy
import copyreg
import dataclasses
import functools
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import types
import warnings
import weakref
from collections import OrderedDict, defaultdict, deque
from pathlib import Path

import hypothesis.strategies as st
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from torch import nn

from sklearn_provenance._utils.hashing import fingerprint, row_digests
from sklearn_provenance.attribution import InfoGainAttributor

from .test_hashing import digests


@dataclasses.dataclass
class Pair:
    left: object
    right: object = None


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


class Named(dict):
    pass


def closure(value):
    return lambda x: x if value is None else (x, value)


def default(value):
    def function(x, value=value):
        return x, value

    return function


class Method:
    def __init__(self, value):
        self.value = value

    def call(self, x):
        return x, self.value


def wrapper(make):
    return lambda value, other: make(value)


WRAPPERS = [
    Pair,
    lambda v, w: Pair(w, v),
    lambda v, w: [w, v],
    lambda v, w: (v, w),
    lambda v, w: {"a": w, "b": v},
    lambda v, w: OrderedDict(a=v, b=w),
    lambda v, w: defaultdict(list, {1: v}),
    lambda v, w: deque([w, v]),
    lambda v, w: Named(key=v),
    lambda v, w: types.SimpleNamespace(v=v, w=w),
    lambda v, w: types.MappingProxyType({"v": v}),
    lambda v, w: np.array([v, w, None], dtype=object)[:2],
    lambda v, w: functools.partial(max, v, key=w),
    lambda v, w: {Slotted(v), Slotted(w)},
    *map(wrapper, (Slotted, closure, default, lambda v: Method(v).call)),
]
LEAVES = [
    *(0, 1, True, 1.0, 1j, -0.0, 0.0, float("nan"), "a", "b", b"a", None, ..., 2**70, range(3)),
    *map(np.float32, (1, 2)),
    *map(np.array, ([1.0, 2.0], [1, 2], [[1, 2]], ["x", "y"], ["2020-01-01"])),
]
leaves = st.sampled_from(range(len(LEAVES)))
# A path of wrappers, each with the side branch that it holds besides.
paths = st.lists(st.tuples(st.sampled_from(range(len(WRAPPERS))), leaves), max_size=12)


def build(path, leaf):
    value = LEAVES[leaf]
    for number, other in path:
        value = WRAPPERS[number](value, copy.deepcopy(LEAVES[other]))
    module = nn.Linear(2, 2)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    module.held = value
    return module


@given(paths, leaves, leaves)
@settings(max_examples=300)
def test_a_change_at_any_depth_is_seen(path, leaf, other):
    before = fingerprint(build(path, leaf))
    assert before == fingerprint(build(path, leaf))
    assert (before == fingerprint(build(path, other))) == (leaf == other)


@given(paths, leaves)
@settings(max_examples=100)
def test_a_copy_is_the_same(path, leaf):
    path = [(n, other) for n, other in path if n not in (10, 12)]  # no mapping proxies, partials
    module = build(path, leaf)
    assert fingerprint(copy.deepcopy(module)) == fingerprint(module)


def test_a_copy_through_pickle_is_the_same():
    value = Pair([Slotted("name"), {"name": np.arange(3)}, {"x", "y", "z"}], deque([Named(a=1)]))
    value.right.append(value)  # a cycle
    before = fingerprint(value)
    assert fingerprint(pickle.loads(pickle.dumps(value))) == before
    value.left[1]["name"][2] += 1
    assert fingerprint(value) != before


def test_strings_count_by_what_they_say_not_by_who_holds_them():
    one = "".join(["some ", "text"])
    assert fingerprint([one, one]) == fingerprint([one, "".join(["some ", "text"])])
    pair = (1, one)
    assert fingerprint(pair, pair) == fingerprint(pair, (1, "".join(["some ", "text"])))


SOURCE = """
import functools
import helpers_of_forward
from torch import nn

GAIN = {"a": [1.0, 2.0]}

class Config:
    scale = 3.0

def decorate(function):
    @functools.wraps(function)
    def wrapped(*args):
        return function(*args) * 5
    return wrapped

@decorate
def by_decorated(x):
    return x

@functools.lru_cache
def cached(n):
    return n + 7

class Base(nn.Module):
    factor = 11
    def scaled(self, x):
        return x * self.factor

class Net(Base):
    @property
    def shift(self):
        return self.other(13)
    @staticmethod
    def other(n):
        return n
    @functools.cached_property
    def kept(self):
        return 17
    def forward(self, x):
        from helpers_of_forward import late
        x = self.scaled(x) * Config.scale + GAIN["a"][0] + helpers_of_forward.value
        match x:
            case 19:
                return late(x)
        return by_decorated(x) + self.shift + cached(1) + sum(i * 23 for i in range(3))
"""
HELPERS = "value = 29\nunused = 1\ndef late(x):\n    return x * 31\n"


def network_of(source, helpers=HELPERS):
    module = types.ModuleType("helpers_of_forward")
    exec(helpers, vars(module))
    sys.modules["helpers_of_forward"] = module
    namespace = {"__name__": "a_file_of_a_user"}
    try:
        exec(compile(source, "<anything>", "exec"), namespace)
        return fingerprint(namespace["Net"]())
    finally:
        del sys.modules["helpers_of_forward"]


def test_every_constant_that_forward_may_reach_counts():
    digests = [network_of(SOURCE)]
    for number in ("1.0", "2.0", "3.0", "5", " 7", "11", "13", "17", "19", "23"):
        digests.append(network_of(SOURCE.replace(number, number + "1", 1)))
    for number in ("29", "31"):
        digests.append(network_of(SOURCE, HELPERS.replace(number, number + "1")))
    digests.append(network_of(SOURCE.replace("GAIN[", "-GAIN[")))
    assert None not in digests
    assert len(set(digests)) == len(digests)


def test_lines_comments_and_unused_globals_do_not_count():
    before = network_of(SOURCE)
    moved = "# more\n\n" + SOURCE.replace("def forward", "# a comment\n\n    def forward")
    moved = moved.replace("return x\n", "# another\n    return x\n")
    assert network_of(moved + "\nunused = 2\n") == before
    assert network_of(SOURCE, "\n\n" + HELPERS.replace("unused = 1", "unused = 2")) == before


@pytest.mark.parametrize("seed", ["0", pytest.param("1", marks=pytest.mark.thorough)])
def test_processes_agree(seed):
    """Neither the seed of Python's hashes nor addresses in memory enter."""
    script = """
from tests.utils.test_hashing import digests
from tests.utils.test_hashing_properties import of_this_process
print(digests(), of_this_process())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{digests()} {of_this_process()}"


def of_this_process():
    path = [(n, n) for n in range(len(WRAPPERS))]
    words = {"a", "b", ("c", 1), frozenset({"d", "e"}), 3}
    hooked = nn.Linear(2, 2)
    nn.init.ones_(hooked.weight)
    nn.init.ones_(hooked.bias)
    for _ in range(np.random.default_rng().integers(4)):  # keys of hooks count over the process
        nn.Linear(1, 1).register_forward_hook(print)
    hooked.register_forward_hook(lambda module, args, out: out if words else None)
    return f"{fingerprint(build(path, 0))} {fingerprint(words)} {fingerprint(hooked)}"


# --- state that forward writes ---


def defined(source, **attributes):
    namespace = {"nn": nn, "torch": torch, "__name__": "a_file_of_a_user", "total": 0}
    exec("class Net(nn.Module):\n" + textwrap.indent(source, "    "), namespace)
    network = namespace["Net"]()
    vars(network).update(attributes)
    return network, namespace


@pytest.mark.parametrize(
    "line",
    [
        "self.calls += 1",
        "self.calls += len(x) * 2",
        "Net.calls += 1",
        "self.calls = x",
        "self.calls = x; x = self.calls * 2",
        "self.log.append(x)",
        "self.log['n'] += 1",
        "global total; total += 1",
    ],
)
def test_what_is_written_and_never_read_does_not_count(line):
    source = f"calls = 0\ndef forward(self, x):\n    {line}\n    return x"
    network, namespace = defined(source, calls=1, log={"n": 0} if "'n'" in line else [])
    before = fingerprint(network)
    if "total" in line:
        namespace["total"] = 9
    elif "log" in line:
        network.log = {"n": 1} if "'n'" in line else [1]
    else:
        network.calls, namespace["Net"].calls = 5, 7
    assert fingerprint(network) == before


@pytest.mark.parametrize(
    "body",
    [
        "self.calls += 1\nreturn x * self.calls",
        "if self.calls is None: self.calls = 2\nreturn x * self.calls",
        "if len(x) > 3: self.calls = 2\nx = x * self.calls\nreturn x",
        "y = self.calls\nself.calls = x\nreturn y",
        "self.calls = x\nself = x[0]\nreturn self.calls",
        "try:\n    self.calls = int(x)\nexcept TypeError: pass\nreturn x * self.calls",
        "self.calls = 2\nreturn getattr(self, 'ca' + 'lls')",
        "self.calls = 2\nreturn vars(self)",
        "self.calls += 1\nreturn self.more(x)\n---\ndef more(self, x): return x * self.calls",
        "self.calls += 1\nreturn (lambda: self.calls)()",
        "self.calls += 1\nmatch self:\n    case Net(calls=3): return x",
        "x = self.calls.append(x)\nreturn x",
        "return x\n---\ndef train(self, mode=True): self.calls = mode\nclass Inner:\n"
        "    def __call__(self, net): return net.calls",
    ],
)
def test_where_there_is_a_doubt_state_counts(body):
    first, *others = body.split("\n---\n")
    source = "def forward(self, x):\n" + textwrap.indent(first, "    ")
    network, _ = defined("\n".join([source, *others]), calls=1.0)
    before = fingerprint(network)
    network.calls = 2.0
    assert fingerprint(network) != before


def test_where_a_base_is_of_another_library_state_counts():
    """What its code reads is not looked at."""
    source = "def forward(self, x):\n    self.calls += 1\n    return x"
    for base, counts in (("nn.Module", False), ("argparse.Namespace, nn.Module", True)):
        namespace = {"nn": nn, "argparse": argparse, "__name__": "a_file_of_a_user"}
        exec(f"class Net({base}):\n" + textwrap.indent(source, "    "), namespace)
        network = namespace["Net"]()
        network.calls = 1
        before = fingerprint(network)
        network.calls = 2
        assert (fingerprint(network) != before) == counts


def test_state_that_layers_of_torch_read_counts():
    class Net(nn.Dropout):
        def soften(self):
            self.p = 0.25

    network = Net(0.5)
    before = fingerprint(network)
    network.soften()
    assert fingerprint(network) != before


# --- what cannot be seen ---


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


class Endless:
    """Takes itself apart without end."""

    def __reduce_ex__(self, protocol):
        return self.__reduce_ex__(protocol)


def runs_text(x):
    return eval("x + 1")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: open(os.devnull), "TextIOWrapper"),  # noqa: SIM115
        (lambda: (i for i in range(3)), "generator"),
        (threading.Lock, "lock"),
        (threading.local, "_local"),
        (lambda: memoryview(b"abc"), "memoryview"),
        (lambda: runs_text, "code that runs_text runs by eval"),
        (lambda: nested(5000), "nested too deeply"),
        (Endless, "nested too deeply"),
    ],
)
def test_what_cannot_be_seen_is_named_and_has_no_digest(make, what):
    module = nn.Linear(2, 2)
    module.held = Pair({"a": [make()]})
    with pytest.warns(UserWarning, match=what):
        assert fingerprint(module) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fingerprint(nn.Linear(2, 2)) is not None


def test_an_object_may_say_what_is_no_state():
    class Guarded:
        def __init__(self, value):
            self.value, self.lock = value, threading.Lock()

        def __getstate__(self):
            return {"value": self.value}

    assert fingerprint(Guarded(1)) == fingerprint(Guarded(1)) != fingerprint(Guarded(2))


def test_references_show_what_they_refer_to():
    one, two = Pair(1), Pair(2)
    assert fingerprint(weakref.ref(one)) == fingerprint(weakref.ref(one))
    assert fingerprint(weakref.ref(one)) != fingerprint(weakref.ref(two))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
def test_scripted_modules_differ_by_code_weights_and_constants():
    class Net(nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.gain, self.weight = gain, nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x * self.weight * self.gain

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        nets = [torch.jit.script(Net(gain)) for gain in (2.0, 3.0)]
        nets += [torch.jit.trace(net, torch.ones(2)) for net in (nn.Tanh(), nn.ReLU())]
    digests = {fingerprint(net) for net in nets}
    with torch.no_grad():
        nets[0].weight += 1
    assert len(digests | {fingerprint(nets[0])}) == 5


# --- values of rarer kinds ---


class Marked(np.ndarray):
    """An array with an attribute."""


def marked(mark, kind=Marked):
    array = np.arange(3.0).view(kind)
    array.mark = mark
    return array


class Bag(set):
    """A set with an attribute."""

    def __init__(self, items, mark):
        super().__init__(items)
        self.mark = mark


def hooked(factor):
    tensor = torch.ones(2, requires_grad=True)
    tensor.register_hook(lambda grad: grad * factor)
    return tensor


def file_of(name, **values):
    """A file of the user as Python has imported it."""
    file = types.ModuleType(name)
    vars(file).update(values)
    return file


def read_from(file):
    """A function that reads ``rate`` in a file of the user, or in one that this imports."""
    return eval("lambda x: x * file.inner.rate if x else file.rate", {"file": file})


def quantised(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch will not have them for ever
        return torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), scale, 0, torch.qint8)


FRAME = {"a": [1.0, 2.0], "b": [3, 4]}
DIFFERENT = {
    "frame, values": [pd.DataFrame(FRAME), pd.DataFrame(FRAME | {"b": [3, 5]})],
    "frame, names": [pd.DataFrame(FRAME), pd.DataFrame(FRAME).rename(columns={"b": "c"})],
    "frame, types": [pd.DataFrame(FRAME), pd.DataFrame(FRAME).astype({"b": "int32"})],
    "frame, index": [pd.DataFrame(FRAME), pd.DataFrame(FRAME, index=[1, 0])],
    "operators": [torch.ops.aten.relu.default, torch.ops.aten.tanh.default],
    "patterns": [re.compile("a"), re.compile("b"), re.compile("a", re.IGNORECASE)],
    "sets": [{1, 2}, Bag([1, 2], "m"), Bag([1, 2], "n"), Bag([1, 3], "m")],
    "arrays": [np.arange(3.0), marked("m"), marked("n"), marked("m", type("Sub", (Marked,), {}))],
    "hooks": [torch.ones(2, requires_grad=True), hooked(2), hooked(3)],
    "quantised": [quantised(0.1), quantised(1.0), torch.tensor([1.0, 2.0])],
    "without values": [torch.empty(n, device="meta") for n in (2, 3)],
    "files": [file_of("mine", rate=1), file_of("mine", rate=2), file_of("yours", rate=1)],
    "what is read in files": [
        read_from(file_of("mine", rate=rate, inner=file_of("inner", rate=inner)))
        for rate, inner in ((1, 1), (2, 1), (1, 2))
    ],
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_values_of_rarer_kinds_differ(name):
    values = DIFFERENT[name]
    digests = [fingerprint(value) for value in values]
    assert None not in digests
    assert len(set(digests)) == len(values)
    assert [fingerprint(value) for value in values] == digests


def test_what_is_only_written_in_another_file_does_not_count():
    file = file_of("mine", total=0, rate=1)
    namespace = {"file": file, "__name__": "a_file_of_a_user"}
    exec("def function(x):\n    file.total += 1\n    return x * file.rate", namespace)
    before = fingerprint(namespace["function"])
    file.total = 9
    assert fingerprint(namespace["function"]) == before
    file.rate = 2
    assert fingerprint(namespace["function"]) != before


def test_frames_of_other_libraries_have_digests():
    polars = pytest.importorskip("polars")
    frames = [polars.DataFrame(FRAME), polars.DataFrame(FRAME | {"b": [3, 5]})]
    assert len({fingerprint(frame) for frame in frames}) == 2
    assert fingerprint(frames[0]) == fingerprint(polars.DataFrame(FRAME))


def test_where_something_is_computed_does_not_count():
    assert fingerprint(torch.device("cpu")) == fingerprint(torch.device("cuda", 1))
    assert fingerprint(torch.device("cpu")) != fingerprint("cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
def test_functions_that_are_scripted_differ():
    def double(x):
        return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = [torch.jit.trace(f, torch.ones(2)) for f in (double, double, torch.tanh)]
    digests = [fingerprint(function) for function in traced]
    assert digests[0] == digests[1] != digests[2]


def test_what_is_registered_with_pickle_is_taken_apart_so(monkeypatch):
    """A lock, which pickle does not take otherwise."""
    kind = type(threading.Lock())
    monkeypatch.setitem(copyreg.dispatch_table, kind, lambda lock: (threading.Lock, ()))
    assert fingerprint(threading.Lock()) == fingerprint(threading.Lock()) is not None


def test_names_that_have_no_value_yet_do_not_count():
    def outer():
        def inner(x):
            return x * later

        before = fingerprint(inner)
        later = 2
        return before, fingerprint(inner), later

    before, after, _ = outer()
    assert None not in (before, after)
    assert before != after


def test_an_import_that_fails_does_not_count():
    def function(x):
        import a_package_that_nobody_has

        return a_package_that_nobody_has.call(x)

    assert fingerprint(function) == fingerprint(function) is not None


def test_what_cannot_be_seen_is_named_alone_where_nothing_holds_it():
    with pytest.warns(UserWarning, match="cannot be seen: a generator. Remove"):
        assert fingerprint(i for i in range(3)) is None


# --- with a memory ---


class Plugged(nn.Linear):
    def forward(self, x):
        return super().forward(x) * self.held.left[0]


@pytest.mark.parametrize("other", [None, threading.Lock()])
def test_a_memory_never_answers_for_another_state(tmp_path, other):
    X, y = torch.randn(20, 3), np.arange(20) % 2
    module = Plugged(3, 2)
    module.held = Pair([2.0], other)
    memory = joblib.Memory(tmp_path, verbose=0)

    def scores(**params):
        return InfoGainAttributor(module, **params).fit(X, y).attribute(X[:4])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores(memory=memory)
        module.held.left[0] = 3.0
        kept = scores(memory=memory)
    np.testing.assert_array_equal(kept, scores())
    found = [w for w in caught if "cannot be seen: a lock in" in str(w.message)]
    assert bool(found) == (other is not None)


# --- rows ---


TABLE = np.random.default_rng(0).integers(-3, 4, size=(12, 5)).astype(float)
TEXTS = ["a", "b", "", "a\x00", "ä"] * 2 + ["c", "\ud800"]
OBJECTS = pd.Series(
    TEXTS, dtype=object
)  # pyarrow, which pandas uses if it is there, has no "\ud800"
KINDS = {
    "array": TABLE,
    "images": TABLE.reshape(12, 5, 1),
    "tensor": torch.as_tensor(TABLE).bfloat16(),
    "sparse": scipy.sparse.coo_array(TABLE),
    "matrix": scipy.sparse.csc_matrix(TABLE),
    "lists": TABLE.astype(int).tolist(),
    "frame": pd.DataFrame(TABLE, index=list("abcdefghijkl")),
    "mixed": pd.DataFrame({"x": TABLE[:, 0], "y": OBJECTS, "z": pd.date_range("2020", periods=12)}),
    "nullable": pd.DataFrame({"x": pd.array([1, None] * 6, "Int64"), "y": TABLE[:, 0] > 0}),
    "nullable_series": pd.Series([1, None, 3] * 4, dtype="Int64"),
    "mixed_lists": [[i, "a"] if i % 3 else [i, 0] for i in range(12)],
    "texts": TEXTS,
    "series": OBJECTS,
    "dict": {"ids": torch.as_tensor(TABLE), "mask": torch.ones(12, 2)},
    "tensors": tuple(torch.as_tensor(TABLE)),
    "ragged_tensors": [torch.ones(i % 4) for i in range(12)],
    "ragged": [[i] * (i % 4) for i in range(12)],
    "objects": [{"a": np.arange(i % 3)} for i in range(12)],
}
try:
    import polars
except ImportError:
    pass
else:
    KINDS["polars"] = polars.DataFrame({"x": TABLE[:, 0], "y": TEXTS[:-1] + ["d"]})


def take(X, rows):
    if isinstance(X, dict):
        return {name: take(part, rows) for name, part in X.items()}
    if isinstance(X, pd.DataFrame | pd.Series):
        return X.iloc[rows]
    if scipy.sparse.issparse(X):
        return X.tocsr()[rows]
    return [X[i] for i in rows] if isinstance(X, list | tuple) else X[rows]


@pytest.mark.parametrize("name", KINDS)
def test_digests_of_rows_do_not_depend_on_their_company(name):
    X = KINDS[name]
    digests = row_digests(X)
    assert digests.shape == (12, 4)
    assert digests.dtype == np.uint32
    for rows in ([3], [4], [7, 2, 7], list(range(11, -1, -1))):
        np.testing.assert_array_equal(row_digests(take(X, rows)), digests[rows])


@pytest.mark.parametrize("wide", [False, True])
def test_the_same_numbers_are_the_same_row(wide, monkeypatch):
    if wide:
        monkeypatch.setattr("sklearn_provenance._utils.hashing._WIDE", 3)
    expected = row_digests(TABLE)
    same = ["images", "tensor", "sparse", "matrix", "lists", "frame"]
    for X in [KINDS[name] for name in same] + [TABLE.astype("f4"), np.asfortranarray(TABLE)]:
        np.testing.assert_array_equal(row_digests(X), expected)
    n_different = len(np.unique(TABLE, axis=0))
    assert len(np.unique(expected, axis=0)) == n_different
    np.testing.assert_array_equal(row_digests(TABLE * -0.0), row_digests(TABLE * 0.0))
    monkeypatch.setattr("sklearn_provenance._utils.hashing.CHUNK", 100)
    np.testing.assert_array_equal(row_digests(TABLE), expected)


def test_different_texts_are_different_rows():
    assert len(np.unique(row_digests(TEXTS), axis=0)) == len(set(TEXTS))


def test_sparse_tensors_are_the_rows_that_they_hold():
    np.testing.assert_array_equal(
        row_digests(torch.as_tensor(TABLE).to_sparse()), row_digests(TABLE)
    )


def test_rows_without_columns_are_the_same_row():
    digests = row_digests(pd.DataFrame(index=range(3)))
    assert digests.shape == (3, 4)
    assert (digests == digests[0]).all()


def test_rows_that_cannot_be_read_are_refused():
    with pytest.raises(TypeError, match="values that can be pickled, got a generator"):
        row_digests([{"a": (i for i in range(3))}, {"a": 1}])
