"""Results are found by the content of their keys, within a budget."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from sklearn_provenance._utils.kept import Kept


def asked(kept, *keys):
    """How often a result is computed for some keys in turn."""
    calls = []
    for key in keys:
        kept(("result", key), lambda key=key: calls.append(key))
    return len(calls)


EQUAL = [
    lambda: 3,
    lambda: None,
    lambda: [1, 2],
    lambda: np.arange(3.0),
    lambda: torch.arange(3.0, requires_grad=True),
    lambda: csr_array(np.eye(2)),
]


@pytest.mark.parametrize("make", EQUAL)
def test_equal_content_is_one_key(make):
    assert asked(Kept(1e6), make(), make()) == 1


def test_different_content_is_another_key():
    x = np.arange(4)
    keys = [x, x[::-1], x.reshape(2, 2), x.astype(float), torch.as_tensor(x), x.tolist(), 4, None]
    assert asked(Kept(1e6), *keys) == len(keys)


UNREADABLE = [
    torch.ones(2, dtype=torch.bfloat16),
    np.array([{}, []], dtype=object),
    ["a", None],
    object(),
]


@pytest.mark.parametrize("key", UNREADABLE)
def test_what_cannot_be_compared_is_not_kept(key):
    assert asked(Kept(1e6), key, key) == 2
