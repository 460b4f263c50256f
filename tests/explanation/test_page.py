"""Explanation.to_html: what stands on the page, what it may load and run, and the file."""

import base64
import hashlib
import io
import re
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jinja2 import TemplateNotFound, UndefinedError
from matplotlib.image import imread
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_provenance
from sklearn_provenance import Explanation, ProvenanceClassifier, explain
from sklearn_provenance.explanation._colors import TINTS
from sklearn_provenance.explanation._pictures import png
from sklearn_provenance.explanation._templates import read, render
from sklearn_provenance.explanation._views import name_text

from ..pages import ATTACKS, Page, hostile, readable
from .test_explanation import explanations, make

SLOW = settings(suppress_health_check=list(HealthCheck))


def pictures(page):
    """Images of a page by identifier, as arrays of bytes."""
    images = {}
    for attributes in page.named("image"):
        data = base64.b64decode(attributes["href"].removeprefix("data:image/png;base64,"))
        images[f"#{attributes['id']}"] = np.round(imread(io.BytesIO(data)) * 255).astype(int)
    return images


def shown(page):
    """Images of a page in the order in which they are shown."""
    images = pictures(page)
    return [images[attributes["href"]] for attributes in page.named("use")]


# Nothing of the data becomes HTML

KINDS = ("texts", "table", "images", "nothing")


@st.composite
def hostile_parts(draw):
    """Texts for every place of an explanation that can hold one."""
    labels = draw(st.lists(hostile, min_size=3, max_size=3, unique_by=name_text))
    texts = draw(st.lists(hostile, min_size=16, max_size=16))
    return draw(st.sampled_from(KINDS)), labels, texts


def page_of(kind, labels, texts):
    """Page of 3 queries with 2 exemplars, the last one padded."""
    labels, texts = np.array(labels, dtype=object), list(texts)
    data = {
        "texts": np.array(texts[:5], dtype=object),
        "table": np.array([texts[:3], texts[3:6], ["a", 1, None]] * 2, dtype=object)[:5],
        "images": np.arange(45, dtype=np.uint8).reshape(5, 9),
        "nothing": None,
    }[kind]
    exp = Explanation(
        [[0, 1], [2, 3], [4, -1]],
        [[0.5, 0.25], [1, 0.125], [2, np.nan]],
        sample_id=np.array([texts[6:8], texts[8:10], texts[10:12]], dtype=object),
        exemplar_labels=labels[[[0, 1], [1, 1], [2, 2]]],
        query_labels=labels[[0, 1, 2]],
        queries=None if data is None else data[:3],
        training_data=data,
        image_shape=(3, 3) if kind == "images" else None,
        feature_names=texts[12:15] if kind == "table" else None,
        method=texts[15],
        score_name=texts[14],
    )
    return exp, exp.to_html(
        title=texts[13],
        query_id=np.array(texts[:3], dtype=object),
        true_labels=labels[[1, 1, 2]],
    )


def harmless(texts):
    """Texts without a single special character, different and in the same order."""
    ranks = {text: rank for rank, text in enumerate(sorted(set(texts)))}
    return [f"word{ranks[text]:02d}" if text else "" for text in texts]


def without_marks(html):
    """A page whose words in common are not marked: other words give other marks."""
    return re.sub(r'<mark class="common">(.*?)</mark>', r"\1", html)


@given(hostile_parts())
@example(("texts", ATTACKS[:3], ATTACKS[3:19]))
@example(("table", ATTACKS[-3:], ATTACKS[-20:-4]))
@example(("nothing", ATTACKS[8:11], ATTACKS[5:21]))
@SLOW
def test_no_text_changes_the_structure_and_every_text_comes_back(parts):
    kind, labels, texts = parts
    exp, html = page_of(kind, labels, texts)
    page = Page(without_marks(html))
    tame_labels = harmless([name_text(label) for label in labels])
    tame = Page(without_marks(page_of(kind, tame_labels, harmless(texts))[1]))
    assert page.structure == tame.structure
    expected = []
    for query in range(3):
        asked = name_text(exp.query_labels[query])
        expected += [asked, name_text(exp.query_labels[max(query, 1)])]
        expected += {"texts": [texts[query]], "table": [asked]}.get(kind, [])
        for row, label in zip(exp.indices[query], exp.exemplar_labels[query], strict=True):
            if row >= 0:
                expected += [texts[row]] * (kind == "texts") + [name_text(label)]
    found = [text for text in page.inside("bdi") if text]
    legend = 0
    if kind != "nothing":  # the map names every label once
        legend = len({name_text(label) for label in labels} - {""})
    assert found[legend:] == [readable(text) for text in expected if text]
    assert "".join(page.inside("h1")).strip() == readable(texts[13]).strip()


