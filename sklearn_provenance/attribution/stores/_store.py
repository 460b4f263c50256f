"""AttributionStore: the features of training rows in a folder, with all that explains by them."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..._utils.encoding import DTYPES
from ..._utils.types import Path
from .._noise_variance import in_kernel_units
from ._content import as_ids
from ._folder import StoreFolder, without_indexes


class AttributionStore:
    """A folder with the features of training rows, by which an attributor explains.

    ``attributor.fit(X, y, store=path)`` makes a store, ``load`` of its class reads it. Features are
    read from it when they are needed, and neither they nor the rows have to fit in memory. Beside
    features there are labels, identifiers, the parameters of the attributor, and a digest of the
    model, which ``load`` compares. Nothing is pickled.

    A store changes in steps that happen whole or not at all. A process that is killed leaves the
    store as it was before; the same call goes on from the shards that are done.

    Parameters
    ----------
    path : str or pathlib.Path
        The folder. Its file system must support locks.
    dtype : {"auto", "float64", "float32", "float16", "bfloat16"}, default="auto"
        How a new store keeps features; "auto" in the precision that they have.
        ``benchmarks/stores.py`` measures what the others change.
    shard_rows : int or "auto", default="auto"
        Rows of a shard, a file of a new store, and rows that are lost when a process is killed.
        "auto" makes shards of 32 MB.

    See Also
    --------
    InfoGainAttributor : Its ``fit`` and ``load`` make and read stores.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.attribution import AttributionStore, InfoGainAttributor
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     attributor = InfoGainAttributor(model).fit(X, y, store=folder)
    ...     again = InfoGainAttributor.load(folder, model)
    ...     len(AttributionStore(folder)), again.explain(X[:1], k=2).indices.shape
    (150, (1, 2))
    """

    def __init__(self, path: Path, *, dtype: str = "auto", shard_rows: int | str = "auto") -> None:
        if dtype not in ("auto", *DTYPES):
            raise ValueError(f"dtype must be one of 'auto', {', '.join(DTYPES)}; got {dtype!r}")
        if shard_rows != "auto" and (not isinstance(shard_rows, int) or shard_rows < 1):
            raise ValueError(f'shard_rows must be a positive integer or "auto"; got {shard_rows!r}')
        self.path = path
        self.folder = StoreFolder(path, dtype, shard_rows)

    def __repr__(self):
        return f"AttributionStore({str(self.path)!r})"

    def __len__(self) -> int:
        return sum(shard["n_rows"] for shard in self.folder.manifest()["shards"])

    @property
    def sample_id(self) -> np.ndarray:
        """Identifiers of the rows (n_rows,); numbers from 0 where none were given."""
        return self.folder.table.column(self.folder.manifest(), "ids")

    @property
    def y(self) -> np.ndarray:
        """Labels of the rows (n_rows,)."""
        return self.folder.table.column(self.folder.manifest(), "y")

    def info(self) -> dict:
        """Tell what the store holds.

        Returns
        -------
        dict
            Numbers of rows, components, shards and bytes, the type of the numbers, and the
            attributor with its parameters. ``noise_variance`` is ``noise_variance_`` of what
            ``load`` returns, by which rows are explained; None where the attributor has none.
        """
        manifest = self.folder.manifest()
        notes = manifest["notes"]
        return {
            "path": str(self.path),
            "attributor": notes["attributor"],
            "params": notes["params"],
            "features": notes["features"],
            "noise_variance": self._noise_variance(manifest),
            "n_rows": sum(shard["n_rows"] for shard in manifest["shards"]),
            "n_components": notes["width"],
            "dtype": notes["encoding"],
            "n_shards": len(manifest["shards"]),
            "n_bytes": self.folder.table.n_bytes(manifest),
            "holds_model": "model" in manifest["files"],
            "version": manifest["version"],
        }

    def _noise_variance(self, manifest):
        """Compute the noise variance from the parameter and the squared norms of the rows."""
        wanted = manifest["notes"]["params"].get("noise_variance")
        if not isinstance(wanted, str):
            return wanted
        squares = torch.as_tensor(self.folder.table.column(manifest, "norms"))
        return in_kernel_units(wanted, squares.mean().item())

    def verify(self) -> None:
        """Read all files and compare them with their checksums.

        Raises
        ------
        ValueError
            If a file is missing or damaged, with its name.
        """
        self.folder.table.check(self.folder.manifest())

    def drop_rows(self, sample_id: ArrayLike, *, ignore_missing: bool = False) -> None:
        """Remove rows. The shards that had them are written again without them.

        Parameters
        ----------
        sample_id : array-like of shape (n,)
            Identifiers of the rows; their numbers at the time of ``fit`` if none were given.
        ignore_missing : bool, default=False
            Whether identifiers that the store does not have are passed over, which makes the call
            one that may be repeated.

        Raises
        ------
        ValueError
            If the store does not have an identifier, or no row would be left.
        """
        drop_rows(self.folder, sample_id, ignore_missing)


def drop_rows(folder, sample_id, ignore_missing, files_after=None):
    """Remove rows from a store; see :meth:`AttributionStore.drop_rows`.

    ``files_after(old, new, left)`` gives the checksums of the files that belong to all rows, from
    the content before and after, and a mask of the rows that are left.
    """
    table = folder.table
    with table.locked() as manifest:
        if manifest is None:
            raise folder.no_store()
        ids = table.column(manifest, "ids")
        wanted = as_ids(sample_id, len(np.atleast_1d(sample_id)))
        missing = wanted[~np.isin(wanted, ids)]
        if len(missing) and not ignore_missing:
            raise ValueError(
                "sample_id must name rows of the store, which has none with "
                f"{str(missing[0])!r} ({len(missing)} of {len(wanted)} are missing)"
            )
        dropped = np.isin(ids, wanted)
        if dropped.all():
            raise ValueError("a row must be left in the store; delete its folder instead")
        shards = []
        start = 0
        for shard in manifest["shards"]:
            left = ~dropped[start : start + shard["n_rows"]]
            start += shard["n_rows"]
            if left.all():
                shards.append(shard)
            elif left.any():
                names = shard["files"]
                columns = {name: table.shard_column(shard, name)[left] for name in names}
                shards.append(table.write_shard(columns))
        files = manifest["files"]
        if dropped.any() and files_after is None:
            files = without_indexes(files)
        elif dropped.any():
            old, new = (
                folder.content(manifest | {"shards": some}) for some in (manifest["shards"], shards)
            )
            files = files_after(old, new, ~dropped)
        table.commit(shards, manifest["notes"], files)
