"""What is held of rows that are a Dask array keeps to the budget."""

import json

import pytest

from ..checks import thorough
from ..memory import MEASURE, OVERHEAD, measurable

pytest.importorskip("dask.array")
PEAK = (
    MEASURE
    + """
import dask.array as da
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
print(json.dumps(grown(lambda: use(X, y))))
"""
)


@pytest.mark.parametrize(
    "params",
    [
        {"method": "InfoLoss"},
        {"network": True},
        *thorough({}, {"method": "RelatIF"}, {"pool_size": 20}),
    ],
    ids=str,
)
@measurable
def test_peak(template, params):
    """The array takes 160 MB, and one of its chunks 5 MB."""
    n, width, limit = 60_000, 333, 1e7 if params.get("method") != "RelatIF" else 1.5e7
    run = template.run(PEAK, json.dumps([n, width, limit, params]), timeout=600)
    assert run.returncode == 0, run.stderr
    grown, said = json.loads(run.stdout.splitlines()[-1])
    assert not said
    chunks = 2**24 + 2000 * width * 8  # that are held, and one that is computed
    assert grown <= 1.2 * limit + chunks + OVERHEAD, grown / 1e6
