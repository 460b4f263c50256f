"""ProvenanceRegressor: a regressor that names the training rows behind its predictions."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from torch import nn

from .._utils.arguments import real, whole
from ._assembly import network_structure
from ._backbones import SIZES
from ._estimator import ProvenanceEstimator
from ._index_branch import IndexBranchMixin
from ._inference import index_features, regression_values
from ._regressor_assembly import assemble_net, update_net
from ._targets import NumericTargets


class ProvenanceRegressor(IndexBranchMixin, NumericTargets, RegressorMixin, ProvenanceEstimator):
    """A neural regressor that names the training rows behind each prediction.

    It is the class-independent network of the paper [1]_ with an output branch in place of the
    class branch: beside the predicted target the network has an index branch with one output per
    training row, so that an explanation is part of the forward pass.

    The paper mixes the index of a row with those of its class (Eq. 1). A regression has no classes;
    here the rows of nearest target take their place. See :ref:`regression`.

    Parameters
    ----------
    loss : {"squared_error", "huber"}, default="squared_error"
        Loss of the output branch, on targets that are standardised by their mean and standard
        deviation in training. Predictions are in the units of ``y``.
    alpha : float in [0, 1], default=0.3
        Mixing of the index targets: 0 asks for a row's own index, 1 for any other row whose target
        is near. Between them the own index has weight ``1 - alpha``, and the neighbours in target
        value share ``alpha`` evenly.
    target_neighbors : int, float or "auto", default="auto"
        How many rows of nearest target are those neighbours: a number, or a share of the rows that
        have an output. "auto" takes the square root of their number. All rows as near as the last
        one count too. With several targets, distances are Euclidean between standardised targets.
    mixing : {"expected", "sampled"}, default="expected"
        Whether the loss uses the expectation of the mixed target, or one drawn target per step as
        in the paper.
    huber_delta : float, default=1.0
        Where ``loss="huber"`` turns from squared to absolute errors, in standard deviations of the
        target.
    backbone : {"auto", "cnn", "mlp"}, Module or callable, default="auto"
        What turns inputs into features. "auto" takes "cnn" for images and "mlp" for rows. A
        module is copied with its weights; a callable is called without arguments and returns a
        module. Both map a batch of inputs to features of any shape, which are flattened.
    width : {"small", "medium", "large", "xlarge", "paper"}, default="medium"
        Layer sizes: those of section 7.6, or with "paper" the network of 7.2, which needs the CNN
        or a backbone of your own.
    dropout : float in [0, 1), default=0.5
        Dropout after the fully connected layers of a built-in backbone and of the index branch.
        Without it noisy targets are learned by heart and predictions suffer; with little noise or
        many rows smaller values do as well, and more training rows are recognised. The default is
        that of section 7.6; ``width="paper"`` has its own.
    sharing_level : {1, 2, 3, 4} or None, default=None
        How many of a built-in backbone's layers the two branches share, as in
        :class:`ProvenanceClassifier`; None shares all of them.
    input_shape : tuple of int, default=None
        (H, W), (C, H, W) or (H, W, C) when X holds flat images.
    index_subset : float, int or array-like of int, default=None
        Training rows that get an output: a share or a number of them, drawn at random, or the rows
        themselves. The other rows train the output branch only. None gives every row an output.
    lambda_output, lambda_index : float, default=1
        Weights of the two losses (Eq. 2): that of standardised targets, and the index loss in nats.
    label_smoothing : float in [0, 1), default=0.05
        Share of the index target that is spread evenly over all outputs.
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
        Passes over the training rows.
    warmup_epochs : int, default=3
        Epochs in which the learning rate grows linearly to ``lr``.
    decay_epochs : int, default=8
        Epochs after which the learning rate is multiplied by 0.6, again and again.
    device : str or torch.device, default="auto"
        Where to compute; "auto" takes CUDA where there is a GPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Automatic mixed precision. "auto" takes bfloat16 on GPUs that support it, else float32.
    callbacks : list of skorch callbacks, default=None
        Copied, and called during training. ``history_`` names what they can monitor. The schedule
        of the learning rate is the regressor's own.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, order of rows, dropout, sampled targets and ``index_subset``.
        Torch's global generator is neither read nor changed, except by a backbone of your own.
    warm_start : bool, default=False
        Whether a further call of ``fit`` with the same rows and targets goes on training for
        ``max_epochs`` more.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Values per row.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if ``X`` was a data frame with string names.
    input_shape_ : tuple of int
        Shape of one input of the network, (n_features,) or (channels, height, width).
    index_ : ndarray of shape (n_outputs,)
        Training rows that have an output, in increasing order.
    training_ : TrainingData
        Rows ``X``, targets ``y`` and ``sample_id`` that it was trained on.
    candidates_ : "all"
        Rows that may be named for a query: all that have an output.
    history_ : list of dict
        Per epoch ``output_loss`` on standardised targets, ``index_loss`` in nats,
        ``index_accuracy`` with dropout on, the total ``train_loss``, learning rate and seconds.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.

    See Also
    --------
    ProvenanceClassifier : The same for class labels.
    sklearn.neighbors.KNeighborsRegressor : Predicts from the nearest rows in input space.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sklearn_provenance import ProvenanceRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = ProvenanceRegressor(width="small", max_epochs=10, random_state=0).fit(scale(X), y)
    >>> float(reg.score(scale(X), y)) > 0.4
    True
    >>> explanation = reg.explain(scale(X)[:2], k=3)
    >>> explanation.exemplar_labels.shape  # targets of the rows that are named
    (2, 3)
    """

    _parameter_constraints: dict = {
        "loss": [StrOptions({"squared_error", "huber"})],
        "alpha": [real(0, 1, "both")],
        "target_neighbors": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="right"),
            StrOptions({"auto"}),
        ],
        "mixing": [StrOptions({"expected", "sampled"})],
        "huber_delta": [real(0, np.inf, "neither")],
        "backbone": [StrOptions({"auto", "cnn", "mlp"}), nn.Module, callable],
        "width": [StrOptions({*SIZES, "paper"})],
        "dropout": [real(0, 1, "left")],
        "sharing_level": [whole(1, 4), None],
        "input_shape": [tuple, list, None],
        "index_subset": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="right"),
            "array-like",
            None,
        ],
        "lambda_output": [real()],
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

    _STRUCTURE = (
        "backbone",
        "width",
        "dropout",
        "sharing_level",
        "index_subset",
        "device",
        "precision",
    )
    _method = "regression network"

    def __init__(
        self,
        loss: Literal["squared_error", "huber"] = "squared_error",
        *,
        alpha: float = 0.3,
        target_neighbors: float | int | Literal["auto"] = "auto",
        mixing: Literal["expected", "sampled"] = "expected",
        huber_delta: float = 1.0,
        backbone: str | nn.Module | Callable[[], nn.Module] = "auto",
        width: Literal["small", "medium", "large", "xlarge", "paper"] = "medium",
        dropout: float = 0.5,
        sharing_level: int | None = None,
        input_shape: tuple[int, ...] | list[int] | None = None,
        index_subset: float | int | ArrayLike | None = None,
        lambda_output: float = 1.0,
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
        self.loss = loss
        self.alpha = alpha
        self.target_neighbors = target_neighbors
        self.mixing = mixing
        self.huber_delta = huber_delta
        self.backbone = backbone
        self.width = width
        self.dropout = dropout
        self.sharing_level = sharing_level
        self.input_shape = input_shape
        self.index_subset = index_subset
        self.lambda_output = lambda_output
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

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets, by the output branch.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_targets), float64
            In the units of the targets that fit was given, and of as many axes.
        """
        rows = self._rows(X)
        values = regression_values(self.net_.module_, rows, self._columns.shape[1])
        return self._in_units(values)

    def transform(self, X: Any) -> Any:
        """Penultimate features of the index branch.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n, n_index_features), float32
            What the last layer of the index branch sees.
        """
        rows = self._rows(X)
        return index_features(self.net_.module_, self._index, rows)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
