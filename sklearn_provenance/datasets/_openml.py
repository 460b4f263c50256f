"""The last resort for data that are on no disk: OpenML, through scikit-learn."""

from http.client import HTTPException

import numpy as np
import sklearn.datasets

from sklearn_provenance.datasets._search import may_download


def fetch_flat_images(data_id, n_train, n_test, n_pixels, parts, data_home, missing):
    """Fetch images as rows of uint8 pixels, in original order, training rows first.

    ``missing`` makes the FileNotFoundError to raise, from a remark on why OpenML did not help.
    """
    if not may_download(data_home):
        raise missing("OpenML is not tried where data_home or the variable names a folder.")
    try:
        bunch = sklearn.datasets.fetch_openml(data_id=data_id, as_frame=False, parser="auto")
    except (OSError, HTTPException) as error:
        raise missing(f"OpenML, the last resort, could not be read: {error!r}.") from error
    except ImportError as error:
        raise ImportError(
            "Reading data from OpenML needs pandas: pip install 'sklearn-provenance[frame]'."
        ) from error
    expected = (n_train + n_test, n_pixels)
    if bunch.data.shape != expected:
        raise ValueError(
            f"OpenML's data set {data_id} has shape {bunch.data.shape}, expected {expected}."
        )
    start = 0 if "train" in parts else n_train
    stop = n_train + n_test if "test" in parts else n_train
    pixels = bunch.data[start:stop]
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"OpenML's data set {data_id} has pixels outside 0..255.")
    # OpenML's labels are strings.
    target = np.asarray(bunch.target)[start:stop].astype(np.int64)
    return pixels.astype(np.uint8), target
