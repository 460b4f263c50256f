"""Fetch data that are not on the disk from OpenML, through scikit-learn."""

from http.client import HTTPException

import numpy as np
import sklearn.datasets

from ._search import may_download


def fetch_flat_images(data_id, n_train, n_test, n_pixels, parts, data_home, missing):
    """Fetch images as rows of uint8 pixels, in their original order, training rows first.

    Parameters
    ----------
    data_id : int
        Number of the data set on OpenML.
    n_train, n_test, n_pixels : int
        Rows of each part, and pixels of a row.
    parts : tuple of {"train", "test"}
        Parts to return.
    data_home : str, path-like or None
        What the user gave to the loader.
    missing : callable
        Takes a remark on why OpenML did not help, and returns the FileNotFoundError to raise.

    Returns
    -------
    pixels : ndarray of shape (n, n_pixels), uint8
        Images.
    target : ndarray of shape (n,), int64
        Labels.
    """
    if not may_download(data_home):
        raise missing("OpenML is not tried where data_home or the variable names a folder.")
    try:
        bunch = sklearn.datasets.fetch_openml(data_id=data_id, as_frame=False, parser="auto")
    except (OSError, HTTPException) as error:
        raise missing(f"OpenML, the last resort, could not be read: {error!r}.") from error
    except ImportError as error:
        raise ImportError(
            "Reading data from OpenML needs pandas: pip install 'sklearn-provenance[frame]'"
        ) from error
    expected = (n_train + n_test, n_pixels)
    if bunch.data.shape != expected:
        raise ValueError(
            f"OpenML's data set {data_id} must have shape {expected}, got {bunch.data.shape}"
        )
    rows = {
        ("train",): slice(None, n_train),
        ("test",): slice(n_train, None),
        ("train", "test"): slice(None),
    }[parts]
    pixels = bunch.data[rows]
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"OpenML's data set {data_id} has pixels outside 0..255")
    # OpenML's labels are strings.
    target = np.asarray(bunch.target)[rows].astype(np.int64)
    return pixels.astype(np.uint8), target
