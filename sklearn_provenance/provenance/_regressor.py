"""ProvenanceRegressor: a regressor that names the training rows behind its predictions."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from torch import nn

from .._utils.arguments import real, store_arguments, whole
from .._utils.types import RandomState, Rows
from ._docs import documented
from ._estimator import ProvenanceEstimator
from ._index_branch import IndexBranchMixin
from ._inference import regression_values
from ._regressor_assembly import assemble_net, update_net
from ._targets import NumericTargets


@documented
class ProvenanceRegressor(IndexBranchMixin, NumericTargets, RegressorMixin, ProvenanceEstimator):
    """Predict numbers by a neural network that names the training rows behind each prediction.

    The network is the class-independent one of the paper [1]_ with an output branch in place of
    the class branch. Beside this branch, which predicts the target, it has an index branch with one
    output per training row, so that an explanation is part of the forward pass.

    The paper mixes the index of a row with those of its class (Eq. 1). A regression has no classes;
    here the rows of nearest target take their place. See :ref:`regression`.

    Parameters
    ----------
    loss : {"squared_error", "huber"}, default="squared_error"
        Loss of the output branch. Training standardises the targets by their mean and standard
        deviation; predictions are in the units of ``y``.
    alpha : float in [0, 1], default=0.3
        Mixing of the index targets: with 0 the index branch learns to name the row itself, with 1
        any other row whose target is near. Between them the row itself has weight ``1 - alpha``,
        and its neighbours in target value share ``alpha`` evenly.
    target_neighbors : int, float or "auto", default="auto"
        How many rows of nearest target are these neighbours: a number, or a share of the rows that
        have an output. "auto" takes the square root of the number of such rows. All rows as near as
        the last neighbour count too. With several targets, distances are Euclidean between
        standardised targets.
    {mixing} {index_loss} {n_negatives}
    huber_delta : float, default=1.0
        Error from which on ``loss="huber"`` is linear, in standard deviations of the target.
    {backbone}
    width : {"small", "medium", "large", "xlarge", "paper"}, default="medium"
        Layer sizes of section 7.6 in [1]_. "paper" stands for the network of 7.2, which needs the
        CNN or a backbone that you give.
    dropout : float in [0, 1), default=0.5
        Dropout after the fully connected layers of a built-in backbone and of the index branch.
        Without dropout the network learns noisy targets by heart and predicts worse. With little
        noise or many rows smaller values predict as well and recognise more training rows. The
        default is that of section 7.6; ``width="paper"`` has the dropout of 7.2 instead.
    sharing_level : {1, 2, 3, 4} or None, default=None
        How many layers of a built-in backbone the two branches share, as in
        :class:`ProvenanceClassifier`; None shares all of them.
    {normalization} {input_shape} {index}
    index_subset : float, int or array-like of int, default=None
        Training rows that get an output: a share or a number of them, drawn at random, or the rows
        themselves (their numbers or a mask). The other rows train the output branch only. None
        gives every row an output.
    lambda_output, lambda_index : float, default=1
        Weights of the two losses (Eq. 2): the loss of standardised targets, and the index loss in
        nats.
    label_smoothing : float in [0, 1), default=0.05
        Share of the index target that is spread evenly over all outputs.
    {lr} {lr_index} {weight_decay} {batch_size}
    max_epochs : int, default=40
        Passes over the training rows.
    {warmup_epochs} {decay_epochs} {device} {precision}
    {callbacks} {random_state} {warm_start} {verbose}

    Attributes
    ----------
    {n_features_in_} {feature_names_in_} {input_shape_} {index_} {training_}
    candidates_ : "all"
        Rows that may be named for a query: all that have an output.
    history_ : list of dict
        Per epoch ``output_loss`` on standardised targets, ``index_loss`` in nats,
        ``index_accuracy`` with dropout on, the total ``train_loss``, learning rate and seconds.
    {net_}

    See Also
    --------
    ProvenanceClassifier : Predict class labels instead.
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
        **ProvenanceEstimator._parameter_constraints,
        **IndexBranchMixin._parameter_constraints,
        "loss": [StrOptions({"squared_error", "huber"})],
        "target_neighbors": [
            whole(),
            Interval(RealNotInt, 0, 1, closed="right"),
            StrOptions({"auto"}),
        ],
        "huber_delta": [real(0, np.inf, "neither")],
        "lambda_output": [real()],
    }

    _STRUCTURE = (
        "backbone",
        "width",
        "dropout",
        "sharing_level",
        "normalization",
        "index_subset",
        "device",
        "precision",
        "index_loss",
    )
    _method = "regression network"

    def __init__(
        self,
        loss: Literal["squared_error", "huber"] = "squared_error",
        *,
        alpha: float = 0.3,
        target_neighbors: float | int | Literal["auto"] = "auto",
        mixing: Literal["expected", "sampled"] = "expected",
        index_loss: Literal["full", "sampled"] = "full",
        n_negatives: int = 1024,
        huber_delta: float = 1.0,
        backbone: str | nn.Module | Callable[[], nn.Module] = "auto",
        width: Literal["small", "medium", "large", "xlarge", "paper"] = "medium",
        dropout: float = 0.5,
        sharing_level: int | None = None,
        normalization: Literal["scale", "standardize"] = "scale",
        input_shape: tuple[int, ...] | list[int] | None = None,
        index: Any = None,
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
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        store_arguments(locals())

    def _assemble_net(self, seed):
        return assemble_net(self, seed)

    def _update_net(self):
        update_net(self)

    def predict(self, X: Rows) -> np.ndarray:
        """Predict targets by the output branch.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n,) or (n, n_targets), float64
            In the units of the targets given to fit, and with as many axes.
        """
        rows = self._rows(X)
        values = regression_values(self.net_.module_, rows, self._columns.shape[1])
        return self._in_units(values)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
