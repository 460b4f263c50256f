"""Kernels that keep the arrays that they give find them as they were."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from sklearn_provenance import InfluenceAttributor, explain
from sklearn_provenance.attribution.objectives._design import KernelDesign

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
NUMBERS = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=40)
LABELS = (NUMBERS > 0).astype(int)
QUERIES = RNG.normal(size=(4, 3))


class Remembering(RBF):
    """An RBF kernel that gives the same array each time it is asked the same."""

    remembered: dict = {}
    writeable = True

    def __call__(self, X, Y=None, eval_gradient=False):
        if eval_gradient:
            return super().__call__(X, Y, eval_gradient)
        asked = (self.length_scale, X.tobytes(), None if Y is None else Y.tobytes())
        if asked not in self.remembered:
            values = super().__call__(X, Y)
            values.flags.writeable = self.writeable
            self.remembered[asked] = values, values.copy()
        return self.remembered[asked][0]


class Frozen(Remembering):
    """The arrays cannot be written to."""

    writeable = False


MODELS = {
    "regressor": lambda kernel: GaussianProcessRegressor(kernel, alpha=0.2, optimizer=None),
    "classifier": lambda kernel: GaussianProcessClassifier(kernel, optimizer=None),
}


@pytest.mark.parametrize("kind", [Remembering, Frozen])
@pytest.mark.parametrize("name", MODELS)
def test_influence_leaves_what_a_kernel_keeps(name, kind):
    y = NUMBERS if name == "regressor" else LABELS
    expected = InfluenceAttributor(MODELS[name](RBF(1.5))).fit(X, y)
    # scikit-learn itself adds alpha to what the kernel gives to fit.
    model = MODELS[name](RBF(1.5)).fit(X, y)
    fitted = getattr(model, "base_estimator_", model)
    fitted.kernel_ = kind(1.5)
    Remembering.remembered.clear()
    found = InfluenceAttributor(model).fit(X, y)
    for _ in range(2):  # what was written would be seen by the next call at the latest
        np.testing.assert_allclose(found.attribute(QUERIES), expected.attribute(QUERIES))
        without = found.predict_without(QUERIES, [3, 4])
        np.testing.assert_allclose(without, expected.predict_without(QUERIES, [3, 4]))
        again = InfluenceAttributor(model).fit(X, y)
        np.testing.assert_allclose(again.self_influence_, expected.self_influence_)
    picked = explain(model, QUERIES, 3, training=(X, y))
    np.testing.assert_array_equal(picked.indices, expected.explain(QUERIES, k=3).indices)
    assert len(Remembering.remembered) >= 3
    for values, before in Remembering.remembered.values():
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("seed", range(8))
def test_designs_of_any_kernel_leave_it_as_it_is(seed):
    rng = np.random.default_rng(seed)
    n, rank = rng.integers(1, 300), rng.integers(1, 40)
    rows = rng.normal(size=(n, rank))
    kept = np.array(rows @ rows.T, order="CF"[seed % 2])
    before = kept.copy()
    design, features = KernelDesign.of(np.arange(n), lambda a, b: kept[np.ix_(a, b)])
    np.testing.assert_allclose(features @ features.T, kept, rtol=1e-9, atol=1e-9)

    def same_each_time(a, b):
        return kept if len(a) == len(b) == n else kept[np.ix_(a, b)]

    again, same = KernelDesign.of(np.arange(n), same_each_time)
    np.testing.assert_array_equal(kept, before)
    np.testing.assert_array_equal(same, features)
    np.testing.assert_array_equal(again.pivots, design.pivots)
