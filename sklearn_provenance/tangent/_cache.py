"""Kernels and features kept on disk, found again by what they are computed from."""

import secrets

from sklearn.utils.validation import check_memory

from .._utils.hashing import fingerprint
from ._fingerprint import transformer_fingerprint


class Cache:
    """Calls functions of inputs and arrays, or returns what they gave before.

    A grid over the noise variance fits the same model on the same fold again and again: what is
    computed is known by the weights, the code of the layers, the rows and their labels.

    Parameters
    ----------
    memory : None, str or joblib.Memory
        Where results are kept; None keeps nothing.
    kind : str
        Tells apart what shares the transformer.
    transformer : TangentFeatures, default=None
        Module, how it is called and what is differentiated; None where inputs are features.
    """

    def __init__(self, memory, kind, transformer=None):
        self.memory = None if memory is None else check_memory(memory)
        self.key = (kind,)
        if self.memory is not None and transformer is not None:
            network = transformer_fingerprint(transformer)
            # A network that cannot be seen into is never found again.
            self.key = (kind, network or secrets.token_hex())
            if network is None:
                self.memory = None

    def __call__(self, name, function, *arguments):
        """``function(*arguments)``, known by its name and its arguments."""
        digest = None if self.memory is None else fingerprint(self.key, name, arguments)
        if digest is None:
            return function(*arguments)
        ignored = ["function", "arguments"]
        return self.memory.cache(_run, ignore=ignored)(digest, function, arguments)


def _run(digest, function, arguments):
    return function(*arguments)
