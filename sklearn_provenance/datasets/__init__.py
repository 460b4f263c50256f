"""Loaders for the data sets that provenance and attribution are studied on.

Every loader returns a :class:`~sklearn.utils.Bunch` whose arrays belong to the caller. Where the
files are searched is told by ``data_home``, the environment variable ``SKLEARN_PROVENANCE_DATA``
or the system's own package, in that order.
"""

from sklearn_provenance.datasets._cifar10 import load_cifar10
from sklearn_provenance.datasets._digits import load_digits
from sklearn_provenance.datasets._faces import load_faces
from sklearn_provenance.datasets._mnist import load_fashion_mnist, load_mnist
from sklearn_provenance.datasets._rte import load_rte

__all__ = [
    "load_cifar10",
    "load_digits",
    "load_faces",
    "load_fashion_mnist",
    "load_mnist",
    "load_rte",
]
