"""Attribution: which training rows a prediction comes from, for any trained network.

References
----------
[IT] Tailor, Felicioni, Ciosek (2026). Bayesian information-theoretic training data attribution.
"""

from ._information import InfoGainAttributor, InfoLossAttributor

__all__ = ["InfoGainAttributor", "InfoLossAttributor"]
