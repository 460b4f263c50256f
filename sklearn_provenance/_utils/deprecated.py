"""Names that still work, with a warning, and will be removed."""

import warnings
from inspect import signature


class _OldClass(type):
    """A class whose instances are those of the class that took its place."""

    def __instancecheck__(cls, instance):
        return isinstance(instance, cls.__bases__)


def old_display(name, display, **functions):
    """Make a display by an old name, with the class methods that it had.

    Parameters
    ----------
    name : str
        The old name.
    display : type
        What took its place.
    **functions
        Names of the class methods that measured and drew, and the functions that make their
        results.

    Returns
    -------
    type
        Subclass of ``display`` with ``from_result`` and these methods.
    """

    def from_result(cls, result, *, ax=None, **options):
        return result.plot(ax=ax, **options)

    methods = {"from_result": from_result}
    methods |= {key: _measure_and_draw(function) for key, function in functions.items()}
    return _OldClass(name, (display,), {key: classmethod(m) for key, m in methods.items()})


def _measure_and_draw(function):
    known = signature(function).parameters

    def method(cls, *args, ax=None, **options):
        """Measure with the options that the function knows, draw with the others."""
        drawing = {key: options.pop(key) for key in options.keys() - known}
        return function(*args, **options).plot(ax=ax, **drawing)

    return method


def warned(module, name, old_names):
    """Return the class that an old name of a module stands for, after a warning.

    Parameters
    ----------
    module, name : str
        Names of the module and of its attribute.
    old_names : dict of str to type
        Class that took the place of each old name.

    Returns
    -------
    type
        The class.

    Raises
    ------
    AttributeError
        If the name is no old one.

    Warns
    -----
    FutureWarning
        Always; it says what to use.
    """
    if name not in old_names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    found = old_names[name]
    new = found
    if found.__name__ == name:  # an old display, made for this name
        new = found.__bases__[0]
    warnings.warn(
        f"{name} will be removed in version 0.3, because results and figures share a few classes: "
        f"this is {new.__name__} now. Draw a result with its plot()",
        FutureWarning,
        stacklevel=3,
    )
    return found
