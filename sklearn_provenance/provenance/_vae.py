"""ProvenanceVAE: a generator whose samples name the training rows that they are made of."""

import math
import warnings
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import real, store_arguments, whole
from .._utils.types import Path, RandomState, Rows
from ..explanation import Explanation
from ..explanation._instead import Instead
from ._backbones import SIZES
from ._docs import documented
from ._estimator import ProvenanceEstimator
from ._generation import GenerationMixin
from ._inference import class_proba
from ._targets import ClassTargets
from ._vae_assembly import assemble_net, update_net


@documented
class ProvenanceVAE(GenerationMixin, ClassTargets, ProvenanceEstimator):
    """Generate rows or images by a variational autoencoder that names training rows.

    A class head and index heads read an intermediate feature of the decoder. They predict the class
    and the training row inside it. So whatever the decoder makes, a reconstruction or a new sample,
    comes with the training rows that it is made of [1]_ (5.5, 7.10).

    Training minimises ``lambda_gen * (reconstruction + KL) + lambda_cls * (class + index)`` (Eq.
    3), all in nats. The paper does not say how it reduces the four terms to numbers. Here the
    reconstruction term is a sum over the values of a row, the Kullback-Leibler divergence is a sum
    over latent dimensions, and all four are means over the batch. Then the first bracket is the
    negative evidence lower bound, and by far the larger of the two.

    There is no ``index_loss="sampled"`` as in :class:`ProvenanceClassifier`. With the CNN of
    ``width="medium"`` and images of 28 x 28, a forward pass without the index heads takes as many
    multiplications as the heads of 350,000 rows, so that there is little to gain with fewer.

    Parameters
    ----------
    latent_dim : int, default=128
        Latent dimensions. The paper takes 128 for images of 28 x 28 and 100 for faces.
    backbone : {"auto", "cnn", "mlp"}, default="auto"
        Encoder and decoder: "cnn" has three convolutions on each side (7.10), "mlp" three fully
        connected layers, which the paper takes for faces. "auto" takes "cnn" for images and "mlp"
        for rows.
    width : {"small", "medium", "large", "xlarge"}, default="medium"
        Channels and units, as in :class:`ProvenanceClassifier`; "medium" has the channels of the
        paper, 64, 128 and 256.
    heads : {"per_class", "shared"}, default="per_class"
        Whether there is one linear index head for each class, as in the paper, or one for all
        classes, with a hidden layer that also sees the one-hot class.
    routing : {"hard", "soft"}, default="hard"
        How index probability spreads over classes: "hard" gives all of it to rows of the predicted
        class, "soft" multiplies by the class probabilities. Take "soft" where classes are small,
        such as people with a handful of pictures: under "hard" the only row of a class has
        probability 1. Routing does not change training.
    likelihood : {"auto", "bernoulli", "gaussian"}, default="auto"
        Distribution of a value given the code. "bernoulli" gives the binary cross entropy of the
        paper and needs images of uint8 or with values in [0, 1]; "gaussian" learns one noise
        variance for all values. "auto" takes "bernoulli" for such images, else "gaussian".
    {input_shape} {index}
    lambda_gen, lambda_cls : float, default=0.6, 0.4
        Weights of the two brackets of Eq. 3. With a tenth of the default ``lambda_gen`` far more
        training rows are recognised, at little cost (:ref:`generation`).
    lr : float, default=1e-3
        Learning rate of Adam.
    {batch_size}
    max_epochs : int, default=70
        Passes over the training rows. The paper takes 150 for faces.
    {device} {precision} {callbacks}
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, order of rows and codes. Torch's global generator is neither read
        nor changed.
    {warm_start} {verbose}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {n_features_in_} {feature_names_in_} {input_shape_}
    index_ : ndarray of shape (n,)
        Training rows that have an output: all of them.
    {training_}
    candidates_ : {"same_class", "all"}
        Rows that may be named for a query: "same_class", those of its predicted class, under hard
        routing.
    likelihood_ : {"bernoulli", "gaussian"}
        The distribution in use.
    history_ : list of dict
        ``reconstruction_loss``, ``kl_loss``, ``class_loss`` and ``index_loss`` in nats per row,
        ``class_accuracy`` and ``index_accuracy``, the total ``train_loss``, learning rate and
        seconds per epoch. Accuracies are those of codes that are drawn from the posteriors.
    {net_}

    See Also
    --------
    ProvenanceClassifier : Name the training rows behind predictions instead.
    sklearn_provenance.evaluation.realism : Measure how real samples of high and low confidence are.

    References
    ----------
    .. [1] Provenance Networks: End-to-End Exemplar-Based Explainability.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_provenance import ProvenanceVAE
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> vae = ProvenanceVAE(16, width="small", max_epochs=10, random_state=0).fit(X, y)
    >>> codes = vae.transform(X[:4])
    >>> vae.explain_latent(codes, k=5).indices.shape
    (4, 5)
    >>> vae.sample(2, random_state=0).shape
    (2, 64)
    """

    _parameter_constraints: dict = {
        **ProvenanceEstimator._parameter_constraints,
        "latent_dim": [whole()],
        "backbone": [StrOptions({"auto", "cnn", "mlp"})],
        "width": [StrOptions(set(SIZES))],
        "heads": [StrOptions({"per_class", "shared"})],
        "routing": [StrOptions({"hard", "soft"})],
        "likelihood": [StrOptions({"auto", "bernoulli", "gaussian"})],
        "lambda_gen": [real()],
        "lambda_cls": [real()],
    }

    _STRUCTURE = (
        "latent_dim",
        "backbone",
        "width",
        "heads",
        "likelihood",
        "device",
        "precision",
    )

    def __init__(
        self,
        latent_dim: int = 128,
        *,
        backbone: Literal["auto", "cnn", "mlp"] = "auto",
        width: Literal["small", "medium", "large", "xlarge"] = "medium",
        heads: Literal["shared", "per_class"] = "per_class",
        routing: Literal["hard", "soft"] = "hard",
        likelihood: Literal["auto", "bernoulli", "gaussian"] = "auto",
        input_shape: tuple[int, ...] | list[int] | None = None,
        index: Any = None,
        lambda_gen: float = 0.6,
        lambda_cls: float = 0.4,
        lr: float = 1e-3,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int = 70,
        device: str | torch.device = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        callbacks: list | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        store_arguments(locals())

    @property
    def likelihood_(self) -> str:
        """The distribution in use, "bernoulli" or "gaussian"."""
        check_is_fitted(self)
        if self.net_.module_.decoder.log_noise is None:
            return "bernoulli"
        return "gaussian"

    @property
    def _index_network(self):
        # The heads of the autoencoder read codes, not rows.
        return self.net_.module_.decoder

    def predict(self, X: Rows) -> np.ndarray:
        """Predict classes by the class head, at the codes of :meth:`transform`.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n,)
            Class labels.
        """
        Z = self._encode(self._rows(X))
        proba = class_proba(self._index_network, self._index, Z)
        return self.classes_[proba.argmax(1)]

    def explain(
        self,
        X: Rows = None,
        k: int = 5,
        *,
        show: Rows | None = None,
        show_queries: Rows | None = None,
    ) -> Explanation:
        """Name the training rows that rows or images are made of, by their codes.

        Parameters
        ----------
        X : array-like, default=None
            Queries as in :meth:`fit`; None explains every training row by the others.
        k : int, default=5
            Training rows per query.
        show : array-like of shape (n_train, ...), default=None
            What the explanation shows in place of the training rows, such as their texts; None
            shows the X given to fit.
        show_queries : array-like of shape (n_queries, ...), default=None
            What it shows in place of the queries, rows like those that are shown of training
            rows; None shows the queries where ``show`` is None, else none, or
            ``show`` where training rows are explained.

        Returns
        -------
        explanation : Explanation
            Training rows, as numbers of rows of the X given to fit, and their probabilities, best
            first. Under hard routing, where the predicted class has fewer than k rows, the rest is
            padded with -1 and nan, with a warning.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named, or ``show`` or
            ``show_queries`` has another number of rows or lacks some.
        TypeError
            If ``show`` or ``show_queries`` holds no rows, such as a single text.
        """
        rows, exclude = self._queries(X)
        instead = Instead.of(X, show, show_queries, self._fit_X.shape[0])
        found = self._nearest(self._encode(rows), exclude, k)
        return instead.applied_to(self._explanation(rows, *found, "provenance autoencoder"))

    def explain_latent(
        self,
        Z: Rows,
        k: int = 5,
        *,
        show: Rows | None = None,
        show_queries: Rows | None = None,
    ) -> Explanation:
        """Name the training rows that samples are made of.

        Parameters
        ----------
        Z : array-like of shape (n, latent_dim)
            Codes, for instance from :meth:`sample` or :meth:`transform`.
        k : int, default=5
            Training rows per code.
        show : array-like of shape (n_train, ...), default=None
            What the explanation shows in place of the training rows, such as their texts; None
            shows the X given to fit.
        show_queries : array-like of shape (n_codes, ...), default=None
            What it shows in place of the decoded rows, rows like those that are shown of training
            rows; None shows the decoded rows where ``show`` is None, else none.

        Returns
        -------
        explanation : Explanation
            As from :meth:`explain`; its queries are the rows that the codes decode to.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named, codes do not have
            ``latent_dim`` dimensions, or ``show`` or ``show_queries`` has another number of rows or
            lacks some.
        TypeError
            If ``show`` or ``show_queries`` holds no rows, such as a single text.
        """
        Z = self._codes(Z)
        instead = Instead.of(Z, show, show_queries, self._fit_X.shape[0])
        found = self._nearest(Z, None, k)
        explanation = self._explanation(self._decode(Z), *found, "provenance autoencoder")
        return instead.applied_to(explanation)

    @classmethod
    def load(cls, path: Path, *, device: str | torch.device = "auto") -> Self:
        """Read an autoencoder that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like
            File to read.
        device : str or torch.device, default="auto"
            Where to compute.

        Returns
        -------
        vae : ProvenanceVAE
            Fitted; it generates and explains as the saved one.

        Raises
        ------
        ValueError
            If :meth:`save` did not write the file.
        """
        return cls._load(path, None, device)

    def _assemble_net(self, seed):
        return assemble_net(self, seed)

    def _check_labels(self, y):
        # Most classes may have one row, such as people in a collection of faces: no warning.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            super()._check_labels(y)

    def _update_net(self):
        update_net(self)

    def _schedule(self):
        return 0, math.inf
