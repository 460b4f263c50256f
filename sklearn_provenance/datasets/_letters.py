"""Letters drawn in the fonts that Matplotlib ships: larger images that need no files."""

from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_scalar

from ._bunch import make_bunch
from ._search import subset_parts
from ._splits import check_split, split_rows

FAMILIES = {
    "sans": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        "cmss10",
    ),
    "mono": (
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
        *("DejaVuSansMono-BoldOblique", "cmtt10"),
    ),
    "serif": (
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
        *("cmr10", "cmb10", "cmti10"),
    ),
}
ANGLES = range(-20, 21, 5)

DESCR = """\
Letters of Matplotlib's fonts
=============================

Grey images of letters, white on black, each in 21 fonts (5 sans serif, 5 of one width, 11 with
serifs, some of them bold or slanted) and at 9 angles from -20 to 20 degrees: 189 images of each
letter. They are drawn when they are loaded, so that single pixels depend on the version of
Matplotlib. There is no official split.

Source: the fonts DejaVu, STIX and Computer Modern that Matplotlib ships.
Licence: those of the fonts, which permit free use (Bitstream Vera, SIL Open Font Licence, BaKoMa).
"""


def load_letters(
    subset: Literal["train", "test", "all"] = "train",
    *,
    letters: str = "ABCDEFGHIJ",
    size: int = 20,
    test_size: float = 0.25,
    random_state: int = 0,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Draw letters in the fonts that Matplotlib ships.

    They are a small set of images that people read at a glance and that need no files: each letter
    in 21 fonts and at 9 angles.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        One side of a random split stratified by letter, its rows shuffled, or all images in the
        order of letters, fonts and angles. Both sides have the same fonts.
    letters : str, default="ABCDEFGHIJ"
        Different letters, each from A to Z or from a to z.
    size : int, default=20
        Height and width of the images in pixels, from 8 to 64.
    test_size : float, default=0.25
        The share of each letter that is in the test subset, rounded half up.
    random_state : int, default=0
        Determines the split. The training and the test subset of one seed are complementary.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, a uint8 ndarray of shape (n, size, size), ``target``, an int64 ndarray of
        shape (n,), ``target_names``, an ndarray of the letters, ``font`` and ``family``
        ("sans", "mono" or "serif"), ndarrays of shape (n,), ``angle``, an int64 ndarray of shape
        (n,) in degrees, ``index``, an int64 ndarray of shape (n,) with the rows among all images,
        and ``DESCR``. With ``return_X_y`` only the pair of the first two.

    Raises
    ------
    ValueError
        If ``subset``, ``letters`` or ``size`` is invalid, or ``test_size`` is not between 0 and 1.
    TypeError
        If ``letters`` is not a string, or ``size`` or ``random_state`` is not an int.
    ImportError
        If Matplotlib is missing or older than 3.11, which ships all of the fonts.

    Examples
    --------
    >>> from sklearn_provenance.datasets import load_letters
    >>> letters = load_letters(letters="OQ")
    >>> letters.data.shape
    (284, 20, 20)
    >>> letters.angle[:4]
    array([  5,  -5,   0, -10])
    >>> sorted(set(letters.family.tolist()))
    ['mono', 'sans', 'serif']
    """
    subset_parts(subset)
    check_split(test_size, random_state)
    _check_letters(letters)
    check_scalar(size, "size", Integral, min_val=8, max_val=64)
    fonts = [(font, family) for family, members in FAMILIES.items() for font in members]
    drawn = [
        (number, font, family, angle)
        for number in range(len(letters))
        for font, family in fonts
        for angle in ANGLES
    ]
    number, font, family, angle = map(np.array, zip(*drawn, strict=True))
    index = split_rows(number, subset, test_size, random_state)
    loaded = _load_fonts()
    data = np.stack(
        [_draw(letters[number[row]], loaded[font[row]], int(angle[row]), size) for row in index]
    )
    return make_bunch(
        data,
        number[index],
        list(letters),
        DESCR,
        return_X_y,
        font=font[index],
        family=family[index],
        angle=angle[index].astype(np.int64),
        index=index,
    )


def _check_letters(letters):
    if not isinstance(letters, str):
        raise TypeError(f"letters must be a string such as 'OQ', got {letters!r}")
    is_valid = letters.isascii() and letters.isalpha() and len(set(letters)) == len(letters)
    if not is_valid:
        raise ValueError(
            "letters must be different letters, each from A to Z or from a to z, such as 'OQ'; "
            f"got {letters!r}"
        )


def _load_fonts():
    """Return Matplotlib's fonts by their names."""
    try:
        import matplotlib
        from matplotlib.ft2font import FT2Font
    except ImportError as error:
        raise ImportError(
            "load_letters needs matplotlib: pip install sklearn-provenance[plot]"
        ) from error
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    names = [name for members in FAMILIES.values() for name in members]
    for name in names:
        if not folder.joinpath(f"{name}.ttf").exists():
            raise ImportError(
                f"load_letters needs Matplotlib 3.11 or later, which ships the font {name}: "
                "pip install --upgrade matplotlib"
            )
    return {name: FT2Font(str(folder / f"{name}.ttf")) for name in names}


def _draw(letter, font, angle, size):
    """Draw a letter into the middle of a square image; what is too large for it is cut."""
    font.set_size(0.9 * size, 72)
    font.set_text(letter, angle)
    font.draw_glyphs_to_bitmap()
    drawn = np.asarray(font.get_image(), dtype=np.uint8)
    image = np.zeros((3 * size, 3 * size), dtype=np.uint8)
    top = (3 * size - drawn.shape[0]) // 2
    left = (3 * size - drawn.shape[1]) // 2
    image[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return image[size : 2 * size, size : 2 * size].copy()
