"""Tangent features of batches, here or by workers of a Dask cluster."""

import copy

import numpy as np
import torch

from .._utils.cluster import Cluster
from .._utils.dask_rows import DaskRows
from .._utils.row_arrays import named_file
from ._batches import OnDemand, as_batch, map_structure, take_batch
from ._outputs import check_finite
from ._routes import RouteChanged


def measure_batch(transformer, decide, x, start, targets, out=None):
    """Measure a batch whose first row has the number ``start``.

    Parameters
    ----------
    transformer, decide
        As of :class:`FeaturesPass`.
    x : torch.Tensor, or dict, tuple or list of them
        Rows.
    start : int
        Number of the first, in errors.
    targets : list of torch.Tensor of shape (n_batch,) or None
        What rows are measured at.
    out : list of torch.Tensor of shape (n_batch, n_components), default=None
        Where features at each target are written, on the network's device and in its precision;
        None makes new tensors.

    Returns
    -------
    features, labels, logits
        As of :meth:`FeaturesPass.batch`.
    """
    batch = transformer.model_.linearise(x, start)
    labels, logits = zip(*(batch.labelled(y, decide) for y in targets), strict=True)
    groups = batch.factors_in_groups(list(labels))
    if out is None:
        shape = len(labels), len(labels[0]), transformer._n_features_out
        model = transformer.model_
        out = list(torch.empty(shape, dtype=model.dtype, device=model.device))
    transformer._features(groups, out)
    for features in out:
        check_finite(features, "features", start)
    on_cpu = None
    if logits[0] is not None:
        on_cpu = logits[0].cpu()
    return [features.cpu().numpy() for features in out], torch.stack(labels).cpu(), on_cpu


def batches_by_workers(client, measuring, slices, kept):
    """Yield slices of rows, and what workers measure of them; see :meth:`FeaturesPass.batches`."""
    transformer = copy.copy(measuring.transformer)
    transformer.store = None
    cluster = Cluster(client, "the pass over the rows", kept)
    x = measuring.x
    file = lazy = None
    if isinstance(x, OnDemand) and x.numbers is None:
        file = named_file(x.source)
        lazy = x.source if isinstance(x.source, DaskRows) else None
    shared = cluster.shared(transformer, measuring.decide, file)

    def pieces():
        for rows in slices:
            part = rows
            if lazy is not None:
                part = lazy.future(client, rows)
            elif file is None:
                part = map_structure(take_batch(x, rows), torch.Tensor.cpu)
            yield part, *measuring.measured_at(rows)

    measured = cluster.in_order(_measure_piece, shared, pieces())
    for rows, found in zip(slices, measured, strict=True):
        if found is None:
            # A layer has to take another route. Here, too: then all rows are measured again.
            found = measuring.batch(rows)
        yield rows, *found


@torch.inference_mode(False)
def _measure_piece(transformer, decide, file, x, start, targets):
    """Measure a batch on a worker; None where a layer has to take another route."""
    model = transformer.model_
    if isinstance(x, np.ndarray):  # rows of a Dask array, which a worker has computed
        x = as_batch(np.ascontiguousarray(x), model)
    elif file is None:
        x = map_structure(x, lambda part: part.to(model.device))
    else:
        x = as_batch(file.open()[x], model)
    try:
        return measure_batch(transformer, decide, x, start, targets)
    except RouteChanged:
        return None
