"""The one form in which every loader returns its data."""

import numpy as np
from sklearn.utils import Bunch


def make_bunch(data, target, target_names, descr, return_X_y, **extra):
    """Return the Bunch of a data set, or data and target alone with ``return_X_y``."""
    target = np.array(target, dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data, target=target, target_names=np.array(target_names), **extra, DESCR=descr
    )


def join_parts(parts):
    """Concatenate the rows of parts, each a pair of data and target."""
    data, target = zip(*parts, strict=True)
    return np.concatenate(data), np.concatenate(target)
