"""Check the built pages: every public method is shown, nothing is fetched from elsewhere, and
whatever can be clicked has a name that a screen reader reads aloud.

Sphinx warns of none of it. `make docs` runs this after the build:
`python doc/check_pages.py FOLDER`.
"""

import inspect
import re
import sys
from html.parser import HTMLParser
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


class Controls(HTMLParser):
    """Links, buttons and toggles of a page, with the words in them that are read aloud."""

    KINDS = ("a", "button", "summary")
    WITHOUT_END = ("br", "hr", "img", "input", "link", "meta", "wbr")

    def __init__(self, page):
        super().__init__()
        self.found, self.open, self.silent = [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.handle_data(attributes.get("alt", ""))
        if tag in self.WITHOUT_END:
            return
        if self.silent or attributes.get("aria-hidden") == "true":
            self.silent += 1  # with all elements inside
        elif tag in self.KINDS:
            names = {key: attributes.get(key, "") for key in ("aria-label", "title")}
            self.open.append({"tag": tag, "text": "", **names})

    def handle_endtag(self, tag):
        if tag in self.WITHOUT_END:
            return
        if self.silent:
            self.silent -= 1
        elif tag in self.KINDS:
            self.found.append(self.open.pop())

    def handle_data(self, data):
        if not self.silent:
            for control in self.open:
                control["text"] += data


def faults_of_names(page):
    """What can be clicked and has no name, or one that lacks the words that are seen."""
    for control in Controls(page).found:
        text, label = (" ".join(control[key].split()) for key in ("text", "aria-label"))
        if not (text or label or control["title"]):
            yield f"a {control['tag']} without a name"
        elif label and text not in label:
            yield f"a {control['tag']} that shows {text!r} and is called {label!r}"


def unnamed_controls(folder):
    """Pages on which somebody who hears them does not know what a control does."""
    for page in folder.rglob("*.html"):
        if "_static" not in page.parts:
            for fault in faults_of_names(page.read_text()):
                yield f"{page.relative_to(folder)} has {fault}"


def main():
    folder = Path(sys.argv[1])
    faults = [*missing_members(folder), *fetched_files(folder), *unnamed_controls(folder)]
    good = "Every public method has its place, no page needs a network, and controls have names."
    print("\n".join(faults) or good)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
