"""ProvenanceClassifier: a classifier that names the training rows behind its predictions."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from torch import nn

from .._utils.arguments import check_labels, real, store_arguments
from .._utils.labels import positions
from .._utils.types import RandomState, Rows, Targets
from ._assembly import assemble_net, update_net
from ._docs import documented
from ._estimator import ProvenanceEstimator
from ._index_branch import IndexBranchMixin
from ._inference import class_proba, nearest_in_class, predicted_class
from ._targets import ClassTargets


@documented
class ProvenanceClassifier(IndexBranchMixin, ClassTargets, ClassifierMixin, ProvenanceEstimator):
    """Classify by a neural network that names the training rows behind each prediction.

    Beside its class branch the network has an index branch with one output per training row,
    so that an explanation is part of the forward pass [1]_.

    Parameters
    ----------
    architecture : {"class_conditional", "class_independent", "single_branch"}, \
default="class_conditional"
        What the network predicts:

        - "class_conditional": the class, then the training row inside that class;
        - "class_independent": the class, and the training row among all;
        - "single_branch": the training row among all; the class follows from it.
    alpha : float in [0, 1], default=0.3
        Mixing of the index targets (Eq. 1): with 0 the index branch learns to name the row
        itself, with 1 any other row of its class. The paper mixes in the single branch only;
        ``alpha=0`` in two branches reproduces it.
    {mixing} {index_loss} {n_negatives} {backbone}
    width : {"small", "medium", "large", "xlarge", "paper"}, default="medium"
        Layer sizes of section 7.6 in [1]_. "paper" stands for the networks of 7.1 (single branch)
        and 7.2 (two branches), which need the CNN or a backbone that you give.
    dropout : float in [0, 1), default=0
        Dropout after the fully connected layers of a built-in backbone and of the index branch.
        Section 7.6 has 0.5; ``width="paper"`` has the dropout of 7.1 and 7.2 instead.
    sharing_level : {1, 2, 3, 4} or None, default=None
        How many layers of a built-in backbone two branches share: 1 to 3 convolution blocks, 4
        adds the first fully connected layer. An MLP backbone has 2 layers to share. None shares
        all of them.
    heads : {"shared", "per_class"}, default="shared"
        Whether the classes of a class-conditional network share one index head.
    class_conditioning : bool, default=True
        Whether the index branch of a class-conditional network sees the one-hot class.
    routing : {"hard", "soft"}, default="hard"
        How a class-conditional network spreads index probability over classes: "hard" gives all
        of it to rows of the predicted class, "soft" multiplies by the class probabilities.
    {normalization} {input_shape} {index}
    index_subset : float, int or array-like of int, default=None
        Training rows that get an output: a share or a number of them, drawn as one per class and
        the rest in proportion to the classes, or the rows themselves (their numbers or a mask).
        The other rows train the class branch only; a single branch does not see them. None gives
        every row an output.
    lambda_class, lambda_index : float, default=1
        Weights of the two losses (Eq. 2).
    label_smoothing : float in [0, 1), default=0.05
        Share of the index target that is spread evenly over the row's possible outputs.
    {lr} {lr_index} {weight_decay} {batch_size}
    max_epochs : int, default=40
        Passes over the training rows. The paper takes 80.
    {warmup_epochs} {decay_epochs} {device} {precision}
    {callbacks} {random_state} {warm_start} {verbose}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {n_features_in_} {feature_names_in_} {input_shape_} {index_} {training_}
    candidates_ : {"same_class", "all"}
        Rows that may be named for a query: "same_class", those of its predicted class, in a
        class-conditional network under hard routing.
    history_ : list of dict
        Mean losses in nats, accuracies with dropout on, learning rate and seconds per epoch.
    {net_}

    See Also
    --------
    sklearn.neighbors.KNeighborsClassifier : Names training rows by distance in input space.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_provenance import ProvenanceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = ProvenanceClassifier(width="small", max_epochs=20, random_state=0).fit(X, y)
    >>> float(clf.score(X, y)) > 0.9
    True
    >>> indices, scores = clf.explain(X[:2], k=3)
    >>> indices.shape
    (2, 3)
    """

    _parameter_constraints: dict = {
        **ProvenanceEstimator._parameter_constraints,
        **IndexBranchMixin._parameter_constraints,
        "architecture": [StrOptions({"class_conditional", "class_independent", "single_branch"})],
        "heads": [StrOptions({"shared", "per_class"})],
        "class_conditioning": ["boolean"],
        "routing": [StrOptions({"hard", "soft"})],
        "lambda_class": [real()],
    }

    _STRUCTURE = (
        "architecture",
        "backbone",
        "width",
        "dropout",
        "sharing_level",
        "normalization",
        "heads",
        "class_conditioning",
        "index_subset",
        "device",
        "precision",
        "index_loss",
    )
    _LEAST_CLASSES = 2

    def __init__(
        self,
        architecture: Literal[
            "class_conditional", "class_independent", "single_branch"
        ] = "class_conditional",
        *,
        alpha: float = 0.3,
        mixing: Literal["expected", "sampled"] = "expected",
        index_loss: Literal["full", "sampled"] = "full",
        n_negatives: int = 1024,
        backbone: str | nn.Module | Callable[[], nn.Module] = "auto",
        width: Literal["small", "medium", "large", "xlarge", "paper"] = "medium",
        dropout: float = 0.0,
        sharing_level: int | None = None,
        heads: Literal["shared", "per_class"] = "shared",
        class_conditioning: bool = True,
        routing: Literal["hard", "soft"] = "hard",
        normalization: Literal["scale", "standardize"] = "scale",
        input_shape: tuple[int, ...] | list[int] | None = None,
        index: Any = None,
        index_subset: float | int | ArrayLike | None = None,
        lambda_class: float = 1.0,
        lambda_index: float = 1.0,
        label_smoothing: float = 0.05,
        lr: float = 2e-3,
        lr_index: float | None = None,
        weight_decay: float = 2e-5,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int = 40,
        warmup_epochs: int = 3,
        decay_epochs: int = 8,
        device: str | torch.device = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        callbacks: list | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        store_arguments(locals())

    def _assemble_net(self, seed):
        return assemble_net(self, seed)

    def _update_net(self):
        update_net(self)

    @property
    def _method(self):
        return f"{self.net_.module_.architecture.replace('_', '-')} network"

    def _training_rows(self):
        inputs, target = super()._training_rows()
        if self.net_.module_.has_class_branch:
            return inputs, target
        # A single branch learns nothing from rows without an output.
        kept = torch.as_tensor(self.index_)
        inputs = {name: values[kept] for name, values in inputs.items()}
        target = {name: values[kept] for name, values in target.items()}
        return inputs, target

    def predict(self, X: Rows) -> np.ndarray:
        """Predict classes.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Class labels.
        """
        rows = self._rows(X)
        return self.classes_[predicted_class(self.net_.module_, self._index, rows)]

    def predict_proba(self, X: Rows) -> np.ndarray:
        """Compute class probabilities.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), float32
            Columns follow ``classes_``. A single branch sums the index probability over the rows
            of each class.
        """
        rows = self._rows(X)
        return class_proba(self.net_.module_, self._index, rows)

    def predict_index(self, X: Rows, y: Targets | None = None) -> np.ndarray:
        """Name the training row of largest probability.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.
        y : array-like of shape (n,), default=None
            Classes of the rows. Only training rows of a row's class are named then, and a
            class-conditional network is given the class. None leaves the class to the network.

        Returns
        -------
        indices : ndarray of shape (n,)
            Rows of the X given to fit.

        Raises
        ------
        ValueError
            If y does not have a class of ``classes_`` for each row.
        """
        if y is None:
            return super().predict_index(X)
        rows = self._rows(X)
        labels = positions(self.classes_, check_labels(y, "y", len(rows)), "y")
        return nearest_in_class(self._index_network, self._index, rows, labels)
