"""ProvenanceVAE: a generator whose samples name the training rows that they are made of."""

import math
import warnings
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import real, whole
from .._utils.numeric import as_given
from ..explanation import Explanation
from ._backbones import SIZES
from ._estimator import ProvenanceEstimator
from ._inference import batches, checked, class_proba, store
from ._targets import ClassTargets
from ._vae_assembly import assemble_net, update_net
from ._vae_loss import divergence, negative_log_likelihood
from ._vae_network import VAEOutput

_N_DRAWS = 16  # codes per row of the evidence lower bound


class ProvenanceVAE(ClassTargets, ProvenanceEstimator):
    """A variational autoencoder that names the training rows behind each image or code.

    From an intermediate feature of the decoder, a class head and index heads predict the class
    and the training row inside it, so that whatever the decoder makes, a reconstruction or a new
    sample, comes with the training rows that it is made of [1]_ (5.5, 7.10).

    Training minimises ``lambda_gen * (reconstruction + KL) + lambda_cls * (class + index)`` (Eq.
    3), all in nats. The reconstruction term is summed over the values of a row and the Kullback-
    Leibler divergence over latent dimensions, and both are averaged over the batch like the two
    cross entropies, so that the first bracket is the evidence lower bound; the paper does not say
    how it reduces them. Under this convention the first bracket is by far the larger.

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
        Whether each class has a linear index head of its own, as in the paper, or all classes
        share one with a hidden layer that also sees the one-hot class.
    routing : {"hard", "soft"}, default="hard"
        How index probability spreads over classes: "hard" gives all of it to rows of the predicted
        class, "soft" multiplies by the class probabilities. Take "soft" where classes are small,
        as people with a handful of pictures are: under "hard" the only row of a class has
        probability 1. It does not change training.
    likelihood : {"auto", "bernoulli", "gaussian"}, default="auto"
        Distribution of a value given the code. "bernoulli" gives the binary cross entropy of the
        paper and needs values in [0, 1], or uint8 images; "gaussian" learns one noise variance for
        all values. "auto" takes "bernoulli" for images with such values, else "gaussian".
    input_shape : tuple of int, default=None
        (H, W), (C, H, W) or (H, W, C) when X holds flat images.
    lambda_gen, lambda_cls : float, default=0.6, 0.4
        Weights of what generates and of what names (Eq. 3). With a tenth of the default
        ``lambda_gen`` far more training rows are named, at little cost (:ref:`generation`).
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int or "auto", default="auto"
        Rows per optimiser step. "auto" takes 128 as in the paper, and a tenth of the rows but at
        least 16 where that is less.
    max_epochs : int, default=70
        Passes over the training rows. The paper takes 150 for faces.
    device : str or torch.device, default="auto"
        Where to compute; "auto" takes CUDA where there is a GPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Automatic mixed precision. "auto" takes bfloat16 on GPUs that support it, else float32.
    callbacks : list of skorch callbacks, default=None
        Copied, and called during training. ``history_`` names what they can monitor.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, order of rows and codes. Torch's global generator is neither read
        nor changed.
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
    index_ : ndarray of shape (n,)
        Training rows that have an output: all.
    training_ : TrainingData
        Rows ``X``, labels ``y`` and ``sample_id`` that it was trained on.
    candidates_ : {"same_class", "all"}
        Rows that may be named for a query: "same_class", those of its predicted class, under hard
        routing.
    likelihood_ : {"bernoulli", "gaussian"}
        The distribution in use.
    history_ : list of dict
        ``reconstruction_loss``, ``kl_loss``, ``class_loss`` and ``index_loss`` in nats per row,
        ``class_accuracy`` and ``index_accuracy``, the total ``train_loss``, learning rate and
        seconds per epoch. Codes are drawn anew for every row, so accuracies are those of the noisy
        codes.
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.

    See Also
    --------
    ProvenanceClassifier : The same for predictions.
    sklearn_provenance.evaluation.realism : How real samples of high and low confidence look.

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
        "latent_dim": [whole()],
        "backbone": [StrOptions({"auto", "cnn", "mlp"})],
        "width": [StrOptions(set(SIZES))],
        "heads": [StrOptions({"per_class", "shared"})],
        "routing": [StrOptions({"hard", "soft"})],
        "likelihood": [StrOptions({"auto", "bernoulli", "gaussian"})],
        "input_shape": [tuple, list, None],
        "lambda_gen": [real()],
        "lambda_cls": [real()],
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
        lambda_gen: float = 0.6,
        lambda_cls: float = 0.4,
        lr: float = 1e-3,
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int = 70,
        device: str | torch.device = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        callbacks: list | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int | bool = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.backbone = backbone
        self.width = width
        self.heads = heads
        self.routing = routing
        self.likelihood = likelihood
        self.input_shape = input_shape
        self.lambda_gen = lambda_gen
        self.lambda_cls = lambda_cls
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @property
    def likelihood_(self) -> str:
        """The distribution in use, "bernoulli" or "gaussian"."""
        check_is_fitted(self)
        return "bernoulli" if self.net_.module_.decoder.log_noise is None else "gaussian"

    @property
    def _index_network(self):
        return self.net_.module_.decoder

    @property
    def _n_features_out(self):
        return self._structure["latent_dim"]

    def transform(self, X: Any) -> Any:
        """Codes: the means of the posteriors.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        Z : ndarray of shape (n, latent_dim), float32
            Posterior means; the prior is a standard normal distribution.
        """
        return self._encode(self._rows(X))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n, latent_dim)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n, ...)
            Means of the decoder's distributions, in the shape that :meth:`fit` was given, uint8
            where it saw images of uint8, else float32.
        """
        return self._as_given(self._decode(self._codes(X)))

    def reconstruct(self, X: Any) -> np.ndarray:
        """Encode and decode.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        reconstruction : ndarray of the shape of ``X``
            ``inverse_transform(transform(X))``.
        """
        return self.inverse_transform(self._encode(self._rows(X)))

    @validate_params(
        {
            "n_samples": [whole()],
            "random_state": ["random_state"],
            "return_codes": ["boolean"],
        },
        prefer_skip_nested_validation=True,
    )
    def sample(
        self,
        n_samples: int = 1,
        *,
        random_state: int | np.random.RandomState | None = None,
        return_codes: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Generate rows or images from the prior.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            Source of the codes; None takes numpy's global one, as scikit-learn's densities do.
        return_codes : bool, default=False
            Whether to return the codes too, for :meth:`explain_latent`.

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            As from :meth:`inverse_transform`.
        Z : ndarray of shape (n_samples, latent_dim), float32
            Codes. Only with ``return_codes``.

        Raises
        ------
        ValueError
            If ``n_samples`` is less than 1.
        """
        check_is_fitted(self)
        rng = check_random_state(random_state)
        Z = rng.standard_normal((n_samples, self._n_features_out)).astype(np.float32)
        X = self.inverse_transform(Z)
        return (X, Z) if return_codes else X

    def predict(self, X: Any) -> np.ndarray:
        """Predict classes, by the class head at the codes of :meth:`transform`.

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

    def explain(self, X: Any = None, k: int = 5) -> Explanation:
        """Name the training rows that images or rows are made of, by their codes.

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
            warning; ``routing="soft"`` has no such limit.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named.
        """
        rows, exclude = self._queries(X)
        found = self._nearest(self._encode(rows), exclude, k)
        return self._explanation(rows, *found, "provenance autoencoder")

    def explain_latent(self, Z: Any, k: int = 5) -> Explanation:
        """Name the training rows that samples are made of.

        Parameters
        ----------
        Z : array-like of shape (n, latent_dim)
            Codes, from :meth:`sample` or :meth:`transform` or your own.
        k : int, default=5
            Training rows per code.

        Returns
        -------
        explanation : Explanation
            As from :meth:`explain`; its queries are what the codes decode to.

        Raises
        ------
        ValueError
            If k is larger than the number of training rows that can be named, or codes have
            another number of dimensions.
        """
        Z = self._codes(Z)
        found = self._nearest(Z, None, k)
        return self._explanation(self._decode(Z), *found, "provenance autoencoder")

    def score_samples(self, X: Any) -> np.ndarray:
        """Evidence lower bound of each row.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        elbo : ndarray of shape (n,), float64
            Mean over 16 codes (the same noise, and its negative, for every row) of the
            log-likelihood, less the divergence, in nats. With a Gaussian likelihood a bound on
            the log density of ``X`` in its own units. With a Bernoulli likelihood grey values
            count as probabilities; it is then a bound only for values of 0 and 1.
        """
        rows = self._rows(X)
        module = self.net_.module_
        half = np.random.RandomState(0).standard_normal((_N_DRAWS // 2, self._n_features_out))
        noise = torch.tensor(np.concatenate([half, -half]), dtype=torch.float32)
        elbo = np.empty(len(rows))
        for batch, _, x in batches(module, rows):
            inputs, (mean, log_variance) = module.scaling(x), module.encode(x)
            bound = -divergence(mean, log_variance)
            for draw in noise.to(x.device):
                z = mean + draw * (log_variance / 2).exp()
                image = module.decoder.render(module.decoder.stem(z))
                output = VAEOutput(inputs, image, module.decoder.log_noise, *[None] * 4)
                bound = bound - negative_log_likelihood(output) / len(noise)
            store(elbo, batch, checked(bound))
        if self.likelihood_ == "gaussian":
            elbo += rows.shape[1] * math.log(module.scaling.scale)
        return elbo

    def score(self, X: Any, y: Any = None) -> float:
        """Mean evidence lower bound.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Mean of :meth:`score_samples`, in nats per row.
        """
        return float(self.score_samples(X).mean())

    @classmethod
    def load(cls, path: str | PathLike, *, device: str | torch.device = "auto") -> Self:
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
        # As in a collection of faces, most classes may have one row: no reason for a warning.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            super()._check_labels(y)

    def _update_net(self):
        update_net(self)

    def _schedule(self):
        return 0, math.inf

    def _codes(self, Z):
        check_is_fitted(self)
        Z = as_given(Z, "codes")
        Z = Z.cpu() if isinstance(Z, torch.Tensor) else Z
        Z = check_array(Z, dtype=np.float32, input_name="codes")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"codes have latent_dim={self._n_features_out} dimensions; got {Z.shape[1]}"
            )
        return Z

    def _encode(self, rows):
        module = self.net_.module_
        Z = np.empty((len(rows), self._n_features_out), dtype=np.float32)
        for batch, _, x in batches(module, rows):
            store(Z, batch, checked(module.encode(x)[0]))
        return Z

    def _decode(self, Z):
        """Flat rows as they are stored."""
        module = self.net_.module_
        rows = np.empty((len(Z), self.n_features_in_), dtype=self._fit_X.dtype)
        for batch, _, z in batches(module, Z):
            values = checked(module.decode(z))
            if rows.dtype == np.uint8:
                values = values.round().to(torch.uint8)
            store(rows, batch, values)
        return rows
