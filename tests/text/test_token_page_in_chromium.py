"""The page of token shares in a headless Chromium: letters of all kinds, colours, small windows."""

import re

import numpy as np
import pytest

from sklearn_provenance import Explanation
from sklearn_provenance.text import TokenizedTexts, TokenShares

from ..chromium import Chromium, needs_chromium
from ..pages import ATTACKS
from ..test_pages_in_chromium import CONTRAST, loaded

pytestmark = needs_chromium
TEXTS = [
    "The film was good,   but the\n\twine was <b>not</b> & bold.",
    "مرحبا بالعالم، هذا نص طويل من اليمين إلى اليسار مع English words 123.",
    "def f(x):\n    if x > 0:\n        return x\n",
    "日本語のテキストはスペースなしで書かれています。" * 3,
    " ".join(f"word{number}" for number in range(300)),
    "Donaudampfschifffahrtsgesellschaft" * 8,
    *ATTACKS[:4],
]


def tokens_of(texts):
    """Cut texts into spaces, signs and up to five letters."""
    places = [[m.span() for m in re.finditer(r"\s+|\w{1,5}|[^\w\s]", text)] for text in texts]
    offsets = np.zeros((len(texts), max(map(len, places)), 2), dtype=int)
    for row, spans in enumerate(places):
        offsets[row, : len(spans)] = spans
    return TokenizedTexts({"row": np.arange(len(texts))}, texts, offsets)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    queries, rows = tokens_of(TEXTS[:2]), tokens_of(TEXTS)
    indices = np.stack([np.arange(10), np.arange(10)[::-1]])
    rng = np.random.default_rng(0)
    shares, elsewhere = {}, {}
    for side, tokens in {"exemplars": rows, "queries": queries}.items():
        shares[side] = rng.standard_t(2, size=(2, 10, tokens.offsets.shape[1]))
        elsewhere[side] = np.zeros((2, 10))
    exp = Explanation(
        indices, shares["exemplars"].sum(2), queries=queries.texts, training_data=rows.texts
    )
    found = TokenShares(exp, shares, elsewhere, {"exemplars": rows, "queries": queries})
    found.to_html(folder / "tokens.html", title=ATTACKS[0])
    browser = Chromium(folder / "profile")
    browser.show()
    browser.open(folder / "tokens.html")
    yield browser
    browser.close()


def test_texts_are_whole_and_run_nothing(browser):
    assert not loaded(browser)[1:]
    assert browser.run("typeof window.hacked") == "undefined"
    shown = browser.run("[...document.querySelectorAll('ol.texts bdi')].map(e => e.textContent)")
    assert shown == [*TEXTS, *TEXTS[::-1]]
    spaces = browser.run("getComputedStyle(document.querySelector('ol.texts bdi')).whiteSpace")
    assert spaces == "pre-wrap"
    rights = browser.run(
        "[...document.querySelectorAll('ol.texts bdi')].map(e => {"
        " const r = document.createRange(); r.setStart(e.firstChild.firstChild ?? e.firstChild, 0);"
        " r.collapse(true); return r.getBoundingClientRect().left - e.getBoundingClientRect().left"
        "})"
    )
    assert rights[1] > 100  # the first letter of Arabic stands on the right
    assert max(rights[:1] + rights[2:4]) < 5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [420, 1400])
def test_marks_are_told_apart_and_read(browser, width, dark):
    browser.show(width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    found = browser.run(CONTRAST)
    assert found["low"] == []
    assert found["seen"] > 200
    colors = browser.run(
        "[...document.querySelectorAll('.marks mark')].map(e => [e.className, "
        "getComputedStyle(e).backgroundColor])"
    )
    assert {name for name, _ in colors} == {"above1", "above2", "below1", "below2"}
    card = browser.run("getComputedStyle(document.querySelector('article')).backgroundColor")
    assert len({card, *(color for _, color in colors)}) == 5
    titles = browser.run("[...document.querySelectorAll('bdi mark')].map(e => e.title)")
    assert len(titles) > 50
    title = re.compile(r"[+-]\d[\d.]* % among tokens, [+-][\d.e+-]+ of the scores?")
    assert all(map(title.fullmatch, titles))
