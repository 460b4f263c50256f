"""What is held of rows that are a Dask array keeps to the budget."""

import json
import sys

import pytest

from ..checks import thorough

pytest.importorskip("dask.array")
PEAK = """
import ctypes, json, resource, sys
libc = ctypes.CDLL(None)  # freed arrays go back to the system at once
assert libc.mallopt(-3, 65536) and libc.mallopt(-1, 65536)
import dask, dask.array as da, numpy as np, torch
torch.set_num_threads(1)
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn
from sklearn_provenance import attribution as att
from sklearn_provenance.tangent import TangentFeatures

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

class Model(ClassifierMixin, BaseEstimator):
    classes_ = np.arange(2)
    def fit(self, X, y):
        raise AssertionError("is fitted")
    def __sklearn_is_fitted__(self):
        return True
    def predict(self, X):
        return (np.asarray(X)[:, 0] > 0).astype(int)

n, width, limit, params = json.loads(sys.argv[1])
X = da.random.default_rng(0).normal(size=(n, width), chunks=(2000, width))
y = np.arange(n) % 2
name = params.pop("method", "InfoGain")
if params.pop("network", False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    features = TangentFeatures(n_components=16)
    params["measurement"] = "margin"
else:
    model, features = Model(), lambda X: X
make = lambda: getattr(att, name + "Attributor")(
    model, features=features, memory_limit=limit, candidates="all", **params
)
queries = np.random.default_rng(1).normal(size=(8, width))

def use(X, y):
    attributor = make().fit(X, y)
    attributor.explain(queries, k=3)
    if name == "RelatIF":
        attributor.select(queries, 3)
        attributor.attribute(queries[:1])
    elif "pool_size" not in params:
        attributor.select(queries[:3], 3)
        attributor.attribute(queries[:1])
        attributor.score(queries, np.arange(8) % 2)

use(X[:4000], y[:4000])
before = peak()
use(X, y)
print(json.dumps(peak() - before))
"""


@pytest.mark.parametrize(
    "params",
    [
        {"method": "InfoLoss"},
        {"network": True},
        *thorough({}, {"method": "RelatIF"}, {"pool_size": 20}),
    ],
    ids=str,
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc to free memory")
def test_peak(template, params):
    """The array takes 160 MB, and one of its chunks 5 MB."""
    n, width, limit = 60_000, 333, 1e7 if params.get("method") != "RelatIF" else 1.5e7
    run = template.run(PEAK, json.dumps([n, width, limit, params]), timeout=600)
    assert run.returncode == 0, run.stderr
    grown = json.loads(run.stdout.splitlines()[-1])
    # Beside the budget: blocks that are read, chunks of 16 MB, and 40 bytes a row.
    assert grown <= 1.2 * limit + 5e7, grown / 1e6
