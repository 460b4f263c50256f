"""Loaders for the data sets that provenance and attribution are studied on.

Every loader returns a :class:`~sklearn.utils.Bunch` whose arrays belong to the caller. Where the
files are searched is told by ``data_home``, the environment variable ``SKLEARN_PROVENANCE_DATA``
or the system's own package, in that order. Known corruption of such data, backdoors and wrong
labels, is what attribution is tested on.
"""

from sklearn_provenance.datasets._cifar10 import load_cifar10
from sklearn_provenance.datasets._corruption import apply_trigger, flip_labels, poison_backdoor
from sklearn_provenance.datasets._counterfactual import load_counterfactual_truth
from sklearn_provenance.datasets._digits import load_digits
from sklearn_provenance.datasets._distortions import DISTORTIONS, distort
from sklearn_provenance.datasets._faces import load_faces
from sklearn_provenance.datasets._mnist import load_fashion_mnist, load_mnist
from sklearn_provenance.datasets._rte import load_rte

__all__ = [
    "DISTORTIONS",
    "apply_trigger",
    "distort",
    "flip_labels",
    "load_cifar10",
    "load_counterfactual_truth",
    "load_digits",
    "load_faces",
    "load_fashion_mnist",
    "load_mnist",
    "load_rte",
    "poison_backdoor",
]
