"""Provenance networks keep to scikit-learn's working_memory, whatever the number of outputs."""

import json

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_digits

from sklearn_provenance import ProvenanceClassifier

from ..checks import thorough
from ..memory import MEASURE, OVERHEAD, measurable

CODE = (
    MEASURE
    + """
import warnings
import sklearn
from skorch.callbacks import Callback
from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor

warnings.simplefilter("ignore")

class OneStep(Callback):
    def on_batch_end(self, net, **kwargs):
        raise KeyboardInterrupt  # weights do not matter here

kind, budget = sys.argv[1], int(sys.argv[2])
n, n_queries = 40_000, 2000
rng = np.random.default_rng(0)
X = rng.standard_normal((n, 20), dtype=np.float32)
params = dict(
    index_loss="sampled", width="small", device="cpu", callbacks=[OneStep()], batch_size=128
)
if kind == "regression":
    y = X[:, 0]
    model = ProvenanceRegressor(**params)
else:
    y = np.arange(n) % 2
    model = ProvenanceClassifier(kind, **params)
model.fit(X, y)
Xq, yq = X[:n_queries], y[:n_queries]
calls = {
    "predict": lambda m: model.predict(Xq[:m]),
    "explain": lambda m: model.explain(Xq[:m], k=5),
    "kneighbors": lambda m: model.kneighbors(Xq[:m], 5),
    "predict_index": lambda m: model.predict_index(Xq[:m]),
    "index_certainty": lambda m: model.index_certainty(Xq[:m]),
    "index_proba": lambda m: model.index_proba(Xq[:m]),
    "score": lambda m: model.score(Xq[:m], yq[:m]),
    "transform": lambda m: model.transform(Xq[:m]),
}
if kind != "regression":
    calls["predict_index, class"] = lambda m: model.predict_index(Xq[:m], yq[:m])
sklearn.set_config(working_memory=budget)
found = []
for name, call in calls.items():
    call(20)
    answer = {"index_proba": 4 * n, "transform": 4 * 256}.get(name, 100) * n_queries
    found.append((name, grown(lambda: call(n_queries))[0], answer))
print(json.dumps(found))
"""
)


@pytest.mark.parametrize(
    "kind", ["class_independent", *thorough("class_conditional", "single_branch", "regression")]
)
@measurable
def test_peak(kind, template):
    """All logits take 320 MB, and blocks of 64 MB are what is fastest."""
    budget = 16
    run = template.run(CODE, kind, budget, timeout=300)
    assert run.returncode == 0, run.stderr
    for call, grown, answer in json.loads(run.stdout.splitlines()[-1]):
        assert grown <= 1.2 * budget * 2**20 + answer + OVERHEAD, (call, grown / 1e6)


@pytest.mark.parametrize("architecture", ["class_conditional", "single_branch"])
def test_answers_do_not_depend_on_the_budget(architecture):
    X, y = load_digits(return_X_y=True)
    X, y = X[:200].astype(np.float32), y[:200]
    model = ProvenanceClassifier(
        architecture, max_epochs=2, width="small", random_state=0, device="cpu"
    ).fit(X, y)

    def answers():
        return [
            model.predict(X),
            model.predict_proba(X),
            model.index_proba(X),
            model.predict_index(X, y),
            *model.kneighbors(X, 4),
            *model.index_certainty(X),
        ]

    usual = answers()
    np.testing.assert_array_equal(usual[0], model.classes_[usual[1].argmax(1)])
    with config_context(working_memory=0.25):
        for found, expected in zip(answers(), usual, strict=True):
            np.testing.assert_array_equal(found, expected)
