"""Templates of pages: jinja2 with escaping on, beside the style and the script that pages use.

A package keeps its templates in a folder ``templates``, and sees those of this package, too. In
templates a line break between two tags means nothing: they are indented, and pages are not.
"""

import re
from functools import cache
from importlib.resources import files

_PACKAGE = __package__
# Characters that browsers drop, replace or cannot read: controls (except tabs and line feeds),
# halves of surrogate pairs, and noncharacters.
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BREAK = re.compile(r"(?<=[>}])(\s*\n\s*)(?=[<{])")


class Markup(str):
    """HTML. Any other string is text, and is escaped where it enters a page."""

    __slots__ = ()

    def __html__(self):
        return self


def render(template, package=_PACKAGE, /, **values):
    """Fill a template.

    Parameters
    ----------
    template : str
        Name of a file.
    package : str, default="sklearn_provenance.explanation"
        Package whose templates are tried first.
    **values : object
        Values of the names in the template. Values that are no Markup are written as text.

    Returns
    -------
    Markup
        HTML.

    Raises
    ------
    jinja2.TemplateNotFound
        If there is no such template.
    jinja2.UndefinedError
        If the template uses a name that has no value.
    """
    return Markup(_environment(package).get_template(template).render(values))


@cache
def read(name, package=_PACKAGE):
    """Read a file of a package's templates, None where there is none.

    Parameters
    ----------
    name : str
        Name of the file.
    package : str, default="sklearn_provenance.explanation"
        Package that has the file.

    Returns
    -------
    str or None
        Its content.
    """
    path = files(package).joinpath("templates", name)
    if not path.is_file():
        return None
    return path.read_text(encoding="utf-8")


@cache
def _environment(package):
    """Return the environment of a package's templates."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # slow to import

    def load(name):
        source = read(name, package) or read(name)
        if source is None:
            return None
        # A comment keeps the line numbers of error messages.
        return _BREAK.sub(r"{#\1#}", source)

    return Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
    )


def _readable(value):
    """Write a value as text; what browsers drop or replace becomes U+FFFD."""
    if hasattr(value, "__html__"):
        return value
    return _UNREADABLE.sub("\ufffd", str(value).replace("\r\n", "\n"))