@given(hostile)
@SLOW
def test_texts_come_back_whole(text):
    data = np.array([text, "exemplar"], dtype=object)
    exp = Explanation([[1]], [[1.0]], queries=data[:1], training_data=data)
    found = Page(exp.to_html()).inside("bdi")
    assert found == [readable(text)] * bool(text) + ["exemplar"]


@given(explanations())
@SLOW
def test_any_explanation_makes_a_page(exp):
    page = Page(exp.to_html(true_labels=exp.query_labels))
    assert len(page.named("article")) == exp.n_queries


@pytest.mark.parametrize("image_shape", [(4, 4), None])
@pytest.mark.parametrize("n_queries", [0, 2])
def test_pages_without_exemplars_or_queries(n_queries, image_shape):
    exp = make(image_shape=image_shape)[:n_queries]
    exp = exp._replace(indices=exp.indices[:, :0], scores=exp.scores[:, :0],
                       exemplar_labels=exp.exemplar_labels[:, :0])  # fmt: skip
    page = Page(exp.to_html())
    assert len(page.named("article")) == n_queries
    padded = make(image_shape=image_shape)[:n_queries]
    nothing = np.full(padded.indices.shape, -1)
    page = Page(padded._replace(indices=nothing, scores=nothing * np.nan).to_html())
    assert len(page.named("article")) == n_queries


# What a page may load and run


@pytest.fixture(scope="module")
def page_of_images():
    exp = make(image_shape=(4, 4))
    return Page(exp.to_html(title="A title", true_labels=np.zeros(4)))


