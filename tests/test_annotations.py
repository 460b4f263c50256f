"""Every public function and method says the types that it takes and returns."""

import importlib
import inspect
import pkgutil
import typing

import sklearn_provenance


def rooms():
    yield sklearn_provenance
    for module in pkgutil.iter_modules(sklearn_provenance.__path__):
        if not module.name.startswith("_"):
            yield importlib.import_module(f"sklearn_provenance.{module.name}")


def functions_of(public):
    """Public functions of a public name: itself, or its constructor and methods."""
    if inspect.isfunction(public):
        return [public]
    if not inspect.isclass(public):
        return []
    found = []
    for base in public.__mro__:
        if base.__module__.partition(".")[0] != "sklearn_provenance":
            continue
        for name, member in vars(base).items():
            member = getattr(member, "__func__", member)
            if isinstance(member, property):
                member = member.fget
            if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
                found.append(member)
    return found


def public_functions():
    found = {}
    for room in rooms():
        for name in room.__all__:
            for function in functions_of(getattr(room, name)):
                if function.__module__.partition(".")[0] == "sklearn_provenance":
                    found[f"{function.__module__}.{function.__qualname__}"] = function
    return found


def test_public_signatures_are_annotated():
    missing = {}
    for name, function in public_functions().items():
        try:
            hints = typing.get_type_hints(inspect.unwrap(function))
        except NameError as error:  # an annotation names what does not exist
            missing[name] = str(error)
            continue
        expected = set(inspect.signature(function).parameters) - {"self", "cls"}
        if function.__name__ != "__init__":
            expected.add("return")
        if expected - set(hints):
            missing[name] = expected - set(hints)
    assert missing == {}
