"""Sets of rows without which predictions are predicted to change."""

from inspect import signature
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...explanation import Explanation


class FlippingSets(Explanation):
    """An Explanation whose rows of each query together change its prediction.

    Rows stand in the order in which they were picked, and scores are by how much the margin falls
    with each. Where no set was found the whole row is -1 and nan.

    Parameters
    ----------
    indices : array-like of int of shape (n_queries, k)
        Rows of each set, -1 where it has fewer than k.
    scores : array-like of float of shape (n_queries, k)
        Falls of the margin with each row, after those before it.
    margins : array-like of shape (n_queries, k + 1)
        Predicted margin with all rows, and after each one; nan beyond the set. For a query without
        a set the first is the margin with all rows.
    threshold : float, default=None
        Number that predictions of a regressor pass; None for classes.
    **described
        What an :class:`~sklearn_provenance.Explanation` takes beside.

    Attributes
    ----------
    sizes : ndarray of shape (n_queries,)
        Rows of each set; 0 where none was found.
    predicted : ndarray of shape (n_queries,)
        Predicted margin without the set; nan where none was found.
    """

    _PER_QUERY = (*Explanation._PER_QUERY, "margins")
    _NOTHING = "no set of rows was found without which the prediction changes"

    def __init__(
        self,
        indices: ArrayLike,
        scores: ArrayLike,
        *,
        margins: ArrayLike,
        threshold: float | None = None,
        **described: Any,
    ) -> None:
        super().__init__(indices, scores, **described)
        self.threshold = threshold
        self.margins = np.asarray(margins, dtype=np.float64)
        if self.margins.shape != (self.n_queries, self.k + 1):
            raise ValueError(
                f"margins must have shape ({self.n_queries}, {self.k + 1}), one more column than "
                f"indices; got {self.margins.shape}"
            )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each set; 0 where none was found."""
        return (self.indices >= 0).sum(1)

    @property
    def predicted(self) -> NDArray[np.float64]:
        """Predicted margin without the set; nan where none was found."""
        last = self.margins[np.arange(self.n_queries), self.sizes]
        return np.where(self.sizes > 0, last, np.nan)

    def _replace(self, **changes: Any) -> Self:
        known = {name: getattr(self, name) for name in signature(Explanation).parameters}
        own = {"margins": self.margins, "threshold": self.threshold}
        return type(self)(**known | own | changes)
