"""RTE, the textual entailment task of the GLUE benchmark."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._utils.types import Path
from ._bunch import join_parts, make_bunch
from ._files import read_tsv
from ._search import (
    find_files,
    not_found,
    search_folders,
    subset_parts,
)

# In the order in which GLUE numbers them.
TARGET_NAMES = ("entailment", "not_entailment")
FILES = {"train": "train.tsv", "test": "dev.tsv"}
DESCR = """\
RTE: recognizing textual entailment, as in GLUE
===============================================

Pairs of sentences with the question whether the second follows from the first: entailment (0) or
not_entailment (1). 2490 pairs for training; the 277 pairs of GLUE's development set serve as the
test set, as the labels of GLUE's test set are not public. Rows are in GLUE's order.

Source: the GLUE benchmark, which merges the PASCAL challenges RTE 1, 2, 3 and 5.
Licence: none stated by GLUE; for research.
Citation: A. Wang, A. Singh, J. Michael, F. Hill, O. Levy and S. R. Bowman. GLUE: a multi-task
benchmark and analysis platform for natural language understanding. ICLR 2019.
"""


def _read(path):
    rows = read_tsv(path, ("sentence1", "sentence2", "label"))
    unknown = {label for *_, label in rows}.difference(TARGET_NAMES)
    if unknown:
        raise ValueError(f"{path} has labels {sorted(unknown)}, expected {list(TARGET_NAMES)}")
    pairs = np.array([row[:2] for row in rows], dtype=object).reshape(-1, 2)
    return pairs, np.array([TARGET_NAMES.index(label) for *_, label in rows], dtype=np.int64)


def load_rte(
    subset: Literal["train", "test", "all"] = "train",
    *,
    data_home: Path | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray, NDArray]:
    """Load the sentence pairs of RTE, the textual entailment task of GLUE.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        The 2490 training pairs, the 277 pairs of GLUE's development set, or the first followed by
        the second. The labels of GLUE's test set are not public.
    data_home : str or path-like, default=None
        The folder of ``train.tsv`` and ``dev.tsv``, or a folder that holds them in ``rte`` or
        ``RTE``. With None, the folder named by the environment variable
        ``SKLEARN_PROVENANCE_DATA`` is used in the same way. Nothing is downloaded.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        With ``data``, an object ndarray of shape (n, 2) with the two sentences of each pair,
        ``target``, an int64 ndarray of shape (n,) with 0 for entailment and 1 for its absence,
        ``target_names``, an ndarray of shape (2,), and ``DESCR``. With ``return_X_y`` only the
        pair of the first two.

    Raises
    ------
    FileNotFoundError
        If the files are in none of the places.
    ValueError
        If ``subset`` is unknown or a file is damaged.

    References
    ----------
    .. [1] A. Wang, A. Singh, J. Michael, F. Hill, O. Levy and S. R. Bowman. GLUE: a multi-task
       benchmark and analysis platform for natural language understanding. ICLR 2019.
    """
    parts = subset_parts(subset)
    formats = {"tsv": [(FILES[part],) for part in parts]}
    folders = search_folders(data_home, ("rte", "RTE"))
    found = find_files(folders, formats)
    if found is None:
        advice = "get RTE of the GLUE benchmark and put its files into a folder rte."
        raise not_found("RTE", folders, formats, advice)
    _, paths = found
    data, target = join_parts([_read(path) for path in paths])
    return make_bunch(data, target, TARGET_NAMES, DESCR, return_X_y)
