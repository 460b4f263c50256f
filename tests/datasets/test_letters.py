"""Letters drawn in Matplotlib's fonts."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_provenance.datasets import _letters, load_letters

pytest.importorskip("matplotlib", minversion="3.11")  # whose fonts are drawn


@pytest.fixture(scope="module")
def letters():
    return load_letters("all", letters="OlQ")


def test_every_letter_has_every_font_and_angle(letters):
    assert letters.data.shape == (3 * 21 * 9, 20, 20)
    assert letters.data.dtype == np.uint8
    assert_array_equal(letters.target_names, ["O", "l", "Q"])
    rows = zip(letters.target, letters.font, letters.angle, strict=True)
    assert len(set(rows)) == len(letters.data)
    assert set(letters.family) == {"sans", "mono", "serif"}
    assert len(np.unique(letters.data, axis=0)) > 0.97 * len(letters.data)


def test_letters_look_as_they_should(letters):
    plain = np.isin(letters.font, ["DejaVuSans", "DejaVuSerif", "STIXGeneral"])
    upright = letters.data[plain & (letters.angle == 0)].astype(float)
    target = letters.target[plain & (letters.angle == 0)]
    # White strokes on black, in the middle; an O has a hole there, and an l has none.
    assert np.all(letters.data.max(axis=(1, 2)) > 200)
    assert np.all(letters.data[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 0)
    middle = upright[:, 8:12, 8:12].mean(axis=(1, 2))
    assert np.all(middle[target == 0] < 20)
    assert np.all(middle[target == 1] > 60)
    # A turn to the left takes the upper half of an l to the left of the lower one.
    turned = letters.data[(letters.target == 1) & (letters.font == "DejaVuSans")].astype(float)
    upper, lower = (half.sum(axis=1) for half in (turned[:, :10], turned[:, 10:]))
    columns = np.arange(20)
    lean = upper @ columns / upper.sum(axis=1) - lower @ columns / lower.sum(axis=1)
    assert np.all(np.diff(lean) < -0.3)


def test_subsets_are_complementary_and_stratified(letters):
    train, test = (load_letters(subset, letters="OlQ") for subset in ("train", "test"))
    assert_array_equal(np.sort([*train.index, *test.index]), np.arange(len(letters.data)))
    assert_array_equal(np.bincount(train.target), [142] * 3)
    for name in ("data", "target", "font", "family", "angle"):
        assert_array_equal(test[name], letters[name][test.index])
    X, y = load_letters("test", letters="OlQ", return_X_y=True)
    assert_array_equal(X, test.data)
    assert_array_equal(y, test.target)


def test_size():
    small, large = (load_letters("all", letters="H", size=size).data for size in (12, 36))
    assert small.shape[1:] == (12, 12)
    assert large.shape[1:] == (36, 36)
    # The letter fills the same share of the image.
    share = [np.mean(images.astype(float)) for images in (small, large)]
    assert share[0] == pytest.approx(share[1], rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"letters": ["O", "Q"]}, TypeError, "letters must be a string"),
        ({"letters": ""}, ValueError, "different letters"),
        ({"letters": "OO"}, ValueError, "different letters"),
        ({"letters": "Ö"}, ValueError, "different letters"),
        ({"size": 7}, ValueError, "size == 7, must be >= 8"),
        ({"size": 20.0}, TypeError, "size must be an instance of int"),
        ({"subset": "both"}, ValueError, "subset must be one of"),
        ({"random_state": None}, TypeError, "random_state must be an int"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        load_letters(**arguments)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="load_letters needs matplotlib: pip install"):
        load_letters(letters="O")


def test_a_matplotlib_without_one_of_the_fonts_is_named(monkeypatch):
    monkeypatch.setitem(_letters.FAMILIES, "serif", ("cmr10", "unknown10"))
    with pytest.raises(ImportError, match=r"needs Matplotlib 3\.11 .* ships the font unknown10"):
        load_letters()
