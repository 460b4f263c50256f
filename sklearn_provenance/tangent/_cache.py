"""Kernels and features kept on disk, found again by what they are computed from."""

import secrets

from sklearn.utils.validation import check_memory

from .._utils.hashing import fingerprint
from ._fingerprint import transformer_fingerprint


class Cache:
    """Call functions of inputs and arrays, or return their earlier results.

    A grid over the noise variance fits the same model on the same fold again and again. A result
    is found by a digest of the weights, the code of the layers, the rows and their labels.

    Parameters
    ----------
    memory : None, str or joblib.Memory
        Where results are kept; None keeps nothing.
    kind : str
        Distinguishes results of the same transformer.
    transformer : TangentFeatures, default=None
        Holds the module, how it is called and what is measured; None if inputs are features.
    """

    def __init__(self, memory, kind, transformer=None):
        self.memory = None
        self.key = (kind,)
        if memory is None:
            return
        self.memory = check_memory(memory)
        if transformer is not None:
            network = transformer_fingerprint(transformer)
            self.key = (kind, network)
            if network is None:  # nothing tells this network from another
                self.key = (kind, secrets.token_hex())
                self.memory = None

    def __call__(self, name, function, *arguments):
        """Call ``function(*arguments)``, or return its result for this name and arguments."""
        digest = None
        if self.memory is not None:
            digest = fingerprint(self.key, name, arguments)
        if digest is None:
            return function(*arguments)
        ignored = ["function", "arguments"]
        return self.memory.cache(_call, ignore=ignored)(digest, function, arguments)


def _call(digest, function, arguments):
    """Call a function; joblib knows the result by the digest alone."""
    return function(*arguments)
