"""SHA-256 of objects, functions and everything that they reach.

Objects are taken apart as pickle takes them apart (``__reduce_ex__``), to any depth: what pickle
cannot see, a digest cannot see, and says so. Functions and classes of installed packages count by
their names; those of the user count by their code, defaults, closures and the globals that the code
names, so that an edited function is another one, while line numbers and file names do not matter.

One kind of state is left out: names that code writes and never reads (``self.calls += 1``,
``self.last = h``). Without this a network that counts its calls would never be found again. Telling
it takes a look at the bytecode (``code.py``), since not every function has a source; where that
look leaves a doubt, the state counts.
"""

import copyreg
import hashlib
import io
import types
import weakref
import zipfile
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csr_array, issparse
from torch import nn

from .code import (
    imported,
    is_library,
    is_of_library,
    library_name,
    read_by_bases,
    together,
    uses,
    version,
)
from .dask_rows import DaskRows

_VALUES = {bool, int, float, complex, str, bytes, type(None), type(...), torch.dtype}
# What classes and functions have besides what they do.
_LABELS = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__slotnames__"}
_LABELS |= {"__firstlineno__", "__static_attributes__", "_abc_impl", "__annotations_cache__"}
# Attributes of modules that change how they train or how fast they are, not what they compute.
_NO_STATE = frozenset({"training", "_compiled_call_impl"})
CHUNK = 2**24  # bytes hashed at once


