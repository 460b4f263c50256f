"""Logits, gradients and weights that are not finite are named in an error."""

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from ...checks import thorough
from .conftest import (
    ATTRIBUTORS,
    N_FEATURES,
    answers,
    calls,
    every_attributor,
    network,
    parametrize_attributors,
)

NAMED = re.compile(r"finite|\bnan\b|infinit|too large", re.IGNORECASE)
MARK = 50.0


def refused(call):
    """Call, and check that it refuses what is not finite by name."""
    with pytest.raises((ValueError, RuntimeError)) as error:
        call()
    message = str(error.value)
    assert NAMED.search(message), message
    assert "are zero" not in message


class Hole(nn.Module):
    """Logits of rows with a mark are not finite."""

    def __init__(self, value, column=slice(None)):
        super().__init__()
        self.value, self.column = value, column
        self.inner = network()

    def forward(self, x):
        logits = self.inner(x)
        holes = torch.full_like(logits, 0.0)
        holes[:, self.column] = self.value
        return torch.where(x[:, :1] > MARK / 2, holes, logits)


class Steep(nn.Module):
    """Logits are finite, and their gradients at rows with a mark are not."""

    def __init__(self):
        super().__init__()
        self.inner, self.w = network(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        size = torch.where(x[:, :1] > MARK / 2, 0.0, 1.0) * self.w
        return self.inner(x) + size.sqrt() * torch.tensor([1.0, 2.0, 3.0])


def marked(X, rows):
    X = X.copy()
    X[rows, 0] = MARK
    return X


VALUES = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
# Training rows never pass through the network: they need no logits.
ROWS_ALONE = {name for name in ATTRIBUTORS if "own rows" in name} | {"random"}


@pytest.mark.parametrize(
    ("value", "column"), [("nan", slice(None)), ("inf", 1), *thorough(("-inf", slice(None)))]
)
@every_attributor
def test_logits_of_queries(name, data, value, column):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(Hole(VALUES[value], column)).fit(X, y)
    for method, call in calls(attributor, marked(queries, 3)).items():
        if not (method == "transform" and name in ROWS_ALONE):
            refused(call)
    answers(attributor, queries)


@pytest.mark.parametrize("rows", [[13], *thorough([0], slice(None))], ids=str)
@pytest.mark.parametrize("value", ["nan"])
@every_attributor
def test_logits_of_training_rows(name, data, rows, value):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(Hole(VALUES[value]))
    if name not in ROWS_ALONE:
        refused(lambda: attributor.fit(marked(X, rows), y))
    elif rows == [13]:
        answers(attributor.fit(marked(X, rows), y), queries)


@pytest.mark.parametrize(
    ("place", "value"), [("first weight", "nan"), ("last bias", "inf"), ("variance", "nan")]
)
@every_attributor
def test_weights(name, module, data, place, value):
    X, y, queries = data
    layer, parameter = {
        "first weight": (0, "weight"),
        "last bias": (4, "bias"),
        "variance": (1, "running_var"),
    }[place]
    with torch.no_grad():
        getattr(module[layer], parameter)[0] = VALUES[value]
    attributor = ATTRIBUTORS[name].make(module)
    if name not in ROWS_ALONE:
        refused(lambda: attributor.fit(X, y))
        return
    try:
        attributor.fit(X, y)
    except ValueError as error:
        assert NAMED.search(str(error))
    else:
        refused(lambda: attributor.explain(queries))
        refused(lambda: attributor.predict(queries))


# A row that is examined and has no gradient equals nothing that it is compared with.
@pytest.mark.filterwarnings("ignore:.*are computed row by row")
@pytest.mark.parametrize("where", ["rows", "queries"])
@parametrize_attributors(name for name, case in ATTRIBUTORS.items() if case.gradients)
def test_gradients_alone(name, data, where):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(Steep())
    if where == "rows":
        refused(lambda: attributor.fit(marked(X, 13), y))
        return
    attributor.fit(X, y)
    queries = marked(queries, 3)
    found = calls(attributor, queries)
    assert len(found.pop("predict")()) == len(queries)  # logits are finite
    for call in found.values():
        refused(call)


@pytest.mark.parametrize("size", [1e20, 1e38])
@every_attributor
def test_overflow(name, data, size):
    """Weights so large that logits, gradients or their products overflow single precision."""
    X, y, queries = data
    module = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Linear(5, 3))
    with torch.no_grad():
        module[0].weight.mul_(size)
        module[1].weight.mul_(size)
    try:
        attributor = ATTRIBUTORS[name].make(module).fit(X, y)
        found = answers(attributor, queries)
    except (ValueError, RuntimeError) as error:
        assert NAMED.search(str(error)), error
        assert "are zero" not in str(error)
    else:
        assert np.isfinite(found["explain"][1]).all()
        assert not np.isinf(found["attribute"]).any()


@pytest.mark.parametrize("size", [1e150, 1e300])
@every_attributor
def test_overflow_of_doubles(name, data, size):
    """Products of gradients overflow where gradients and logits do not."""
    X, y, queries = (a.astype(np.float64) if a.dtype == np.float32 else a for a in data)
    module = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Linear(5, 3)).double()
    with torch.no_grad():
        module[1].weight.mul_(size)
    try:
        attributor = ATTRIBUTORS[name].make(module).fit(X, y)
        found = answers(attributor, queries)
    except (ValueError, RuntimeError) as error:
        # Logits this large are certain, and what is known of them is zero.
        assert NAMED.search(str(error)) or "is certain of" in str(error), error
    else:
        assert np.isfinite(found["explain"][1]).all()
        assert not np.isinf(found["attribute"]).any()


@pytest.mark.parametrize("size", [1e-80, 1e-160])
@parametrize_attributors(name for name in ATTRIBUTORS if "gain" in name)
def test_squares_that_vanish(name, data, size):
    X, y, queries = (a.astype(np.float64) if a.dtype == np.float32 else a for a in data)
    attributor = ATTRIBUTORS[name].make(nn.Linear(N_FEATURES, 3, bias=False).double())
    try:
        found = attributor.fit(size * X, y).explain(size * queries).scores
    except ValueError as error:
        assert "between" in str(error)
    else:
        assert (found[:, 0] > 0).all()


def broken_linear(X, y):
    model = LogisticRegression().fit(X, y)
    model.coef_[0, 0] = np.nan
    return model


def broken_mlp(X, y):
    model = MLPClassifier((4,), max_iter=200, tol=1e-1, random_state=0).fit(X, y)
    model.coefs_[0][0, 0] = np.nan
    return model


@pytest.mark.parametrize("broken", [broken_linear, broken_mlp])
@every_attributor
def test_estimators(name, data, broken):
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(broken(X, y))
    if name not in ROWS_ALONE:
        refused(lambda: attributor.fit(X, y))


@every_attributor
def test_rows_that_are_not_finite(name, module, data):
    """NaN rows through a network that lets NaN through."""
    X, y, queries = data
    attributor = ATTRIBUTORS[name].make(module).fit(X, y)
    for value in VALUES.values():
        bad = queries.copy()
        bad[2, 1] = value
        for method, call in calls(attributor, bad).items():
            # tanh makes a finite number of infinity
            if np.isnan(value):
                refused(call)
            else:
                try:
                    call()
                except ValueError as error:
                    assert NAMED.search(str(error)), (method, error)
