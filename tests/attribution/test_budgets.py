"""Whatever is asked of an attributor, it keeps to memory_limit or says that it cannot."""

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from sklearn_provenance.attribution import (
    ForestAttributor,
    GradDotAttributor,
    LastLayerAttributor,
    RelatIFAttributor,
    RepSimAttributor,
    TRAKAttributor,
)

from ..memory import MEASURE, OVERHEAD, measurable

LINEAR = LogisticRegression(max_iter=1000)
POINTWISE = [
    *(cls(LINEAR) for cls in (GradDotAttributor, LastLayerAttributor, RepSimAttributor)),
    RelatIFAttributor(LINEAR, candidates="all"),
    TRAKAttributor(LINEAR, n_components=16, random_state=0),
    TRAKAttributor([LINEAR, LogisticRegression(C=0.1)], n_components=8, random_state=0),
    ForestAttributor(RandomForestClassifier(5, random_state=0)),
]
PEAKS = (
    MEASURE
    + """
from sklearn.linear_model import LogisticRegression
from sklearn_provenance import InfluenceAttributor, attribution as att
from sklearn_provenance.tangent import TangentFeatures

torch.manual_seed(0)
n, limit = 3000, float(sys.argv[1])
module = torch.nn.Sequential(torch.nn.Linear(20, 150), torch.nn.Tanh(), torch.nn.Linear(150, 3))
X = np.random.default_rng(0).normal(size=(n, 20)).astype(np.float32)
y = np.arange(n) % 3
linear = LogisticRegression().fit(X, y)
sketch = {"features": TangentFeatures(n_components=512), "measurement": "margin"}
cases = {
    "gain": (att.InfoGainAttributor, module, {"measurement": "margin"}),
    "gain, sketch": (att.InfoGainAttributor, module, sketch),
    "gain, own rows": (att.InfoGainAttributor, linear, {"features": np.asarray}),
    "gain, linear": (att.InfoGainAttributor, linear, {}),
    "loss": (att.InfoLossAttributor, module, {"measurement": "margin"}),
    "loss, sketch": (att.InfoLossAttributor, module, sketch),
    "influence, sketch": (InfluenceAttributor, module, {"features": sketch["features"]}),
    "RelatIF, sketch": (att.RelatIFAttributor, module, sketch),
    "RepSim": (att.RepSimAttributor, module, {}),
    "TRAK": (att.TRAKAttributor, module, {"n_components": 128}),
    "EK-FAC": (att.EKFACAttributor, module, {"n_samples": 1}),
    "GradDot": (att.GradDotAttributor, module, {}),
    "LastLayer": (att.LastLayerAttributor, module, {}),
}
calls = {
    "fit": lambda a: a.fit(X, y),
    "explain": lambda a: a.explain(X[:20], k=5),
    "attribute": lambda a: a.attribute(X[:20]),
    # Where scores are added up, those of all rows for all of these would take 72 MB.
    "select": lambda a: a.select(X if hasattr(a, "select_sizes") else X[:20], 10),
    "score": lambda a: a.score(X[:20], y[:20]),
}

def make(cls, model, params):
    return cls(model, candidates="all", memory_limit=limit, **params)

found = []
for name, case in cases.items():
    small = make(*case).fit(X[:400], y[:400])
    known = {call: calls[call] for call in calls if hasattr(small, call)}
    for call in list(known)[1:]:  # what is loaded and kept once does not count
        try:
            known[call](small)
        except MemoryError:
            pass
    attributor = make(*case)
    for call, function in known.items():
        size, said = grown(lambda: function(attributor))
        found.append((name, call, size, said))
        if said and call == "fit":
            break
print(json.dumps(found))
"""
)


@pytest.mark.thorough
@measurable
def test_every_call_keeps_to_the_limit(template):
    """A kernel of all rows takes 72 MB, its eigenvectors 360 MB and sketches 12 MB."""
    limit = 9e6
    run = template.run(PEAKS, limit, timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert len(found) > 40
    for name, call, size, _ in found:
        assert size <= 1.2 * limit + OVERHEAD, (name, call, size / 1e6)
    refused = {(name, call) for name, call, _, said in found if said}
    assert {("gain", "score"), ("gain", "select"), ("loss", "fit")} <= refused
    assert all("memory_limit" in said for *_, said in found if said)
    assert ("gain, sketch", "score") not in refused
    in_blocks = {"gain, sketch", "loss, sketch", "influence, sketch"}
    assert not in_blocks & {name for name, _ in refused}


@pytest.mark.parametrize("attributor", POINTWISE, ids=lambda a: type(a).__name__)
def test_subsets_are_the_same_a_few_queries_at_a_time(attributor):
    X, y = load_iris(return_X_y=True)
    whole = clone(attributor).fit(X, y)
    few = clone(attributor).set_params(memory_limit=4 * 8 * 150 * 7).fit(X, y)
    assert few._scored_together(150) == 7
    for balanced in (False, True):
        np.testing.assert_array_equal(
            few.select(X, 60, balanced=balanced), whole.select(X, 60, balanced=balanced)
        )
