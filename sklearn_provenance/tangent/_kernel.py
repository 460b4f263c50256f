"""Exact tangent kernels k(x, x') = φ(x)·φ(x') from layer factors; no Jacobian is formed."""

from typing import Literal

import torch

from .._utils.types import Device, Rows, Targets
from ._batches import as_rows
from ._model import TangentModel
from ._products import check_same_network, kernel
from ._rows import TangentRows
from ._stream import Stream


@torch.inference_mode(False)
def tangent_kernel(
    model: TangentModel,
    X: Rows,
    labels: Targets,
    X2: Rows = None,
    labels2: Targets = None,
    *,
    model2: TangentModel | None = None,
    batch_size: int | Literal["auto"] = "auto",
    dtype: torch.dtype = torch.float64,
    device: Device = None,
    verbose: bool = False,
) -> torch.Tensor:
    """Compute the exact tangent kernel between two sets of rows.

    Memory holds, besides the kernel, the factors of one block of ``X`` (up to 1 GB) and some of
    ``X2``. Each further block of ``X`` costs another pass over ``X2``, so ``X`` should be the
    smaller set.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Rows.
    labels : array-like of shape (n_samples,)
        Column of the logits that each row is measured at.
    X2 : array-like or torch.Tensor of shape (n_samples_2, ...), default=None
        Other rows; None takes ``X`` again, with its labels.
    labels2 : array-like of shape (n_samples_2,), default=None
        Labels of the other rows.
    model2 : TangentModel, default=None
        The model of ``X2``, made by ``model.measuring(...)``: the kernel is then of two
        measurements. None takes ``model``.
    batch_size : int or "auto", default="auto"
        Rows per pass.
    dtype : torch.dtype, default=torch.float64
        Precision of products and sums. Single precision is faster; the kernel is then positive
        semi-definite up to the seventh digit only.
    device : torch.device or str, default=None
        Where the kernel is kept, for instance ``model.device``; None is the CPU.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_samples, n_samples_2)
        Kernel, in squared units of the measurement per unit of weight, or in the product of the
        units of both measurements. Without ``X2`` it is symmetric to the last bit.

    Raises
    ------
    ValueError
        If labels are no columns of the logits, ``labels2`` is missing, or ``model2`` is not the
        same network in the same parameters.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 3.
    """
    settings = {"dtype": dtype, "device": device, "verbose": verbose}
    if X2 is None:
        for name, value in {"labels2": labels2, "model2": model2}.items():
            if value is not None:
                raise ValueError(f"{name} describes X2, so it must be None without X2")
        left = _stream(model, X, labels, batch_size, "labels")
        return kernel(left, left, symmetric=True, **settings)
    if labels2 is None:
        raise ValueError("labels2 must be given with X2, got None")
    if model2 is None:
        model2 = model
    check_same_network(model, model2)
    left = _stream(model, X, labels, batch_size, "labels")
    right = _stream(model2, X2, labels2, batch_size, "labels2")
    return kernel(left, right, symmetric=False, **settings)


def _stream(model, X, labels, batch_size, name):
    """Check rows and their labels, and let the model examine the rows."""
    X, n = as_rows(X, model)
    labels = torch.as_tensor(labels)
    if len(labels) != n:
        raise ValueError(f"{name} must have one entry for each of {n} rows, got {len(labels)}")
    if not model.planned:
        model.plan(X)
    return Stream(model, X, labels, batch_size)


@torch.inference_mode(False)
def tangent_diagonal(
    model: TangentModel,
    X: Rows,
    labels: Targets,
    batch_size: int | Literal["auto"] = "auto",
    *,
    verbose: bool = False,
) -> torch.Tensor:
    """Compute squared norms of tangent features: the diagonal of :func:`tangent_kernel`.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Rows.
    labels : array-like of shape (n_samples,)
        Column of the logits that each row is measured at.
    batch_size : int or "auto", default="auto"
        Rows per pass.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_samples,)
        Squared norms of φ(x), float64 on the CPU, in squared units of the measurement per unit of
        weight.

    Raises
    ------
    ValueError
        If labels are no columns of the logits.

    Examples
    --------
    >>> import torch
    >>> from sklearn_provenance.tangent import TangentModel, tangent_diagonal
    >>> model = TangentModel(torch.nn.Linear(2, 3, bias=False))
    >>> tangent_diagonal(model, [[3.0, 4.0], [0.0, 2.0]], labels=[0, 2])
    tensor([25.,  4.], dtype=torch.float64)
    """
    rows = TangentRows(
        model,
        X,
        labels,
        batch_size=batch_size,
        memory_limit=0,
        verbose=verbose,
        desc="tangent diagonal",
    )
    return rows.norms()
