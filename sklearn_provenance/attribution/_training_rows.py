"""Whether attributors were fitted on the rows at hand."""

import numpy as np

from .._utils.arguments import check_labels
from .._utils.rows import n_rows
from .._utils.training import TrainingData


def check_same_rows(attributors, X, y):
    """Return labels of the rows as an array; raise unless attributors were fitted on these."""
    y = check_labels(y, "y", n_rows(X))
    for name, attributor in attributors.items():
        training = getattr(attributor, "training_", None)
        if not isinstance(training, TrainingData):
            continue  # nothing says what it was fitted on
        theirs = training.y
        if not np.array_equal(theirs, y):
            raise ValueError(
                f"{name!r} was fitted on {len(theirs)} rows that are not those of X and y "
                f"({len(y)} rows): give the X and y that were given to its fit."
            )
    return y
