"""Reading a trained provenance autoencoder, a batch at a time.

Shapes in comments: B rows, d latent dimensions.
"""

import math

import numpy as np
import torch

from ._head_scan import check_outputs
from ._index_reading import batches, store_batch
from ._vae_loss import divergence, negative_log_likelihood

N_DRAWS = 16  # codes per row of the evidence lower bound


def encode_rows(module, rows, latent_dim):
    """Compute the means of the posteriors.

    Parameters
    ----------
    module : VAENetwork
        Trained.
    rows : ndarray of shape (n, n_features)
        Validated input.
    latent_dim : int
        Latent dimensions, d.

    Returns
    -------
    codes : ndarray of shape (n, latent_dim), float32
        Posterior means.
    """
    codes = np.empty((len(rows), latent_dim), dtype=np.float32)
    for batch, _, x in batches(module, rows):
        mean, _ = module.encode(x)  # (B, d)
        store_batch(codes, batch, check_outputs(mean))
    return codes


def decode_codes(module, codes, n_features, dtype):
    """Compute the rows that codes stand for.

    Parameters
    ----------
    module : VAENetwork
        Trained.
    codes : ndarray of shape (n, latent_dim), float32
        Codes.
    n_features : int
        Values per row.
    dtype : dtype
        Type of the rows; values are rounded where it is uint8.

    Returns
    -------
    rows : ndarray of shape (n, n_features)
        Means of the decoder's distributions, as rows are stored.
    """
    rows = np.empty((len(codes), n_features), dtype=dtype)
    for batch, _, z in batches(module, codes):
        values = check_outputs(module.decode(z))
        if rows.dtype == np.uint8:
            values = values.round().to(torch.uint8)
        store_batch(rows, batch, values)
    return rows


def evidence_lower_bound(module, rows, latent_dim):
    """Estimate the evidence lower bound of each row by 16 codes.

    Parameters
    ----------
    module, rows, latent_dim
        As in :func:`encode_rows`.

    Returns
    -------
    elbo : ndarray of shape (n,), float64
        Nats, for rows in their units. The noise of the codes is the same for every row, and half of
        it is the negative of the other half.
    """
    half = np.random.RandomState(0).standard_normal((N_DRAWS // 2, latent_dim))
    noise = torch.tensor(np.concatenate([half, -half]), dtype=torch.float32)
    log_noise = module.decoder.log_noise
    elbo = np.empty(len(rows))
    for batch, _, x in batches(module, rows):
        inputs = module.scaling(x)
        mean, log_variance = module.encode(x)  # (B, d)
        bound = -divergence(mean, log_variance)  # (B,)
        for draw in noise.to(x.device):
            z = mean + draw * (log_variance / 2).exp()  # (B, d)
            image = module.decoder.render(module.decoder.stem(z))
            bound = bound - negative_log_likelihood(inputs, image, log_noise) / N_DRAWS
        store_batch(elbo, batch, check_outputs(bound))
    if log_noise is not None:
        # The network sees rows times a factor, which changes their density.
        elbo += rows.shape[1] * math.log(module.scaling.scale)
    return elbo
