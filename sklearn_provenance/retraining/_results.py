"""Results of retraining."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .._utils.labels import label_columns
from .._utils.types import Targets
from ..tangent import measure


@dataclass(frozen=True, eq=False)
class Retrained:
    """What the copies of a model say about the evaluation rows.

    Parameters
    ----------
    outputs : ndarray of shape (n_copies, n_eval, n_classes), (n_copies, n_eval) or (n_copies, ...)
        Logits of each copy, the numbers that a regressor predicts, or what ``evaluate`` made of
        them. With a store, mapped read-only from its file, which is never written again once all
        copies are finished.
    classes : ndarray of shape (n_classes,) or None
        Label of each column of logits; None where copies predict numbers.
    y_eval : array-like of shape (n_eval,) or None
        Labels of the evaluation rows.
    seconds : float
        Time that training and evaluating took, of earlier runs with the same store too.
    route : str
        How copies were trained.
    """

    outputs: np.ndarray
    classes: np.ndarray
    y_eval: np.ndarray | None
    seconds: float
    route: str

    def margins(self, y: Targets = None) -> NDArray[np.float64]:
        """Log odds of a label for each copy and row: log(p / (1 - p)), in nats.

        Parameters
        ----------
        y : array-like of shape (n_eval,), default=None
            Labels; None takes ``y_eval``.

        Returns
        -------
        ndarray of shape (n_copies, n_eval)
            Margins, float64; negative where the other classes together are more probable.
        """
        if self.classes is None:
            raise ValueError(
                "margins are those of classes, but the copies predict numbers; outputs holds them"
            )
        if y is None:
            y = self.y_eval
        if self.outputs.ndim != 3:
            raise ValueError(
                f"margins need logits, but outputs have shape {self.outputs.shape}; use "
                'evaluate="logits" or evaluate="margin"'
            )
        return np.stack([margin(logits, y, self.classes) for logits in self.outputs])


def check_outputs(copies, outputs, row_shape, dtype):
    """Raise unless outputs are numbers, of the shape and type of those before, if there are any."""
    if outputs.dtype.kind not in "biufc":
        raise ValueError(f"evaluate must give numbers, got an array of {outputs.dtype}")
    if dtype is None:
        return
    if outputs.shape[1:] != row_shape:
        raise ValueError(
            f"evaluate must give the same shape for every copy, {row_shape} as for those before; "
            f"got {outputs.shape[1:]} for copies {copies.tolist()}"
        )
    if not np.can_cast(outputs.dtype, dtype):
        raise ValueError(
            f"evaluate must give the same type for every copy, {dtype} as for those before; got "
            f"{outputs.dtype} for copies {copies.tolist()}"
        )


def margin(logits, y, classes):
    """Log odds of labels, float64."""
    columns = torch.from_numpy(label_columns(y, len(logits), classes))
    logits = torch.from_numpy(np.array(logits, dtype=np.float64))
    return measure(logits, columns, "margin").numpy()
