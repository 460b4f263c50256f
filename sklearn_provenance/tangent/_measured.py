"""One pass of TangentFeatures over rows, each measured at one or several labels."""

from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from ._batches import take_batch
from ._network_layers import batch_size_for
from ._outputs import check_finite
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
        self.step = batch_size_for(self.model, transformer.batch_size, len(targets))
        self.shape = (n, transformer._n_features_out)
        self.dtype = np.float32
        if self.model.dtype == torch.float64:
            self.dtype = np.float64

    def batch(self, rows):
        """Measure a slice of the rows.

        Returns
        -------
        features : ndarray of shape (n_batch, n_targets, n_components)
            Tangent features.
        labels : list of torch.Tensor of shape (n_batch,)
            What the rows are measured at, for each of the targets.
        logits : torch.Tensor of shape (n_batch, n_classes) or None
            Their logits.
        """
        batch = self.model.linearise(take_batch(self.x, rows), rows.start)
        given = [None if y is None else y[rows] for y in self.targets]
        labels, logits = zip(*(batch.labelled(y, self.decide) for y in given), strict=True)
        factors = batch.factors_at(list(labels))
        features = self.transformer._features(factors, len(labels[0]), len(labels))
        check_finite(features, "features", rows.start)
        return features.cpu().numpy(), labels, logits[0]

    def stored(self, folder, key):
        """Return features at the one target as a memory map of a file, which the pass fills."""
        progress = None
        if self.transformer.verbose:
            progress = "tangent features"

        def compute(rows):
            features, *_ = self.batch(rows)
            return features[:, 0]

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
            starts = range(0, self.shape[0], self.step)
            for i in tqdm(starts, desc="tangent features", disable=not self.transformer.verbose):
                values, at, of_batch = self.batch(slice(i, i + self.step))
                for place, of_target in enumerate(features):
                    of_target[i : i + self.step] = values[:, place]
                if not features_only:
                    labels.append(torch.stack(at).cpu())
                if not features_only and of_batch is not None:
                    logits.append(of_batch.cpu())

        compute()
        if features_only:
            return [Measured(of_target) for of_target in features]
        all_logits = None
        if logits:
            all_logits = torch.cat(logits).double()
        of_targets = zip(features, torch.cat(labels, 1), strict=True)
        return [Measured(of_target, at, all_logits) for of_target, at in of_targets]