def test_a_page_refers_to_nothing_outside(page_of_images):
    targets = {attributes.get("id") for _, attributes in page_of_images.tags} - {None}
    for name, attributes in page_of_images.tags:
        assert not {"src", "srcset", "style", "action", "ping", "data"} & set(attributes)
        assert not [key for key in attributes if key.startswith("on")]
        href = attributes.get("href")
        if href is not None and not href.startswith("data:image/png;base64,"):
            assert href.removeprefix("#") in targets, (name, href)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\(", read("page.css") + read("page.js"))
    ids = [attributes["id"] for _, attributes in page_of_images.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_policy_allows_the_pages_own_script_and_style_only(page_of_images):
    policy = {
        directive.split()[0]: directive.split()[1:]
        for attributes in page_of_images.named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
        for directive in attributes["content"].split(";")
    }

    def hash_of(name):
        (content,) = page_of_images.inside(name)
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    assert policy == {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "script-src": [hash_of("script")],
        "style-src": [hash_of("style")],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    # A policy counts for what follows it.
    names = [name for name, _ in page_of_images.tags]
    assert names.index("meta") < min(names.index("style"), names.index("script"))


def luminance(color):
    """Relative luminance of WCAG 2."""
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_contrast(scheme):
    colors = {}
    for block in re.findall(r":root \{([^}]*)\}", read("page.css"))[: scheme + 1]:
        colors |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))

    def contrast(one, other):
        light, dark = sorted([luminance(colors[one]), luminance(colors[other])])[::-1]
        return (light + 0.05) / (dark + 0.05)

    for paper in ("paper", "card"):
        for ink in ("ink", "soft", "link", "same", "other"):
            assert contrast(ink, paper) >= 4.5, (ink, paper)
        assert contrast("edge", paper) >= 3
    for tint in ("above1", "above2", "below1", "below2"):
        assert contrast("ink", tint) >= 4.5, tint


def test_figures_and_notebooks_have_the_tints_of_light_pages():
    light = re.search(r":root \{([^}]*)\}", read("page.css"))[1]
    assert dict(re.findall(r"--((?:above|below)\d): (#[0-9a-f]{6})", light)) == TINTS


# What stands on a page


def test_words_of_a_card():
    exp = make(sample_id=np.array([["<a>", "b", "c"]] * 4))
    html = exp.to_html(title="Gains", query_id=list("wxyz"), true_labels=[1, 1, 2, 2])
    page = Page(html)
    text = " ".join(" ".join(text for _, text in page.texts).split())
    assert page.inside("h1") == page.inside("title") == ["Gains"]
    assert "4 queries, up to 3 exemplars each, named by nearest." in text
    assert "with their gain (nats)." in text
    for query in range(4):
        assert f"Query {'wxyz'[query]}: label" in text
        for row, score, label in zip(
            exp.indices[query], exp.scores[query], exp.exemplar_labels[query], strict=True
        ):
            if row >= 0:
                sign = "✓" if label == exp.query_labels[query] else "≠"
                words_ = rf"row {row} , id (<a>|b|c) {sign} {label} .*{score:.2g} nats"
                assert re.search(words_, text)
    assert text.count("✗ differs") == 2  # true labels 1, 1, 2, 2 for 0, 1, 2, 0
    n_other = ((exp.exemplar_labels != exp.query_labels[:, None]) & (exp.indices >= 0)).sum()
    assert text.count("(another label)") == n_other > 0
    classes = [attributes["class"].split() for attributes in page.named("article")]
    np.testing.assert_array_equal(["disagrees" in c for c in classes], exp.agreement < 1)
    assert ["wrong" in c for c in classes] == [True, False, False, True]


def test_orders_of_queries():
    exp = Explanation(
        [[0, 1], [1, -1], [-1, -1], [2, 0]],
        [[0.5, 0.1], [0.9, np.nan], [np.nan, np.nan], [0.7, 0.6]],
        exemplar_labels=[["a", "b"], ["a", ""], ["", ""], ["b", "b"]],
        query_labels=["a", "a", "b", "a"],
    )
    articles = Page(exp.to_html()).named("article")

    def order(key):
        return np.argsort([int(attributes[f"data-{key}"]) for attributes in articles]).tolist()

    assert order("page") == [0, 1, 2, 3]
    assert order("strongest") == [1, 3, 0, 2]
    assert order("weakest") == [0, 3, 1, 2]
    assert order("agreement") == [3, 0, 1, 2]
    assert [attributes["data-label"] for attributes in articles] == ["0", "0", "1", "0"]


def test_without_labels_nothing_is_marked():
    page = Page(make(query_labels=None).to_html(true_labels=[0, 1, 2, 0]))
    text = " ".join(text for _, text in page.texts)
    assert not set("✓✗") & set(text)
    assert not [a for _, a in page.tags if a.get("class") in ("same", "other", "differs")]
    assert "true label" in text


def test_words_in_common_are_marked_where_parts_are_unknown():
    texts = np.array(
        ["<b>River</b> and the bank", "A RIVER, 2024", "the <i>bank</i> and riverside", ""],
        dtype=object,
    )
    exp = Explanation([[1, 2, 3]], [[3.0, 2.0, 1.0]], queries=texts[:1], training_data=texts)
    html = exp.to_html()
    # Words of three letters or more, whole, and not those that most texts have ("and", "the").
    assert Page(html).inside("mark") == ["River", "bank", "RIVER", "bank"]
    assert html.count('<mark class="common">') == 4
    assert "&lt;b&gt;<mark" in html
    assert "Underlined words are in the query and in the exemplar." in html
    parts = exp._replace(contributions=[[{"river": 1.0}, {}, {}]]).to_html()
    assert 'class="common"' not in parts
    assert "Underlined" not in parts
    alone = exp._replace(queries=None).to_html()
    assert "<mark" not in alone
    assert "Underlined" not in alone


def test_names_of_labels():
    exp = make()
    names = ["ant", "bee", "cow"]
    by_list = exp.to_html(label_names=names, true_labels=[0, 1, 2, 0])
    assert by_list == exp.to_html(label_names=dict(enumerate(names)), true_labels=[0, 1, 2, 0])
    assert set(Page(by_list).inside("bdi")) == {"ant", "bee", "cow"}
    with pytest.raises(ValueError, match="got none for 2, only for 0, 1"):
        exp.to_html(label_names=["ant", "bee"])
    with pytest.raises(ValueError, match="must be a mapping or sequence, got the text 'ab'"):
        exp.to_html(label_names="ab")


def test_long_names_and_texts_are_cut():
    data = np.array(["x" * 10**5] * 2, dtype=object)
    exp = Explanation(
        [[1]], [[1.0]], queries=data[:1], training_data=data, query_labels=["l" * 10**5],
        sample_id=[["i" * 10**5]], method="m" * 10**5, score_name="s" * 10**5,
    )  # fmt: skip
    html = exp.to_html()
    assert len(html) < 30_000
    assert "x" * 1999 + "…" in html
    assert "l" * 199 + "…" in html


# Images


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda shape: st.sampled_from([shape, (*shape, 3), (*shape, 4)])
        ),
    )
)
def test_png_holds_the_image(image):
    decoded = imread(io.BytesIO(png(image)), format="png")
    np.testing.assert_array_equal(np.round(decoded * 255), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_smaller_than_the_image_where_neighbours_are_alike(channels):
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    assert len(png(np.squeeze(np.stack([ramp] * channels, axis=-1)))) < 64 * 64 * channels / 10


@pytest.mark.parametrize("layout", ["flat", "channels first", "channels last"])
def test_images_stand_beside_their_query_and_are_embedded_once(layout):
    last = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    first = np.moveaxis(last, -1, 1)
    rows = {"flat": first.reshape(6, -1), "channels first": first, "channels last": last}[layout]
    exp = Explanation(
        [[5, 4], [4, 5], [5, -1]], [[1, 0.5], [1, 0.5], [1, np.nan]],
        queries=rows[:3], training_data=rows, image_shape=(3, 4, 5), exemplar_labels=[[0, 1]] * 3,
    )  # fmt: skip
    page = Page(exp.to_html())
    np.testing.assert_array_equal(shown(page), last[[0, 5, 4, 1, 4, 5, 2, 5]])
    assert len(page.named("image")) == 5  # three queries, two exemplars
    drawn = [a for a in page.named("svg") if a.get("class") == "picture"]
    names = [a["aria-label"].replace("\N{NO-BREAK SPACE}", " ") for a in drawn]
    assert names[:3] == ["Query 0", "Training row 5, label 0", "Training row 4, label 1"]
    assert all(a["role"] == "img" and a["viewbox"] == "0 0 5 4" for a in drawn)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),  # shares of white
        ([0.25, 0.25, 0.5], [64, 64, 128]),
        ([-1.0, 0.0, 3.0], [0, 64, 255]),
        ([0, 8, 16], [0, 128, 255]),
        ([np.nan, -np.inf, np.inf], [0, 0, 255]),
        ([5.0, 5.0, 5.0], [0, 0, 0]),
        ([True, False, True], [255, 0, 255]),
    ],
)
def test_other_numbers_become_bytes(values, expected):
    rows = np.stack([np.full((2, 2), value) for value in values])
    exp = Explanation(
        [[1, 2]], [[1.0, 0.5]], queries=rows[:1], training_data=rows, image_shape=(2, 2)
    )
    assert [image[0, 0] for image in shown(Page(exp.to_html()))] == expected


