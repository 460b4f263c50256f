"""What workers of a Dask cluster do with pieces of features for the density of targets."""

import torch

from ..._utils.cluster import Cluster
from ..._utils.pieces import RowPieces, read_piece
from ...information._density import in_fewer_rows


def fewer_rows_by_workers(client, points, targets, scale):
    """Compress scaled features and targets, as :func:`in_fewer_rows`, piece by piece.

    Parameters
    ----------
    client : dask.distributed.Client
        The client.
    points : ExplicitPoints
        Training rows.
    targets : Tensor of shape (n_rows, n_targets)
        Their centred targets.
    scale : float
        What features are divided by.

    Returns
    -------
    features, targets : Tensor
        As few rows as keep every residual norm.
    """
    cluster = Cluster(client, "the density of targets")
    pieces = RowPieces(points.array)
    shared = cluster.shared(pieces.file, scale)
    targets = targets.cpu()
    arguments = ((piece, targets[pieces.rows(start)].numpy()) for start, piece in pieces)
    parts = cluster.in_order(_fewer_rows, shared, arguments, len(pieces))
    return in_fewer_rows((torch.from_numpy(phi), torch.from_numpy(t)) for phi, t in parts)


def _fewer_rows(file, scale, piece, targets):
    rows = read_piece(file, piece)
    phi = torch.tensor(rows, dtype=torch.float64) / scale
    features, targets = in_fewer_rows([(phi, torch.tensor(targets))])
    return features.numpy(), targets.numpy()
