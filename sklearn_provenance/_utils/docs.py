"""Paragraphs that several docstrings share, said once."""

import re
from textwrap import indent


def with_paragraphs(paragraphs):
    """Replace marks such as ``{estimator}`` in the docstring of a class.

    Parameters
    ----------
    paragraphs : dict of str
        Text of each mark. A line of the docstring that holds nothing but marks, one or more, is
        replaced by their texts at its indentation.

    Returns
    -------
    callable
        Class decorator.
    """

    def filled(line):
        texts = [paragraphs[name] for name in re.findall(r"\{(\w+)\}", line["marks"])]
        return indent("\n".join(texts), line["margin"])

    def decorate(cls):
        if cls.__doc__ is not None:  # python -OO drops docstrings
            marks = r"^(?P<margin> *)(?P<marks>\{\w+\}( \{\w+\})*)$"
            cls.__doc__ = re.sub(marks, filled, cls.__doc__, flags=re.MULTILINE)
        return cls

    return decorate
