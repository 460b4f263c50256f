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
    found = decode(*with_name(encode(values, dtype), dtype)).astype(np.float64)
    assert (np.abs(found - values) <= DIGITS[dtype] * np.abs(values)).all()


def with_name(pair, dtype):
    return pair[0], dtype, pair[1]


def test_bfloat16_is_that_of_torch():
    values = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    stored, _ = encode(values, "bfloat16")
    expected = torch.as_tensor(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(decode(stored, "bfloat16", None), expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_out_of_range_are_refused(dtype):
    with pytest.raises(ValueError, match=f"range of {dtype}"):
        encode(np.array([[1e300]]), dtype)
