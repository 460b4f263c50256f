"""ProvenanceClassifier: a classifier that names the training rows behind its predictions."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from torch import nn

from .._utils.arguments import check_labels, real, whole
from .._utils.labels import positions
from ._assembly import STRUCTURE, assemble_net, network_structure, update_net
from ._backbones import SIZES
from ._estimator import ProvenanceEstimator
from ._index_branch import IndexBranchMixin
from ._inference import class_proba, index_features, nearest_in_class
from ._targets import ClassTargets


class ProvenanceClassifier(IndexBranchMixin, ClassTargets, ClassifierMixin, ProvenanceEstimator):
    """A neural classifier that names the training rows behind each prediction.

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
        Mixing of the index targets (Eq. 1): 0 asks for a row's own index, 1 for any other row
        of its class. The paper mixes in the single branch only; ``alpha=0`` in two branches
        reproduces it.
    mixing : {"expected", "sampled"}, default="expected"
        Whether the loss uses the expectation of the mixed target, or one drawn target per step as
        in the paper.
    backbone : {"auto", "cnn", "mlp"}, Module or callable, default="auto"
        What turns inputs into features. "auto" takes "cnn" for images and "mlp" for rows. A
        module is copied with its weights; a callable is called without arguments and returns a
        module. Both map a batch of inputs to features of any shape, which are flattened.
    width : {"small", "medium", "large", "xlarge", "paper"}, default="medium"
        Layer sizes: those of section 7.6, or with "paper" the networks of 7.1 (single branch) and
        7.2 (two branches), which need the CNN or a backbone of your own.
    dropout : float in [0, 1), default=0
        Dropout after the fully connected layers of a built-in backbone and of the index branch.
        Section 7.6 has 0.5; ``width="paper"`` has its own.
    sharing_level : {1, 2, 3, 4} or None, default=None
        How many of a built-in backbone's layers two branches share: 1 to 3 convolution blocks, 4
        adds the first fully connected layer. An MLP backbone has 2 layers to share. None shares
        all of them.
    heads : {"shared", "per_class"}, default="shared"
        Whether the classes of a class-conditional network share one index head.
    class_conditioning : bool, default=True
        Whether the index branch of a class-conditional network sees the one-hot class.
    routing : {"hard", "soft"}, default="hard"
        How a class-conditional network spreads index probability over classes: "hard" gives all
        of it to rows of the predicted class, "soft" multiplies by the class probabilities.
    input_shape : tuple of int, default=None
        (H, W), (C, H, W) or (H, W, C) when X holds flat images.
    index_subset : float, int or array-like of int, default=None
        Training rows that get an output: a share or a number of them, drawn as one per class and
        the rest in proportion to the classes, or the rows themselves. The other rows train the
        class branch only; a single branch does not see them. None gives every row an output.
    lambda_class, lambda_index : float, default=1
        Weights of the two losses (Eq. 2).
    label_smoothing : float in [0, 1), default=0.05
        Share of the index target that is spread evenly over the row's possible outputs.
    lr : float, default=2e-3
        Learning rate of AdamW, after the warm-up.
    lr_index : float, default=None
        Learning rate of the layers that only the index branch uses; None takes ``lr``.
    weight_decay : float, default=2e-5
        Weight decay of AdamW.
    batch_size : int or "auto", default="auto"
        Rows per optimiser step. "auto" takes 128 as in the paper, and a tenth of the rows but at
        least 16 where that is less.
    max_epochs : int, default=40
        Passes over the training rows. The paper takes 80.
    warmup_epochs : int, default=3
        Epochs in which the learning rate grows linearly to ``lr``.
    decay_epochs : int, default=8
        Epochs after which the learning rate is multiplied by 0.6, again and again. Short trainings
        want fewer.
    device : str or torch.device, default="auto"
        Where to compute; "auto" takes CUDA where there is a GPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Automatic mixed precision. "auto" takes bfloat16 on GPUs that support it, else float32.
    callbacks : list of skorch callbacks, default=None
        Copied, and called during training. ``history_`` names what they can monitor. The schedule
        of the learning rate is the classifier's own.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, order of rows, dropout, sampled targets and ``index_subset``.
        Torch's global generator is neither read nor changed, except by a backbone of your own.
    warm_start : bool, default=False
        Whether a further call of ``fit`` with the same rows and classes goes on training for
        ``max_epochs`` more.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Values per row.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.
    input_shape_ : tuple of int
        Shape of one input of the network, (n_features,) or (channels, height, width).
    index_ : ndarray of shape (n_outputs,)
        Training rows that have an output, in increasing order.
    training_ : TrainingData
        Rows ``X``, labels ``y`` and ``sample_id`` that it was trained on.
    candidates_ : {"same_class", "all"}
        Rows that may be named for a query: "same_class", those of its predicted class, in a
        class-conditional network under hard routing.
    history_ : list of dict
        Mean losses in nats, accuracies with dropout on, learning rate and seconds per epoch.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.

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
        "architecture": [StrOptions({"class_conditional", "class_independent", "single_branch"})],
        "alpha": [real(0, 1, "both")],
        "mixing": [StrOptions({"expected", "sampled"})],
        "backbone": [StrOptions({"auto", "cnn", "mlp"}), nn.Module, callable],
        "width": [StrOptions({*SIZES, "paper"})],
        "dropout": [real(0, 1, "left")],
        "sharing_level": [whole(1, 4), None],
        "heads": [StrOptions({"shared", "per_class"})],
        "class_conditioning": ["boolean"],
        "routing": [StrOptions({"hard", "soft"})],
        "input_shape": [tuple, list, None],
        "index_subset": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="right"),
            "array-like",
            None,
        ],
        "lambda_class": [real()],
        "lambda_index": [real()],
        "label_smoothing": [real(0, 1, "left")],
        "lr": [real(0, np.inf, "neither")],
        "lr_index": [real(0, np.inf, "neither"), None],
        "weight_decay": [real()],
        "batch_size": [whole(2), StrOptions({"auto"})],
        "max_epochs": [whole()],
        "warmup_epochs": [whole(0)],
        "decay_epochs": [whole()],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    _STRUCTURE = STRUCTURE
    _LEAST_CLASSES = 2

    def __init__(
        self,
        architecture: Literal[
            "class_conditional", "class_independent", "single_branch"
        ] = "class_conditional",
        *,
        alpha: float = 0.3,
        mixing: Literal["expected", "sampled"] = "expected",
        backbone: str | nn.Module | Callable[[], nn.Module] = "auto",
        width: Literal["small", "medium", "large", "xlarge", "paper"] = "medium",
        dropout: float = 0.0,
        sharing_level: int | None = None,
        heads: Literal["shared", "per_class"] = "shared",
        class_conditioning: bool = True,
        routing: Literal["hard", "soft"] = "hard",
        input_shape: tuple[int, ...] | list[int] | None = None,
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
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int | bool = 0,
    ) -> None:
        self.architecture = architecture
        self.alpha = alpha
        self.mixing = mixing
        self.backbone = backbone
        self.width = width
        self.dropout = dropout
        self.sharing_level = sharing_level
        self.heads = heads
        self.class_conditioning = class_conditioning
        self.routing = routing
        self.input_shape = input_shape
        self.index_subset = index_subset
        self.lambda_class = lambda_class
        self.lambda_index = lambda_index
        self.label_smoothing = label_smoothing
        self.lr = lr
        self.lr_index = lr_index
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.warmup_epochs = warmup_epochs
        self.decay_epochs = decay_epochs
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def _assemble_net(self, seed):
        return assemble_net(self, seed)

    def _update_net(self):
        update_net(self)

    def _network_structure(self):
        return network_structure(self)

    @property
    def _method(self):
        return f"{self.net_.module_.architecture.replace('_', '-')} network"

    def _training_rows(self):
        inputs, target = super()._training_rows()
        if self.net_.module_.has_class_branch:
            return inputs, target
        kept = torch.as_tensor(self.index_)
        return tuple(
            {name: values[kept] for name, values in part.items()} for part in (inputs, target)
        )

    def predict(self, X: Any) -> np.ndarray:
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
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n, n_classes), float32
            Columns follow ``classes_``. In a single branch, the index probability that falls on
            each class's rows.
        """
        rows = self._rows(X)
        return class_proba(self.net_.module_, self._index, rows)

    def predict_index(self, X: Any, y: Any = None) -> np.ndarray:
        """The training row of largest probability.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.
        y : array-like of shape (n,), default=None
            Classes of the rows: only training rows of a row's class count then, and a
            class-conditional network is told the class. None leaves the class to the network.

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

    def transform(self, X: Any) -> Any:
        """Penultimate features of the index branch.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n, n_index_features), float32
            Conditioned on the predicted class where the branch is.
        """
        rows = self._rows(X)
        return index_features(self.net_.module_, self._index, rows)
