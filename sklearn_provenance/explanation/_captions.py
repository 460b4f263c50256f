"""Words and colours of the labels in a figure of an explanation."""

import numpy as np

from .._utils.plotting import COLORS
from ._rows import format_number, shorten
from ._targets import subtract, write_number, write_signed
from ._views import label_namer

MISMATCH_COLOR = COLORS[1]  # vermilion, told apart from black by every kind of eye


class Captions:
    """Methods of a display that write captions from its names, labels and scores."""

    def target_color(self, query: int, rank: int | None = None) -> tuple[float, ...] | None:
        """Return the colour of a target that is a number.

        Parameters
        ----------
        query : int
            Position of the query.
        rank : int, default=None
            Position of the exemplar; None is the query itself.

        Returns
        -------
        tuple of float or None
            RGBA; None where targets are labels or this one is not known.
        """
        target = self._target(query, rank)
        if self._colors is None or target is None or not np.isfinite(target):
            return None
        return self._colors.to_rgba(target)

    def _target(self, query, rank):
        """Return the target of an exemplar, or of a query; None where it is unknown."""
        if rank is not None:
            if self.exemplar_labels is None:
                return None
            return self.exemplar_labels[query, rank]
        if self.query_labels is not None:
            return self.query_labels[query]
        if self.true_labels is not None:
            return self.true_labels[query]
        return None

    def exemplar_caption(self, query: int, rank: int) -> tuple[list[str], str]:
        """Write the label, score and name of an exemplar.

        Parameters
        ----------
        query, rank : int
            Place of the exemplar.

        Returns
        -------
        words : list of str
            Those of the label, the score and the name that are known.
        color : str
            Colour of label and score, which tells whether the label differs from the query's.
        """
        words = []
        color = "k"
        if self.exemplar_labels is not None:
            label = self.exemplar_labels[query, rank]
            if self.targets == "numbers":
                words.append(self._exemplar_number(query, label))
            elif self.query_labels is not None and label != self.query_labels[query]:
                words.append(f"≠ {self._label(label)}")
                color = MISMATCH_COLOR
            else:
                words.append(self._label(label))
        words.append(f"{format_number(self.scores[query, rank])} {self.unit}".strip())
        width = 18
        if self.methods is not None:  # the name of the method may stand before it
            width = 36
        words.append(shorten(self.exemplar_names[query][rank], width))
        return words, color

    def _label(self, label, width=16):
        """Write the name of a label, or the label itself where it has none."""
        return shorten(label_namer(self.label_names)(label), width)

    def _exemplar_number(self, query, target):
        """Write the target of an exemplar, and its difference from the query's."""
        if self.query_labels is None:
            return write_number(target)
        difference = subtract(target, self.query_labels[query])
        return f"{write_number(target)} ({write_signed(difference)})"

    def query_caption(self, query: int) -> tuple[list[str], str]:
        """Write the name of a query, its label and its true label.

        Parameters
        ----------
        query : int
            Position of the query.

        Returns
        -------
        words : list of str
            Those of the name and the labels that are known.
        color : str
            Colour, which tells whether the label is the true one.
        """
        name = self.query_names[query]
        if self.targets == "numbers":
            return [name, *self._query_numbers(query)], "k"
        words = [name]
        color = "k"
        if self.query_labels is not None:
            words.append(self._label(self.query_labels[query]))
        if self.true_labels is not None:
            true_label = f"true: {self._label(self.true_labels[query], 12)}"
            if self.query_labels is None:
                words.append(true_label)
            elif self.true_labels[query] == self.query_labels[query]:
                words.append(f"{true_label} ✓")
            else:
                words.append(f"{true_label} ✗")
                color = MISMATCH_COLOR
        return words, color

    def _query_numbers(self, query):
        """Write the number of a query, and its true target with the residual."""
        words = []
        if self.query_labels is not None:
            words.append(write_number(self.query_labels[query]))
        if self.true_labels is not None:
            words.append(f"true: {write_number(self.true_labels[query])}")
            if self.query_labels is not None:
                residual = subtract(self.true_labels[query], self.query_labels[query])
                words[-1] += f" ({write_signed(residual)})"
        return words
