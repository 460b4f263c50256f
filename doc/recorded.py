"""Show what examples of the guide printed where their tests have dots.

Outputs of trained networks differ between versions and processors, so tests compare them up to
dots, which tell a reader nothing. `python doc/recorded.py` runs the pages and writes the outputs to
recorded.json; the pages are built with them. tests/test_recorded.py compares both.
"""

import contextlib
import doctest
import io
import json
import warnings
from pathlib import Path

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded.json"
DOTS = "..."


def examples(text):
    """Examples of a page whose output has dots and is no error."""
    for example in doctest.DocTestParser().get_examples(text):
        if DOTS in example.want and example.exc_msg is None:
            yield example


def read_outputs():
    """Outputs by page and code."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def with_outputs(text, outputs):
    """Text of a page with recorded outputs in place of those with dots."""
    lines = text.split("\n")
    for example in reversed(list(examples(text))):
        output = outputs.get(example.source)
        if output is not None:
            first = example.lineno + example.source.count("\n")
            last = first + example.want.count("\n")
            lines[first:last] = [" " * example.indent + line for line in output.split("\n")]
    return "\n".join(lines)


def run(text):
    """Run the examples of a page, and return the outputs of those with dots."""
    dotted = {example.lineno for example in examples(text)}
    names, outputs = {"__name__": "__main__"}, {}
    for example in doctest.DocTestParser().get_examples(text):
        if example.options.get(doctest.SKIP) or example.exc_msg is not None:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(example.source, "page", "single"), names)
        if example.lineno in dotted:
            outputs[example.source] = printed.getvalue().rstrip("\n")
    return outputs


def main():
    recorded = {}
    for page in (FOLDER / "getting_started.rst", *sorted((FOLDER / "user_guide").glob("*.rst"))):
        text = page.read_text(encoding="utf-8")
        if any(examples(text)):
            recorded[page.relative_to(FOLDER).with_suffix("").as_posix()] = run(text)
    RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
