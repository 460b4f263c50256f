"""Provenance networks: classifiers that name training rows in their forward pass."""

from ._classifier import ProvenanceClassifier

__all__ = ["ProvenanceClassifier"]
