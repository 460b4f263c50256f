"""How a page shows rows of data, names and labels."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ._pictures import Pictures
from ._rows import (
    as_images,
    as_python,
    as_table,
    block_means,
    cell_text,
    dense,
    differing_features,
    feature_differences,
    feature_scale,
    gather,
    one_line,
    row_kind,
    sample_rows,
    shorten,
    text_of,
)
from ._shared_features import mark_common, mark_words, totals
from ._targets import write_signed
from ._words import has_parts, shared_parts

_MAX_SIDE = 160  # pixels of a picture; larger images are shrunk
_MAX_NAME = 200
_MAX_TEXT = 2000


def name_text(value):
    """Write one of the user's names on one line, of bounded length."""
    return shorten(one_line(value), _MAX_NAME)


def label_namer(names):
    """Return the function that writes a label: as itself, or by a mapping or sequence of names."""
    if names is None:
        return name_text
    if isinstance(names, str):
        raise ValueError(f"label_names must be a mapping or sequence, got the text {names!r}")
    if not isinstance(names, Mapping):
        names = enumerate(names)
    names = dict(names)

    def name(label):
        label = as_python(label)
        if label not in names:
            known = shorten(", ".join(map(repr, names)), 80)
            raise ValueError(
                f"label_names must have a name for each label, got none for {label!r}, only for "
                f"{known}"
            )
        return name_text(names[label])

    return name


class Cell(NamedTuple):
    """A value in a table.

    Parameters
    ----------
    text : str
        The value, written.
    mark : str, default=""
        Class of its colour, where it differs from the query's value.
    part : str, default=""
        Part of the feature in the inner product with the query, where it is one of the largest.
    """

    text: str
    mark: str = ""
    part: str = ""