def test_large_images_are_shrunk_by_averaging():
    rows = np.random.default_rng(0).integers(0, 256, (2, 321, 400), dtype=np.uint8)
    exp = Explanation([[1]], [[1.0]], queries=rows[:1], training_data=rows, image_shape=(321, 400))
    html = exp.to_html()
    image = shown(Page(html))[1]
    assert image.shape == (107, 134)  # a third; what is left over at the edge is averaged alone
    assert image[0, 0] == round(rows[1, :3, :3].mean())
    assert image[-1, -1] == round(rows[1, -3:, -1:].mean())
    assert "shown at 1/3 of their width" in html


def test_other_numbers_of_channels_stand_below_each_other():
    rows = np.random.default_rng(0).integers(0, 256, (2, 5, 3, 3), dtype=np.uint8)
    exp = Explanation([[1]], [[1.0]], queries=rows[:1], training_data=rows, image_shape=(5, 3, 3))
    html = exp.to_html()
    np.testing.assert_array_equal(shown(Page(html))[1], rows[1].reshape(15, 3))
    assert "channels stand below each other" in html


def test_pages_need_no_matplotlib(monkeypatch, page_of_images):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("matplotlib", "PIL")]:
        monkeypatch.setitem(sys.modules, name, None)
    again = Page(make(image_shape=(4, 4)).to_html(title="A title", true_labels=np.zeros(4)))
    assert again.tags == page_of_images.tags


