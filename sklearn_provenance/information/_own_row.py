"""Scores of a query that is a training row, without that row, from a posterior that has it."""

import torch


def solve_without_own(features, solved):
    """Compute (G - φ φ^T)^-1 φ = G^-1 φ / (1 - φ^T G^-1 φ), for every φ.

    Parameters
    ----------
    features : Tensor of shape (n_components, n)
        Rows φ whose products φ φ^T are summed in G.
    solved : Tensor of shape (n_components, n)
        G^-1 φ.

    Returns
    -------
    Tensor of shape (n_components, n)
        Solutions.
    """
    return solved / (1 - (features * solved).sum(0))


def cosine_without_own(cosine, lost):
    """Compute posterior cosines with queries x, without x among the rows.

    Without x, covariances grow by C(z, x) C(x, *) / (σ² - v_x). With r = σ² / (σ² - v_x) the cosine
    c of z and x becomes c sqrt(r) / sqrt(1 + c² (r - 1)).

    Parameters
    ----------
    cosine : Tensor of shape (n_queries, n_rows)
        c.
    lost : Tensor of shape (n_queries,)
        Nats that are lost about each query without its row, 1/2 log r.

    Returns
    -------
    Tensor of shape (n_queries, n_rows)
        Cosines.
    """
    grown = torch.expm1(2 * lost)[:, None]  # r - 1
    return cosine * ((1 + grown) / (1 + cosine.square() * grown)).sqrt()
