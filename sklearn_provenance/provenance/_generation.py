"""What a provenance autoencoder does beside naming training rows: encode, decode, sample, score."""

import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import whole
from .._utils.numeric import as_ndarray
from .._utils.rows import as_given
from .._utils.types import RandomState, Rows
from ._vae_inference import decode_codes, encode_rows, evidence_lower_bound


class GenerationMixin(TransformerMixin):  # for set_output of its transform
    """Methods of :class:`ProvenanceVAE` between rows, codes and their probabilities."""

    @property
    def _n_features_out(self):
        return self._structure["latent_dim"]

    def transform(self, X: Rows) -> np.ndarray:
        """Encode rows by the means of their posteriors.

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

    def inverse_transform(self, X: Rows) -> np.ndarray:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n, latent_dim)
            Codes.

        Returns
        -------
        X_original : ndarray of shape (n, ...)
            Means of the decoder's distributions, in the shape of the ``X`` given to :meth:`fit`:
            uint8 if that held images of uint8, else float32.
        """
        return self._as_given(self._decode(self._codes(X)))

    def reconstruct(self, X: Rows) -> np.ndarray:
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
        random_state: RandomState = None,
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
        if return_codes:
            return X, Z
        return X

    def score_samples(self, X: Rows) -> np.ndarray:
        """Estimate the evidence lower bound of each row.

        Parameters
        ----------
        X : array-like
            Rows or images as in :meth:`fit`.

        Returns
        -------
        elbo : ndarray of shape (n,), float64
            Mean log-likelihood over 16 codes (the same noise, and its negative, for every row),
            less the divergence, in nats. With a Gaussian likelihood this is a bound on the log
            density of ``X`` in its units. With a Bernoulli likelihood grey values count as
            probabilities; it is then a bound only for values of 0 and 1.
        """
        return evidence_lower_bound(self.net_.module_, self._rows(X), self._n_features_out)

    def score(self, X: Rows, y: None = None) -> float:
        """Compute the mean evidence lower bound.

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

    def _codes(self, Z):
        """Check codes and return them as an ndarray."""
        check_is_fitted(self)
        Z = as_given(Z, "codes")
        if isinstance(Z, torch.Tensor):
            Z = as_ndarray(Z)
        Z = check_array(Z, dtype=np.float32, input_name="codes")
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"codes must have latent_dim={self._n_features_out} dimensions; got {Z.shape[1]}"
            )
        return Z

    def _encode(self, rows):
        return encode_rows(self.net_.module_, rows, self._n_features_out)

    def _decode(self, Z):
        return decode_codes(self.net_.module_, Z, self.n_features_in_, self._fit_X.dtype)
