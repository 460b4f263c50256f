"""Figures of explanations: images, tables and texts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sklearn_provenance import Explanation
from sklearn_provenance.explanation import ExplanationDisplay
from sklearn_provenance.explanation._images import brightness
from sklearn_provenance.explanation._rows import feature_differences, row_kind

from ..checks import thorough
from .drawn import texts_of
from .test_explanation import make


@pytest.mark.parametrize(
    ("image_shape", "n_queries"), [((4, 4), 8), (None, 1), *thorough(((4, 4), 1), (None, 8))]
)
def test_texts_of_a_figure_do_not_overlap(n_queries, image_shape):
    names = [f"a long name of a feature {i}" for i in range(16)]
    exp = make(8, 5, image_shape=image_shape, feature_names=names, n_tied=[0, 12345, 3, 9] * 2)
    labels = np.array(["a label too long to draw", "automobile", "dog $_x"])
    exp = exp._replace(
        exemplar_labels=labels[exp.exemplar_labels], query_labels=labels[exp.query_labels]
    )
    # Slanted names have boxes that overlap though the names do not.
    upright = [(t, box) for t, box in texts_of(exp[:n_queries].plot()) if t.get_rotation() == 0]
    assert len(upright) > 6 * n_queries
    for i, (text, box) in enumerate(upright):
        for other, other_box in upright[:i]:
            assert not box.overlaps(other_box), (text, other)
    figure = upright[0][0].figure.figure.bbox
    assert all(box.x0 >= 0 and box.x1 <= figure.x1 for _, box in upright)


def test_images_are_drawn_beside_their_query():
    exp = make(image_shape=(4, 4))
    display = exp.plot([2, 1])
    assert display.axes_.shape == (2, 4)
    np.testing.assert_array_equal(
        display.axes_[0, 2].images[0].get_array(),
        exp.training_data[exp.indices[2, 1]].reshape(4, 4),
    )
    np.testing.assert_array_equal(
        display.axes_[1, 0].images[0].get_array(), exp.queries[1].reshape(4, 4)
    )
    assert not display.axes_[1, 3].images  # padding
    assert not display.axes_[1, 3].axison
    assert "query 2" in display.axes_[0, 0].get_title()


@pytest.mark.parametrize("image_shape", [(4, 4), None])
def test_another_label_has_a_sign_and_a_colour(image_shape):
    exp = make(image_shape=image_shape)
    marked = [t for t, _ in texts_of(exp.plot()) if "≠" in t.get_text()]
    differs = (exp.exemplar_labels != exp.query_labels[:, None]) & (exp.indices >= 0)
    assert len(marked) == differs.sum() > 0
    assert {t.get_color() for t in marked} == {"#D55E00"}


@pytest.mark.parametrize("layout", ["flat", "channels first", "channels last"])
def test_channels_are_moved_last(layout):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 5), dtype=np.uint8)
    last = np.moveaxis(pictures, 1, -1)
    rows = {"flat": pictures.reshape(6, -1), "channels first": pictures, "channels last": last}
    exp = Explanation(
        [[5]], [[1.0]], queries=rows[layout][:1], training_data=rows[layout], image_shape=(3, 4, 5)
    )
    drawn = [panel.images[0].get_array() for panel in exp.plot().axes_[0]]
    np.testing.assert_array_equal(drawn, last[[0, 5]])


def test_images_outside_of_0_to_1_are_scaled_together():
    rows = np.stack([np.full((3, 2, 2), value) for value in (-1.0, 0.0, 3.0)])
    exp = Explanation(
        [[1, 2]], [[1.0, 0.5]], queries=rows[:1], training_data=rows, image_shape=(3, 2, 2)
    )
    drawn = [panel.images[0].get_array().max() for panel in exp.plot().axes_[0]]
    np.testing.assert_allclose(drawn, [0, 0.25, 1])


def test_table_shows_the_features_that_differ_most():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(50, 30))
    query = train[:1].copy()
    query[:, [4, 17]] += 9  # nothing else differs
    names = [f"f{i}" for i in range(30)]
    exp = Explanation([[0]], [[1.0]], queries=query, training_data=train, feature_names=names)
    display = exp.plot()
    shown = [label.get_text() for label in display.axes_[0].get_xticklabels()]
    assert len(shown) == 12
    assert {"f4", "f17"} <= set(shown)
    written = {text.get_position(): text.get_text() for text in display.axes_[0].texts}
    place = shown.index("f17")
    assert float(written[place, 0]) == pytest.approx(query[0, 17], rel=0.01)
    assert float(written[place, 1]) == pytest.approx(train[0, 17], rel=0.1)
    cells = display.axes_[0].images[0].get_array()
    colored = np.abs(cells[1, :, :3] - cells[1].max(axis=0)[:3]).max(axis=1) > 0.1
    assert [name for name, is_colored in zip(shown, colored, strict=True) if is_colored] == [
        "f4",
        "f17",
    ]


def test_long_texts_in_a_table_take_two_lines():
    towns = np.array([["Llanfairpwllgwyngyll by the sea", "x"], ["Rome", "y"]], dtype=object)
    exp = Explanation([[1]], [[1.0]], queries=towns[:1], training_data=towns)
    texts = [text.get_text() for text in exp.plot().figure_.findobj(plt.Text)]
    (long,) = [text for text in texts if text.startswith("Llanfair")]
    assert long.count("\n") == 1


def test_table_of_a_data_frame_with_categories_and_missing_values():
    frame = pd.DataFrame({"size": [1.0, np.nan, 3.0], "kind": ["a", "b", "a"], "on": [True] * 3})
    exp = Explanation([[1, 2]], [[1.0, 0.5]], queries=frame[:1], training_data=frame)
    written = [t.get_text() for t, _ in texts_of(exp.plot())]
    assert {"size", "kind", "on", "a", "b", "nan", "True", "0.5   row 2"} <= set(written)


TEXTS = ["a text\nof two lines", "short", "$x_1$ <b>", "long " * 200, "a" * 400] * 4


@pytest.mark.parametrize(
    "convert",
    [
        list,
        lambda texts: np.array([None, *texts[1:]], dtype=object),
        lambda texts: pd.DataFrame({"text": texts}),
        *thorough(
            np.array,
            lambda texts: np.array(texts, dtype=object),
            lambda texts: np.array(texts, dtype=object)[:, None],
            pd.Series,
            lambda texts: pd.Series(texts, dtype="string"),
            lambda texts: [text.split() for text in texts],
        ),
    ],
)
def test_texts_are_drawn_as_texts(convert):
    data = convert(TEXTS)
    n_queries = 8 if convert is list else 3  # drawing takes long, and rows are read one by one
    exp = make(n_queries, 3, queries=data[:n_queries], training_data=data, n_tied=[7] * n_queries)
    display = exp.plot(true_labels=[0] * n_queries)
    assert display.axes_.shape == (n_queries,)
    written = texts_of(display)
    assert any("short" in t.get_text() for t, _ in written)
    boxes = [(t, box) for t, box in written if t.axes is not None]
    for i, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), (text, other)
    figure = display.figure_.bbox
    assert all(box.x0 >= 0 and box.x1 <= figure.x1 and box.y0 >= 0 for _, box in written)
    assert exp.to_html().count('<ol class="texts"') == n_queries


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: sparse.csr_array(X),
        lambda X: torch.tensor(X, requires_grad=True),
        lambda X: torch.tensor(X).bfloat16(),
        lambda X: pd.DataFrame(X.astype(object)).assign(any=[None, (1, 2), "a", 3, pd.NA] * 4),
        *thorough(
            lambda X: torch.tensor(X).half(),
            lambda X: pd.DataFrame(X).astype("Float64").mask(X > 1),
            lambda X: pd.DataFrame(X.astype(object)).assign(words=["a text of many words"] * 20),
        ),
    ],
)
def test_rows_of_any_kind_are_drawn(convert):
    data = convert(np.random.default_rng(0).normal(size=(20, 5)).round(2))
    queries = data[:4] if not hasattr(data, "iloc") else data.iloc[:4]
    exp = make(queries=queries, training_data=data)
    display = exp.plot()
    assert display.axes_.shape == (4,)
    assert len(texts_of(display)) > 40
    assert "x0" in exp.to_html() or hasattr(data, "iloc")


@pytest.mark.parametrize("data", [np.zeros((20, 0)), pd.DataFrame(index=range(20))])
def test_rows_without_values_are_not_drawn(data):
    exp = make(queries=data[:4], training_data=data)
    with pytest.raises(ValueError, match="a row of queries holds no values"):
        exp.plot()
    assert "x0" not in exp.to_html()


@pytest.mark.parametrize("image_shape", [(4, 4), None])
def test_wrong_predictions_are_marked(image_shape):
    display = make(image_shape=image_shape).plot([3, 1], true_labels=[0, 2, 2, 0])
    marked = [t for t, _ in texts_of(display) if "true:" in t.get_text()]
    assert ["✓" in t.get_text() for t in marked] == [True, False]
    assert "true: 2 ✗" in marked[1].get_text()
    assert [t.get_color() for t in marked] == ["k", "#D55E00"]
    with pytest.raises(ValueError, match=r"true_labels must have shape \(4,\), got \(1,\)"):
        make().plot(true_labels=[0])


def test_plot_takes_the_place_of_a_subplot():
    figure, (left, right) = plt.subplots(1, 2)
    display = make(image_shape=(4, 4)).plot(ax=left)
    assert display.figure_ is figure
    figure.draw_without_rendering()
    middle = figure.bbox.width / 2
    assert all(panel.get_window_extent().x1 < middle for panel in display.axes_.ravel())
    assert right.get_window_extent().x1 > middle


def test_plot_limits():
    exp = make(n_queries=9, k=3, image_shape=(4, 4))
    assert exp.plot(max_queries=2, k=2).axes_.shape == (2, 3)
    assert exp.plot(range(9), k=1).axes_.shape == (9, 2)
    assert exp.plot(-1).axes_[0, 0].get_title().startswith("query 8")


@pytest.mark.parametrize(
    ("exp", "options", "message"),
    [
        (make(queries=None), {}, "has no queries"),
        (make(queries=None, training_data=None), {}, "no queries and no training_data"),
        (make(), {"k": 0}, "k must be an integer of at least 1, got 0"),
        (make(), {"max_queries": 1.5}, "max_queries must be an integer of at least 1, got 1.5"),
        (make(), {"queries": []}, "nothing to draw"),
        (make(image_shape=(2, 2, 4)), {}, "2 channels"),
    ],
)
def test_plot_says_what_it_lacks(exp, options, message):
    with pytest.raises(ValueError, match=message):
        exp.plot(**options)


def test_images_of_a_query_without_exemplars_are_drawn():
    exp = make(n_queries=2, image_shape=(4, 4))
    indices, scores = exp.indices.copy(), exp.scores.copy()
    indices[1], scores[1] = -1, np.nan
    display = exp._replace(indices=indices, scores=scores).plot()
    assert [len(ax.images) for ax in display.axes_.ravel()] == [1, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.0, 1.0), (0.0, 1.0)), ((-1.0, 3.0), (0.0, 1.0)), ((5.0, 5.0), (0, 0))],
)
def test_colours_are_scaled_where_they_are_outside_of_0_to_1(values, expected):
    images = np.array(values).reshape(2, 1, 1, 1) * np.ones((2, 2, 2, 3))
    scaled, limits = brightness(images)
    np.testing.assert_array_equal(scaled[:, 0, 0, 0], expected)
    assert limits == {}


def test_one_column_of_objects_is_a_table_where_they_are_numbers():
    numbers = np.array([[1], [None], [2.5]], dtype=object)
    assert row_kind([numbers], None) == "table"
    assert row_kind([numbers.astype(str).astype(object)], None) == "texts"


def test_differences_without_a_unit():
    queries, exemplars = np.array([[1.0, 5.0]]), np.array([[[4.0, 5.0], [99.0, np.nan]]])
    found = feature_differences(queries, exemplars, None)
    np.testing.assert_array_equal(found, [[[3.0, 0.0], [10.0, np.nan]]])


def test_figures_have_names_of_rows_and_the_size_that_is_asked_for():
    names = np.array([f"n{number}" for number in range(20)])
    exp = make()
    display = ExplanationDisplay.from_explanation(
        exp._replace(sample_id=names[exp.indices]), k=2
    ).plot(figsize=(7, 9))
    np.testing.assert_allclose(display.figure_.get_size_inches(), [7, 9])
    written = "\n".join(text.get_text() for text, _ in texts_of(display))
    assert all(f"id n{row}" in written for row in exp.indices[:, :2].ravel() if row >= 0)
    assert "row 0" not in written
