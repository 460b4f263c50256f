"""Loaders for the data sets that provenance and attribution are studied on.

Every loader returns a :class:`~sklearn.utils.Bunch` whose arrays belong to the caller. It looks for
the files in the folder ``data_home``, in that of the environment variable
``SKLEARN_PROVENANCE_DATA``, and in that of a system package, in this order. Other functions put
backdoors, wrong labels and distortions into such data, to test attribution and networks on them.
"""

from ._cifar10 import load_cifar10
from ._corruption import apply_trigger, flip_labels, poison_backdoor
from ._counterfactual import load_counterfactual_truth
from ._digits import load_digits
from ._distortions import DISTORTIONS, distort
from ._faces import load_faces
from ._letters import load_letters
from ._mnist import load_fashion_mnist, load_mnist
from ._rte import load_rte
from ._shifted_targets import shift_targets

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
    "load_letters",
    "load_mnist",
    "load_rte",
    "poison_backdoor",
    "shift_targets",
]
