"""One model, trained as the copies are, and handed over."""

import numpy as np

from .._utils.rows import n_rows, take_rows
from ._copies import NetworkCopies
from ._estimators import estimator_copies, fitted_clone, is_estimator


def fit_model(model, X, y, *, seed=0, recipe=None, forward=None, device="auto"):
    """Train a model on all rows, as a copy of :func:`retrain` with this seed is trained.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor
        What to train, as :func:`retrain` takes it. It is not changed.
    X, y : array-like of shape (n_rows, ...) and (n_rows,)
        Training rows, and their labels or targets.
    seed : int, default=0
        Seed of the copy.
    recipe : Recipe, default=None
        How a network is trained.
    forward : callable, default=None
        ``forward(module, x)`` gives a network's outputs; None calls the module.
    device : str or torch.device, default="auto"
        Where a network is trained.

    Returns
    -------
    torch.nn.Module, classifier or regressor
        Trained; a network is in evaluation mode.

    Raises
    ------
    ValueError
        If the training of a network diverges.
    """
    if is_estimator(model):
        estimator_copies(model)  # raises where it cannot be trained again
        return fitted_clone(model, X, y, seed)
    mask = np.ones((1, n_rows(X)), bool)
    copies = NetworkCopies(
        model,
        X,
        y,
        take_rows(X, slice(1)),
        mask,
        [seed],
        recipe=recipe,
        forward=forward,
        device=device,
    )
    [(_, outputs)] = copies.groups(np.array([0]), lambda share: None)
    if np.isnan(outputs).any():
        raise ValueError(
            "Training on all rows must not diverge, but its loss, weights or outputs became NaN or "
            "infinite. Take a smaller lr"
        )
    return copies.network.module.inner.eval()
