"""Exact tangent kernels k(x, x') = φ(x)·φ(x') from layer factors; no Jacobian is formed."""

import torch

from ._batches import as_rows
from ._rows import Stream, TangentRows, check_same_network, kernel


@torch.inference_mode(False)
def tangent_kernel(
    model,
    X,
    labels,
    X2=None,
    labels2=None,
    *,
    model2=None,
    batch_size="auto",
    dtype=torch.float64,
    device=None,
    verbose=False,
):
    """Exact tangent kernel between two sets of examples.

    Memory holds, besides the kernel, the factors of one block of ``X`` (up to 1 GB) and some of
    ``X2``; each further block of ``X`` costs another pass over ``X2``, so give the smaller set
    first.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Examples.
    labels : array-like of shape (n_samples,)
        Column of the logits that each is measured at.
    X2 : array-like or torch.Tensor of shape (n_samples_2, ...), default=None
        Other examples; None takes ``X`` again, with its labels.
    labels2 : array-like of shape (n_samples_2,), default=None
        Their labels.
    model2 : TangentModel, default=None
        What ``X2`` is linearised by, ``model.measuring(...)``: the kernel is then of two
        measurements. None takes ``model``.
    batch_size : int or "auto", default="auto"
        Examples per pass.
    dtype : torch.dtype, default=torch.float64
        Precision of products and sums; single precision is faster, and indefinite in the seventh
        digit.
    device : torch.device or str, default=None
        Where the kernel is kept, for instance ``model.device``; None is the CPU.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    torch.Tensor of shape (n_samples, n_samples_2)
        Kernel, in squared units of the measurement, or the product of the units of both, per unit
        of weight. Without ``X2`` it is
        symmetric to the last bit.

    Raises
    ------
    ValueError
        If labels are no columns of the logits, ``labels2`` is missing, or ``model2`` is not the
        same network in the same parameters.

    References
    ----------
    .. [IT] "Bayesian information-theoretic training data attribution", section 2.
    """
    X, n = as_rows(X, model)
    symmetric = X2 is None
    if symmetric and (labels2 is not None or model2 is not None):
        raise ValueError(f"{'labels2' if model2 is None else 'model2'} needs X2")
    if not symmetric and labels2 is None:
        raise ValueError("X2 needs labels2")
    model2 = model if model2 is None else model2
    X2, n2 = (X, n) if symmetric else as_rows(X2, model2)
    labels2 = labels if symmetric else labels2
    labels, labels2 = torch.as_tensor(labels), torch.as_tensor(labels2)
    if len(labels) != n or len(labels2) != n2:
        raise ValueError(f"Expected {n} and {n2} labels, got {len(labels)} and {len(labels2)}")
    check_same_network(model, model2)
    for one, rows in ((model, X), (model2, X2)):
        if not one.planned:
            one.plan(rows)
    left = Stream(model, X, labels, batch_size)
    right = left if symmetric else Stream(model2, X2, labels2, batch_size)
    return kernel(left, right, symmetric=symmetric, dtype=dtype, device=device, verbose=verbose)


@torch.inference_mode(False)
def tangent_diagonal(model, X, labels, batch_size="auto", *, verbose=False):
    """Squared norms of tangent features: the diagonal of :func:`tangent_kernel`.

    Parameters
    ----------
    model : TangentModel
        The linearised network.
    X : array-like or torch.Tensor of shape (n_samples, ...)
        Examples.
    labels : array-like of shape (n_samples,)
        Column of the logits that each is measured at.
    batch_size : int or "auto", default="auto"
        Examples per pass.
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
