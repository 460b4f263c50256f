"""How a copy is trained: the recipe, and which rows stand in each of its batches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints
from torch import nn

from .._utils.arguments import real, whole
from .._utils.indicators import as_indicator
from ..tangent._batches import leaves

OPTIMIZERS = ("sgd", "adamw")
BATCHES = ("common", "own")
PRECISIONS = ("float32", "bfloat16")
# Losses of numbers, by name; they give one loss for each row.
NUMBER_LOSSES = {
    "squared_error": nn.functional.mse_loss,
    "absolute_error": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every copy of a network is trained.

    The defaults are those of the brittleness experiment on Fashion-MNIST in "A Bayesian
    information-theoretic approach to data attribution" [IT]_.

    An epoch of a copy follows a permutation of all rows that only depends on the copy's seed, not
    on its mask. The rows that the mask removes are left out; the loss of a batch is the mean over
    the rows that remain in it. ``batches`` says where batches begin and end:

    - ``"common"``: the permutation is cut into batches first. A removed row leaves its batch
      smaller and every other row stays in the batch where it would have been: what differs
      between two copies with one seed are the removed rows and nothing else. A batch that
      loses all its rows does not happen: no step, no weight decay, no momentum.
    - ``"own"``: the rows that remain are cut into batches of ``batch_size``. The cost of an epoch
      is that of the rows kept. For masks that keep half or few of the rows.

    Parameters
    ----------
    optimizer : {"sgd", "adamw"}, default="sgd"
        An optimiser of ``torch.optim``.
    lr : float, default=0.03
        Learning rate.
    momentum : float, default=0.9
        Momentum of "sgd".
    nesterov : bool, default=False
        Nesterov momentum, for "sgd".
    weight_decay : float, default=1e-3
        Weight decay: added to the gradient by "sgd", decoupled in "adamw".
    betas : tuple of two floats, default=(0.9, 0.999)
        Decay rates of the moments, for "adamw".
    eps : float, default=1e-8
        Term in the denominator, for "adamw".
    batch_size : int, default=64
        Rows per batch, before any are removed; all rows, where there are fewer.
    max_epochs : int, default=20
        Passes over the rows of a copy.
    schedule : "constant" or callable, default="constant"
        ``schedule(step, n_steps)`` gives the factor of the learning rate at a step (counted from
        0) of a copy that takes ``n_steps`` in all.
    batches : {"common", "own"}, default="common"
        See above.
    loss : {"squared_error", "absolute_error", "huber"} or callable, default=None
        None is the cross entropy in nats. With one of the names the network is a regressor: it
        gives one number for each row, and targets are numbers. The square is that of the
        difference of output and target; "huber" is half of it up to a difference of 1, and linear
        beyond. ``loss(logits, y)`` gives one loss for each row.
    precision : {"float32", "bfloat16"}, default="float32"
        "bfloat16" trains with automatic mixed precision, as ``torch.autocast`` does: for networks
        that were trained so. Weights, losses and what copies are evaluated on stay as they are.
        It saves time on GPUs, and on CPUs that multiply bfloat16 matrices.

    Raises
    ------
    ValueError
        If a value is out of range.

    References
    ----------
    .. [IT] "A Bayesian information-theoretic approach to data attribution", section 4.1 and
       appendix E.

    Examples
    --------
    >>> from sklearn_provenance.retraining import Recipe
    >>> warm_up = Recipe(lr=0.5, max_epochs=24, schedule=lambda step, n: min(1, 5 * step / n))
    """

    optimizer: str = "sgd"
    lr: float = 0.03
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-3
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    batch_size: int = 64
    max_epochs: int = 20
    schedule: str | Callable = "constant"
    batches: str = "common"
    loss: str | Callable | None = None
    precision: str = "float32"

    _parameter_constraints: ClassVar[dict] = {
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "lr": [real()],
        "momentum": [real()],
        "nesterov": ["boolean"],
        "weight_decay": [real()],
        "betas": [tuple, list],
        "eps": [real()],
        "batch_size": [whole()],
        "max_epochs": [whole()],
        "schedule": [StrOptions({"constant"}), callable],
        "batches": [StrOptions(set(BATCHES))],
        "loss": [StrOptions(set(NUMBER_LOSSES)), callable, None],
        "precision": [StrOptions(set(PRECISIONS))],
    }

    def __post_init__(self):
        validate_parameter_constraints(self._parameter_constraints, vars(self), "Recipe")
        rate = real(0, 1)
        if len(self.betas) != 2 or not all(map(rate.is_satisfied_by, self.betas)):
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas!r}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum above 0, got momentum=0")

    @property
    def predicts_numbers(self) -> bool:
        """Whether the network is a regressor, with one number for each row."""
        return isinstance(self.loss, str)


