"""What provenance estimators share: data, training, naming training rows, saving."""

import copy
import numbers
import warnings
from contextlib import nullcontext
from typing import Self

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import as_device, check_readable, real, whole
from .._utils.numeric import as_ndarray
from .._utils.restored import restored_generators, restored_on_error
from .._utils.rows import as_given, image_layout
from .._utils.types import Path, Rows, Targets
from ..explanation import Explanation
from ._head_search import HeadSearch
from ._index import ClassIndex
from ._inference import nearest_rows
from ._input import learn_rows
from ._known_rows import KnownRowsMixin
from ._persistence import load_state, load_weights, reading, save_estimator
from ._subset import index_rows
from ._training import TrainingDataset


class ProvenanceEstimator(
    KnownRowsMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """An estimator around a network with one output per training row.

    Subclasses say which network: they have the class attributes and methods that raise
    NotImplementedError here, and the parameters below. They inherit what ``y`` is from
    :class:`ClassTargets` or :class:`NumericTargets`.
    """

    # Of the parameters that all subclasses have.
    _parameter_constraints: dict = {
        "input_shape": [tuple, list, None],
        "index": [StrOptions({"exact", "faiss"}), HasMethods(["build", "search"]), None],
        "lr": [real(0, np.inf, "neither")],
        "batch_size": [whole(2), StrOptions({"auto"})],
        "max_epochs": [whole()],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }
    _STRUCTURE: tuple = ()  # parameters that may not change between warm starts

    def _assemble_net(self, seed):
        """Build the net for the rows that were checked, with fresh weights."""
        raise NotImplementedError

    def _update_net(self):
        """Give the net the hyperparameters that may change between warm starts."""
        raise NotImplementedError

    def _schedule(self):
        """Return the epochs of the warm-up, and those between decays of the learning rate."""
        raise NotImplementedError

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Rows, y: Targets, sample_id: Targets | None = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, n_features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training rows or images. Images of uint8 are divided by 255. Rows are divided by one
            number for all features; put a ``StandardScaler`` before if features have different
            scales, or take ``normalization="standardize"`` where the estimator has this
            parameter. A sparse matrix becomes dense, with four bytes for each value, and with a
            warning above 2 GiB; the estimator keeps the dense rows.
        y : array-like of shape (n,)
            Class labels; targets in a regression, also of shape (n, n_targets).
        sample_id : array-like of shape (n,), default=None
            Your identifiers of the rows, which every :class:`Explanation` shows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is not usable, or training diverges. An estimator that was fitted before
            stays as it was.
        """
        with restored_on_error(self):
            return self._fit(X, y, sample_id)

    def _fit(self, X, y, sample_id):
        before = None
        if self.warm_start and hasattr(self, "net_"):
            before = self.__dict__.copy()
        y = as_given(y, "y")
        if isinstance(y, torch.Tensor):
            y = as_ndarray(y)
        X, y = learn_rows(self, X, y, **self._Y_CHECKS)
        self._learn_targets(y)
        if len(X) < 2:
            raise ValueError("n_samples=1; training needs at least 2 rows")
        self._fit_X = X
        self._sample_id = _check_sample_id(sample_id, len(X))

        rng = check_random_state(self.random_state)
        init_seed, order_seed, step_seed = (int(s) for s in rng.randint(2**31 - 1, size=3))
        if before is None or len(before["_fit_y"]) != len(y):
            rows = index_rows(getattr(self, "index_subset", None), *self._strata, rng)
        else:
            rows = before["index_"]
        self._index = ClassIndex.from_labels(*self._strata, rows)
        self.index_ = self._index.rows
        if before is None:
            self.net_ = self._assemble_net(init_seed)
        else:
            self._check_continuation(before)
            self.net_ = copy.deepcopy(self.net_)  # the old one comes back if training fails
            # Otherwise each warm start would draw the same batches and the same dropout.
            n_done = len(self.net_.history)
            order_seed += n_done
            step_seed += n_done
            self._update_net()
        self._structure = self._network_structure()
        self._head_search = None
        self._train(order_seed, step_seed)
        return self

    @property
    def _routing(self):
        """How index probability is spread over classes, where there are classes."""
        return getattr(self, "routing", "hard")

    @property
    def input_shape_(self) -> tuple[int, ...]:
        """Shape of one input of the network, (n_features,) or (channels, height, width)."""
        check_is_fitted(self)
        return self.net_.module_.scaling.output_shape

    @property
    def history_(self) -> list[dict]:
        """Mean losses, accuracies, learning rate and seconds of each epoch."""
        check_is_fitted(self)
        skipped = ("batches", "train_batch_count", "train_loss_best")
        return [
            {name: value for name, value in epoch.items() if name not in skipped}
            for epoch in self.net_.history
        ]

    def save(self, path: Path) -> None:
        """Write the fitted estimator to one safetensors file.

        The file holds no pickle. It holds the training rows, which explanations show, so it is as
        confidential as they are. It does not hold callbacks and the state of the optimiser.

        Parameters
        ----------
        path : str or path-like
            File to write.
        """
        check_is_fitted(self)
        save_estimator(self, path)

    @classmethod
    def _load(cls, path, backbone, device):
        from skorch.history import History

        state, weights = load_state(path, cls, backbone)
        self = cls(**dict(state["params"], device=device))
        self.index_ = state["index"]
        self._restore_targets(state)
        self._sample_id = state["sample_id"]
        if state["feature_names"] is not None:
            self.feature_names_in_ = state["feature_names"]
        self._user_shape = state["user_shape"]
        self._fit_flat = state["fit_flat"]
        self._input_scale = state["input_scale"]
        self._fit_max = state["fit_max"]
        self._fit_X = state["fit_X"]
        self.n_features_in_ = self._fit_X.shape[1]
        self._index = ClassIndex.from_labels(*self._strata, self.index_)
        as_device(device)  # its errors are not those of the file
        with reading(path):
            net = self._assemble_net(seed=0)
            load_weights(net.module_, weights)
        net.module_.eval()
        net.history = History(state["history"])
        self.net_ = net
        self._head_search = None
        self._structure = self._network_structure()
        return self

    def _network_structure(self):
        """Return what may not change between warm starts, and what a saved network needs."""
        return {name: getattr(self, name) for name in self._STRUCTURE}

    def _check_continuation(self, before):
        """Raise if a warm start would train another network, or on other rows."""
        for name in ("classes_", "_fit_y", "_fit_X", "_user_shape", "_input_scale"):
            if not np.array_equal(before.get(name), getattr(self, name, None)):
                raise ValueError(
                    "warm_start=True goes on training with the same rows and targets; they "
                    "changed. Use warm_start=False to start anew"
                )
        changed = []
        for name, value in self._network_structure().items():
            old = before["_structure"][name]
            if old is not value and not np.array_equal(old, value):
                changed.append(name)
        if changed:
            raise ValueError(
                f"warm_start=True keeps the network, but {', '.join(changed)} changed. Use "
                "warm_start=False to start anew"
            )

    def _train(self, order_seed, step_seed):
        from ._net import train

        net = self.net_
        dataset = TrainingDataset(
            *self._training_rows(), net.device, torch.Generator().manual_seed(order_seed)
        )
        step_generator = torch.Generator(net.device).manual_seed(step_seed)
        # Modules of this package draw from step_generator, a user's from the global generators.
        generators = nullcontext()
        if not isinstance(self.backbone, str):
            generators = restored_generators(net.device, step_seed)
        with generators:
            interrupted = train(net, dataset, step_generator, *self._schedule(), bool(self.verbose))
        if interrupted:
            warnings.warn(
                f"training was interrupted after {len(net.history)} epochs; the estimator can be "
                "used as it is, and warm_start=True goes on from here",
                ConvergenceWarning,
                stacklevel=5,
            )

    @property
    def _index_network(self):
        """The part of the network with the index branch."""
        return self.net_.module_

    @property
    def _search(self):
        """What finds the outputs of largest logit; None reads all logits."""
        if self.index is None:
            return None
        if self._head_search is None or self._head_search.index is not self.index:
            self._head_search = HeadSearch(self.index)
        return self._head_search

    def _nearest(self, rows, exclude, k, name="k", with_proba=True):
        """Find the k most probable training rows, their log-probabilities, and predictions.

        ``rows`` is what the index network reads, ``exclude`` the training row that each of them is,
        or None, and ``name`` what the caller calls k.
        """
        n_candidates = len(self.index_)
        if exclude is not None:
            n_candidates -= 1
        if not isinstance(k, numbers.Integral) or isinstance(k, bool):
            raise TypeError(f"{name} must be an integer; got {k!r}")
        if not 1 <= k <= n_candidates:
            raise ValueError(
                f"{name} must be between 1 and {n_candidates}, the training rows that can be "
                f"named; got {k}"
            )
        found = nearest_rows(
            self._index_network,
            self._index,
            rows,
            int(k),
            self._routing,
            exclude,
            self._decide,
            self._search,
            with_proba,
        )
        short = int((found[0][:, -1] < 0).sum())
        if short:
            warnings.warn(
                f"{short} of {len(rows)} queries have fewer than {name}={k} candidates, the rows "
                "of their predicted class; the rest is padded with -1",
                UserWarning,
                stacklevel=3,
            )
        return found

    def _explanation(self, rows, indices, log_proba, predicted, method):
        """Build the Explanation of flat rows from what :meth:`_nearest` finds."""
        sample_id = None
        if self._sample_id is not None:
            sample_id = self._sample_id[indices]
        training_data = self._fit_X
        image_shape = None
        if self._user_shape is not None:
            shape, _ = image_layout(self._user_shape)
            rows = rows.reshape(-1, *shape)
            training_data = training_data.reshape(-1, *shape)
            image_shape = self.input_shape_
        return Explanation(
            indices,
            np.exp(log_proba),
            sample_id=sample_id,
            exemplar_labels=self._labels_of(indices),
            query_labels=self._predicted_labels(predicted),
            queries=rows,
            training_data=training_data,
            image_shape=image_shape,
            feature_names=getattr(self, "feature_names_in_", None),
            method=method,
            score_name="index probability",
            targets=self._KIND,
        )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _check_sample_id(sample_id, n_rows):
    if sample_id is None:
        return None
    check_readable(sample_id, "sample_id")
    sample_id = np.array(sample_id)
    if sample_id.shape != (n_rows,):
        raise ValueError(
            f"sample_id must have one entry per row, shape ({n_rows},); got {sample_id.shape}"
        )
    return sample_id
