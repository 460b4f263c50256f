"""Numbers in fewer bytes: single and half precision, and bfloat16, which NumPy does not know."""

import numpy as np

DTYPES = ("float64", "float32", "float16", "bfloat16")


def encode(values, dtype):
    """Store rows of floats (n, width) in a type.

    Rows in half precision are scaled by powers of two, each so that its largest number lies below
    2^15: numbers down to 2^-28 of it keep all 11 bits.

    Returns
    -------
    stored : ndarray of shape (n, width)
        Numbers as they are stored; uint16 for bfloat16.
    exponents : ndarray of shape (n,), int16, or None
        Powers of two that the stored numbers were multiplied by, of half precision.
    norms : ndarray of shape (n,)
        Squared norms of the rows as they are stored, in double precision.

    Raises
    ------
    ValueError
        If a number does not lie in the range of the type.
    """
    if dtype == "float64":
        stored = values.astype(np.float64, copy=False)
        return stored, None, squared_norms(stored)
    exponents = None
    with np.errstate(over="ignore"):
        if dtype == "float16":
            largest = np.abs(values).max(1, initial=0.0)
            exponents = np.where(largest > 0, 15 - np.frexp(largest)[1], 0).astype(np.int16)
            stored = np.ldexp(values, exponents[:, None].astype(np.int32)).astype(np.float16)
        elif dtype == "bfloat16":
            bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
            # To the nearest number, of two the even one; of the sum the upper half stays.
            rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            stored = (rounded >> np.uint32(16)).astype(np.uint16)
        else:
            stored = values.astype(np.float32, copy=False)
        norms = squared_norms(decode(stored, dtype, exponents))
    # Squares of single numbers are finite in double precision.
    if not np.isfinite(norms).all():
        raise ValueError(
            f"features must lie in the range of {dtype}, of which some do not; give the store "
            'dtype="float64"'
        )
    return stored, exponents, norms


def squared_norms(values):
    """Compute squared norms (n,) in double precision, of a few rows at a time."""
    norms = np.empty(len(values))
    step = max(1, 2**17 // values.shape[1])
    for start in range(0, len(values), step):
        block = values[start : start + step].astype(np.float64)
        norms[start : start + step] = np.square(block, out=block).sum(1)
    return norms


def decode(stored, dtype, exponents):
    """Return rows of floats from what :func:`encode` gave."""
    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "float16":
        return np.ldexp(stored.astype(np.float32), -exponents[:, None].astype(np.int32))
    return stored
