"""Feature rows on disk, written batch by batch and taken up again where a process stopped."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from tqdm.auto import tqdm

from .._utils.files import Rows
from .._utils.types import Path as AnyPath


class FeatureStore:
    """A folder of feature matrices, each known by what it is computed from.

    A matrix is a ``.npy`` file, a manifest (``.json``) with the number of finished rows and their
    checksum, and an empty ``.lock`` file. A batch's rows are on disk before the manifest counts
    them, and the manifest is replaced in one step, so a process that is killed loses only the batch
    that it was computing. Processes that need the same matrix take turns: the second waits, and
    finds the rows finished. A finished matrix can be read from a folder that is read-only. Nothing
    is ever deleted; delete a matrix's files to free the space.

    Parameters
    ----------
    folder : str or pathlib.Path
        Folder of the files; it is made if it does not exist. Its file system must support locks.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sklearn_provenance.tangent import FeatureStore
    >>> X = np.arange(6.0).reshape(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = FeatureStore(folder)
    ...     rows = store.rows("squares of X", 3, 2, "float64", lambda part: X[part] ** 2, 1)
    ...     float(rows.sum())
    55.0
    """

    def __init__(self, folder: AnyPath) -> None:
        self.folder = Path(folder)

    def rows(
        self,
        key: str,
        n_rows: int,
        n_components: int,
        dtype: DTypeLike,
        compute: Callable[[slice], ArrayLike],
        batch_size: int,
        progress: str | None = None,
    ) -> np.memmap:
        """Return the rows of a matrix; compute those that are not on disk.

        Parameters
        ----------
        key : str
            Identifies what the rows are computed from, for example by a digest. Another key is
            another matrix.
        n_rows : int
            Rows of the matrix.
        n_components : int
            Columns of the matrix.
        dtype : dtype-like
            Type of its numbers.
        compute : callable
            ``compute(rows)`` returns an ndarray of shape (rows.stop - rows.start, n_components)
            for a slice of rows. It is called in order, for the rows that are not finished.
        batch_size : int
            Rows per call, and rows lost when the process is killed.
        progress : str, default=None
            Text of the progress bar; None shows no bar.

        Returns
        -------
        numpy.memmap of shape (n_rows, n_components)
            The rows, mapped from disk and read-only. The file is never written again.

        Raises
        ------
        ValueError
            If a file is damaged or not of this store, or ``compute`` returns another shape.
        OSError
            If the folder cannot be made, locked or written to.
        """
        if n_rows < 1 or n_components < 1 or batch_size < 1:
            raise ValueError(
                "n_rows, n_components and batch_size must be at least 1, got "
                f"{n_rows}, {n_components} and {batch_size}"
            )
        n_rows = int(n_rows)
        n_components = int(n_components)
        stem = self.folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        matrix = Rows(
            stem.with_suffix(".npy"),
            stem.with_suffix(".json"),
            {"key": key},
            n_rows,
            (n_components,),
            dtype,
        )
        with matrix.locked(progress):
            done = int(matrix.done.sum())
            with tqdm(total=n_rows, initial=done, desc=progress, disable=progress is None) as bar:
                for start in range(done, n_rows, batch_size):
                    stop = min(start + batch_size, n_rows)
                    values = np.asarray(compute(slice(start, stop)), dtype)
                    if values.shape != (stop - start, n_components):
                        raise ValueError(
                            "compute must return an array of shape "
                            f"{(stop - start, n_components)} for rows {start} to {stop - 1}, got "
                            f"{values.shape}"
                        )
                    matrix.add(range(start, stop), values)
                    bar.update(stop - start)
            return matrix.array()
