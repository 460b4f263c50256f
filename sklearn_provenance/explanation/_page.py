"""A web page that stands alone: tags that escape, pictures, style, script, security policy."""

import base64
import hashlib
import re
import struct
import zlib
from html import escape
from pathlib import Path

import numpy as np

from .._utils.files import write

# Characters that browsers drop, replace or cannot read: controls (tabs and line feeds are none),
# halves of surrogate pairs, and noncharacters.
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_VOID = {"meta"}

STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#57606a;--paper:#ffffff;--card:#f6f8fa;
--line:#d0d7de;--edge:#6e7781;--link:#0550ae;--same:#1a5f2e;--other:#a33c00;
--above1:#fde6cb;--above2:#f8c48a;--below1:#e6e2f2;--below2:#c8c1e2}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#a5b0bc;--paper:#0d1117;
--card:#161b22;--line:#3d444d;--edge:#8b949e;--link:#79b8ff;--same:#7ee2a0;--other:#ffa66b;
--above1:#452c10;--above2:#6d4210;--below1:#2f2a4d;--below2:#4a4180}}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0;font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
overflow-wrap:anywhere}
header,nav,main,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
footer{padding-bottom:2rem;color:var(--soft);font-size:.875rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem}
h2{font-size:1.25rem;margin:2rem 0 .5rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .25rem}
p{margin:0 0 .75rem;max-width:50rem}
bdi{white-space:pre-wrap}
a{color:var(--link)}
a:focus-visible,select:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--link);
outline-offset:2px}
main:focus{outline:none}
.skip{position:absolute;left:-999rem;padding:.5rem 1rem;background:var(--paper)}
.skip:focus{left:.5rem;top:.5rem;z-index:1}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:0;padding:0}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0 0 1rem}
dl.facts dt{color:var(--soft)}
dl.facts dd{margin:0;min-width:0}
code{font-size:.875rem}
form{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:center;margin:0 0 1rem}
form label{min-width:0;max-width:100%}
select{font:inherit;max-width:100%;min-height:2.25rem;padding:.25rem .5rem;color:var(--ink);
background:var(--paper);border:1px solid var(--edge);border-radius:.375rem}
article{padding:.75rem 1rem;margin:0 0 1rem;background:var(--card);border:1px solid var(--line);
border-radius:.5rem;break-inside:avoid}
article p{color:var(--soft);margin:0 0 .5rem;max-width:none}
.row{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}
figcaption{font-size:.8125rem;color:var(--soft)}
ol{display:flex;flex-wrap:wrap;gap:.75rem;flex:1 1 20rem;list-style:none;margin:0;padding:0}
ol.texts{flex-direction:column}
ol.images li{width:7rem}
li{position:relative}
li span.line{display:block;font-size:.8125rem;line-height:1.35}
.soft{color:var(--soft)}
.same{color:var(--same)}
.other{color:var(--other);font-weight:600}
.picture{display:block;width:100%;min-width:4rem;max-width:7rem;height:auto;
border:2px solid var(--line);border-radius:.25rem}
figure .picture{width:7rem;border-color:var(--ink)}
td .picture{width:4rem}
li.differs .picture{border:2px dashed var(--other)}
.pixels{image-rendering:pixelated}
.store{position:absolute}
.text{white-space:pre-wrap;margin:0;color:var(--ink);max-width:60rem}
ol.texts li{padding-left:.75rem;border-left:3px solid var(--line)}
ol.texts li.differs{border-left:3px dashed var(--other)}
ol.texts .line{display:inline;margin-right:1rem}
.scroll{overflow-x:auto;position:relative}
table{border-collapse:collapse;font-size:.875rem;overflow-wrap:break-word}
caption{text-align:left;color:var(--soft);padding-bottom:.25rem}
th,td{padding:.25rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);
min-width:3rem;max-width:22rem}
thead th{vertical-align:bottom}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.links{min-width:9rem}
tr.asked>*{font-weight:600;border-bottom:2px solid var(--ink)}
.above1{background:var(--above1)}.above2{background:var(--above2)}
.below1{background:var(--below1)}.below2{background:var(--below2)}
@media (max-width:40rem){dl.facts{grid-template-columns:1fr;gap:0}dl.facts dd{margin-bottom:.5rem}
ol.images li{width:calc(50% - .5rem)}}
@media print{:root{color-scheme:light;--card:#ffffff;--line:#999999}
.skip,nav,form{display:none!important}header,main,footer{max-width:none}
ol.images li,figure .picture{width:5.75rem}
.picture,td,li{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.scroll{overflow:visible}tr{break-inside:avoid}}
"""

# Reads numbers and fixed words from the page, never text of the data, and writes no HTML.
SCRIPT = """
(() => {
  "use strict";
  const form = document.querySelector("form");
  if (!form) return;
  const list = document.getElementById("cards");
  const cards = [...list.children];
  const choice = (name) => form.elements[name] ? form.elements[name].value : "all";
  const update = () => {
    let shown = 0;
    for (const card of cards) {
      const kind = choice("show"), label = choice("label");
      card.hidden = !(kind === "all" || card.classList.contains(kind))
        || !(label === "all" || card.dataset.label === label);
      shown += card.hidden ? 0 : 1;
    }
    const key = choice("sort");
    list.append(...cards.sort((a, b) => Number(a.dataset[key]) - Number(b.dataset[key])));
    form.querySelector("output").value = shown + " of " + cards.length + " shown";
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", update);
  window.addEventListener("pageshow", update);
})();
"""


class Markup(str):
    """HTML. Any other string is text, and is escaped where it enters a page."""

    __slots__ = ()


class Page(str):
    """A whole page: an ordinary string, except that a notebook shows its size, not its content."""

    __slots__ = ()

    def __repr__(self):
        return f"<HTML page of {len(self)} characters>"


def text(value):
    """Write a value as HTML text or as the value of an attribute.

    Characters that browsers drop or replace are written as U+FFFD, the replacement character.
    """
    if isinstance(value, Markup):
        return value
    value = str(value).replace("\r\n", "\n")
    return Markup(escape(_UNREADABLE.sub("\ufffd", value), quote=True))


def join(parts, between=""):
    """Join HTML and texts."""
    return Markup(text(between).join(map(text, parts)))


def tag(name, /, *children, **attributes):
    """Write an element, with all children and attributes escaped unless they are Markup.

    Parameters
    ----------
    name : str
        Of the element; a constant.
    *children : Markup or object
        Content.
    **attributes : object
        By name, with a final underscore taken off and others turned into hyphens. None and False
        leave an attribute out, True gives it no value.

    Returns
    -------
    Markup
        The element.
    """
    written = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {key}")
        elif value is not None and value is not False:
            written.append(f' {key}="{text(str(value))}"')  # Markup is text in an attribute
    opened = f"<{name}{''.join(written)}>"
    return Markup(opened if name in _VOID else f"{opened}{join(children)}</{name}>")


class Pictures:
    """Images of a page, each embedded once, however often it is shown."""

    def __init__(self):
        self._numbers = {}

    def show(self, image, alt):
        """Show an image.

        Parameters
        ----------
        image : ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
            Grey, RGB or RGBA.
        alt : str
            What stands for the image where it cannot be seen.

        Returns
        -------
        Markup
            An element that refers to the image.
        """
        number = self._numbers.setdefault((image.shape, image.tobytes()), len(self._numbers))
        return tag(
            "svg",
            tag("use", href=f"#p{number}"),
            class_="picture",
            role="img",
            aria_label=alt,
            viewBox=f"0 0 {image.shape[1]} {image.shape[0]}",
        )

    def definitions(self):
        """Return the images, to stand once on the page."""
        if not self._numbers:
            return Markup()
        images = []
        for (shape, data), number in self._numbers.items():
            encoded = base64.b64encode(png(np.frombuffer(data, np.uint8).reshape(shape))).decode()
            images.append(
                tag(
                    "image",
                    id=f"p{number}",
                    width=shape[1],
                    height=shape[0],
                    class_="pixels" if max(shape[:2]) <= 64 else None,
                    href=f"data:image/png;base64,{encoded}",
                )
            )
        images = tag("defs", *images)
        return tag("svg", images, width=0, height=0, class_="store", aria_hidden="true")


def png(image):
    """Encode an image.

    Parameters
    ----------
    image : ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
        Grey, RGB or RGBA.

    Returns
    -------
    bytes
        A PNG file.
    """
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)  # (H, W, channels)
    left, above = np.zeros_like(samples), np.zeros_like(samples)
    left[:, 1:], above[1:] = samples[:, :-1], samples[:-1]
    # Filters 0 (none), 1 (sub) and 2 (up) of the format, one for all lines; which of them is
    # smallest depends on the image.
    data = min(
        (_scan_lines(number, before) for number, before in ((0, samples), (1, samples - left),
                                                            (2, samples - above))),
        key=len,
    )  # fmt: skip
    color_type = {1: 0, 3: 2, 4: 6}[samples.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip


def _scan_lines(number, filtered):
    lines = filtered.reshape(len(filtered), -1)
    numbered = np.concatenate([np.full((len(lines), 1), number, np.uint8), lines], axis=1)
    return zlib.compress(numbered.tobytes(), 9)


def page(title, *, head=(), sections=(), foot="", pictures=None):
    """Write a page that loads nothing and runs no script but its own.

    Parameters
    ----------
    title : str
        Title and first heading.
    head : sequence of Markup
        What follows the title.
    sections : sequence of (str, str, Markup)
        Identifier, heading and content of each section.
    foot : str
        Last line.
    pictures : Pictures, default=None
        Images that the sections refer to.

    Returns
    -------
    Page
        The page.
    """
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(STYLE)}'; "
        f"script-src '{_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )
    links = (tag("li", tag("a", heading, href=f"#{name}")) for name, heading, _ in sections)
    menu = tag("nav", tag("ul", *links, role="list"), aria_label="Sections")
    parts = (
        tag(
            "section", tag("h2", heading, id=f"{name}-heading"), content, id=name,
            aria_labelledby=f"{name}-heading",
        )
        for name, heading, content in sections
    )  # fmt: skip
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            tag("style", Markup(STYLE)),
        ),
        tag(
            "body",
            tag("a", "Skip to the content", class_="skip", href="#main"),
            pictures.definitions() if pictures else "",
            tag("header", tag("h1", title), *head),
            menu if len(sections) > 1 else "",
            tag("main", *parts, id="main", tabindex=-1),
            tag("footer", tag("p", foot)),
            tag("script", Markup(SCRIPT)),
        ),
        lang="en",
    )
    return Page(f"<!DOCTYPE html>\n{document}\n")


def _hash(content):
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
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"the page cannot be written to {path}, because {path.parent} is no folder; make it "
            "first, or give another path"
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
