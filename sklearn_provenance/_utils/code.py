"""Find which names the code of a user's function reads, and which it only writes."""

import dis
import os
import sys
import sysconfig
from functools import lru_cache
from importlib import import_module
from inspect import signature
from types import CodeType, FunctionType
from typing import NamedTuple

_OWN = __name__.split(".")[0]
_STANDARD = tuple(sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "platstdlib"))
# Libraries whose versions give the same numbers up to rounding: known by their names alone.
_STABLE = frozenset({"joblib", "numpy", "scipy", "sklearn", "torch", _OWN})
_STABLE |= sys.stdlib_module_names
_SITES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
# Classes that read attributes of their instances by name, in their own methods.
_BASES = "torch.nn.", "sklearn."
# Who calls one of these may read any attribute of an object.
_REFLECTION = {"vars", "__dict__", "getattr", "hasattr", "__getattribute__", "locals", "copy"}
_REFLECTION |= {"attrgetter", "methodcaller", "deepcopy", "asdict", "astuple", "replace", "dumps"}
# Who calls one of these may run code that is not there yet.
_DYNAMIC = frozenset({"eval", "exec", "globals", "__import__", "import_module"})
# What these write is what their arguments say, not state of later calls.
_CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__setstate__"})


class Uses(NamedTuple):
    """Names in the code of a function and the functions inside it."""

    globals: frozenset  # looked up in the function's file
    names: frozenset  # of anything: globals, attributes, methods
    imports: frozenset  # (level, module)
    read: frozenset  # their value may matter
    written: frozenset  # assigned or increased
    appended: frozenset  # assigned or increased, or only collecting something

    @property
    def only_written(self):
        """Names of values that are never read, such as counters and logs."""
        if self.read & _REFLECTION:
            return frozenset()
        return self.appended - self.read

    @property
    def dynamic(self):
        """Names of functions that run code from text."""
        return sorted(self.globals & _DYNAMIC)