class Digest:
    """SHA-256 of a graph of objects.

    Parameters
    ----------
    code : Uses, default=None
        Names in all functions that are reached. Values that they only write are left out.
    """

    def __init__(self, code=None):
        self.hash = hashlib.sha256()
        self.code = code or together([])
        self.only_written = self.code.only_written
        self.seen = {}  # id: (number, object); objects are kept, or their ids might be reused
        self.uses = set()  # of all code
        self.blind = []  # what could not be seen
        self.path = []

    def token(self, *words):
        """Add a few words."""
        text = repr(words).encode()
        self.hash.update(b"%d:" % len(text) + text)

    def add(self, value):
        """Add a value and what it holds."""
        kind = type(value)
        if kind in _VALUES:
            self.token(kind.__name__, repr(value))
        elif isinstance(value, np.generic):
            self.token(kind.__name__, value.dtype.str, value.tobytes())
        elif kind is torch.device:
            self.token("device")
        elif kind is tuple:  # not by identity, which the compiler decides
            self._items("tuple", value)
        elif kind is types.CodeType:
            self._code(value)
        elif kind is types.MethodType:
            self._items("method", (value.__func__, value.__self__))
        elif kind in (property, staticmethod, classmethod, cached_property):
            names = ("fget", "fset", "fdel", "__func__", "func")
            self._items(kind.__name__, [getattr(value, name, None) for name in names])
        elif isinstance(value, frozenset):
            self._set(value)
        elif isinstance(value, weakref.ref):
            self.add(value())
        elif self._is_new(value):
            self._add_new(value)

    def _add_new(self, value):
        """Add a value that was not added before."""
        kind = type(value)
        if isinstance(value, types.ModuleType):
            self._file(value, [name for name in vars(value) if not name.startswith("__")])
        elif isinstance(value, type):
            self._class(value)
        elif kind is types.FunctionType:
            self._function(value)
        elif kind is list:
            self._items("list", value)
        elif kind in (dict, types.MappingProxyType):
            self._items("dict", [word for item in value.items() for word in item])
        elif isinstance(value, set):
            self._set(value)
        elif isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray):
            self._array(value)
        elif isinstance(value, DaskRows):  # by their content, as the array in memory
            self.token("array", value.dtype.str, value.shape)
            self._bytes(value)
        elif issparse(value):
            rows = csr_array(value, copy=True)
            rows.sum_duplicates()
            places = [part.astype(np.int64) for part in (rows.indices, rows.indptr)]
            self._items("sparse", (value.format, rows.shape, rows.data, *places))
        elif kind.__name__ == "DataFrame" and is_library(kind.__module__):
            self._frame(value)
        elif kind.__module__ == "torch._ops":
            self.token("operator", repr(value))
        elif isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self._scripted(value)
        elif isinstance(value, nn.Module):
            self._module(value)
        else:
            self._object(value)

    def _is_new(self, value):
        """Return whether a value was not added before; if it was, add a reference to it."""
        if id(value) in self.seen:
            self.token("seen", self.seen[id(value)][0])
            return False
        self.seen[id(value)] = len(self.seen), value
        return True

    def _named(self, name, value):
        """Add a value and its name."""
        self.token(name)
        self.path.append(name)
        self.add(value)
        self.path.pop()

    def _items(self, kind, items):
        """Add the items of a container in their order."""
        self.token(kind, len(items))
        for item in items:
            self.add(item)

    def _attributes(self, attributes, owner=None):
        """Add named values in the order of their names; of an instance of ``owner``, or of it."""
        for name in sorted(attributes, key=str):
            if not self._is_skipped(name, attributes[name], owner):
                self._named(name, attributes[name])
        self.token("end")

    def _is_skipped(self, name, value, owner=None):
        """Return whether a value is state that no code reads."""
        if name not in self.only_written or hasattr(type(value), "__get__"):
            return False
        # Of other types, append and [] may be anything.
        if name not in self.code.written and type(value) not in (list, dict):
            return False
        readable = frozenset()
        if owner is not None:
            readable = read_by_bases(owner)
        return readable is not None and name not in readable and not name.endswith("_")

    def _set(self, value):
        """Add elements in an order of their digests, each as if it were alone."""
        outer = self.hash
        mark = len(self.seen)
        digests = []
        for item in value:
            self.hash = hashlib.sha256()
            self.add(item)
            digests.append(self.hash.digest())
            while len(self.seen) > mark:
                self.seen.popitem()
        self.hash = outer
        self.token("set", sorted(digests))
        if type(value) not in (set, frozenset):
            self.add(type(value))
            self._attributes(getattr(value, "__dict__", {}))

    # --- arrays ---

    def _array(self, array):
        """Add type, shape and values of an ndarray."""
        self.token("array", array.dtype.str, array.shape)
        if array.dtype.hasobject:
            self.add(array.tolist())
        else:
            self._bytes(array.view(np.ndarray).reshape(array.shape or 1))
        if type(array) not in (np.ndarray, np.memmap):
            self.add(type(array))
            self._attributes(getattr(array, "__dict__", {}))

    def _tensor(self, tensor):
        """Add type, shape, values, attributes and hooks of a tensor, but not its device."""
        self.token("tensor", str(tensor.dtype), tuple(tensor.shape), tensor.requires_grad)
        self.add(type(tensor))
        self._attributes(vars(tensor))
        hooks = tensor._backward_hooks
        if hooks:
            self.add(list(hooks.values()))
        else:
            self.add(None)
        values = tensor.detach()
        if values.is_quantized:
            self._bytes(values.int_repr())
            values = values.dequantize()
        if values.layout is not torch.strided:
            values = values.to_dense()
        if not values.is_meta:
            self._bytes(values.reshape(values.shape or (1,)))

    def _bytes(self, values):
        """Add numbers, some rows at a time, so that no copy is made of all of them."""
        if not all(values.shape):
            return
        is_tensor = isinstance(values, torch.Tensor)
        row_bytes = values.itemsize * int(np.prod(values.shape[1:]))
        step = max(1, CHUNK // row_bytes)
        for start in range(0, len(values), step):
            part = values[start : start + step]
            if is_tensor:
                part = part.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
                part = part.view(torch.uint8).numpy()
            self.hash.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8))

    def _frame(self, frame):
        """Add names, types, index and columns of a data frame."""
        columns = list(frame.columns)
        self._items("frame", (columns, [str(dtype) for dtype in frame.dtypes]))
        index = getattr(frame, "index", None)
        if index is not None:
            index = np.asarray(index)
        self.add(index)
        by_position = getattr(frame, "iloc", frame)
        for i in range(len(columns)):
            self.add(np.asarray(by_position[:, i]))

    # --- objects ---

    def _module(self, module):
        """Add class and state of a torch module, but not whether it is in training mode."""
        kind = type(module)
        self.add(kind)
        state = {name: v for name, v in vars(module).items() if name not in _NO_STATE}
        for name, value in state.items():
            if "_hooks" in name and isinstance(value, dict):
                state[name] = list(value.values())  # keys count up over all modules of the process
        buffers = state.get("_buffers", {})
        state["_buffers"] = {k: v for k, v in buffers.items() if not self._is_skipped(k, v, kind)}
        self._attributes(state, kind)

    def _scripted(self, module):
        """Add the files of a saved scripted module, without line numbers."""
        buffer = io.BytesIO(module.save_to_buffer())
        with zipfile.ZipFile(buffer) as files:
            for name in sorted(files.namelist()):
                if not name.endswith((".debug_pkl", "serialization_id")):
                    self.token(name.partition("/")[2], files.read(name))

    def _object(self, value):
        """Add what pickle would write."""
        kind = type(value)
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None and kind.__module__ == "functools":  # a cache of results
            self._items(kind.__name__, (wrapped,))
            return
        try:
            if kind in copyreg.dispatch_table:
                parts = copyreg.dispatch_table[kind](value)
            else:
                parts = value.__reduce_ex__(4)
        except RecursionError:
            raise
        except Exception:
            self._cannot_see(f"a {kind.__qualname__}")
            return
        if isinstance(parts, str):
            self.token("global", getattr(value, "__module__", None), parts)
            return
        function, args, state, items, pairs, setter = (*parts, *(None,) * (6 - len(parts)))
        self.add((function, args))
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            state = (state[0] or {}) | state[1]  # of __dict__ and __slots__
        if isinstance(state, dict):
            self._attributes(state, kind)
        else:
            self.add(state)
        self.add((tuple(items or ()), tuple(pairs or ()), setter))

    def _cannot_see(self, what):
        """Note something whose content cannot be read."""
        if self.path:
            what = f"{what} in {'.'.join(map(str, self.path))}"
        self.blind.append(what)

    # --- code ---

    def _class(self, cls):
        """Add the name of a class, and of the user's classes the content."""
        name = library_name(cls)
        self.token("class", name or cls.__qualname__)
        if name is None:
            self.add((cls.__bases__, type(cls)))
            self._attributes({k: v for k, v in vars(cls).items() if k not in _LABELS}, cls)

    def _function(self, function):
        """Add the name of a function, and of the user's functions what they can reach."""
        name = library_name(function)
        self.token("function", name or function.__qualname__)
        if name is not None:
            return
        code = function.__code__
        self._code(code)
        self.add((function.__defaults__, function.__kwdefaults__))
        self._attributes(vars(function))
        around = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                around[name] = cell.cell_contents
            except ValueError:  # defined later
                continue
        self._attributes(around)
        if not is_of_library(function):
            self._around(function, uses(code))

    def _around(self, function, found):
        """Add the values that the code of a function names in its file and in other files."""
        self.uses.add(found)
        for name in found.dynamic:
            self._cannot_see(f"code that {function.__qualname__} runs by {name}")
        values = {k: v for k, v in function.__globals__.items() if k in found.globals}
        files = {name: v for name, v in values.items() if isinstance(v, types.ModuleType)}
        self._attributes({name: v for name, v in values.items() if name not in files})
        for level, name in found.imports:
            files["." * level + name] = imported(function, level, name)
        for name in sorted(files):
            if files[name] is not None:
                self._file(files[name], found.names)

    def _file(self, module, names):
        """Add the values of some names in a module."""
        name = module.__name__
        self.token("module", name, *version(name))
        key = (id(module), frozenset(names))
        if is_library(name) or key in self.seen:
            return
        self.seen[key] = len(self.seen), module
        values = {name: vars(module)[name] for name in names if name in vars(module)}
        for name in sorted(values):
            if isinstance(values[name], types.ModuleType):
                self._file(values[name], names)
            elif not self._is_skipped(name, values[name]):
                self._named(name, values[name])

    def _code(self, code):
        """Add the instructions of code, but not its file and lines."""
        arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self.token("code", arguments, code.co_flags, code.co_code, code.co_names)
        self.token(code.co_varnames, code.co_freevars, code.co_cellvars, code.co_exceptiontable)
        self._items("constants", code.co_consts)
