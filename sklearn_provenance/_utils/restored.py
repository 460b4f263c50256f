"""What comes out as it went in: global generators, and an estimator whose fit fails."""

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
        A CUDA device whose generator is restored, too.
    seed : int, default=None
        Seed of all of them inside, which may be negative; None leaves them where they are.
    """
    devices = [device] if device is not None and device.type == "cuda" else []
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        try:
            if seed is not None:
                torch.default_generator.manual_seed(seed)
                for one in devices:
                    torch.cuda.default_generators[one.index or 0].manual_seed(seed)
                np.random.seed(seed % 2**32)  # noqa: NPY002
                random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextmanager
def restored_on_error(estimator):
    """Give an estimator back the attributes that it had if what is inside fails."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
