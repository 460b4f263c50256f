"""Restore global generators, and an estimator whose fit fails."""

import random
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def restored_generators(device=None, seed=None):
    """Restore the global generators of torch, numpy and Python afterwards.

    Parameters
    ----------
    device : torch.device, default=None
        CUDA device whose generator is restored, too.
    seed : int, default=None
        Seed for all of them, which may be negative; None leaves them as they are.
    """
    devices = []
    if device is not None and device.type == "cuda":
        devices.append(device)
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    with torch.random.fork_rng(devices=devices):
        try:
            if seed is not None:
                torch.default_generator.manual_seed(seed)
                if device is not None and device.type == "cuda":
                    torch.cuda.default_generators[device.index or 0].manual_seed(seed)
                np.random.seed(seed % 2**32)  # noqa: NPY002
                random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextmanager
def restored_on_error(estimator):
    """Restore the attributes of an estimator if the code inside fails."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
