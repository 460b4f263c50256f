"""Every public function and method says the types that it takes and returns."""

import importlib
import inspect
import pkgutil
import typing

import pytest

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
    return [pytest.param(found[name], id=name) for name in sorted(found)]


@pytest.mark.parametrize("function", public_functions())
def test_a_public_signature_is_annotated(function):
    hints = typing.get_type_hints(inspect.unwrap(function))  # raises for names that do not exist
    expected = set(inspect.signature(function).parameters) - {"self", "cls"}
    if function.__name__ != "__init__":
        expected.add("return")
    assert expected <= set(hints), f"without annotation: {', '.join(expected - set(hints))}"