# Tables


def cells(page):
    """Texts of the cells of a page's tables, with their classes, line by line."""
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", page)
    return [
        [
            (kind or "", re.sub("<[^>]*>", "", content).replace("\N{NO-BREAK SPACE}", " "))
            for kind, content in re.findall(r'<t[dh](?: class="(\w*)")?[^>]*>(.*?)</t[dh]>', line)
        ]
        for line in lines
    ]


def test_a_table_has_the_features_that_plot_draws():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(50, 30))
    query = train[:1].copy()
    query[:, [4, 17]] += 9
    query[:, 5] -= 1.5 * train[:, 5].std()
    names = [f"f{i}" for i in range(30)]
    exp = Explanation([[0]], [[1.0]], queries=query, training_data=train, feature_names=names)
    html = exp.to_html()
    head, asked, exemplar = cells(html)
    drawn = [label.get_text() for label in exp.plot().axes_[0].get_xticklabels()]
    assert [name for _, name in head[3:]] == drawn
    marked = dict(zip([name for _, name in head], exemplar, strict=True))
    assert marked["f4"][0] == marked["f17"][0] == "below2"
    assert marked["f4"][1].startswith("↓ ")
    assert (marked["f5"][0], marked["f5"][1][0]) == ("above1", "↑")
    assert [name for name, (kind, _) in marked.items() if kind[:5] in ("above", "below")] == [
        "f4", "f5", "f17",
    ]  # fmt: skip
    plain_value = dict(zip([name for _, name in head], asked, strict=True))["f17"][1]
    assert float(plain_value) == pytest.approx(query[0, 17], rel=0.01)
    assert "12 of 30 features are shown, those that differ most." in html
    assert len(cells(exp.to_html(max_features=2))[0]) == 5


@pytest.mark.parametrize("convert", [pd.DataFrame, sparse.csr_array, np.asarray])
def test_rows_of_any_kind_give_the_same_table(convert):
    X = np.round(np.random.default_rng(0).normal(size=(20, 4)), 2)
    exp = make(queries=convert(X[:4]), training_data=convert(X), feature_names=list("abcd"))
    dense = make(queries=X[:4], training_data=X, feature_names=list("abcd"))
    assert exp.to_html() == dense.to_html()


def test_categories_and_missing_values():
    frame = pd.DataFrame({"size": [1.0, np.nan, 3.0], "kind": ["a", "b", "a"], "on": [True] * 3})
    exp = Explanation([[1, 2]], [[1.0, 0.5]], queries=frame[:1], training_data=frame)
    head, asked, first, second = ([text for _, text in line] for line in cells(exp.to_html()))
    assert head[3:] == ["size", "kind", "on"]
    assert asked[3:] == ["1", "a", "True"]
    assert first[3:] == ["≠ nan", "≠ b", "True"]
    assert second[3:] == ["↑ 3", "a", "True"]


def test_categories_without_a_truth_value():
    codes = pd.array([1, None, None, 4], dtype="Int64")
    frame = pd.DataFrame({"size": codes, "kind": [None, (1, 2), pd.NA, np.ones(2)]})
    for data in (frame, frame.to_numpy()):
        exp = Explanation(
            [[1, 2, 3]], [[3.0, 2.0, 1.0]], queries=data[1:2], training_data=data,
            feature_names=["size", "kind"],
        )  # fmt: skip
        _, asked, same, missing, other = ([t for _, t in line] for line in cells(exp.to_html()))
        assert same[3:] == asked[3:] == ["<NA>".replace("<", "&lt;").replace(">", "&gt;"), "(1, 2)"]
        assert missing[4].startswith("≠")
        assert (other[3], other[4][0]) == ("≠ 4", "≠")


@pytest.mark.parametrize("missing", ["queries", "training_data"])
def test_half_of_the_data_makes_half_a_table(missing):
    html = make(**{missing: None}).to_html()
    kinds = [line[0][1].split()[0] for line in cells(html) if line[0][1] != "row"]
    assert kinds.count("query") == (0 if missing == "queries" else 4)
    assert kinds.count("row") == 11