def build_optimizer(recipe, parameters):
    """Make an optimiser of the recipe.

    Both work element by element, so that stacked copies do not notice each other.
    """
    common = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=recipe.betas, eps=recipe.eps, **common)
    return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)


def compute_logits(recipe, call, x):
    """Call a network on rows in the precision in which it is trained."""
    if recipe.precision == "float32":
        return call(x)
    # A context for each step: autocast remembers weights of reduced precision until it ends.
    with torch.autocast(leaves(x)[0].device.type, torch.bfloat16):
        logits = call(x)
    if logits.dtype == torch.bfloat16:
        return logits.float()
    return logits


def row_losses(recipe, logits, y):
    """Compute the loss of each row, (B,)."""
    if recipe.loss is None:
        return nn.functional.cross_entropy(logits, y, reduction="none")
    if recipe.predicts_numbers:
        return NUMBER_LOSSES[recipe.loss](logits[:, 0], y, reduction="none")
    losses = recipe.loss(logits, y)
    if losses.shape != (len(logits),):
        raise ValueError(
            f"loss must give one number for each row, of shape ({len(logits)},); got shape "
            f"{tuple(losses.shape)}. Pass reduction='none' to it"
        )
    return losses


def set_lr(optimizer, recipe, step, n_steps):
    """Set the learning rate of a step."""
    if recipe.schedule != "constant":
        optimizer.param_groups[0]["lr"] = recipe.lr * float(recipe.schedule(step, n_steps))


@lru_cache(maxsize=16)
def epoch_order(n_rows, seed, epoch):
    """Draw the permutation of all rows that an epoch follows."""
    return np.random.default_rng([seed, epoch]).permutation(n_rows)


def rows_per_batch(recipe, n_rows):
    """Return the size of the largest batch that there can be."""
    return min(recipe.batch_size, n_rows)


def epoch_batches(mask, seed, epoch, recipe):
    """List the rows of each batch of an epoch of one copy.

    Parameters
    ----------
    mask : ndarray of shape (n_rows,), bool
        Rows that the copy is trained on.
    seed : int
        Seed of the order.
    epoch : int
        Counted from 0.
    recipe : Recipe
        Its ``batch_size`` and ``batches``.

    Returns
    -------
    ndarray of shape (n_batches, batch_size), int64
        Rows in order; -1 pads at the end of a batch. No batch is empty.
    """
    rows = epoch_order(len(mask), seed, epoch)
    position = np.flatnonzero(mask[rows])
    batch_size = rows_per_batch(recipe, len(mask))
    rows = rows[position]
    # Where each row stands in what is cut: among all rows, or among those that remain.
    cut = position
    if recipe.batches == "own":
        cut = np.arange(len(rows))
    batch = cut // batch_size
    starts = np.append(True, batch[1:] != batch[:-1])  # batches without rows vanish here
    start = np.flatnonzero(starts)
    batch = np.cumsum(starts) - 1
    table = np.full((len(start), batch_size), -1)
    table[batch, np.arange(len(rows)) - start[batch]] = rows
    return table


