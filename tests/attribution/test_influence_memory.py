"""Influence of linear models and kernels keeps to its budget, or says what does not fit."""

import json

import pytest

from ..checks import thorough
from ..memory import MEASURE, OVERHEAD, measurable

CODE = (
    MEASURE
    + """
import warnings
warnings.simplefilter("ignore")
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn_provenance import InfluenceAttributor

name, limit = sys.argv[1], float(sys.argv[2])
rng = np.random.default_rng(0)

def rows(n, d, density=None):
    if density is None:
        return rng.normal(size=(n, d))
    return sparse.random(n, d, density, format="csr", random_state=0)

model, n, d, density, n_classes = {
    "binary": (LogisticRegression(C=0.01, max_iter=1000), 2000, 500, None, 2),
    "balanced": (
        LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"), 1500, 300, None, 2
    ),
    "classes": (LogisticRegression(C=0.01, max_iter=1000), 2000, 40, None, 10),
    "numbers": (Ridge(), 2000, 700, None, None),
    "kernel": (KernelRidge(alpha=1.0, kernel="rbf", gamma=0.1), 800, 10, None, None),
    "wide": (Ridge(), 700, 1500, None, None),
    "sparse": (LogisticRegression(C=0.1), 3000, 8000, 0.002, 2),
    "sparse, few": (LogisticRegression(C=0.1), 2000, 1500, 0.01, 2),
    "sparse, classes": (LogisticRegression(C=0.1), 1500, 4000, 0.005, 4),
    "sparse, rest": (LinearSVC(C=0.01), 1500, 4000, 0.005, 3),
}[name]
X, Xq = rows(n, d, density), rows(200, d, density)
y = X[:, 0].ravel() if n_classes is None else np.arange(n) % n_classes
model.fit(X, y)
data = X.nbytes if density is None else X.data.nbytes + X.indices.nbytes
small = slice(0, 200)
warm = InfluenceAttributor(type(model)(**model.get_params()), prefit=False)
calls = {
    "attribute": lambda a, q, r: a.attribute(Xq[:q]),
    "explain": lambda a, q, r: a.explain(Xq[:2], k=2),
    "flipping_set": lambda a, q, r: a.flipping_set(
        Xq[:1], max_rows=2, **({"threshold": 0.0} if n_classes is None else {})
    ),
    "predict_without": lambda a, q, r: a.predict_without(Xq[:q], np.arange(10)),
    "self_influence_": lambda a, q, r: a.self_influence_,
    "leverage_": lambda a, q, r: getattr(a, "leverage_", None),
}
warm.fit(X[small], y[small])
for call in calls.values():
    call(warm, 5, None)
attributor = InfluenceAttributor(model, prefit=True, memory_limit=limit)
found = [("fit", *grown(lambda: attributor.fit(X, y)), 0)]
if not found[0][2]:
    for call, function in calls.items():
        answer = 8 * 200 * n if call == "attribute" else 0
        found.append((call, *grown(lambda: function(attributor, 200, None)), answer))
print(json.dumps({"found": found, "data": data}))
"""
)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        # The Hessian takes 2 MB, and parameters without each row 8 MB.
        ("binary", 7e6),
        *thorough(("balanced", 4.5e6)),
        # Curvatures of rows take 1.6 MB eight times, and the Hessian 1.3 MB.
        *thorough(("classes", 1.8e7)),
        *thorough(("numbers", 9e6)),
        # Kernels take 5 MB, five times.
        *thorough(("kernel", 2.6e7)),
        *thorough(("wide", 2e7)),
        # The Hessian would take 512 MB, the matrix among rows 36 MB, and probes 72 MB.
        ("sparse", 9e6),
        *thorough(("sparse, few", 9e6)),
        *thorough(("sparse, classes", 9e6)),
        *thorough(("sparse, rest", 9e6)),
    ],
)
@measurable
def test_peak(name, limit, template):
    run = template.run(CODE, name, limit, timeout=300)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    for call, grown, said, answer in result["found"]:
        assert not said
        # Rows are copied, and once more as the problem has them.
        copies = 2 * result["data"] if call == "fit" else 0
        assert grown <= 1.2 * limit + copies + answer + OVERHEAD, (call, grown / 1e6)
