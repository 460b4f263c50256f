"""Paragraphs that docstrings share."""

import re

import pytest

from sklearn_provenance import attribution
from sklearn_provenance._utils.docs import with_paragraphs

PARAGRAPHS = {"k": "k : int\n    Rows.", "note": "It is an integer."}


def test_marks_are_replaced_at_their_indentation():
    @with_paragraphs(PARAGRAPHS)
    class Documented:
        """Do.

        {k}
            {note}
        {k} {k}
        z : {"k"}
        """

    lines = [line.strip() for line in Documented.__doc__.splitlines()]
    k = ["k : int", "Rows."]
    assert lines == ["Do.", "", *k, "It is an integer.", *k, *k, 'z : {"k"}', ""]
    depth = {
        line.strip(): len(line) - len(line.lstrip()) for line in Documented.__doc__.split("\n")
    }
    assert depth["Rows."] == depth["It is an integer."] == depth["k : int"] + 4


def test_a_class_without_a_docstring_stays_without_one():
    assert with_paragraphs(PARAGRAPHS)(type("Bare", (), {})).__doc__ is None


ATTRIBUTORS = [name for name in attribution.__all__ if name.endswith("Attributor")]


@pytest.mark.parametrize("name", ATTRIBUTORS)
def test_no_mark_is_left_in_a_public_docstring(name):
    doc = getattr(attribution, name).__doc__
    assert "\n    candidates : {" in doc
    assert not re.search(r"^ *\{\w+\}", doc, re.MULTILINE)
