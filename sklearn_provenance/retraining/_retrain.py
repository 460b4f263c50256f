"""Training many copies of a model on different rows, for counterfactual experiments."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._utils import types
from .._utils.types import Device, Targets
from ._results import Retrained
from ._run import Run
from ._schedule import Recipe


def retrain(
    model: Any,
    X: types.Rows,
    y: Targets,
    masks: ArrayLike,
    *,
    X_eval: types.Rows,
    y_eval: Targets | None = None,
    recipe: Recipe | None = None,
    seeds: ArrayLike | None = None,
    evaluate: str | Callable = "logits",
    forward: Callable | None = None,
    group_size: int | Literal["auto"] = "auto",
    device: Device = "auto",
    n_jobs: int | None = None,
    store: types.Path | None = None,
    client: Any = None,
    verbose: bool = False,
) -> Retrained:
    """Train copies of a model on different rows and evaluate each.

    Copies of a network are stacked, one tensor per parameter, and trained together where that is
    faster. Networks whose copies cannot be stacked are trained one after the other: with batch
    normalisation, since rows that are left out must not enter its statistics; with dropout, so that
    what a copy draws depends on its seed only; and those that ``torch.func.vmap`` cannot run.

    Grouping changes no step of a copy by more than rounding. Training amplifies rounding, though: a
    unit whose input is almost 0 falls on the other side. In single precision logits of two
    groupings can therefore differ visibly after some hundred steps, as they do from one processor
    to another; in double precision (``model.double()``) they agree. One grouping on one device
    always gives the same.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor
        What to train. A module maps a batch to logits, with classes counted from 0, or to one
        number for each row if ``recipe.loss`` has a name; every copy starts from its weights as
        they are, and it is not changed. A function without arguments that makes a module is called
        with torch's global generator seeded by the copy's seed (the generator is put back
        afterwards). Copies train in training mode. A classifier or regressor of scikit-learn or
        skorch is cloned and fitted to the rows of each copy, in processes.
    X : array-like of shape (n_rows, ...)
        Training rows, as the model takes them; or a mapping of inputs, such as tokenized texts, of
        which each has all rows. A network gets floats in its precision; integers become floats,
        too, unless they are a tensor or the network has an embedding to look them up in. It may
        write to its input, which is a copy.
    y : array-like of shape (n_rows,)
        Their labels; the targets of a regressor; whatever ``recipe.loss`` takes, if it is a
        function.
    masks : array-like of shape (n_copies, n_rows), bool or 0 and 1
        Rows that each copy is trained on.
    X_eval : array-like of shape (n_eval, ...)
        Rows that each copy is evaluated on.
    y_eval : array-like of shape (n_eval,), default=None
        Their labels, for margins.
    recipe : Recipe, default=None
        How a network is trained; None is ``Recipe()``.
    seeds : array-like of shape (n_copies,), int, default=None
        Seed of each copy: of its order of rows and dropout, and of its weights if ``model`` is a
        function. None is 0 for all: the same initialisation and the same order. For an estimator
        they set its ``random_state``, or the global generators if it has none; None leaves both as
        they are.
    evaluate : {"logits", "margin"} or callable, default="logits"
        What is kept of each copy: logits of shape (n_eval, n_classes), margins of shape (n_eval,)
        at ``y_eval`` or ``evaluate(logits)``, an array of the same shape for every copy. A
        classifier's logits are its decision function, (-d/2, d/2) if there are two classes, or the
        log of its probabilities; a class that is not among the rows of a copy has -inf. In place
        of logits, a regressor's copies have the numbers that they predict, of shape (n_eval,).
    forward : callable, default=None
        ``forward(module, x)`` gives the logits; None calls the module, with the entries of a
        mapping as keywords, and takes ``logits`` out of what it returns, as networks of Hugging
        Face want it.
    group_size : int or "auto", default="auto"
        Copies that are stacked. ``"auto"`` is 1 where stacking is impossible or, on a CPU, does
        not pay; otherwise what memory allows.
    device : str or torch.device, default="auto"
        Where networks are trained; ``"auto"`` is CUDA where there is a device.
    n_jobs : int, default=None
        Processes that fit clones of an estimator.
    store : path-like, default=None
        Folder in which outputs are kept as groups finish. The same call with the same folder
        trains only what is missing, and waits while another process does so. ``group_size``,
        ``device``, ``n_jobs`` and ``client`` may change between.
    client : dask.distributed.Client or str, default=None
        Client of a Dask cluster, or address of its scheduler, whose workers train a group of copies
        each; ``n_jobs`` is not used. None is the client of joblib's ``parallel_config("dask")``
        where that is in use. Groups are as without a client: "auto" may stack all copies of a small
        network into one group, so that a smaller ``group_size`` is needed to share the work.
    verbose : bool, default=False
        Whether to show progress and the time left.

    Returns
    -------
    Retrained
        Outputs of the copies, in the order of ``masks``; nan for those that diverged.

    Raises
    ------
    ValueError
        If masks, labels or seeds do not fit, a copy keeps no row, the network cannot be stacked
        but ``group_size`` asks for it, or ``store`` holds results of another call or is damaged.
    OSError
        If ``store`` cannot be written to and does not hold all outputs.

    Warns
    -----
    UserWarning
        If copies diverge: if their loss, weights or outputs become NaN or infinite. It names them.

    See Also
    --------
    iter_retrain : The same group by group, to stop early.
    Recipe : How copies are trained, and what leaving rows out means.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_provenance.retraining import Recipe, retrain
    >>> X, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> masks = np.array([[True, True, True, True], [False, True, True, True]])
    >>> network = torch.nn.Linear(4, 2, bias=False)
    >>> result = retrain(network, X, y, masks, X_eval=X[:1], y_eval=y[:1], recipe=Recipe(lr=1.0))
    >>> full, without_row = result.margins()[:, 0]
    >>> bool(full > 1 > without_row)  # what is learned of a row goes when the row goes
    True
    """
    return Run(
        model,
        X,
        y,
        masks,
        X_eval=X_eval,
        y_eval=y_eval,
        recipe=recipe,
        seeds=seeds,
        evaluate=evaluate,
        forward=forward,
        group_size=group_size,
        device=device,
        n_jobs=n_jobs,
        store=store,
        client=client,
        verbose=verbose,
    ).result()


def iter_retrain(
    model: Any, X: types.Rows, y: Targets, masks: ArrayLike, *, X_eval: types.Rows, **options: Any
) -> Iterator[tuple[NDArray[np.int64], NDArray]]:
    """Train copies of a model on different rows and give their outputs group by group.

    Nothing is trained before it is asked for, so a caller that has seen enough stops asking. Copies
    of which ``store`` has the outputs come first, and so do, between groups, copies that another
    process finished meanwhile.

    Parameters
    ----------
    model : torch.nn.Module, callable, classifier or regressor
        What to train, as in :func:`retrain`.
    X : array-like of shape (n_rows, ...)
        Training rows, or a mapping of inputs.
    y : array-like of shape (n_rows,)
        Their labels.
    masks : array-like of shape (n_copies, n_rows), bool or 0 and 1
        Rows that each copy is trained on.
    X_eval : array-like of shape (n_eval, ...)
        Rows that each copy is evaluated on.
    **options
        Further arguments of :func:`retrain`.

    Returns
    -------
    generator
        It gives pairs: numbers of copies, ndarray of shape (n,), and their outputs, ndarray of
        shape (n, ...). Every copy comes once. Groups come in the order of copies, unless copies
        take different numbers of steps: then those with fewer come first.

    Raises
    ------
    ValueError
        As :func:`retrain`, at the call.

    See Also
    --------
    retrain : All copies at once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_provenance.retraining import iter_retrain
    >>> X, y = np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1])
    >>> masks = ~np.eye(6, dtype=bool)  # leave one out
    >>> for copies, logits in iter_retrain(LogisticRegression(), X, y, masks, X_eval=[[2.6]]):
    ...     if logits[0].argmax() == 0:
    ...         print("without row", copies[0], "the prediction is 0")
    ...         break
    without row 3 the prediction is 0
    """
    return Run(model, X, y, masks, X_eval=X_eval, **options).groups()
