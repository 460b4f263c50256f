"""From the hyperparameters of an autoencoder to its skorch net."""

import numpy as np
import torch

from .._utils.arguments import as_device
from ._assembly import amp_dtype, choose_backbone, stored_layout
from ._input import unit_scale
from ._vae_loss import VAELoss
from ._vae_network import VAENetwork


def assemble_net(vae, seed):
    """Build the net of an autoencoder whose rows were checked, with fresh weights."""
    from ._net import build_net

    index = vae._index
    device = as_device(vae.device)
    shape, axes = stored_layout(vae)
    likelihood = _likelihood(vae)
    input_scale = vae._input_scale
    if likelihood == "gaussian":
        # The least noise of the decoder is relative to values of about 1.
        input_scale = unit_scale(vae._fit_X)
    network = {
        "user_shape": shape,
        "axes": axes,
        "input_scale": input_scale,
        "members": torch.as_tensor(index.members),
        "generator": torch.Generator().manual_seed(seed),
        "likelihood": likelihood,
        "backbone": choose_backbone(vae.backbone, shape),
        "width": vae.width,
        "latent_dim": vae.latent_dim,
        "heads": vae.heads,
        "amp_device": device.type,
        "amp_dtype": amp_dtype(vae.precision, device),
    }
    loss = {
        "sizes": torch.as_tensor(index.sizes),
        "lambda_gen": vae.lambda_gen,
        "lambda_cls": vae.lambda_cls,
    }
    options = {"lr": vae.lr}
    return build_net(vae, VAENetwork, network, VAELoss, loss, torch.optim.Adam, options, device)


def update_net(vae):
    """Give the net the hyperparameters that may change between warm starts."""
    from ._net import update_training

    net = vae.net_
    update_training(net, vae)
    net.criterion_.lambda_gen = vae.lambda_gen
    net.criterion_.lambda_cls = vae.lambda_cls
    for group in net.optimizer_.param_groups:
        group.update(lr=vae.lr, initial_lr=vae.lr)


def _likelihood(vae):
    """Return the likelihood that was given, or the one that "auto" stands for."""
    if vae.likelihood == "gaussian":
        return "gaussian"
    X = vae._fit_X
    if vae._user_shape is None:
        fits = False
        held = "rows"
    else:
        fits = X.dtype == np.uint8 or (X.min() >= 0 and X.max() <= 1)
        held = f"images with values from {X.min():g} to {X.max():g}"
    if fits:
        return "bernoulli"
    if vae.likelihood == "auto":
        return "gaussian"
    raise ValueError(
        f"likelihood='bernoulli' needs images of uint8 or with values in [0, 1]; X holds {held}. "
        "Scale the images, pass input_shape if the rows are flat images, or take "
        "likelihood='gaussian'"
    )
