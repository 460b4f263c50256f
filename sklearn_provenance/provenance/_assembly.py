"""From hyperparameters to a skorch net, for estimators with a branch for the task."""

import torch

from .._utils.arguments import as_device
from .._utils.rows import image_layout
from ._backbones import MLP_DEPTH
from ._network import ProvenanceNetwork
from ._row_adamw import RowAdamW
from ._sampled_loss import SampledProvenanceLoss
from ._standardization import standardization
from ._training import ProvenanceLoss

_LOSS_PARAMETERS = ("alpha", "mixing", "lambda_class", "lambda_index", "label_smoothing")


def assemble_net(clf, seed):
    """Build the net of a classifier whose rows were checked, with fresh weights."""
    index = clf._index
    device = as_device(clf.device)
    network = {
        **shared_network_arguments(clf, seed, device),
        "architecture": clf.architecture,
        "sizes": index.sizes.tolist(),
        "heads": clf.heads,
        "class_conditioning": clf.class_conditioning,
    }
    members = None
    if clf.architecture != "class_conditional":
        members = torch.as_tensor(index.members)
    loss = {
        "members": members,
        "sizes": torch.as_tensor(index.sizes),
        **{name: getattr(clf, name) for name in _LOSS_PARAMETERS},
    }
    criterion = ProvenanceLoss
    if clf.index_loss == "sampled":
        criterion = SampledProvenanceLoss
        loss["labels"] = torch.as_tensor(index.labels)
        loss["n_negatives"] = clf.n_negatives
    return build_branched_net(clf, ProvenanceNetwork, network, criterion, loss, device)


def update_net(clf):
    """Give the net the hyperparameters that may change between warm starts."""
    update_branched_net(clf, _LOSS_PARAMETERS)
    clf.net_.criterion_.n_negatives = clf.n_negatives


def shared_network_arguments(estimator, seed, device):
    """Return the arguments of every network with a branch for the task and an index branch."""
    shape, axes = stored_layout(estimator)
    backbone = choose_backbone(estimator.backbone, shape)
    _check_network(estimator, backbone)
    scale = estimator._input_scale
    channels = None
    if estimator.normalization == "standardize":
        channels = standardization(estimator._fit_X, shape, axes, scale)
    return {
        "user_shape": shape,
        "axes": axes,
        "input_scale": scale,
        "standardization": channels,
        "generator": torch.Generator().manual_seed(seed),
        "backbone": backbone,
        "width": estimator.width,
        "dropout": estimator.dropout,
        "sharing_level": estimator.sharing_level,
        "amp_device": device.type,
        "amp_dtype": amp_dtype(estimator.precision, device),
    }


def build_branched_net(estimator, module, network, criterion, loss, device):
    """Build the net of such a network, to be trained by AdamW.

    With an index loss of drawn outputs, AdamW updates the rows of the last layer that were drawn.
    """
    from ._net import build_net

    optimizer = torch.optim.AdamW
    if criterion.draws_outputs:
        optimizer = RowAdamW
    options = {"lr": estimator.lr, "weight_decay": estimator.weight_decay, "betas": (0.9, 0.999)}
    if estimator.lr_index is not None:
        options["param_groups"] = [("index_*", {"lr": estimator.lr_index})]
    return build_net(estimator, module, network, criterion, loss, optimizer, options, device)


def update_branched_net(estimator, loss_parameters):
    """Give such a net the hyperparameters that may change between warm starts."""
    from ._net import update_training

    net = estimator.net_
    update_training(net, estimator)
    for name in loss_parameters:
        setattr(net.criterion_, name, getattr(estimator, name))
    rates = [estimator.lr]
    if estimator.lr_index is not None:
        rates = [estimator.lr_index, estimator.lr]  # in the order of the parameter groups
    for group, rate in zip(net.optimizer_.param_groups, rates, strict=True):
        group.update(initial_lr=rate, weight_decay=estimator.weight_decay)


def stored_layout(estimator):
    """Return the shape of a row before it was flattened, and its transposition if it needs one."""
    if estimator._user_shape is None:
        return (estimator.n_features_in_,), None
    return image_layout(estimator._user_shape)


def choose_backbone(backbone, shape):
    """Return the backbone that was given, or the one that "auto" stands for."""
    if not isinstance(backbone, str):
        return backbone
    are_images = len(shape) == 3
    if backbone == "cnn" and not are_images:
        raise ValueError(
            "backbone='cnn' needs images; X holds rows. Pass images, or input_shape if the "
            "rows are flat images"
        )
    if backbone == "auto":
        return "cnn" if are_images else "mlp"
    return backbone


def amp_dtype(precision, device):
    """Return the type of automatic mixed precision on a device; None for single precision."""
    if precision == "auto" and device.type == "cuda":
        mixed = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        mixed = precision == "bfloat16"
    return torch.bfloat16 if mixed else None


def _check_network(estimator, backbone):
    if backbone == "mlp" and estimator.width == "paper":
        raise ValueError(
            "width='paper' names the convolutional networks of the paper; rows take 'small', "
            "'medium', 'large' or 'xlarge'"
        )
    if estimator.sharing_level is not None:
        if not isinstance(backbone, str):
            raise ValueError(
                "sharing_level needs a built-in backbone; the branches share the whole of the "
                "backbone that you give"
            )
        if backbone == "mlp" and estimator.sharing_level > MLP_DEPTH:
            raise ValueError(
                f"sharing_level must be at most {MLP_DEPTH}, the layers that the MLP backbone has; "
                f"got {estimator.sharing_level}"
            )
