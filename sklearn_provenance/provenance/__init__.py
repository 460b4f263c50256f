"""Provenance networks: networks that name training rows in their forward pass."""

from ._classifier import ProvenanceClassifier
from ._regressor import ProvenanceRegressor
from ._vae import ProvenanceVAE

__all__ = ["ProvenanceClassifier", "ProvenanceRegressor", "ProvenanceVAE"]