def test_through_a_pipeline_the_page_has_the_users_units():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.integers(20, 80, 40).astype(float), "size": rng.random(40)})
    y = (X["age"] > 50).to_numpy()
    clf = ProvenanceClassifier(width="small", max_epochs=2, device="cpu", random_state=0)
    exp = explain(make_pipeline(StandardScaler(), clf).fit(X, y), X[:2], k=1)
    _, asked, exemplar = cells(exp[0].to_html())[:3]
    assert float(asked[3][1]) == X["age"][0]
    shown_age = float(exemplar[3][1].lstrip("↑↓ "))
    assert shown_age == pytest.approx(X["age"][exp.indices[0, 0]], abs=0.5)


# The file


def test_file_holds_the_page(tmp_path):
    exp = make(method="méthode \ud800")
    for path in (tmp_path / "page.html", str(tmp_path / "other.html")):
        html = exp.to_html(path)
        with open(path, encoding="utf-8", newline="") as file:
            assert file.read() == html == exp.to_html()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_page_is_a_string_whose_repr_is_short():
    page = make(image_shape=(4, 4)).to_html()
    assert isinstance(page, str)
    assert len(repr(page)) < 50
    assert str(page) == f"{page}" == "".join(page)
    assert type(str(page)) is str


def test_file_is_replaced_in_one_step(tmp_path, monkeypatch):
    path, target = tmp_path / "page.html", tmp_path / "there" / "old.html"
    target.parent.mkdir()
    target.write_text("old")
    path.symlink_to(target)

    def fail(*paths):
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(OSError, match="disk"):
            make().to_html(path)
    assert [target.read_text(), *target.parent.iterdir()] == ["old", target]
    make().to_html(path)
    assert path.is_symlink()
    assert target.read_text().startswith("<!DOCTYPE html>")


def test_what_to_html_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"make the folder .*nowhere, or"):
        make().to_html(tmp_path / "nowhere" / "page.html")
    with pytest.raises(IsADirectoryError, match="must name a file"):
        make().to_html(tmp_path)
    with pytest.raises(ValueError, match=r"true_labels must have shape \(4,\), got \(3,\)"):
        make().to_html(true_labels=[0, 1, 2])
    with pytest.raises(ValueError, match=r"query_id must have shape \(4,\), got \(1,\)"):
        make().to_html(query_id=["a"])
    with pytest.raises(ValueError, match="max_features must be an integer of at least 1, got 0"):
        make().to_html(max_features=0)
    assert list(tmp_path.iterdir()) == []


# Templates

PACKAGE = Path(sklearn_provenance.__file__).parent
TEMPLATES = sorted(PACKAGE.rglob("templates/*"))


def test_templates_are_installed_with_the_package():
    """Each file of a folder of templates is package data, and found as such."""
    with open(PACKAGE.parent / "pyproject.toml", "rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    assert len({path.parent for path in TEMPLATES}) >= 2
    for path in TEMPLATES:
        folder = ".".join(["sklearn_provenance", *path.relative_to(PACKAGE).parts[:-2]])
        assert any(fnmatch(f"templates/{path.name}", pattern) for pattern in patterns[folder])
        assert read(path.name, folder) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_turns_escaping_off(path):
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe|autoescape|xmlattr|style=", source)
    # An attribute without quotes ends at a space of the data.
    assert not re.search(r"=\s*\{\{", source)


def test_templates_want_every_name():
    with pytest.raises(UndefinedError, match="'tints' is undefined"):
        render("notebook.html", heads=[], lines=[], hidden="")
    with pytest.raises(TemplateNotFound, match=r"other\.html"):
        render("other.html")


def test_flat_rows_are_drawn_as_images_of_the_shape_given():
    rows = np.arange(24.0).reshape(4, 6)
    exp = Explanation([[1, 2]], [[0.5, 0.2]], queries=rows[:1], training_data=rows)
    assert "data:image/png" not in exp.to_html()
    assert "data:image/png" in exp.to_html(image_shape=(2, 3))
    drawn = exp.plot(image_shape=(2, 3))
    assert [axes.images[0].get_array().shape for axes in drawn.axes_.flat] == [(2, 3)] * 3
    assert exp.image_shape is None
    with pytest.raises(ValueError, match="needs 9 values in a row"):
        exp.plot(image_shape=(3, 3))
