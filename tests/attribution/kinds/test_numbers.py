"""Numbers that have no meaning, or with which no score would have one, are refused in words."""

import numpy as np
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

from sklearn_provenance import attribution as att

from .conftest import ATTRIBUTORS, every_attributor, network

POSITIVE = ("noise_variance", "damping", "ridge", "memory_limit")
WHOLE = ("n_samples", "n_components", "pool_size", "batch_size")


@every_attributor
def test_true_is_no_number(name, module, data):
    X, y, _ = data
    make = ATTRIBUTORS[name].make
    for parameter in (*POSITIVE, *WHOLE):
        if parameter in make(module).get_params(deep=False):
            with pytest.raises(InvalidParameterError, match=f"'{parameter}'"):
                make(module, **{parameter: True}).fit(X, y)


@pytest.mark.parametrize("name", ["gain", "loss", "RelatIF", "TRAK", "RepSim", "last layer"])
def test_flags_are_true_or_false(name, module, data):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module, candidates="all").fit(X, y)
    with pytest.raises(TypeError, match="balanced must be True or False; got 'no'"):
        attributor.select(queries, 3, balanced="no")
    if name in ("gain", "loss"):
        with pytest.raises(TypeError, match="normalize must be True or False; got 0"):
            attributor.select(queries, 3, normalize=0)


@pytest.mark.parametrize("name", ["gain", "loss", "RelatIF"])
def test_a_noise_variance_beside_which_the_kernel_is_lost(name, data):
    X, y, queries = data
    make, module = ATTRIBUTORS[name].make, network(torch.float64)
    with pytest.raises(ValueError, match="noise_variance must be at most"):
        make(module, noise_variance=1e300).fit(X, y)
    scores = make(module, noise_variance=1e100, candidates="all").fit(X, y).attribute(queries)
    assert len(np.unique(scores)) > scores.size / 2


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_cosines_do_not_depend_on_the_size_of_features(scale, data):
    X, y, queries = (np.asarray(array, dtype=np.float64) for array in data)
    module = nn.Linear(4, 3).double()
    expected = att.RepSimAttributor(module, features=lambda X: X).fit(X, y)
    scaled = att.RepSimAttributor(module, features=lambda X: scale * X).fit(X, y)
    np.testing.assert_allclose(scaled.attribute(queries), expected.attribute(queries), rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1e160, 1e200])
@pytest.mark.parametrize("of", ["rows", "queries"])
def test_features_whose_squares_are_no_numbers(scale, of, data):
    X, y, queries = (np.asarray(array, dtype=np.float64) for array in data)
    sizes = {"rows": 1.0, "queries": 1.0, of: scale}
    attributor = att.RepSimAttributor(nn.Linear(4, 3).double(), features=lambda X: X)
    with pytest.raises(ValueError, match="features must be of a size whose squares are finite"):
        attributor.fit(sizes["rows"] * X, y.astype(int)).attribute(sizes["queries"] * queries)


def test_a_row_of_zeros_is_like_no_other(data):
    X, y, queries = (np.asarray(array, dtype=np.float64) for array in data)
    X[3] = 0
    attributor = att.RepSimAttributor(
        nn.Linear(4, 3).double(), features=lambda X: X, candidates="all"
    )
    scores = attributor.fit(X, y.astype(int)).attribute(queries)
    assert (scores[:, 3] == 0).all()
    assert np.isfinite(scores).all()


def test_trak_names_what_is_too_large(data):
    X, y, _ = data
    module = nn.Linear(4, 3).double()
    with pytest.raises(
        ValueError, match="must be finite, but tangent features of the training rows"
    ):
        att.TRAKAttributor(module, n_components=4).fit(X.astype(np.float64) * 1e160, y)
