"""Copies of a network, as the engine trains them."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse

from .._utils.hashing import fingerprint
from .._utils.rows import as_given, n_rows
from .._utils.table_ids import ids_named
from ..tangent._batches import as_batch, n_batch_rows
from ..tangent._sequences import check_sequences
from ._networks import as_numbers, as_targets
from ._schedule import Recipe, form_groups
from ._stacked import Network


class NetworkCopies:
    """Copies of a network.

    ``groups(pending, tick)`` trains copies group by group; ``classes`` are the columns of their
    outputs, None where these are numbers, ``route`` says how they are trained, and ``digests``
    tells them from others.
    """

    def __init__(
        self,
        model,
        X,
        y,
        X_eval,
        masks,
        seeds,
        recipe=None,
        forward=None,
        group_size="auto",
        device="auto",
        n_jobs=None,
    ):
        if n_jobs is not None:
            raise ValueError(
                f"n_jobs must be None for a network, got {n_jobs}. Its copies take group_size"
            )
        self.recipe = recipe or Recipe()
        self.masks = masks
        self.seeds = [0] * len(masks) if seeds is None else seeds
        self.forward = forward
        are_numbers = self.recipe.predicts_numbers
        self.network = Network(model, forward, device, self.seeds[0], are_numbers)
        self.x = _as_batch(X, "X", self.network)
        self.x_eval = _as_batch(X_eval, "X_eval", self.network)
        n_columns = self.network.n_columns(X=self.x, X_eval=self.x_eval)
        if are_numbers:
            self.classes = None
            self.y = as_numbers(y, self.network, masks.shape[1])
        else:
            self.classes = np.arange(n_columns)
            self.y = as_targets(y, self.network, n_columns, self.recipe.loss is None)
        with ids_named(self.network.module.inner):
            self.size, self.route = self._grouping(group_size)

    def _grouping(self, group_size):
        """Choose how many copies are trained together, and say why."""
        if group_size == 1 or (group_size == "auto" and len(self.masks) == 1):
            return 1, "one by one"
        obstacle = self.network.obstacle(self.x)
        if obstacle is not None:
            if group_size != "auto":
                raise ValueError(
                    f'group_size must be 1 or "auto" for this network, got {group_size}: its '
                    f"copies cannot be stacked, because {obstacle}"
                )
            return 1, f"one by one ({obstacle})"
        if group_size == "auto":
            n_copies = len(self.masks)
            group_size = self.network.group_size(self.x, self.y, self.recipe, n_copies)
        if group_size == 1:
            return 1, "one by one"
        return int(group_size), f"stacked by {group_size}"

    def digests(self):
        """Return what tells the copies from those of another network or recipe."""
        return {
            "network": fingerprint(*self.network.signature(), self.forward),
            "recipe": fingerprint(vars(self.recipe)),
        }

    def plans(self, pending):
        """Yield numbers of copies that are trained together, and what :meth:`train` takes."""
        for group, n_steps in form_groups(self.masks, self.seeds, pending, self.size, self.recipe):
            yield group, (self.masks[group], [self.seeds[number] for number in group], n_steps)

    def train(self, plan, tick):
        """Train a group of copies, and return their outputs."""
        with ids_named(self.network.module.inner):
            outputs = self.network.train(self.x, self.y, self.x_eval, *plan, self.recipe, tick)
        if self.classes is None:
            return outputs[:, :, 0]  # (G, n_eval)
        return outputs

    def groups(self, pending, tick):
        """Yield numbers of copies and their outputs, group by group."""
        for group, plan in self.plans(pending):
            yield group, self.train(plan, tick)

    def without_plans(self):
        """Copy what :meth:`train` needs beside plans."""
        trainer = copy.copy(self)
        trainer.masks = trainer.seeds = None
        return trainer


def _as_batch(X, name, network):
    """Return rows on the network's device; errors name the argument."""
    sparse = issparse(X)
    if isinstance(X, torch.Tensor):
        sparse = X.layout != torch.strided
        if X.is_meta or X.is_complex():
            raise ValueError(
                f"{name} must hold real values, got a tensor of {X.dtype} on {X.device}"
            )
    if sparse:
        dense = "to_dense" if isinstance(X, torch.Tensor) else "toarray"
        raise ValueError(
            f"{name} must be dense for a network, got sparse rows. Pass {name}.{dense}()"
        )
    try:
        if isinstance(X, Mapping):
            X = as_given(X, name)  # lists of tensors are stacked
        x = as_batch(X, network)
        n_found = n_batch_rows(x)
        check_sequences(network.module.inner, x, network.module.function)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be used: {error}") from error
    if n_found != n_rows(X):
        raise ValueError(
            f"{name} must be rows or a dict of inputs, each with all rows; got a "
            f"{type(X).__name__} of {n_rows(X)} tensors with {n_found} rows each. Pass a dict, or "
            "torch.stack(rows)"
        )
    return x
