"""Training copies of a network: one by one, or stacked in one tensor per parameter.

Shapes in comments: G copies of a group, B rows of a batch, C classes.
"""

import copy
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.utils.flop_counter import FlopCounterMode

from .._utils.arguments import as_device
from .._utils.restored import restored_generators
from .._utils.vmap import quiet_vmap
from ..tangent._batches import map_structure, n_batch_rows, take_batch
from ..tangent._functional import ForwardModule
from ._networks import OneNumber, call_network, check_trainable, first_outputs, named, usable
from ._schedule import build_optimizer, compute_logits, group_batches, row_losses, set_lr

# What one step of a copy may cost, in floating point operations, for stacking to pay on a CPU:
# above it the time goes into the operations themselves, not into calling them.
_CPU_FLOPS = 2**25
_CPU_BYTES = 2**25  # of a group; more does not stay in the processor's caches
_CPU_LEAST = 4  # copies; fewer lose more by stacking than they gain
_CPU_COPIES = 32
_CUDA_COPIES = 256
_EVALUATION_ROWS = 2**13  # rows times copies in one pass


class Network:
    """The working copy of a module or of what a factory makes, on the device.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Module that every copy starts from, or a function without arguments that makes one with
        weights drawn from torch's global generator.
    forward : callable or None
        ``forward(module, x)`` gives logits; None calls the module.
    device : str or torch.device
        Where copies are trained; "auto" is CUDA where there is a device.
    seed : int
        A factory is called with this seed to see the network.
    are_numbers : bool, default=False
        Whether outputs are one number for each row, and no logits.

    Attributes
    ----------
    module : torch.nn.Module
        Its weights are those of whichever copy was loaded last.
    device : torch.device
        Where it is.
    dtype : torch.dtype
        Precision of its first trainable parameter.
    """

    @torch.inference_mode(False)
    def __init__(self, model, forward, device, seed, are_numbers=False):
        self.device = as_device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self._forward = forward or call_network
        self._are_numbers = are_numbers
        if are_numbers:
            self._forward = OneNumber(self._forward)
        self._factory = None if isinstance(model, nn.Module) else model
        if self._factory is None:
            check_trainable(model)
            self.module = self._adapt(copy.deepcopy(model))
        else:
            self.module = self._make(seed)
        trainable = [p for p in self.module.parameters() if p.requires_grad]
        if not trainable:
            raise ValueError(
                "model must have a parameter with requires_grad=True to train, got none"
            )
        self.dtype = trainable[0].dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                "model must have parameters in single or double precision, got "
                f"{self.dtype}. Pass a copy of it, for instance copy.deepcopy(model).float()"
            )
        self._initial = _state(self.module)

    def initial_state(self, seed):
        """Return parameters and buffers, by name, that a copy with this seed starts from."""
        if self._factory is None:
            return self._initial
        state = _state(self._make(seed))
        shapes = {name: t.shape for name, t in state.items()}
        if shapes != {name: t.shape for name, t in self._initial.items()}:
            raise ValueError(
                "model must make the same layers every time, but with seed "
                f"{seed} it made a network of another shape"
            )
        return state

    def seeded(self, seed):
        """Seed the global generators, and restore them afterwards."""
        return restored_generators(self.device, seed)

    def _make(self, seed):
        with self.seeded(seed):
            module = self._factory()
        if not isinstance(module, nn.Module):
            raise TypeError(
                "model must be a torch.nn.Module, a function without arguments that makes one, or "
                f"a scikit-learn estimator; calling it gave {type(module)}"
            )
        check_trainable(module)
        return self._adapt(module)

    def _adapt(self, module):
        return ForwardModule(module, self._forward).to(self.device)

    def load(self, state):
        """Give the working copy these parameters and buffers."""
        with torch.no_grad():
            for name, value in named(self.module).items():
                value.copy_(state[name])
                value.grad = None

    # --- what it takes to stack ---

    @torch.inference_mode(False)
    def obstacle(self, x):
        """Say why copies cannot be stacked, by a few rows, or return None.

        Parameters
        ----------
        x : torch.Tensor of shape (n, ...), or dict of them
            Rows, of which a few are used.
        """
        first = self._initial
        second = {k: v * 1.25 if v.is_floating_point() else v for k, v in first.items()}
        states = (first, second)
        x = map_structure(x, lambda part: torch.cat([part[:4]] * 3)[:4])
        all_but_one = take_batch(x, slice(-1))
        self.module.train()
        with torch.no_grad(), self.seeded(0):
            alone = []
            fewer = []
            for state in states:
                self.load(state)
                alone.append(self.module(_clone(x)))  # it may write to its input
                for name, value in named(self.module).items():
                    if not torch.equal(value, state[name]):
                        return f"its forward pass changes {name.removeprefix('inner.')!r}"
                fewer.append(self.module(_clone(all_but_one)))
            stacked = {name: torch.stack([s[name] for s in states]) for name in first}
            try:
                twice = map_structure(x, lambda part: part.expand(2, *part.shape))
                together = self._stacked_call()(stacked, twice)
            except Exception as error:  # anything that the module's own code can raise
                return f"torch.func.vmap cannot run it: {str(error).strip().splitlines()[0]}"
        if not all(map(_close, alone, together)):
            return "its stacked output is another one"
        if not all(_close(a[:-1], b) for a, b in zip(alone, fewer, strict=True)):
            return "the rows of a batch influence each other"
        return None

    def group_size(self, x, y, recipe, n_copies):
        """Choose how many copies to stack, by the network's size: the same number every time."""
        flops, activations = self._cost(x, y, recipe)
        weights = sum(p.nbytes for p in self.module.parameters())
        bytes_per_copy = 6 * weights + 3 * activations
        if self.device.type == "cuda":
            memory = torch.cuda.get_device_properties(self.device).total_memory // 2
            return int(np.clip(memory // bytes_per_copy, 1, min(_CUDA_COPIES, n_copies)))
        size = min(_CPU_BYTES // bytes_per_copy, _CPU_COPIES, n_copies)
        return 1 if flops > _CPU_FLOPS or size < _CPU_LEAST else int(size)

    @torch.inference_mode(False)
    def _cost(self, x, y, recipe):
        """Count the operations of a step, and the bytes that it keeps for the backward pass."""
        x = _clone(take_batch(x, slice(recipe.batch_size)))
        y = y[: recipe.batch_size].clone()
        weights = {p.data_ptr() for p in self.module.parameters()}
        kept = {}

        def pack(tensor):
            if tensor.data_ptr() not in weights:
                kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        self.load(self._initial)
        self.module.train()
        counter = FlopCounterMode(display=False)
        with counter, torch.enable_grad(), self.seeded(0):
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                losses = row_losses(recipe, self.module(x), y)
            losses.mean().backward()
        self.load(self._initial)
        return counter.get_total_flops(), sum(kept.values())

    @torch.inference_mode(False)
    def n_columns(self, **inputs):
        """Count the columns of outputs, the same for some rows of each of the inputs, by name."""
        self.load(self._initial)
        self.module.eval()
        columns = []
        with torch.no_grad(), self.seeded(0):
            for name, x in inputs.items():
                few = _clone(take_batch(x, slice(2)))
                outputs = first_outputs(self.module, name, few, self._are_numbers)
                columns.append(outputs.shape[1])
        if len(set(columns)) > 1:
            raise ValueError(f"X and X_eval must give equally many logits, got {columns}")
        return columns[0]

    def signature(self):
        """Return what tells the network and its weights from others."""
        self.load(self._initial)
        return (self.module,)

    def _stacked_call(self, in_dims=(0, 0)):
        stacked = vmap(lambda state, x: functional_call(self.module, state, (x,)), in_dims=in_dims)

        def call(state, x):
            with quiet_vmap():
                return stacked(state, x)

        return call

    # --- training ---

    @torch.inference_mode(False)
    def train(self, x, y, x_eval, masks, seeds, n_steps, recipe, tick):
        """Train the copies of a group, stacked if there are several, and evaluate them.

        Parameters
        ----------
        x, y : torch.Tensor of shape (n_rows, ...) and (n_rows,)
            All rows, on the device.
        x_eval : torch.Tensor of shape (n_eval, ...)
            What each copy is evaluated on.
        masks : ndarray of shape (G, n_rows), bool
            Rows of each copy.
        seeds, n_steps : sequence of int
            Seed of each copy, and the steps that it takes.
        recipe : Recipe
            How.
        tick : callable
            Called after each step with the copies' share of work that is done.

        Returns
        -------
        ndarray of shape (G, n_eval, C)
            Logits; nan for a copy that diverged.
        """
        names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        with torch.enable_grad(), restored_generators(self.device):
            if len(masks) > 1:
                state, finite = self._train_stacked(x, y, masks, seeds, n_steps, recipe, tick)
                call = self._stacked_call((0, None))
                logits = self._evaluate(lambda rows: call(state, rows), x_eval, len(masks))
            else:
                finite = self._train_one(x, y, masks[0], seeds[0], n_steps[0], recipe, tick)[None]
                logits = self._evaluate(lambda rows: self.module(rows)[None], x_eval, 1)
                state = {name: p[None] for name, p in self.module.named_parameters()}
        for name in names:
            finite = finite & state[name].detach().flatten(1).isfinite().all(1)
        logits[~finite.cpu().numpy() | ~usable(logits)] = np.nan
        return logits

    def _train_one(self, x, y, mask, seed, n_steps, recipe, tick):
        """Train one copy with the module and the optimiser as they are: the reference.

        Returns whether every loss was finite.
        """
        self.load(self.initial_state(seed))
        self.module.train()
        optimizer = build_optimizer(
            recipe, [p for p in self.module.parameters() if p.requires_grad]
        )
        step = 0
        finite = torch.ones((), dtype=torch.bool, device=self.device)
        # What the module draws, say for dropout, depends on the copy's seed and on nothing else
        # (negative: not the numbers that its weights were drawn from).
        with self.seeded(-1 - seed):
            for block in group_batches([mask], [seed], recipe):
                sizes = (block[0] >= 0).sum(1).tolist()
                for rows, size in zip(self._to_device(block[0]), sizes, strict=True):
                    rows = rows[:size]
                    set_lr(optimizer, recipe, step, n_steps)
                    optimizer.zero_grad()
                    logits = compute_logits(recipe, self.module, take_batch(x, rows))
                    loss = row_losses(recipe, logits, y[rows]).mean()
                    loss.backward()
                    optimizer.step()
                    finite &= loss.detach().isfinite()
                    step += 1
                    tick(1 / n_steps)
        return finite

    def _train_stacked(self, x, y, masks, seeds, n_steps, recipe, tick):
        """Train copies; return their parameters and buffers, and whether losses were finite."""
        state = self._stack(seeds)
        optimizer = build_optimizer(recipe, [v for v in state.values() if v.requires_grad])
        call = self._stacked_call()
        self.module.train()
        n_copies = len(seeds)
        last = max(n_steps)
        ragged = len(set(n_steps)) > 1
        final = {k: v.detach().clone() for k, v in state.items()} if ragged else state
        finite = torch.ones(n_copies, dtype=torch.bool, device=self.device)
        step = 0
        for block in group_batches(masks, seeds, recipe):
            sizes = (block >= 0).sum(2)  # (G, steps)
            widths = sizes.max(0).tolist()
            rows = self._to_device(block)
            sizes = self._to_device(sizes)
            for i, width in enumerate(widths):
                batch = rows[:, i, :width]  # (G, B)
                # Padding repeats a row of the batch: what a copy leaves out, it never computes.
                at = torch.where(batch < 0, batch[:, :1], batch).clamp(min=0)
                # One learning rate will do: copies with a schedule take equally many steps.
                set_lr(optimizer, recipe, step, last)
                optimizer.zero_grad()
                logits = compute_logits(recipe, partial(call, state), take_batch(x, at))
                logits = logits.flatten(0, 1)  # (G B, C)
                losses = row_losses(recipe, logits, y[at].flatten(0, 1)).view(n_copies, -1)
                losses = losses.masked_fill(batch < 0, 0)
                # A copy's parameters are in its own loss only: the gradient of the sum is theirs.
                losses = losses.sum(1) / sizes[:, i].clamp(min=1)
                losses.sum().backward()
                optimizer.step()
                finite &= losses.detach().isfinite()
                step += 1
                tick(n_copies / last)
                if ragged:  # what the group does later with copies that are done is not kept
                    for done in np.flatnonzero(np.asarray(n_steps) == step):
                        for name, value in final.items():
                            value[done] = state[name][done].detach()
        return final, finite

    def _stack(self, seeds):
        """Return initial parameters (leaves that can be trained) and buffers, each (G, ...)."""
        if self._factory is None:
            states = dict.fromkeys(seeds, self._initial)
        else:
            states = {seed: self.initial_state(seed) for seed in dict.fromkeys(seeds)}
        parameters = dict(self.module.named_parameters())
        linear = {
            f"{name}.weight" for name, m in self.module.named_modules() if type(m) is nn.Linear
        }
        stacked = {}
        for name in self._initial:
            values = [states[seed][name] for seed in seeds]
            if name in linear:
                # Transposed in memory, as batched products leave its gradient: otherwise every
                # step copies the gradient, which costs as much as the products on a CPU.
                values = torch.stack([v.mT for v in values]).mT
            else:
                values = torch.stack(values)
            trained = name in parameters and parameters[name].requires_grad
            stacked[name] = values.requires_grad_() if trained else values
        return stacked

    def _evaluate(self, function, x_eval, n_copies):
        """Compute logits (G, n_eval, C) of a function of rows that gives (G, n, C)."""
        self.module.eval()
        size = max(1, _EVALUATION_ROWS // n_copies)
        starts = range(0, n_batch_rows(x_eval), size)
        chunks = (take_batch(x_eval, slice(start, start + size)) for start in starts)
        with torch.no_grad():
            # A module may write to its input, which is the user's.
            return torch.cat([function(_clone(chunk)).cpu() for chunk in chunks], 1).numpy()

    def _to_device(self, array):
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _clone(x):
    return map_structure(x, torch.clone)


def _state(module):
    return {name: value.detach().clone() for name, value in named(module).items()}


def _close(a, b):
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max()), equal_nan=True)
