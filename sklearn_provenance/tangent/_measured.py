"""One pass of TangentFeatures over rows, each measured at one or several labels."""

from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from .._utils.cluster import current_client
from ._batches import take_batch
from ._by_workers import batches_by_workers, measure_batch
from ._network_layers import features_batch_size
from ._routes import restarted
from ._store import FeatureStore


class Measured(NamedTuple):
    """Rows as :class:`TangentFeatures` sees them in one pass.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_components)
        Tangent features.
    labels : torch.Tensor of shape (n_samples,) or None
        What rows are measured at; None where features alone were wanted, or are kept on disk.
    logits : torch.Tensor of shape (n_samples, n_classes) or None
        Logits in double precision; None also if the outputs are no logits.
    """

    features: np.ndarray
    labels: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class FeaturesPass:
    """A pass over rows, which measures each at one or several labels.

    Parameters
    ----------
    transformer : TangentFeatures
        Fitted.
    x : torch.Tensor, OnDemand, or dict, tuple or list of them
        Rows, as ``as_rows`` gives them.
    n : int
        Their number.
    targets : list of torch.Tensor of shape (n,) or None
        Labels of the rows, one tensor for each time that they are measured. None stands for the
        labels that ``decide`` gives.
    decide : callable or None
        ``decide(logits)`` gives labels; None takes the largest logit.
    """

    def __init__(self, transformer, x, n, targets, decide):
        self.transformer = transformer
        self.model = transformer.model_
        self.x = x
        self.targets = targets
        self.decide = decide
        self.shape = (n, transformer._n_features_out)
        n_features = len(targets) * transformer._n_features_out
        self.step = features_batch_size(self.model, transformer.batch_size, n_features)
        self.dtype = np.float32
        if self.model.dtype == torch.float64:
            self.dtype = np.float64
        precise = self.model.dtype in (torch.float32, torch.float64)
        # Whether features are computed in the memory and the precision that arrays have.
        self.computed_as_kept = precise and self.model.device.type == "cpu"

    def batch(self, rows, into=None):
        """Measure a slice of the rows.

        Parameters
        ----------
        rows : slice
            The rows.
        into : list of ndarray of shape (n, n_components), default=None
            Where features of all rows are written, an array for each target; None makes new ones.

        Returns
        -------
        features : list of ndarray of shape (n_batch, n_components)
            Tangent features at each target.
        labels : torch.Tensor of shape (n_targets, n_batch)
            What the rows are measured at, on the CPU.
        logits : torch.Tensor of shape (n_batch, n_classes) or None
            Their logits, on the CPU.
        """
        x = take_batch(self.x, rows)
        out = None
        if into is not None and self.computed_as_kept:
            out = [torch.from_numpy(features[rows]) for features in into]
        found = measure_batch(self.transformer, self.decide, x, *self.measured_at(rows), out)
        if into is not None and out is None:
            _copy(found[0], into, rows)
        return found

    def measured_at(self, rows):
        """Return the number of the first row of a slice, and what its rows are measured at."""
        return rows.start, [None if y is None else y[rows] for y in self.targets]

    def batches(self, start=0, kept="", into=None):
        """Measure the rows from a row on, here or by workers of a Dask cluster.

        Parameters
        ----------
        start : int, default=0
            The row.
        kept : str, default=""
            What an error says of rows that are done when the workers are lost.
        into : list of ndarray of shape (n, n_components), default=None
            As of :meth:`batch`.

        Yields
        ------
        rows : slice
            Some of the rows.
        features, labels, logits
            As of :meth:`batch`.
        """
        n = self.shape[0]
        slices = [slice(i, min(i + self.step, n)) for i in range(start, n, self.step)]
        client = current_client()
        if client is not None:
            for rows, features, *others in batches_by_workers(client, self, slices, kept):
                if into is not None:
                    _copy(features, into, rows)
                yield rows, features, *others
            return
        for rows in slices:
            yield rows, *self.batch(rows, into)

    def stored(self, folder, key):
        """Return features at the one target as a memory map of a file, which the pass fills."""
        progress = None
        if self.transformer.verbose:
            progress = "tangent features"
        kept = f", and rows that are done are in {str(folder)!r}"
        following = None  # batches from the first that is missing

        def compute(rows):
            nonlocal following
            if following is None:
                following = self.batches(rows.start, kept)
            _, features, *_ = next(following)
            return features[0]

        store = FeatureStore(folder)
        return store.rows(key, *self.shape, self.dtype, compute, self.step, progress)

    def in_memory(self, features_only):
        """Return what is measured at each target, or with ``features_only`` no more than that."""
        features = [np.empty(self.shape, self.dtype) for _ in self.targets]
        labels = []  # (n_targets, n_batch) of each batch
        logits = []  # (n_batch, n_classes) of each, if the outputs are logits

        @restarted
        def compute():
            labels.clear()
            logits.clear()
            n_batches = -(-self.shape[0] // self.step)
            progress = {"desc": "tangent features", "disable": not self.transformer.verbose}
            batches = self.batches(into=features)
            for _, _, at, of_batch in tqdm(batches, total=n_batches, **progress):
                if not features_only:
                    labels.append(at)
                if not features_only and of_batch is not None:
                    logits.append(of_batch)

        compute()
        if features_only:
            return [Measured(of_target) for of_target in features]
        all_logits = None
        if logits:
            all_logits = torch.cat(logits).double()
        of_targets = zip(features, torch.cat(labels, 1), strict=True)
        return [Measured(of_target, at, all_logits) for of_target, at in of_targets]


def _copy(features, into, rows):
    """Copy features of a slice of the rows, at each target, to where those of all rows are."""
    for of_batch, of_all in zip(features, into, strict=True):
        of_all[rows] = of_batch
