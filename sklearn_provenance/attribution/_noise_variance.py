"""The parameter ``noise_variance``: a number, or a multiple of the mean kernel diagonal."""

import numpy as np

# noise_variance="scale" in units of the mean kernel diagonal. With this value, predictions suffered
# most when networks were trained again without the rows that InfoGain had named
# (benchmarks/brittleness.py).
SCALE_CONSTANT = 10.0


def in_kernel_units(noise_variance, diagonal):
    """Turn the parameter ``noise_variance`` into σ²; ``diagonal`` is the mean kernel diagonal."""
    if not isinstance(noise_variance, str):
        return float(noise_variance)
    if noise_variance == "scale":
        return SCALE_CONSTANT * diagonal
    factor, star, word = noise_variance.rpartition("*")
    if not star:
        factor = 1.0
    try:
        factor = float(factor)
    except ValueError:
        factor = 0.0
    if word.strip() != "diagonal" or not 0 < factor < np.inf:
        raise ValueError(
            "noise_variance must be a positive number, 'scale' or a positive multiple of the mean "
            f"kernel diagonal such as '3*diagonal'; got {noise_variance!r}"
        )
    return factor * diagonal
