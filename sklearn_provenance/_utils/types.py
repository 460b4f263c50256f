"""Names of the types that public signatures are annotated with."""

from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import torch

# Arrays, data frames, sparse matrices, tensors, dicts of tensors, lists of texts: what a row
# may be depends on the model, and is checked when the rows are read.
Rows: TypeAlias = Any
# One label or number per row: a list, array, series or tensor.
Targets: TypeAlias = Any
RandomState: TypeAlias = int | np.random.RandomState | None
Path: TypeAlias = str | PathLike[str]
Device: TypeAlias = str | torch.device | None
# Objects of packages that are imported only when something is drawn or written as a table.
Axes: TypeAlias = Any
DataFrame: TypeAlias = Any
