"""Pages in a headless Chromium: what runs, what loads, the keyboard, contrast, small windows."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import Explanation
from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.inspection import report

from .chromium import Chromium, needs_chromium
from .explanation.test_explanation import make
from .pages import ATTACKS

pytestmark = needs_chromium
KINDS = ("images", "table", "texts", "report")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def write(kind, folder):
    """A page whose data attack it in every place that holds text."""
    path = folder / f"{kind}.html"
    attacks = np.array(ATTACKS * 4, dtype=object)
    if kind == "report":
        X = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 3)), columns=ATTACKS[3:6])
        y = np.array(ATTACKS[:3], dtype=object)[np.arange(24) % 3]
        model = make_pipeline(StandardScaler(), LogisticRegression())
        fitted = RepSimAttributor(model, candidates="all").fit(X, y, sample_id=attacks[:24])
        report(fitted, X, y, path=path, title=ATTACKS[0])
        return path
    exp = make(
        n_queries=12,
        k=4,
        image_shape=(4, 4) if kind == "images" else None,
        feature_names=None if kind == "images" else attacks[:16],
        sample_id=attacks[:48].reshape(12, 4),
        method=ATTACKS[1],
        score_name=ATTACKS[4],
    )
    exp = exp._replace(
        query_labels=attacks[exp.query_labels], exemplar_labels=attacks[exp.exemplar_labels]
    )
    if kind == "texts":
        exp = exp._replace(queries=attacks[:12], training_data=attacks[:20], feature_names=None)
        exp = exp._replace(contributions=[[dict.fromkeys(ATTACKS, 1.0)] * 4] * 12)
    exp.to_html(path, title=ATTACKS[5], query_id=attacks[:12], true_labels=attacks[[0, 1] * 6])
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {kind: write(kind, folder) for kind in KINDS}


def loaded(browser):
    """Addresses that the page asked for, without data."""
    sent = [event["request"]["url"] for event in browser.heard("Network.requestWillBeSent")]
    return [url for url in sent if not url.startswith("data:image/png")]


# Safety


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_data_runs_or_loads(browser, pages, kind):
    browser.show()
    browser.open(pages[kind])
    # Wake what waits for the mouse, the focus or a link.
    browser.run("""
        for (const element of document.querySelectorAll("*")) {
          for (const name of ["mouseover", "focus", "click", "error", "load", "animationstart"])
            if (!(element instanceof HTMLAnchorElement)) element.dispatchEvent(new Event(name));
        }
    """)
    assert browser.run("typeof window.hacked") == "undefined"
    title = ATTACKS[0] if kind == "report" else ATTACKS[5]
    assert browser.run("document.title") == title
    assert browser.run("document.querySelector('h1').textContent") == title
    assert loaded(browser) == [pages[kind].resolve().as_uri()]
    assert browser.heard("Log.entryAdded") == []
    assert browser.heard("Runtime.exceptionThrown") == []
    assert browser.run("document.scripts.length") == 1
    # Attacks are there, as text.
    assert "window.hacked=1" in browser.run("document.body.innerText")


def test_the_policy_stops_what_escaping_would_miss(browser, pages, tmp_path):
    """A second line of defence, and the proof that these attacks work where nothing stops them."""
    raw = "".join(ATTACKS[:3]) + "<img src=http://127.0.0.1:9/x.png>"  # a port that nothing hears
    html = pages["images"].read_text(encoding="utf-8").replace("<footer>", f"{raw}<footer>")
    path = tmp_path / "injected.html"
    path.write_text(html, encoding="utf-8")
    browser.open(path)
    assert browser.run("typeof window.hacked") == "undefined"
    said = [entry["entry"]["text"] for entry in browser.heard("Log.entryAdded")]
    assert any("Content Security Policy" in text for text in said)
    failed = browser.heard("Network.loadingFailed")
    assert [event["blockedReason"] for event in failed if event["type"] == "Image"] == ["csp"] * 2
    path.write_text(html.replace("Content-Security-Policy", "x"), encoding="utf-8")
    browser.open(path)
    assert browser.run("window.hacked") == 1


# Keyboard


def focused(browser):
    return browser.run("document.activeElement.name || document.activeElement.className")


def visible(browser):
    return browser.run(
        "[...document.querySelectorAll('article')].filter(a => !a.hidden).map(a => a.id)"
    )


def test_the_keyboard_reaches_and_works_all_controls(browser, tmp_path):
    exp = make(n_queries=6, image_shape=(4, 4), query_labels=[0, 1, 2, 0, 1, 2])
    path = tmp_path / "page.html"
    exp.to_html(path, true_labels=[0, 1, 2, 0, 1, 0])
    browser.show()
    browser.open(path)
    assert visible(browser) == [f"q{i}" for i in range(6)]

    browser.press("Tab")
    assert focused(browser) == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left >= 0")
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "main"
    order = []
    for _ in range(5):
        browser.press("Tab")
        order.append(browser.run("document.activeElement.name || document.activeElement.localName"))
        outline = browser.run("getComputedStyle(document.activeElement).outline")
        assert "solid 3px" in outline
    assert order == ["summary", "svg", "show", "label", "sort"]
    for _ in range(2):
        browser.press("Tab", shift=True)
    assert focused(browser) == "show"

    status = "document.querySelector('output').value"
    assert browser.run(status) == "6 of 6 shown"
    browser.press("ArrowDown")  # another true label
    assert visible(browser) == ["q5"]
    assert browser.run(status) == "1 of 6 shown"
    browser.press("ArrowDown")  # exemplars of another label
    disagrees = {f"q{i}" for i in np.flatnonzero(exp.agreement < 1)}
    assert set(visible(browser)) == disagrees
    browser.press("Home")
    browser.press("Tab")
    browser.press("End")  # the last label
    assert visible(browser) == ["q2", "q5"]
    browser.press("Home")
    browser.press("Tab")
    browser.press("ArrowDown")
    by_agreement = np.argsort(exp.agreement, kind="stable")
    assert visible(browser) == [f"q{i}" for i in by_agreement]
    browser.press("End")  # smallest score first
    assert visible(browser) == [f"q{i}" for i in np.argsort(exp.scores[:, 0])]
    assert focused(browser) == "sort"


# The explorer: exemplars and the queries that they serve


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    """An explanation of images, and its page."""
    queries = np.random.default_rng(1).normal(size=(6, 4, 4))
    exp = make(
        n_queries=6, k=3, image_shape=(4, 4), query_labels=[0, 1, 2, 0, 1, 2], queries=queries
    )
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    exp.to_html(path, true_labels=[0, 1, 2, 0, 1, 0])
    return exp, path


def served_by(exp, row):
    """Identifiers of the cards of the queries that name a row."""
    return [f"q{query}" for query in np.flatnonzero((exp.indices == row).any(axis=1))]


def shared_row(exp):
    """A row that several queries name, but not all."""
    rows, counts = np.unique(exp.indices[exp.indices >= 0], return_counts=True)
    return int(rows[(counts > 1) & (counts < exp.n_queries)][0])


@pytest.mark.parametrize("target", ["button", "picture"])
def test_a_click_on_an_exemplar_shows_every_query_that_it_serves(browser, explorer, target):
    exp, path = explorer
    row = shared_row(exp)
    served = served_by(exp, row)
    button = f"document.querySelector('#cards button[value=\"{row}\"]')"
    browser.show()
    browser.open(path)
    browser.click(button if target == "button" else f"{button}.parentNode.querySelector('svg')")
    assert visible(browser) == served
    said = browser.run("document.querySelector('#served').innerText")
    assert f"Training row {row} is an exemplar of {len(served)} of 6 queries" in said
    marked = "[...document.querySelectorAll('.chosen button')].map(b => b.value)"
    assert browser.run(marked) == [str(row)] * len(served)
    browser.click("document.querySelector('#served button')")
    assert visible(browser) == [f"q{i}" for i in range(6)]
    assert browser.run("document.querySelector('#served').textContent") == ""


def test_the_keyboard_chooses_an_exemplar_and_lets_it_go(browser, explorer):
    exp, path = explorer
    row = shared_row(exp)
    browser.show()
    browser.open(path)
    browser.run(f"document.querySelector('#cards button[value=\"{row}\"]').focus()")
    browser.press(" ")
    assert visible(browser) == served_by(exp, row)
    assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.press("Escape")
    assert len(visible(browser)) == 6
    assert browser.run("document.activeElement.value") == str(row)  # the focus is where it was


def place_of(browser, kind, number):
    """Where a point of the map is in the window."""
    return browser.run(f"""(() => {{
      const map = document.querySelector("#map > svg");
      map.scrollIntoView({{block: "center"}});
      for (const path of map.querySelectorAll(".{kind}[data-numbers]")) {{
        const i = path.dataset.numbers.split(" ").indexOf("{number}");
        if (i < 0) continue;
        const [x, y] = path.getAttribute("d").match(/\\d+/g).slice(3 * i, 3 * i + 2);
        const place = new DOMPoint(x, y).matrixTransform(map.getScreenCTM());
        return [place.x, place.y];
      }}
    }})()""")


def test_points_of_the_map_lead_to_queries_and_exemplars(browser, explorer):
    exp, path = explorer
    row = shared_row(exp)
    browser.show()
    browser.open(path)
    browser.click_at(*place_of(browser, "queries", 4))
    assert browser.run("document.activeElement.id") == "q4"
    lines = browser.run("document.querySelector('#map .lines').getAttribute('d')")
    assert lines.count("M") == (exp.indices[4] >= 0).sum()
    browser.click_at(*place_of(browser, "rows", row))
    assert visible(browser) == served_by(exp, row)
    lines = browser.run("document.querySelector('#map .lines').getAttribute('d')")
    assert lines.count("M") == len(served_by(exp, row))
    # A query that is not among those shown is shown when it is asked for.
    hidden = next(i for i in range(6) if f"q{i}" not in served_by(exp, row))
    browser.click_at(*place_of(browser, "queries", hidden))
    assert len(visible(browser)) == 6
    assert browser.run("document.activeElement.id") == f"q{hidden}"


def test_arrow_keys_walk_over_the_map(browser, explorer):
    exp, path = explorer
    browser.show()
    browser.open(path)
    browser.run("document.querySelector('#map > svg').focus({focusVisible: true})")
    said = set()
    for _ in range(2):
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowLeft"):
            browser.press(key)
            said.add(browser.run("document.querySelector('#here').innerText").strip())
    assert len(said) > 2
    assert all(text.startswith(("Query", "Training row")) for text in said)
    browser.press("Enter")
    text = browser.run("document.querySelector('#here').innerText").strip()
    if text.startswith("Query"):
        assert text.startswith(f"Query {browser.run('document.activeElement.id')[1:]}:")
    else:
        row = int(text.split(",")[0].removeprefix("Training row "))
        assert visible(browser) == served_by(exp, row)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(browser, explorer, tmp_path):
    exp, path = explorer
    html = exp.to_html(title=ATTACKS[0])
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!DOCTYPE html><title>notebook</title>{html._repr_html_()}", "utf-8")
    browser.show()
    browser.open(notebook)
    assert browser.run("document.querySelector('iframe').contentDocument") is None
    frame = browser("Page.getFrameTree")["frameTree"]["childFrames"][0]["frame"]["id"]
    world = browser("Page.createIsolatedWorld", frameId=frame)["executionContextId"]

    def inside(script):
        answer = browser("Runtime.evaluate", expression=script, contextId=world, returnByValue=True)
        return answer["result"].get("value")

    assert inside("document.title") == ATTACKS[0]
    row = shared_row(exp)
    inside(f"document.querySelector('#cards button[value=\"{row}\"]').click()")
    shown = "[...document.querySelectorAll('article')].filter(a => !a.hidden).map(a => a.id)"
    assert inside(shown) == served_by(exp, row)
    assert browser.heard("Log.entryAdded") == []


def test_wide_tables_scroll_by_keyboard(browser, tmp_path):
    data = np.random.default_rng(0).normal(size=(20, 16))
    exp = make(queries=data[:4], training_data=data, feature_names=["a long name " * 3] * 16)
    exp.to_html(tmp_path / "page.html", true_labels=exp.query_labels)
    browser.show(width=600)
    browser.open(tmp_path / "page.html")
    for _ in range(10):
        browser.press("Tab")
        if focused(browser) == "scroll":
            break
    assert focused(browser) == "scroll"
    browser.press("ArrowRight")
    browser.run("""new Promise((done) => {
      const wait = () => document.activeElement.scrollLeft > 0 ? done() : setTimeout(wait, 50);
      wait();
    })""")  # scrolling is smooth; without it there is no answer


def test_all_is_there_without_scripts(browser, pages):
    browser.show()
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["images"])
        assert browser.run("document.querySelector('form').hidden")
        assert len(visible(browser)) == 12
        assert browser.run("getComputedStyle(document.querySelector('article')).display") == "block"
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)


# For every reader

CONTRAST = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgb = (color) => {
    if (known.has(color)) return known.get(color);
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    known.set(color, [...canvas.getImageData(0, 0, 1, 1).data]);
    return known.get(color);
  };
  const luminance = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, option, [hidden]")) continue;
    let paper = element;
    while (paper && rgb(getComputedStyle(paper).backgroundColor)[3] < 255)
      paper = paper.parentElement;
    const pair = [getComputedStyle(element).color, getComputedStyle(paper).backgroundColor];
    const [dark, light] = pair.map(rgb).map(luminance).sort((a, b) => a - b);
    seen += 1;
    if ((light + 0.05) / (dark + 0.05) < 4.5) low.push([walker.currentNode.data, ...pair]);
  }
  return {seen, low};
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["images", "report"])
def test_texts_have_contrast(browser, pages, kind, dark):
    browser.show(dark=dark)
    browser.open(pages[kind])
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
    found = browser.run(CONTRAST)
    assert found["low"] == []
    assert found["seen"] > 100


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_in_common_are_seen_and_their_texts_run_nothing(browser, tmp_path, dark):
    texts = np.array([f"river {attack} bank" for attack in ATTACKS[:4]], dtype=object)
    exp = Explanation([[1, 2, 3]], [[3.0, 2.0, 1.0]], queries=texts[:1], training_data=texts)
    exp.to_html(tmp_path / "common.html")
    browser.show(dark=dark)
    browser.open(tmp_path / "common.html")
    assert not loaded(browser)[1:]
    marks = browser.run(
        "[...document.querySelectorAll('mark')].map(m => [m.textContent, "
        "getComputedStyle(m).textDecorationLine, getComputedStyle(m).textDecorationColor])"
    )
    assert [word for word, _, _ in marks if word in ("river", "bank")] == ["river", "bank"] * 4
    assert {line for _, line, _ in marks} == {"underline"}
    page = browser.run("getComputedStyle(document.querySelector('.text')).backgroundColor")
    assert all(color != page for _, _, color in marks)


def accessible_nodes(browser):
    """Roles and names that readers of the screen get, once the tree has stopped changing."""
    browser.run(
        "Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 0)"
    )
    browser("Accessibility.enable")
    before, tree = None, browser("Accessibility.getFullAXTree")["nodes"]
    while tree != before:
        time.sleep(0.1)
        before, tree = tree, browser("Accessibility.getFullAXTree")["nodes"]
    browser("Accessibility.disable")
    return [
        {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
        for node in tree
        if not node["ignored"]
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_readers_of_the_screen_get_names_and_headings(browser, pages, kind):
    browser.show()
    browser.open(pages[kind])
    nodes = accessible_nodes(browser)
    roles = [node["role"] for node in nodes]
    for role in ("image", "combobox", "article", "form", "group", "region"):
        assert all(node["name"].strip() for node in nodes if node["role"] == role), role
    assert ("image" in roles) == (kind == "images")
    assert {"banner", "main", "contentinfo", "form"} <= set(roles)
    assert ("navigation" in roles) == (kind == "report")
    levels = browser.run(
        "[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_small_windows_need_no_sideways_scrolling(browser, pages, kind):
    browser.show(width=320, height=600)
    browser.open(pages[kind])
    assert browser.run("document.documentElement.scrollWidth") <= 320


def test_paper_has_the_cards_and_no_controls(browser, pages):
    browser.show(print_=True, dark=True)
    browser.open(pages["report"])
    for name in ("nav", "form", ".skip"):
        assert browser.run(f"getComputedStyle(document.querySelector('{name}')).display") == "none"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(browser("Page.printToPDF", printBackground=False)["data"]) > 10_000


def test_an_image_is_drawn(browser, tmp_path):
    image = np.full((2, 8, 8, 3), [200, 30, 60], dtype=np.uint8)
    exp = Explanation([[1]], [[1.0]], queries=image[:1], training_data=image, image_shape=(3, 8, 8))
    exp.to_html(tmp_path / "page.html")
    browser.show()
    browser.open(tmp_path / "page.html")
    browser.screenshot(tmp_path / "page.png", full=False)
    from matplotlib.image import imread

    drawn = np.round(imread(tmp_path / "page.png")[..., :3] * 255)
    red = (drawn == [200, 30, 60]).all(axis=-1).sum()
    assert red > 2 * 90**2  # two squares of 7rem with borders
