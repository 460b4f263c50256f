"""Numbers in fewer bytes keep as many digits as the type has, whatever the size of a row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_provenance._utils.encoding import decode, encode

# Largest relative error of a number that is not far below its row's largest.
DIGITS = {"float64": 0.0, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@pytest.mark.parametrize("dtype", DIGITS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.floats(-30, 30))
def test_relative_errors(dtype, seed, size):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, 4)) * 10.0**size * 10.0 ** rng.uniform(-5, 0, size=(5, 1))
    values[2] = 0
    stored, exponents, norms = encode(values, dtype)
    found = decode(stored, dtype, exponents).astype(np.float64)
    assert (np.abs(found - values) <= DIGITS[dtype] * np.abs(values)).all()
    np.testing.assert_allclose(norms, np.square(found).sum(1), rtol=1e-12)


def test_bfloat16_is_that_of_torch():
    values = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    stored, *_ = encode(values, "bfloat16")
    expected = torch.as_tensor(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(decode(stored, "bfloat16", None), expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("number", [1e300, np.nan, -np.inf])
def test_numbers_out_of_range_are_refused(dtype, number):
    with pytest.raises(ValueError, match=f"range of {dtype}"):
        encode(np.array([[1.0, 2.0], [number, 0.0]]), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_largest_single_numbers_are_in_range(dtype):
    # bfloat16 has fewer digits, so that its largest number is lower.
    largest = np.full((1, 7), 2.0**127)
    stored, exponents, norms = encode(largest, dtype)
    np.testing.assert_array_equal(decode(stored, dtype, exponents), largest)
    np.testing.assert_allclose(norms, 7 * 2.0**254)
