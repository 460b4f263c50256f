"""From the hyperparameters of a classifier to its skorch net."""

import torch

from .._utils.arguments import as_device
from .._utils.rows import image_layout
from ._backbones import MLP_DEPTH
from ._network import ProvenanceNetwork
from ._training import ProvenanceLoss

STRUCTURE = (
    "architecture",
    "backbone",
    "width",
    "dropout",
    "sharing_level",
    "heads",
    "class_conditioning",
    "index_subset",
    "device",
    "precision",
)
_LOSS_PARAMETERS = ("alpha", "mixing", "lambda_class", "lambda_index", "label_smoothing")


def assemble_net(clf, seed):
    """The net of a classifier whose data have been validated, with fresh weights."""
    from ._net import build_net

    index, device = clf._index, as_device(clf.device)
    shape, axes = stored_layout(clf)
    backbone = choose_backbone(clf.backbone, shape)
    _check_network(clf, backbone)
    network = {
        "architecture": clf.architecture,
        "user_shape": shape,
        "axes": axes,
        "input_scale": clf._input_scale,
        "sizes": index.sizes.tolist(),
        "generator": torch.Generator().manual_seed(seed),
        "backbone": backbone,
        "width": clf.width,
        "dropout": clf.dropout,
        "sharing_level": clf.sharing_level,
        "heads": clf.heads,
        "class_conditioning": clf.class_conditioning,
        "amp_device": device.type,
        "amp_dtype": amp_dtype(clf.precision, device),
    }
    conditional = clf.architecture == "class_conditional"
    loss = {
        "members": None if conditional else torch.as_tensor(index.members),
        "sizes": torch.as_tensor(index.sizes),
        **{name: getattr(clf, name) for name in _LOSS_PARAMETERS},
    }
    options = {"lr": clf.lr, "weight_decay": clf.weight_decay, "betas": (0.9, 0.999)}
    if clf.lr_index is not None:
        options["param_groups"] = [("index_*", {"lr": clf.lr_index})]
    return build_net(
        clf, ProvenanceNetwork, network, ProvenanceLoss, loss, torch.optim.AdamW, options, device
    )


def update_net(clf):
    """Bring hyperparameters that may change between warm starts to the net."""
    from ._net import update_training

    net = clf.net_
    update_training(net, clf)
    for name in _LOSS_PARAMETERS:
        setattr(net.criterion_, name, getattr(clf, name))
    rates = [clf.lr] if clf.lr_index is None else [clf.lr_index, clf.lr]
    for group, rate in zip(net.optimizer_.param_groups, rates, strict=True):
        group.update(initial_lr=rate, weight_decay=clf.weight_decay)


def network_structure(clf):
    """What may not change between warm starts, and what a saved network needs."""
    structure = {name: getattr(clf, name) for name in STRUCTURE}
    structure["lr_index"] = "own" if clf.lr_index is not None else "the same"
    return structure


def stored_layout(estimator):
    """Shape of one stored row before it was flattened, and its transposition if it needs one."""
    if estimator._user_shape is None:
        return (estimator.n_features_in_,), None
    return image_layout(estimator._user_shape)


def choose_backbone(backbone, shape):
    """What "auto" stands for, or what was given."""
    if not isinstance(backbone, str):
        return backbone
    images = len(shape) == 3
    if backbone == "cnn" and not images:
        raise ValueError(
            "backbone='cnn' needs images; X holds rows. Pass images, or input_shape if the "
            "rows are flat images"
        )
    if backbone == "auto":
        return "cnn" if images else "mlp"
    return backbone


def amp_dtype(precision, device):
    """The type of automatic mixed precision on a device; None for single precision."""
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else None
    return torch.bfloat16 if precision == "bfloat16" else None


def _check_network(clf, backbone):
    if backbone == "mlp" and clf.width == "paper":
        raise ValueError(
            "width='paper' names the convolutional networks of the paper; rows take 'small', "
            "'medium', 'large' or 'xlarge'"
        )
    if clf.sharing_level is not None:
        if not isinstance(backbone, str):
            raise ValueError(
                "sharing_level needs a built-in backbone; the branches share the whole of a "
                "backbone of your own"
            )
        if backbone == "mlp" and clf.sharing_level > MLP_DEPTH:
            raise ValueError(
                f"sharing_level={clf.sharing_level}, but the MLP backbone has {MLP_DEPTH} layers"
            )
