"""Run a user's torch module without changing it, also from several threads."""

import itertools
import os
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import torch

from .table_ids import ids_looked_at, ids_named

_REGISTRY = threading.Lock()
_LOCKS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # module -> _Lock
_NUMBERS = itertools.count()


def _forget():
    """Make new locks in a forked process, in which the threads that held the old ones are gone."""
    global _REGISTRY, _LOCKS
    _REGISTRY = threading.Lock()
    _LOCKS = weakref.WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def _held(modules):
    """Hold modules against other threads; a thread may take the same ones again.

    Locks are taken in the order in which they were made, so that two threads with modules that
    share parts do not wait for each other.
    """
    with _REGISTRY:
        locks = [_LOCKS.get(m) or _LOCKS.setdefault(m, _Lock()) for m in modules]
    locks.sort(key=lambda lock: lock.number)
    n_held = 0
    try:
        for lock in locks:
            lock.inner.acquire()
            n_held += 1
        yield
    finally:
        for lock in reversed(locks[:n_held]):
            lock.inner.release()


def held(module):
    """Hold a module against other threads, to read it: torch.func swaps its parameters for a while.

    Parameters
    ----------
    module : torch.nn.Module
        Module, which is held with its submodules.

    Returns
    -------
    context manager
        Context, which a thread may enter again.
    """
    return _held(list(module.modules()))


def state_sums(module):
    """Return exact sums of parameters and buffers, to see whether these have changed."""
    with held(module):  # calls on other threads swap parameters for the time being
        state = [*module.parameters(), *module.buffers()]
        return [float(t.detach().sum(dtype=torch.float64)).hex() for t in state]


class _Lock:
    def __init__(self):
        self.number = next(_NUMBERS)
        self.inner = threading.RLock()


@contextmanager
def evaluation_mode(module):
    """Hold a module in evaluation mode; afterwards modes and buffers are as before.

    Other threads that want the module wait. Flags are set one by one: ``module.eval()`` is
    overridden by modules that then change their weights, for instance to merge a low-rank adapter.

    Parameters
    ----------
    module : torch.nn.Module
        Its submodules keep modes of their own.

    Raises
    ------
    ValueError
        If a table of embeddings is asked for a row that it does not have.
    """
    modules = list(module.modules())
    with _held(modules):
        modes = [m.training for m in modules]
        buffers = [
            (m, name, buffer, buffer.detach().clone(), _version(buffer))
            for m in modules
            if not type(m).__module__.startswith("torch.nn.modules.")  # these only read them
            for name, buffer in m._buffers.items()
            if buffer is not None
        ]
        try:
            _set_modes(modules, itertools.repeat(False))
            with ids_named(module):
                yield
        finally:
            _set_modes(modules, modes)
            for m, name, buffer, content, version in buffers:
                # Modules of torch.jit make new tensors of the same numbers at each look.
                if isinstance(m._buffers, dict) and m._buffers.get(name) is not buffer:
                    m._buffers[name] = buffer
                if version is None or _version(buffer) != version:
                    # Only in inference mode may tensors be written to that were made in it.
                    with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                        buffer.copy_(content)


@contextmanager
def evaluation(module, draws_on=None):
    """Hold a module in evaluation mode with gradients on, even where the caller has them off.

    Parameters
    ----------
    module : torch.nn.Module
        See :func:`evaluation_mode`.
    draws_on : torch.device, default=None
        Device on which the module may draw random numbers. The global generators, and that of the
        device, are restored afterwards. None restores none.
    """
    with evaluation_mode(module), torch.inference_mode(False), torch.enable_grad():
        generators = None
        if draws_on is not None:
            generators = Generators(draws_on)
        try:
            with ids_looked_at(module):
                yield
        finally:
            if generators is not None:
                generators.restore()


def _set_modes(modules, modes):
    """Set the modes of modules, one flag at a time."""
    for m, mode in zip(modules, modes):  # noqa: B905, modes may be endless
        if m.training is not mode:
            m.training = mode


def _version(tensor):
    """Return the number of in-place writes to a tensor; None where torch does not count them."""
    if tensor.is_inference():
        return None
    return tensor._version


class Generators:
    """State of the global generators, to see whether something has drawn from them.

    Parameters
    ----------
    device : torch.device
        GPU whose generator is kept besides those of the CPU and of NumPy.
    """

    def __init__(self, device):
        self.numpy = np.random.get_state()  # noqa: NPY002
        self.torch = torch.get_rng_state()
        self.device = device
        if device.type == "cuda":
            self.cuda = torch.cuda.get_rng_state(device)

    def restore(self):
        """Restore the generators.

        Returns
        -------
        bool
            Whether something had drawn from them.
        """
        now = np.random.get_state()  # noqa: NPY002
        drawn = now[2:] != self.numpy[2:] or not np.array_equal(now[1], self.numpy[1])
        if drawn:
            np.random.set_state(self.numpy)  # noqa: NPY002
        if not torch.equal(torch.get_rng_state(), self.torch):
            torch.set_rng_state(self.torch)
            drawn = True
        if self.device.type == "cuda":
            now = torch.cuda.get_rng_state(self.device)
            if not torch.equal(now, self.cuda):
                torch.cuda.set_rng_state(self.cuda, self.device)
                drawn = True
        return drawn
