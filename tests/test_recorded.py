"""Outputs that the guide shows are what its tests expect, up to the dots there."""

import doctest
import importlib.util
from pathlib import Path

import pytest

DOC = Path(__file__).parents[1] / "doc"
SPEC = importlib.util.spec_from_file_location("recorded", DOC / "recorded.py")
recorded = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(recorded)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize(("name", "outputs"), recorded.read_outputs().items())
def test_outputs_are_those_of_the_examples(name, outputs):
    text = (DOC / f"{name}.rst").read_text(encoding="utf-8")
    wanted = {example.source: example.want for example in recorded.examples(text)}
    assert outputs.keys() == wanted.keys()
    for source, output in outputs.items():
        checker = doctest.OutputChecker()
        assert checker.check_output(wanted[source], f"{output}\n", FLAGS), source
    shown = recorded.with_outputs(text, outputs)
    assert all(output in shown for output in outputs.values() if "\n" not in output)
    assert shown.count(">>>") == text.count(">>>")


def test_no_page_shows_dots_in_place_of_output():
    pages = {
        page.relative_to(DOC).with_suffix("").as_posix()
        for page in (DOC / "getting_started.rst", *(DOC / "user_guide").glob("*.rst"))
        if any(recorded.examples(page.read_text(encoding="utf-8")))
    }
    assert recorded.read_outputs().keys() == pages
