"""The one form in which every loader hands out its data."""

import numpy as np
from sklearn.utils import Bunch


def make_bunch(data, target, target_names, descr, return_X_y, **extra):
    """Return the Bunch, or data and target alone."""
    target = np.array(target, dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data, target=target, target_names=np.array(target_names), **extra, DESCR=descr
    )