def count_steps(mask, seed, recipe):
    """Count the steps that a copy takes in all."""
    if recipe.batches == "own":
        return recipe.max_epochs * -(-int(mask.sum()) // recipe.batch_size)
    full, rest = divmod(len(mask), recipe.batch_size)
    n_batches = full + (rest > 0)
    if len(mask) - mask.sum() < (rest or recipe.batch_size):
        return recipe.max_epochs * n_batches  # too few rows removed to empty a batch
    batches = (
        np.flatnonzero(mask[epoch_order(len(mask), seed, epoch)]) // recipe.batch_size
        for epoch in range(recipe.max_epochs)
    )
    return sum(1 + np.count_nonzero(np.diff(batch)) for batch in batches)


def form_groups(masks, seeds, pending, size, recipe):
    """Divide copies into groups that are trained together.

    Parameters
    ----------
    masks : ndarray of shape (n_copies, n_rows), bool
        Rows of each copy.
    seeds : sequence of int
        Seed of each copy's order.
    pending : ndarray of shape (n,), int
        Copies to train.
    size : int
        Copies in a group at most.
    recipe : Recipe
        Copies whose learning rate changes share it, so they have to take equally many steps.

    Yields
    ------
    copies : ndarray of shape (n_group,), int
        Numbers of copies; groups differ little in size.
    n_steps : list of int
        Steps that each takes.
    """
    steps = np.array([count_steps(masks[copy], seeds[copy], recipe) for copy in pending], int)
    if recipe.schedule == "constant":
        together = [np.argsort(steps, kind="stable")]  # a group lasts as its longest copy
    else:
        together = [np.flatnonzero(steps == n) for n in np.unique(steps)]
    for members in together:
        n_groups = -(-len(members) // size)
        for group in np.array_split(members, max(n_groups, 1)):
            if len(group):
                yield pending[group], steps[group].tolist()


def group_batches(masks, seeds, recipe, block=64):
    """Yield batches of several copies, side by side.

    Parameters
    ----------
    masks : ndarray of shape (n_copies, n_rows), bool
        Rows of each copy.
    seeds : sequence of int
        Seed of each copy's order.
    recipe : Recipe
        Its ``batch_size``, ``batches`` and ``max_epochs``.
    block : int
        Largest number of steps given at once, which bounds memory.

    Yields
    ------
    ndarray of shape (n_copies, n_steps, batch_size), int64
        The next steps; a copy that has taken all its steps has batches of -1.
    """
    epochs = [iter(range(recipe.max_epochs)) for _ in seeds]
    batch_size = rows_per_batch(recipe, masks[0].size)
    waiting = [np.empty((0, batch_size), int) for _ in seeds]
    while True:
        for copy, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
            while len(waiting[copy]) < block and (epoch := next(epochs[copy], None)) is not None:
                new = epoch_batches(mask, seed, epoch, recipe)
                waiting[copy] = np.concatenate([waiting[copy], new])
        size = min(block, max(map(len, waiting)))
        if size == 0:
            return
        rows = np.full((len(seeds), size, batch_size), -1)
        for copy, batches in enumerate(waiting):
            rows[copy, : len(batches[:size])] = batches[:size]
            waiting[copy] = batches[size:]
        yield rows


def check_masks(masks, n_rows):
    """Return masks as an array of bool (n_copies, n_rows), each of which keeps a row or more."""
    masks = as_indicator(masks, "masks")
    if masks.ndim != 2 or masks.shape[1] != n_rows or len(masks) == 0:
        raise ValueError(
            f"masks must have shape (n_copies, {n_rows}), True where a copy is trained on a row; "
            f"got an array of shape {masks.shape}"
        )
    empty = np.flatnonzero(~masks.any(1))
    if len(empty):
        raise ValueError(
            f"masks must leave each copy a row or more, but copies {empty.tolist()} keep no row"
        )
    return masks


def check_seeds(seeds, n_copies):
    """Return seeds as a list, or None."""
    if seeds is None:
        return None
    seeds = np.asarray(seeds)
    if seeds.shape != (n_copies,) or seeds.dtype.kind not in "iu" or seeds.min() < 0:
        raise ValueError(
            f"seeds must be {n_copies} integers of at least 0, one for each copy; got "
            f"{seeds.dtype} of shape {seeds.shape}"
        )
    return seeds.tolist()
