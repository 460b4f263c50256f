"""Web pages read as a browser reads them, with the means of the standard library."""

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

VOID = {"meta"}
# What breaks out of HTML, attributes, comments, scripts, style sheets, URLs and lines of text.
ATTACKS = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=1>",
    '"><script>window.hacked=1</script>',
    "' onmouseover='window.hacked=1",
    "</title><script>window.hacked=1</script>",
    "</style><script>window.hacked=1</script>",
    "--><script>window.hacked=1</script><!--",
    "<!--",
    "]]>",
    "javascript:window.hacked=1",
    "&lt;b&gt; &amp;amp; &#60;script&#62;",
    "{{constructor.constructor('window.hacked=1')()}}",
    "${window.hacked=1} `",
    "}*{display:none}",
    "url(https://example.org/x.png)",
    "https://example.org/",
    "line\u2028paragraph\u2029next\x85end",
    "nul \x00 bell \x07 half \ud800 end \uffff",
    "right to left \u202e and never back",
    "\ufeff\u200b",
    "<base href=https://example.org/>",
    "<a href=javascript:window.hacked=1 autofocus onfocus=window.hacked=1>",
    "\r\n\t\x0b\x0c",
]
hostile = st.text(max_size=30) | st.lists(st.sampled_from(ATTACKS), max_size=3).map("".join)


class Page(HTMLParser):
    """Tags with their attributes, in order, and the text that each holds.

    Attributes
    ----------
    tags : list of (str, dict)
        Name and attributes.
    texts : list of (str, str)
        Name of the innermost open tag and text, in order.
    """

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self._open = [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, name, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def handle_data(self, data):
        if data.strip() or (self._open and self._open[-1] == "bdi"):
            self.texts.append((self._open[-1] if self._open else "", data))

    def handle_comment(self, data):
        raise AssertionError("a comment")

    handle_pi = unknown_decl = handle_comment

    def named(self, name):
        """Attributes of all tags of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    def inside(self, name):
        """Texts of the innermost tags of a name."""
        return [text for tag, text in self.texts if tag == name]

    @property
    def structure(self):
        """Tags with the names of their attributes, and the values that name no data."""
        fixed = ("class", "id", "href", "role", "name", "data-page", "data-label", "content")
        return [
            (name, sorted(attributes), [attributes.get(key) for key in fixed])
            for name, attributes in self.tags
        ]


def readable(text):
    """Text as a page shows it: what browsers drop or replace is U+FFFD."""
    return re.sub(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]",
        "\ufffd",
        text.replace("\r\n", "\n"),
    )