class RowViews:
    """Show rows of an explanation's data in the same form all over a page.

    Parameters
    ----------
    explanation : Explanation
        Queries that are shown, and the training data.
    max_features : int
        Number of columns of tables at most.

    Attributes
    ----------
    kind : {"images", "texts", "table", "nothing"}
        How rows are shown.
    pictures : Pictures
        Images that were shown.
    features : list of str
        Names of the columns of a table.
    note : str
        Explanation of how the rows are shown.
    """

    def __init__(self, explanation, max_features):
        self.pictures = Pictures()
        self.training_data = explanation.training_data
        self.image_shape = explanation.image_shape
        known = [explanation.training_data, explanation.queries]
        samples = [sample_rows(data) for data in known if data is not None and data.shape[0]]
        self.kind = row_kind(samples, self.image_shape)
        self.note = ""
        self.features = []
        if self.kind == "images":
            self._limits = _brightness_limits(samples)
            self._shrink = -(-max(as_images(samples[0][:1], self._shape).shape[1:3]) // _MAX_SIDE)
            if self._shrink > 1:
                self.note = f"Images are shown at 1/{self._shrink} of their width. "
            if self._shape != self.image_shape:
                self.note += "Their channels stand below each other. "
        elif self.kind == "table":
            self._choose_features(explanation, samples[0], max_features)

    @property
    def _shape(self):
        """Shape of images as they are drawn, with channels below each other if need be."""
        shape = self.image_shape
        if len(shape) == 3 and shape[0] not in (1, 3, 4):
            return shape[0] * shape[1], shape[2]
        return shape

    def _choose_features(self, explanation, sample, max_features):
        """Choose the columns of tables, and explain the choice."""
        n_features = as_table(sample).shape[1]
        self._scale = feature_scale(sample)
        differences = self.differences(explanation)
        shared = _shared_totals(explanation, n_features)
        if differences is None:
            self._columns = np.arange(min(n_features, max_features))
            which = ""
        else:
            valid = explanation.indices >= 0
            self._columns = differing_features(differences, valid, max_features, shared)
            self.note = (
                "↑ and ↓ mark values that lie at least one standard deviation of the training "
                "rows above and below the query's, a darker cell two; ≠ marks another category or "
                "a missing value. "
            )
            which = ", those that differ most"
            if shared is not None:
                which = ", those with the largest parts, then those that differ most"
        names = feature_names(explanation, n_features)
        self.features = [name_text(names[column]) for column in self._columns]
        if len(self.features) < n_features:
            self.note += f"{len(self.features)} of {n_features} features are shown{which}."

    def differences(self, explanation):
        """Subtract queries from exemplars, in standard deviations; None without either."""
        if self.kind != "table" or explanation.queries is None or explanation.training_data is None:
            return None
        exemplars = gather(explanation.training_data, explanation.indices)
        queries = as_table(dense(explanation.queries))
        return feature_differences(queries, as_table(exemplars, n_leading=2), self._scale)

    def show(self, row, alt, differences=None, parts=(), common=frozenset()):
        """Return a row as the templates write it.

        Parameters
        ----------
        row : ndarray or scalar
            A row of the data.
        alt : str
            Text for readers who cannot see a picture.
        differences : ndarray of shape (n_features,), default=None
            Differences of an exemplar from its query, in a table.
        parts : list of (str, float), default=()
            Features that a query and an exemplar share; see :meth:`Explanation.shared_features`.
        common : set of str, default=frozenset()
            Words that the other text has, too; they are marked where parts are unknown.

        Returns
        -------
        Picture, list of Run or list of Cell
            For images, texts and tables.
        """
        if self.kind == "images":
            return self.pictures.show(self._drawn(row), alt)
        if self.kind == "table":
            values = np.reshape(row, -1)  # (n_features,)
            if differences is None:
                differences = np.zeros(len(values))
            shared = {name_text(name): write_signed(part) for name, part in parts}
            return [
                _table_cell(values[column], differences[column])._replace(part=shared.get(name, ""))
                for column, name in zip(self._columns, self.features, strict=True)
            ]
        text = shorten(text_of(row), _MAX_TEXT)
        if common:
            return mark_common(text, common)
        return mark_words(text, parts)

    def _drawn(self, row, shrink=None):
        """Return a row as an image of bytes, whose sides are divided by a whole number."""
        image = as_images(np.asarray(row)[None], self._shape)[0]
        return _as_bytes(image, self._limits, shrink or self._shrink)

    def image(self, data, number, max_side=None):
        """Return a row of the data as an image.

        Parameters
        ----------
        data : array-like of shape (n, ...)
            Queries or training rows.
        number : int
            Number of the row.
        max_side : int, default=None
            Pixels of a side at most; None keeps all.

        Returns
        -------
        ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
            Grey, RGB or RGBA.
        """
        row = gather(data, np.array([number]))[0]
        if max_side is None:
            return self._drawn(row, 1)
        sides = as_images(np.asarray(row)[None], self._shape).shape[1:3]
        return self._drawn(row, -(-max(sides) // max_side))

    def training_row(self, row):
        """Return a training row for a table in which lines have other cells, too.

        Parameters
        ----------
        row : int
            Its number.

        Returns
        -------
        Picture, list of Run, list of Cell or None
            As :meth:`show` returns it; None where rows cannot be shown.
        """
        if self.kind == "nothing" or self.training_data is None:
            return None
        content = gather(self.training_data, np.array([row]))[0]
        return self.show(content, f"training row {row}")

    def training_heads(self):
        """Return the headings of :meth:`training_row`."""
        if self.kind == "nothing" or self.training_data is None:
            return []
        if self.kind == "table":
            return self.features
        return ["training row"]


def feature_names(explanation, n_features):
    """Return the names of features, by default x0, x1, ..."""
    return explanation.feature_names or [f"x{column}" for column in range(n_features)]


def _shared_totals(explanation, n_features):
    """Return sizes of the parts of each feature, None where they are unknown."""
    if not has_parts(explanation):
        return None
    pairs = np.argwhere(explanation.indices >= 0)
    parts = (shared_parts(explanation, query, rank) for query, rank in pairs)
    return totals(parts, feature_names(explanation, n_features))


def _brightness_limits(samples):
    """Return the values that are drawn black and white."""
    if all(sample.dtype == np.uint8 for sample in samples):
        return 0.0, 255.0
    lows = []
    highs = []
    for sample in samples:
        values = sample.astype(np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            lows.append(finite.min())
            highs.append(finite.max())
    low = min(lows, default=0.0)
    high = max(highs, default=1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _as_bytes(image, limits, shrink):
    """Turn an image into bytes, and shrink it by a whole factor."""
    if shrink == 1 and image.dtype == np.uint8 and limits == (0.0, 255.0):
        return np.ascontiguousarray(image)
    image = image.astype(np.float64)
    if shrink > 1:
        image = block_means(block_means(image, shrink).swapaxes(0, 1), shrink).swapaxes(0, 1)
    low, high = limits
    scaled = image - low
    if high > low:
        scaled /= high - low
    return np.round(np.nan_to_num(scaled, posinf=1.0).clip(0, 1) * 255).astype(np.uint8)


def _table_cell(value, difference):
    """Write a value, marked where it differs from the query's."""
    written = cell_text(value, _MAX_NAME)
    if isinstance(value, str):
        written = shorten(value.strip(), _MAX_TEXT)
    if np.isnan(difference):
        return Cell(f"≠\N{NO-BREAK SPACE}{written}")
    size = min(int(abs(difference)), 2)
    if size == 0:
        return Cell(written)
    if difference > 0:
        return Cell(f"↑\N{NO-BREAK SPACE}{written}", f"above{size}")
    return Cell(f"↓\N{NO-BREAK SPACE}{written}", f"below{size}")
