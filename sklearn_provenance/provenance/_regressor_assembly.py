"""From the hyperparameters of a regressor to its skorch net."""

import numbers

import torch

from .._utils.arguments import as_device
from ._assembly import build_branched_net, shared_network_arguments, update_branched_net
from ._neighbours import neighbour_radii
from ._regressor_loss import RegressionLoss
from ._regressor_network import RegressionNetwork
from ._sampled_regression_loss import SampledRegressionLoss

_LOSS_PARAMETERS = (
    "loss",
    "huber_delta",
    "alpha",
    "mixing",
    "lambda_output",
    "lambda_index",
    "label_smoothing",
)


def assemble_net(regressor, seed):
    """Build the net of a regressor whose rows were checked, with fresh weights."""
    device = as_device(regressor.device)
    targets = regressor._standardised[regressor.index_]
    network = {
        **shared_network_arguments(regressor, seed, device),
        "n_targets": targets.shape[1],
        "n_outputs": len(targets),
    }
    loss = {
        "targets": torch.as_tensor(targets),
        "radii": _radii(regressor, targets),
        **{name: getattr(regressor, name) for name in _LOSS_PARAMETERS},
    }
    criterion = RegressionLoss
    if regressor.index_loss == "sampled":
        criterion = SampledRegressionLoss
        loss["n_negatives"] = regressor.n_negatives
    return build_branched_net(regressor, RegressionNetwork, network, criterion, loss, device)


def update_net(regressor):
    """Give the net the hyperparameters that may change between warm starts."""
    update_branched_net(regressor, _LOSS_PARAMETERS)
    criterion = regressor.net_.criterion_
    criterion.n_negatives = regressor.n_negatives
    radii = _radii(regressor, regressor._standardised[regressor.index_])
    criterion.radii = radii.to(criterion.radii.device)


def n_target_neighbours(target_neighbours, n_outputs):
    """Count the rows that may stand for a row beside itself: at least 1 if there is another.

    Parameters
    ----------
    target_neighbours : "auto", int or float
        "auto" stands for the square root of the number of outputs, a float for a share of them.
    n_outputs : int
        Rows that have an output.

    Returns
    -------
    int
        At most the number of other rows.

    Raises
    ------
    ValueError
        If more rows are asked for than there are.
    """
    if target_neighbours == "auto":
        wanted = round(n_outputs**0.5)
    elif isinstance(target_neighbours, numbers.Integral):
        wanted = int(target_neighbours)
        if wanted >= n_outputs:
            raise ValueError(
                f"target_neighbors must be less than the {n_outputs} rows that have an output; "
                f"got {wanted}. A float is a share of the rows"
            )
    else:
        wanted = round(target_neighbours * n_outputs)
    return min(max(wanted, 1), n_outputs - 1)


def _radii(regressor, targets):
    n_neighbours = n_target_neighbours(regressor.target_neighbors, len(targets))
    return torch.as_tensor(neighbour_radii(targets, n_neighbours))
