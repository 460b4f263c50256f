"""A web page that stands alone: its frame, its security policy, and the file."""

import base64
import hashlib
import pathlib
import re

from .._utils.files import write
from .._utils.types import Path
from ._templates import Markup, read, render

CONFIDENTIAL = "This page holds rows of the data, and is as confidential as they are."


class Page(str):
    """
    A web page: a string of HTML that a notebook shows as a page.

    :meth:`Explanation.to_html <sklearn_provenance.Explanation.to_html>`,
    :meth:`Comparison.to_html` and :func:`~sklearn_provenance.inspection.report` return one. Its
    `repr` is one line.

    Examples
    --------
    >>> from sklearn_provenance import Explanation
    >>> page = Explanation([[4, 0]], [[0.93, 0.07]]).to_html(title="Two rows")
    >>> page.startswith("<!DOCTYPE html>")
    True
    >>> page.save("two_rows.html")  # doctest: +SKIP
    """

    __slots__ = ()

    def save(self, path: Path) -> None:
        """
        Write the page to a file, or replace the file in one step.

        Parameters
        ----------
        path : str or path-like
            File to write.

        Raises
        ------
        FileNotFoundError
            If its folder does not exist.
        IsADirectoryError
            If it is a folder.
        """
        check_target(path)
        write_page(self, path)

    def __repr__(self) -> str:
        return f"<HTML page of {len(self)} characters>"

    def _repr_html_(self) -> str:
        """Show the page in a frame of its own, which cannot reach the notebook."""
        return render("frame.html", page=str.__str__(self))


def page(title, sections, *, pictures, lead=""):
    """Write a page that loads nothing and runs no script but its own.

    Parameters
    ----------
    title : str
        Title and first heading.
    sections : sequence of (str, str, Markup)
        Identifier, heading and content of each section.
    pictures : Pictures
        Images that the sections refer to.
    lead : str, default=""
        Paragraph below the title.

    Returns
    -------
    Page
        The page.
    """
    style = _compact(read("page.css"))
    script = _compact(read("page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    names = ("name", "heading", "content")
    document = render(
        "page.html",
        title=title,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        images=pictures.definitions(),
        lead=lead,
        sections=[dict(zip(names, section, strict=True)) for section in sections],
        foot=CONFIDENTIAL,
    )
    return Page(f"{document}\n")


def _compact(source):
    """Leave out indentation, and comments that have lines of their own."""
    source = re.sub(r"^\s*/\*.*?\*/\n", "", source, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^\s*(//.*)?\n|^ +", "", source, flags=re.MULTILINE)


def _hash(content):
    """Write the hash by which a policy knows a style or a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def check_target(path):
    """Refuse a path that no page can be written to, before the work is done.

    Parameters
    ----------
    path : str or path-like
        File to write.

    Raises
    ------
    FileNotFoundError
        If its folder does not exist.
    IsADirectoryError
        If it is a folder.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must be in a folder that exists, got {path}; make the folder {path.parent}, or "
            "give another path"
        )
    if path.is_dir():
        raise IsADirectoryError(f"path must name a file, got the folder {path}")


def write_page(html, path):
    """Write a page to a file, which holds the old content or the new one, never a part.

    Parameters
    ----------
    html : str
        The page.
    path : str or path-like
        File to write, as :func:`check_target` wants it.
    """
    write(path, html.encode())
