"""Check the built pages: every public method is shown, and nothing is fetched from elsewhere.

Sphinx warns of neither. `make docs` runs this after the build: `python doc/check_pages.py FOLDER`.
"""

import inspect
import re
import sys
from pathlib import Path

import sklearn_provenance
from sklearn_provenance import (
    attribution,
    datasets,
    evaluation,
    explanation,
    inspection,
    retraining,
)

MODULES = (
    sklearn_provenance,
    attribution,
    evaluation,
    explanation,
    inspection,
    retraining,
    datasets,
)
# Scripts, styles and pictures of the page; links that the reader may follow are not meant.
FETCHED = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=\"(https?:)?//|<link[^>]*href=\"(https?:)?//"
)


def public_members(cls):
    """Names of the public methods and properties of a class, inherited ones included.

    A page of HTML is a str; the methods of every str are not described again.
    """
    of_str = dir(str) if issubclass(cls, str) else []
    for name, member in inspect.getmembers(cls):
        if name in of_str:
            continue
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            yield name


def missing_members(folder):
    """Public names that no page of the reference describes."""
    pages = "".join(page.read_text() for page in (folder / "api" / "generated").glob("*.html"))
    shown = set(re.findall(r'id="(sklearn_provenance[\w.]*)"', pages))
    for module in MODULES:
        for name in module.__all__:
            item = getattr(module, name)
            if not inspect.isclass(item):
                continue
            for member in public_members(item):
                if not any(f"{place.__name__}.{name}.{member}" in shown for place in MODULES):
                    yield f"{module.__name__}.{name}.{member} is on no page"


def fetched_files(folder):
    """Pages that need a network to be shown."""
    for page in folder.rglob("*.html"):
        if "_static" not in page.parts and FETCHED.search(page.read_text()):
            yield f"{page.relative_to(folder)} fetches a file from elsewhere"


def main():
    folder = Path(sys.argv[1])
    faults = [*missing_members(folder), *fetched_files(folder)]
    print("\n".join(faults) or "Every public method has its place, and no page needs a network.")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
