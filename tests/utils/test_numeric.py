"""Rows as numbers that torch takes."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_provenance._utils.arguments import as_device
from sklearn_provenance._utils.numeric import as_numbers


def test_entries_of_mappings_are_tensors_however_they_are_held():
    x = np.array([[0.0, 1.5], [2.0, 0.0]])
    kinds = {"array": x, "sparse": csr_array(x), "tensor": torch.as_tensor(x), "list": x.tolist()}
    found = as_numbers(kinds)
    assert list(found) == list(kinds)
    for part in found.values():
        assert torch.equal(part, torch.as_tensor(x))


def test_entries_of_mappings_have_one_number_of_rows():
    with pytest.raises(ValueError, match="rows"):
        as_numbers({"a": np.ones((2, 1)), "b": np.ones((3, 1))})


@pytest.mark.parametrize("device", ["meta", "fpga"])
def test_devices_must_compute(device):
    with pytest.raises(InvalidParameterError, match=f"device='{device}' cannot be computed on"):
        as_device(device)