@lru_cache(maxsize=4096)
def uses(code):
    """Find the names that code reads and writes.

    Parameters
    ----------
    code : code
        Code of a function.

    Returns
    -------
    Uses
        Names of the code and of the code in its constants.
    """
    instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
    looked_up = {i.argval for i in instructions if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    imports = [
        (level.argval, instruction.argval)
        for level, _, instruction in zip(
            instructions, instructions[1:], instructions[2:], strict=False
        )
        if instruction.opname == "IMPORT_NAME"
    ]
    read, written, appended = _reads_and_writes(code, instructions)
    own = Uses(*map(frozenset, (looked_up, code.co_names, imports, read, written, appended)))
    inner = (uses(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return together([own, *inner])


def together(found):
    """Unite the names of several functions.

    Parameters
    ----------
    found : iterable of Uses
        Names of each function.

    Returns
    -------
    Uses
        Names of all of them.
    """
    return Uses(*(frozenset().union(*names) for names in zip(_NOTHING, *found, strict=True)))


_NOTHING = Uses(*[frozenset()] * len(Uses._fields))


@lru_cache(maxsize=4096)
def read_by_bases(cls):
    """Find the names that the bases of a class may read of its instances.

    Parameters
    ----------
    cls : type
        Class of the user.

    Returns
    -------
    frozenset or None
        Names; None for bases of other libraries than torch and scikit-learn.
    """
    names = set(signature(cls.__init__).parameters)  # get_params reads them
    for base in cls.__mro__[:-1]:
        if library_name(base) is None:
            continue
        if base is cls or not base.__module__.startswith(_BASES):
            return None
        functions = (f for f in vars(base).values() if isinstance(f, FunctionType))
        names.update(*(uses(function.__code__).names for function in functions))
    return frozenset(names)


def _reads_and_writes(code, instructions):
    """Return the sets of names that instructions read, write, and write or append to."""
    read = set()
    written = set()
    appended = set()
    set_here = set()  # (object, attribute)
    assigned = {i.argval for i in instructions if i.opname.startswith("STORE_FAST")}
    # A store is certain to happen before what follows it if no jump and no handler comes first.
    certain = not getattr(code, "co_exceptiontable", b"")
    for n, instruction in enumerate(instructions):
        name = instruction.argval
        operation = instruction.opname
        jumps = instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs
        certain = certain and not jumps and not instruction.is_jump_target
        if operation == "MATCH_CLASS":  # names of attributes are in a tuple
            read.add("getattr")
        if instruction.opcode not in dis.hasname and instruction.opcode not in dis.hasfree:
            continue
        if operation.startswith(("IMPORT", "MAKE_CELL", "LOAD_CLOSURE")):
            continue
        place = None
        if operation in ("LOAD_ATTR", "STORE_ATTR"):
            owner = instructions[n - 1]
            if owner.opname == "LOAD_FAST" and owner.argval not in assigned:
                place = (owner.argval, name)
        if operation.startswith(("STORE", "DELETE")):
            if code.co_name not in _CONSTRUCTORS:
                written.add(name)
            if certain and place and operation == "STORE_ATTR":
                set_here.add(place)
        elif _collects(instructions[n + 1 : n + 5]):
            appended.add(name)
        elif not (place in set_here or _increases(instructions, n)):
            read.add(name)
    return read, written, written | appended


def _collects(following):
    """Return whether a list or dict is used as in ``log.append(x)`` or ``calls["n"] += 1``."""
    operations = [instruction.opname for instruction in following]
    if operations[:1] in (["LOAD_ATTR"], ["LOAD_METHOD"]):
        return following[0].argval == "append"
    return operations[:3] == ["LOAD_CONST", "COPY", "COPY"]


def _increases(instructions, n):
    """Return whether a value is loaded only to be assigned again, as in ``self.calls += 1``."""
    load = instructions[n]
    if load.opname == "LOAD_ATTR":
        before = instructions[n - 1]
        # The object stays on the stack for the assignment.
        return before.opname == "COPY" and before.arg == 1
    operations = [i.opname for i in instructions[n + 1 : n + 4]]
    return (
        len(operations) == 3
        and operations[0].startswith("LOAD_")
        and operations[1] == "BINARY_OP"
        and instructions[n + 2].argrepr.endswith("=")
        and operations[2] == load.opname.replace("LOAD", "STORE")
        and instructions[n + 3].argval == load.argval
    )


def is_library(name):
    """Return whether a module is installed, and not written by the user.

    Parameters
    ----------
    name : str
        Name of a module, with dots.

    Returns
    -------
    bool
        True for Python's own modules, installed packages and this one.
    """
    root = name.split(".")[0]
    if root in ("__main__", _OWN):
        return root == _OWN
    for module in (sys.modules.get(root), sys.modules.get(name)):
        file = getattr(module, "__file__", None)
        if file is not None:
            return file.startswith(_STANDARD) or any(site in file for site in _SITES)
    return root in sys.stdlib_module_names


def library_name(value):
    """Return the names by which a function, class or module of a library is found again.

    Parameters
    ----------
    value : object
        Object that may have ``__module__`` and ``__qualname__``.

    Returns
    -------
    tuple of str or None
        Module, name and, where another version may give other numbers, version. None for objects
        that are of no library.
    """
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not is_library(module):
        return None
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        return None
    return (module, name, *version(module))


def version(module):
    """Return the version of a module's library in a tuple; empty where it does not matter."""
    root = module.split(".")[0]
    if root in _STABLE:
        return ()
    return (str(getattr(sys.modules.get(root), "__version__", "")),)


def is_of_library(function):
    """Return whether the code of a function is in an installed file, whatever its name says."""
    name = function.__globals__.get("__name__")
    if not isinstance(name, str) or sys.modules.get(name) is None:
        return False
    return vars(sys.modules[name]) is function.__globals__ and is_library(name)


def imported(function, level, name):
    """Return the module that an import inside a function gives; None where it fails."""
    package = function.__globals__.get("__package__")
    try:
        return import_module("." * level + name, package)
    except Exception:  # as it will when the function runs
        return None
