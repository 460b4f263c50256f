"""ProvenanceClassifier: a classifier that names the training rows behind its predictions."""

import copy
import numbers
import warnings

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from skorch.history import History
from torch import nn

from ..explanation import Explanation
from ._assembly import assemble_net, network_structure, update_net
from ._backbones import SIZES
from ._index import ClassIndex
from ._inference import class_proba, index_features, index_proba, nearest_rows
from ._input import image_layout, validate_rows
from ._persistence import load_state, save_classifier
from ._subset import index_rows
from ._training import DeviceRows, train


class ProvenanceClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator
):
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
        "alpha": [Interval(numbers.Real, 0, 1, closed="both")],
        "mixing": [StrOptions({"expected", "sampled"})],
        "backbone": [StrOptions({"auto", "cnn", "mlp"}), nn.Module, callable],
        "width": [StrOptions({*SIZES, "paper"})],
        "dropout": [Interval(numbers.Real, 0, 1, closed="left")],
        "sharing_level": [Interval(numbers.Integral, 1, 4, closed="both"), None],
        "heads": [StrOptions({"shared", "per_class"})],
        "class_conditioning": ["boolean"],
        "routing": [StrOptions({"hard", "soft"})],
        "input_shape": [tuple, list, None],
        "index_subset": [
            Interval(numbers.Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
            "array-like",
            None,
        ],
        "lambda_class": [Interval(numbers.Real, 0, None, closed="left")],
        "lambda_index": [Interval(numbers.Real, 0, None, closed="left")],
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="left")],
        "lr": [Interval(numbers.Real, 0, None, closed="neither")],
        "lr_index": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(numbers.Real, 0, None, closed="left")],
        "batch_size": [Interval(numbers.Integral, 2, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "warmup_epochs": [Interval(numbers.Integral, 0, None, closed="left")],
        "decay_epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "callbacks": [list, None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        architecture="class_conditional",
        *,
        alpha=0.3,
        mixing="expected",
        backbone="auto",
        width="medium",
        dropout=0.0,
        sharing_level=None,
        heads="shared",
        class_conditioning=True,
        routing="hard",
        input_shape=None,
        index_subset=None,
        lambda_class=1.0,
        lambda_index=1.0,
        label_smoothing=0.05,
        lr=2e-3,
        lr_index=None,
        weight_decay=2e-5,
        batch_size="auto",
        max_epochs=40,
        warmup_epochs=3,
        decay_epochs=8,
        device="auto",
        precision="auto",
        callbacks=None,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_id=None):
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, n_features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training rows or images. Images of uint8 are divided by 255. Rows are divided by one
            number for all features, so features on different scales want a ``StandardScaler``
            before.
        y : array-like of shape (n,)
            Class labels.
        sample_id : array-like of shape (n,), default=None
            Your own identifiers of the rows, handed on to every :class:`Explanation`.

        Returns
        -------
        self : ProvenanceClassifier
            The fitted classifier.

        Raises
        ------
        ValueError
            If the input is not usable. A classifier that was fitted before stays as it was.
        """
        before = self.__dict__.copy()
        try:
            return self._fit(X, y, sample_id)
        except BaseException:
            self.__dict__ = before
            raise

    def _fit(self, X, y, sample_id):
        before = self.__dict__.copy() if self.warm_start and hasattr(self, "net_") else None
        X, y = validate_rows(self, X, y, reset=True)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        encoder = LabelEncoder()
        encoded = encoder.fit_transform(y)
        self.classes_ = encoder.classes_
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"y has one class, {self.classes_[0]!r}; a classifier needs at least 2 classes"
            )
        self._fit_X, self._fit_y = X, encoded
        if sample_id is not None:
            sample_id = np.array(sample_id)
            if sample_id.shape != (len(X),):
                raise ValueError(
                    f"sample_id must have one entry per row, shape ({len(X)},); got "
                    f"{sample_id.shape}"
                )
        self._sample_id = sample_id

        rng = check_random_state(self.random_state)
        init_seed, order_seed, step_seed = (int(s) for s in rng.randint(2**31 - 1, size=3))
        index = ClassIndex.from_labels(
            encoded,
            n_classes,
            index_rows(self.index_subset, encoded, n_classes, rng)
            if before is None or len(before["_fit_y"]) != len(y)
            else before["index_"],
        )
        self._index = index
        self.index_ = index.rows
        if before is None:
            self.net_ = assemble_net(self, init_seed)
        else:
            self._check_continuation(before)
            self.net_ = copy.deepcopy(self.net_)  # the old one comes back if training fails
            done = len(self.net_.history)
            order_seed, step_seed = order_seed + done, step_seed + done
            update_net(self)
        self._structure = network_structure(self)
        self._train(order_seed, step_seed)
        return self

    @property
    def input_shape_(self):
        """Shape of one input of the network, (n_features,) or (channels, height, width)."""
        check_is_fitted(self)
        return self.net_.module_.scaling.output_shape

    @property
    def _n_features_out(self):
        return self.net_.module_.n_index_features

    def _check_continuation(self, before):
        same = all(
            np.array_equal(before[name], getattr(self, name))
            for name in ("classes_", "_fit_y", "_fit_X", "_user_shape", "_input_scale")
        )
        if not same:
            raise ValueError(
                "warm_start=True goes on training with the same rows and classes; they changed. "
                "Use warm_start=False to start anew"
            )
        old, new = before["_structure"], network_structure(self)
        changed = [n for n in new if old[n] is not new[n] and not np.array_equal(old[n], new[n])]
        if changed:
            raise ValueError(
                f"warm_start=True keeps the network, but {', '.join(changed)} changed. Use "
                "warm_start=False to start anew"
            )

    def _train(self, order_seed, step_seed):
        net, index = self.net_, self._index
        X, label = torch.tensor(self._fit_X), torch.as_tensor(self._fit_y)
        output = torch.as_tensor(index.output_of_row)
        local = torch.as_tensor(index.local)[output.clamp(min=0)].where(output >= 0, 0)
        if self.architecture == "single_branch":
            kept = torch.as_tensor(index.rows)
            X, label, output, local = X[kept], label[kept], output[kept], local[kept]
        interrupted = train(
            net,
            DeviceRows(
                X, label, output, local, net.device, torch.Generator().manual_seed(order_seed)
            ),
            torch.Generator(net.device).manual_seed(step_seed),
            self.warmup_epochs,
            self.decay_epochs,
            bool(self.verbose),
        )
        losses = [epoch["train_loss"] for epoch in net.history]
        if not np.isfinite(losses).all():
            raise ValueError(
                f"training diverged: the loss was {losses[-1]} after {len(losses)} epochs. Scale "
                f"the features, or take a smaller lr than {self.lr:g}"
            )
        if interrupted:
            warnings.warn(
                f"training was interrupted after {len(losses)} epochs; the classifier can be used "
                "as it is, and warm_start=True goes on from here",
                ConvergenceWarning,
                stacklevel=5,
            )

    @property
    def history_(self):
        """Mean losses, accuracies, learning rate and seconds of each epoch."""
        check_is_fitted(self)
        skipped = ("batches", "train_batch_count", "train_loss_best")
        return [
            {name: value for name, value in epoch.items() if name not in skipped}
            for epoch in self.net_.history
        ]

    def predict(self, X):
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

    def predict_proba(self, X):
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
        return class_proba(self.net_, self._index, rows)

    def predict_index(self, X):
        """The training row of largest probability.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        indices : ndarray of shape (n,)
            Rows of the X given to fit.
        """
        rows = self._rows(X)
        return nearest_rows(self.net_, self._index, rows, 1, self.routing)[0][:, 0]

    def index_proba(self, X):
        """Probability of every training row.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        proba : ndarray of shape (n, n_training_rows), float32
            Rows sum to 1. :meth:`explain` and :meth:`kneighbors` do without this matrix.
        """
        rows = self._rows(X)
        return index_proba(self.net_, self._index, rows, self.routing)

    def transform(self, X):
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
        return index_features(self.net_, self._index, rows)

    def kneighbors(self, X=None, n_neighbors=5, return_distance=True):
        """The training rows of largest probability, as neighbours.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None takes the training rows, none its own neighbour.
        n_neighbors : int, default=5
            Neighbours per query.
        return_distance : bool, default=True
            Whether to return distances.

        Returns
        -------
        distances : ndarray of shape (n, n_neighbors)
            -log p of each neighbour in nats, ascending; inf pads. Only with ``return_distance``.
        indices : ndarray of shape (n, n_neighbors)
            Rows of the X given to fit; -1 pads.
        """
        indices, log_proba = self._nearest(X, n_neighbors, "n_neighbors")[1:3]
        if not return_distance:
            return indices
        return np.nan_to_num(-log_proba, nan=np.inf), indices

    def explain(self, X=None, k=5):
        """Name the training rows behind predictions.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None explains every training row by the others.
        k : int, default=5
            Training rows per query.

        Returns
        -------
        explanation : Explanation
            Row numbers of the X given to fit and their probabilities, best first. Where the
            predicted class has fewer than k rows the rest is padded with -1 and nan, with a
            warning.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named.
        """
        rows, indices, log_proba, predicted = self._nearest(X, k, "k")
        images = self._user_shape is not None
        shape = image_layout(self._user_shape)[0] if images else (self.n_features_in_,)
        return Explanation(
            indices,
            np.exp(log_proba),
            sample_id=None if self._sample_id is None else self._sample_id[indices],
            exemplar_labels=self.classes_[self._fit_y[indices]],
            query_labels=self.classes_[predicted],
            queries=rows.reshape(-1, *shape) if images else rows,
            training_data=self._fit_X.reshape(-1, *shape) if images else self._fit_X,
            image_shape=self.input_shape_ if images else None,
            feature_names=getattr(self, "feature_names_in_", None),
            method=f"{self.net_.module_.architecture.replace('_', '-')} network",
            score_name="index probability",
        )

    def save(self, path):
        """Write the fitted classifier to one safetensors file.

        The file holds no pickle. It holds the training rows, which explanations show, so it is as
        confidential as they are. Callbacks and the state of the optimiser are left out.

        Parameters
        ----------
        path : str or path-like
            File to write.
        """
        check_is_fitted(self)
        save_classifier(self, path)

    @classmethod
    def load(cls, path, *, backbone=None, device="auto"):
        """Read a classifier that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like
            File to read.
        backbone : Module or callable, default=None
            The backbone, if the classifier was saved with one of your own; its weights come from
            the file.
        device : str or torch.device, default="auto"
            Where to compute.

        Returns
        -------
        classifier : ProvenanceClassifier
            Fitted; it predicts and explains as the saved one.

        Raises
        ------
        ValueError
            If :meth:`save` did not write the file, or the backbone does not fit to it.
        """
        state, tensors = load_state(path, backbone)
        self = cls(**dict(state["params"], device=device))
        self.classes_ = state["classes"]
        self._sample_id = state["sample_id"]
        if state["feature_names"] is not None:
            self.feature_names_in_ = state["feature_names"]
        self._user_shape = state["user_shape"] and tuple(state["user_shape"])
        self._input_scale, self._fit_max = state["input_scale"], state["fit_max"]
        self._fit_X, self._fit_y = tensors.pop("fit_X").numpy(), tensors.pop("fit_y").numpy()
        self.n_features_in_ = self._fit_X.shape[1]
        self.index_ = tensors.pop("index").numpy()
        self._index = ClassIndex.from_labels(self._fit_y, len(self.classes_), self.index_)
        net = assemble_net(self, seed=0)
        try:
            net.module_.load_state_dict(
                {name.removeprefix("network."): value for name, value in tensors.items()}
            )
        except RuntimeError as error:
            raise ValueError(f"the weights in {path} do not fit the network: {error}") from error
        net.module_.eval()
        net.history = History(state["history"])
        self.net_ = net
        self._structure = network_structure(self)
        return self

    def _nearest(self, X, k, name):
        if X is None:
            check_is_fitted(self)
            rows, exclude = self._fit_X, np.arange(len(self._fit_X))
        else:
            rows, exclude = self._rows(X), None
        n_candidates = len(self.index_) - (X is None)
        if not isinstance(k, numbers.Integral) or isinstance(k, bool):
            raise TypeError(f"{name} must be an integer; got {k!r}")
        if not 1 <= k <= n_candidates:
            raise ValueError(
                f"{name} must be between 1 and {n_candidates}, the training rows that can be "
                f"named; got {k}"
            )
        indices, log_proba, predicted = nearest_rows(
            self.net_, self._index, rows, int(k), self.routing, exclude
        )
        short = int((indices[:, -1] < 0).sum())
        if short:
            warnings.warn(
                f"{short} of {len(rows)} queries have fewer than {name}={k} candidates, the rows "
                "of their predicted class; the rest is padded with -1",
                UserWarning,
                stacklevel=3,
            )
        return rows, indices, log_proba, predicted

    def _rows(self, X):
        check_is_fitted(self)
        return validate_rows(self, X, reset=False)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
