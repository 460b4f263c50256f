"""InfluenceAttributor of networks against its definition on their gradients."""

import pickle

import numpy as np
import pytest
import torch
from scipy.special import logit
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_provenance import (
    InfluenceAttributor,
    ProvenanceClassifier,
    ProvenanceRegressor,
    TangentFeatures,
)
from sklearn_provenance.attribution.estimators import _influence_network
from sklearn_provenance.attribution.estimators._trak import draw_seeds
from sklearn_provenance.attribution.features._rest import RestOfCurvature
from sklearn_provenance.tangent import measure

X, Y = load_iris(return_X_y=True)
X = scale(X)
ROWS = np.random.default_rng(0).permutation(len(X))
X, Y = X[ROWS], Y[ROWS]
X, Y, QUERIES = X[:60], Y[:60], X[60:64]


def network(n_classes=3):
    torch.manual_seed(0)
    layers = nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, n_classes)
    return nn.Sequential(*layers).double()


@pytest.fixture(scope="module")
def mlp():
    return MLPClassifier((5,), max_iter=200, solver="lbfgs", alpha=0.1, random_state=0).fit(X, Y)


def gradients(module, rows, labels):
    """Gradient of each row's margin, one at a time by autograd."""
    found = []
    for row, label in zip(torch.as_tensor(rows), labels, strict=True):
        margin = measure(module(row[None]), torch.tensor([label]), "margin")
        parts = torch.autograd.grad(margin[0], list(module.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found).numpy()


class Definition:
    """Ridge regression on gradients, refitted without rows."""

    def __init__(self, module, ridge=1.0, curvature="mean", n=60):
        with torch.no_grad():
            p = module(torch.as_tensor(X[:n])).softmax(1).numpy()
            self.labels = module(torch.as_tensor(QUERIES)).argmax(1).numpy()
        own = p[np.arange(n), Y[:n]]
        self.phi = gradients(module, X[:n], Y[:n])
        self.rest = np.zeros((0, self.phi.shape[1]))
        self.queries = gradients(module, QUERIES, self.labels)
        norms = (self.phi**2).sum(1)
        weights = own * (1 - own)
        if curvature == "softmax":
            self.rest = self.gradients_of_rest(module, n)
            norms = norms + (self.rest**2).sum(1) / weights  # √w is taken out below
        if curvature != "mean":  # weighted regression is that on rows times √w
            self.residuals = (1 - own) / np.sqrt(weights)
            self.phi *= np.sqrt(weights)[:, None]
            norms *= weights
        else:
            self.residuals = (1 - own) / np.average(weights, weights=norms)
        self.ridge = ridge * norms.mean()

    @staticmethod
    def gradients_of_rest(module, n):
        """Gradients along random directions of the other classes, one at a time by autograd."""
        measurement = RestOfCurvature.drawn(Y[:n], 3)
        found = []
        for number, row in enumerate(torch.as_tensor(X[:n])):
            value = measurement(module(row[None]), torch.tensor([number]))
            parts = torch.autograd.grad(value[0], list(module.parameters()))
            found.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(found).numpy()

    def drop(self, query, rows):
        hessian = self.phi.T @ self.phi + self.rest.T @ self.rest
        hessian += self.ridge * np.eye(self.phi.shape[1])
        gone = self.phi[rows]
        left = hessian - gone.T @ gone
        return self.queries[query] @ np.linalg.solve(left, gone.T @ self.residuals[rows])


@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_scores_are_drops_of_ridge_regression_on_gradients(ridge):
    module = network()
    attributor = InfluenceAttributor(module, ridge=ridge, candidates="all").fit(X, Y)
    definition = Definition(module, ridge)
    drops = attributor.attribute(QUERIES)
    for query in range(len(QUERIES)):
        want = [definition.drop(query, [row]) for row in range(len(X))]
        np.testing.assert_allclose(drops[query], want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components="exact")])
@pytest.mark.parametrize("curvature", ["row", "softmax"])
@pytest.mark.parametrize("n", [30, 60])  # fewer rows than parameters, and more
def test_rows_have_their_own_curvature(n, curvature, features):
    module = network()
    settings = {"curvature": curvature, "candidates": "all", "features": features}
    attributor = InfluenceAttributor(module, **settings).fit(X[:n], Y[:n])
    definition = Definition(module, curvature=curvature, n=n)
    drops = attributor.attribute(QUERIES)
    exp = attributor.explain(QUERIES, k=4)
    for query in range(len(QUERIES)):
        want = [definition.drop(query, [row]) for row in range(n)]
        np.testing.assert_allclose(drops[query], want, rtol=1e-7, atol=1e-9)
        want = definition.drop(query, exp.indices[query])
        np.testing.assert_allclose(exp.scores[query].sum(), want, rtol=1e-7)
    # Training rows are queries, whose own features have no weight.
    definition.queries = gradients(module, X[:n], Y[:n])
    own = [definition.drop(row, [row]) for row in range(n)]
    np.testing.assert_allclose(attributor.self_influence_, own, rtol=1e-7)
    exp = attributor.explain(k=3)
    rows = exp.indices[0]
    want = definition.drop(0, [0, *rows]) - definition.drop(0, [0])
    np.testing.assert_allclose(exp.scores[0].sum(), want, rtol=1e-6)


def lead(logits, labels):
    """Lead of the label's logit over the mean of all."""
    return logits.gather(1, labels[:, None])[:, 0] - logits.mean(1)


@pytest.mark.parametrize("features", ["auto", TangentFeatures(n_components="exact")])
@pytest.mark.parametrize("measurement", ["label_logit", "log_probability", lead])
def test_what_falls_is_the_measurement_of_the_query(measurement, features):
    """Moved a little along the step that leaves a row out, the network loses what scores say."""
    module = network()
    settings = {"candidates": "all", "features": features}
    attributor = InfluenceAttributor(module, measurement=measurement, **settings).fit(X, Y)
    drops = attributor.attribute(QUERIES)
    definition = Definition(module)
    phi, labels = definition.phi, torch.as_tensor(definition.labels)
    hessian = phi.T @ phi + definition.ridge * np.eye(phi.shape[1])
    start = nn.utils.parameters_to_vector(module.parameters()).detach()

    def measured(theta):
        nn.utils.vector_to_parameters(theta, module.parameters())
        with torch.no_grad():
            logits = module(torch.as_tensor(QUERIES))
        if callable(measurement):
            return measurement(logits, labels)
        return measure(logits, labels, measurement)

    for row in (0, 7):
        left = hessian - np.outer(phi[row], phi[row])
        step = torch.as_tensor(np.linalg.solve(left, phi[row] * definition.residuals[row]))
        ahead, behind = (measured(start + size * step) for size in (1e-5, -1e-5))
        nn.utils.vector_to_parameters(start, module.parameters())
        np.testing.assert_allclose(drops[:, row], (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)
    # Picks begin with the largest; what is said of margins stays as it is.
    exp = attributor.explain(QUERIES, k=2)
    np.testing.assert_allclose(exp.scores[:, 0], drops.max(1), rtol=1e-7)
    margins = InfluenceAttributor(module, **settings).fit(X, Y)
    for name in ("self_influence_", "ridge_"):
        np.testing.assert_allclose(getattr(attributor, name), getattr(margins, name), rtol=1e-7)
    np.testing.assert_allclose(
        attributor.predict_without(QUERIES, exp.indices),
        margins.predict_without(QUERIES, exp.indices),
    )
    sets = attributor.flipping_set(QUERIES[:2], max_rows=30)
    want = margins.flipping_set(QUERIES[:2], max_rows=30)
    np.testing.assert_array_equal(sets.indices, want.indices)
    np.testing.assert_allclose(sets.margins, want.margins, rtol=1e-7)


def test_a_measurement_is_explained_of_several_models_and_training_rows(mlp):
    models = [mlp, mlp]
    alone = InfluenceAttributor(mlp, measurement=lead).fit(X, Y)
    both = InfluenceAttributor(models, measurement=lead).fit(X, Y)
    np.testing.assert_allclose(both.attribute(QUERIES), alone.attribute(QUERIES), rtol=1e-6)
    exp = alone.explain(k=2)
    assert exp.score_name == "drop of the measurement"
    assert not (exp.indices == np.arange(len(X))[:, None]).any()


def test_sketches_of_rows_and_queries_fit_together(mlp):
    """The drop of log p is to first order 1 - p times that of the margin."""
    sketch = TangentFeatures(n_components=64)
    settings = {"features": sketch, "candidates": "all"}
    margins = InfluenceAttributor(mlp, **settings).fit(X, Y).attribute(QUERIES)
    found = InfluenceAttributor(mlp, measurement="log_probability", **settings).fit(X, Y)
    rest = 1 - mlp.predict_proba(QUERIES).max(1)
    np.testing.assert_allclose(found.attribute(QUERIES), rest[:, None] * margins, rtol=1e-4)


def test_two_classes_have_no_curvature_beside_the_margin():
    rows, labels = X[Y < 2], Y[Y < 2]
    found = [
        InfluenceAttributor(network(2), curvature=curvature).fit(rows, labels).attribute(QUERIES)
        for curvature in ("row", "softmax")
    ]
    np.testing.assert_array_equal(*found)


def test_models_of_a_list_have_curvatures_of_their_own(mlp):
    settings = {"curvature": "softmax"}
    other = MLPClassifier((3,), max_iter=200, solver="lbfgs", alpha=0.1, random_state=1).fit(X, Y)
    both = InfluenceAttributor([mlp, other], **settings).fit(X, Y)
    y = both.predict(QUERIES)
    alone = [InfluenceAttributor(model, **settings).fit(X, Y) for model in (mlp, other)]
    want = np.mean([one.attribute(QUERIES, y) for one in alone], 0)
    np.testing.assert_allclose(both.attribute(QUERIES, y), want, rtol=1e-5)
    exp = both.explain(QUERIES, y, k=3)
    np.testing.assert_array_equal(exp.indices[:, 0], np.nanargmax(want, 1))


def test_explain_picks_the_best_row_given_those_before():
    module = network()
    definition = Definition(module)
    exp = InfluenceAttributor(module, candidates="all").fit(X, Y).explain(QUERIES, k=4)
    for query, rows in enumerate(exp.indices.tolist()):
        for done, row in enumerate(rows):
            others = [i for i in range(len(X)) if i not in rows[:done]]
            drops = {i: definition.drop(query, [*rows[:done], i]) for i in others}
            assert max(drops, key=drops.get) == row
        np.testing.assert_allclose(exp.scores[query].sum(), definition.drop(query, rows), rtol=1e-7)


def test_additive_picks_have_the_largest_drops_alone():
    attributor = InfluenceAttributor(network(), selection="additive", candidates="all").fit(X, Y)
    exp = attributor.explain(QUERIES, k=5)
    drops = attributor.attribute(QUERIES)
    np.testing.assert_array_equal(exp.indices, np.argsort(-drops, kind="stable")[:, :5])
    definition = Definition(attributor.estimator_)
    for query, rows in enumerate(exp.indices):
        np.testing.assert_allclose(exp.scores[query].sum(), definition.drop(query, rows), rtol=1e-7)


def test_up_is_the_other_way_and_any_the_farther_one():
    module = network()

    def totals(direction):
        attributor = InfluenceAttributor(module, direction=direction, candidates="all").fit(X, Y)
        return attributor.explain(QUERIES, k=5).scores.sum(1)

    down, up = totals("down"), totals("up")
    assert (down > 0).all()
    assert (up < 0).all()
    np.testing.assert_allclose(totals("any"), np.where(down >= -up, down, up))


def test_copies_that_are_left_out_are_counted():
    rows, labels = np.tile(X[:20], (3, 1)), np.tile(Y[:20], 3)
    attributor = InfluenceAttributor(network(), candidates="all").fit(rows, labels)
    for k in range(1, 6):
        exp = attributor.explain(QUERIES, k=k)
        for picks, n_tied in zip(exp.indices, exp.n_tied, strict=True):
            copies = np.arange(picks[-1] % 20, 60, 20)
            assert n_tied == len(np.setdiff1d(copies, picks))


@pytest.mark.parametrize("n_rows", [30, 60], ids=["kernel", "features"])
def test_self_influence_is_the_drop_at_the_row_itself(n_rows):
    rows, labels = X[:n_rows], Y[:n_rows]
    attributor = InfluenceAttributor(network(), candidates="all").fit(rows, labels)
    drops = attributor.attribute(rows, labels)
    np.testing.assert_allclose(attributor.self_influence_, drops.diagonal(), rtol=1e-7)


def test_a_row_goes_once(mlp):
    attributor = InfluenceAttributor(mlp).fit(X, Y)
    once = attributor.predict_without(QUERIES, [4, 9])
    np.testing.assert_allclose(attributor.predict_without(QUERIES, [9, 4, 9]), once)


def test_rows_of_the_class_are_candidates_by_default(mlp):
    attributor = InfluenceAttributor(mlp).fit(X, Y)
    exp = attributor.explain(QUERIES, k=5)
    assert attributor.candidates_ == "same_class"
    assert (exp.exemplar_labels == exp.query_labels[:, None]).all()
    assert np.isnan(attributor.attribute(QUERIES)[exp.query_labels[:, None] != Y]).all()


def test_probabilities_fall_by_the_scores_of_two_classes():
    classes = Y[Y < 2]
    module = network(2)
    attributor = InfluenceAttributor(module).fit(X[Y < 2], classes)
    exp = attributor.explain(QUERIES, k=6)
    own = np.arange(len(QUERIES)), exp.query_labels
    before = attributor.predict_without(QUERIES, [])
    after = attributor.predict_without(QUERIES, exp.indices)
    with torch.no_grad():
        np.testing.assert_allclose(before, module(torch.as_tensor(QUERIES)).softmax(1), rtol=1e-12)
    np.testing.assert_allclose(logit(before[own]) - logit(after[own]), exp.scores.sum(1), rtol=1e-9)


def test_probabilities_without_rows_add_up_to_one():
    attributor = InfluenceAttributor(network()).fit(X, Y)
    p = attributor.predict_without(QUERIES, attributor.explain(QUERIES, k=5).indices)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p > 0).all()


def test_rows_for_all_queries_and_padding(mlp):
    attributor = InfluenceAttributor(mlp).fit(X, Y)
    together = attributor.predict_without(QUERIES, [4, 9])
    np.testing.assert_allclose(together.sum(1), 1)
    padded = np.tile([9, 4, -1], (len(QUERIES), 1))
    np.testing.assert_allclose(attributor.predict_without(QUERIES, padded), together)


def test_training_rows_are_explained_without_themselves():
    module = network()
    attributor = InfluenceAttributor(module, candidates="all").fit(X, Y)
    exp = attributor.explain(k=3)
    assert not (exp.indices == np.arange(len(X))[:, None]).any()
    definition = Definition(module)
    definition.queries = definition.phi
    for query in range(5):
        rows = exp.indices[query]
        want = definition.drop(query, [query, *rows]) - definition.drop(query, [query])
        np.testing.assert_allclose(exp.scores[query].sum(), want, rtol=1e-6)
    own = [definition.drop(row, [row]) for row in range(len(X))]
    np.testing.assert_allclose(attributor.self_influence_, own, rtol=1e-7)
    additive = InfluenceAttributor(module, candidates="all", selection="additive").fit(X, Y)
    first = additive.explain(k=1)
    np.testing.assert_array_equal(first.indices[:, 0], exp.indices[:, 0])
    np.testing.assert_allclose(first.scores[:, 0], exp.scores[:, 0], rtol=1e-7)


def test_drops_of_several_models_are_averaged(mlp):
    other = MLPClassifier((5,), max_iter=200, solver="lbfgs", alpha=0.1, random_state=1).fit(X, Y)
    models = [mlp, other]
    attributor = InfluenceAttributor(models).fit(X, Y)
    y = attributor.predict(QUERIES)
    drops = attributor.attribute(QUERIES, y)
    alone = [InfluenceAttributor(model).fit(X, Y) for model in models]
    want = np.mean([one.attribute(QUERIES, y) for one in alone], 0)
    np.testing.assert_allclose(drops, want, rtol=1e-6)
    exp = attributor.explain(QUERIES, y, k=3)
    first = np.nanargmax(drops, 1)
    np.testing.assert_array_equal(exp.indices[:, 0], first)
    probabilities = np.mean([model.predict_proba(QUERIES) for model in models], 0)
    np.testing.assert_allclose(attributor.predict_without(QUERIES, []), probabilities, rtol=1e-6)
    assert len(attributor.ridge_) == 2
    sketch = TangentFeatures(n_components=64, random_state=3)
    sketched = InfluenceAttributor(models, features=sketch).fit(X, Y)
    drawn = [one.random_state for one in sketched.features_]
    assert drawn == draw_seeds(3, 2)


def test_sketched_and_exact_features_nearly_agree(mlp):
    exact = InfluenceAttributor(mlp, features="exact").fit(X, Y).attribute(QUERIES)
    sketch = TangentFeatures(n_components=4096)
    sketched = InfluenceAttributor(mlp, features=sketch).fit(X, Y).attribute(QUERIES)
    there = ~np.isnan(exact)
    assert np.corrcoef(exact[there], sketched[there])[0, 1] > 0.95


def test_seeds_are_drawn_from_a_generator_and_an_integer_is_the_first():
    assert draw_seeds(7, 3)[0] == 7
    assert draw_seeds(7, 3)[1:] == draw_seeds(np.random.RandomState(7), 3)[1:]
    assert draw_seeds(np.random.RandomState(7), 3)[0] != 7


def test_models_of_a_list_take_sketches_as_they_are_given(mlp):
    sketch = TangentFeatures(n_components=64, random_state=3)
    found = InfluenceAttributor([mlp], features=sketch).fit(X, Y)
    alone = InfluenceAttributor(mlp, features=sketch).fit(X, Y)
    np.testing.assert_allclose(found.attribute(QUERIES), alone.attribute(QUERIES), rtol=1e-6)


def test_gradients_of_many_parameters_over_many_rows_are_sketched(monkeypatch):
    module = network()
    assert InfluenceAttributor(module).fit(X, Y).features_ is None
    monkeypatch.setattr(_influence_network, "_SMALL", 20)
    monkeypatch.setattr(_influence_network, "N_COMPONENTS", 30)
    monkeypatch.setattr(_influence_network, "KERNEL_ROWS", 50)
    attributor = InfluenceAttributor(module).fit(X, Y)
    assert attributor.features_.n_components == 30
    few = InfluenceAttributor(module).fit(X[:30], Y[:30])
    assert few.features_ is None
    # A kernel of 40 rows is small enough, one of 40 rows and as many for other classes is not.
    assert InfluenceAttributor(module).fit(X[:40], Y[:40]).features_ is None
    twice = InfluenceAttributor(module, curvature="softmax").fit(X[:40], Y[:40])
    assert twice.features_ is not None


def test_sets_grow_until_they_are_enough(mlp):
    """Rows of all classes may be removed, and more of them than are tried at first."""
    attributor = InfluenceAttributor(mlp, candidates="all").fit(X, Y)
    certain = X[np.argsort(mlp.predict_proba(X).max(1))[[1, 30]]]
    sets = attributor.flipping_set(certain, max_rows=50)
    for query, size in enumerate(sets.sizes):
        rows = sets.indices[query, :size]
        label = attributor.predict(certain[[query]])[0]
        for gone, changed in ((rows, size > 0), (rows[:-1], False)):
            p = attributor.predict_without(certain[[query]], gone)
            assert (p.argmax(1)[0] != label) == changed
    assert sets.sizes[0] > 0


class TestRegression:
    XR, YR = load_diabetes(return_X_y=True)
    XR, YR = scale(XR)[:120], YR[:120]

    def test_outputs_fall_by_the_scores(self):
        model = MLPRegressor(
            hidden_layer_sizes=(6,), solver="lbfgs", alpha=1.0, max_iter=5000, random_state=0
        ).fit(self.XR, self.YR)
        attributor = InfluenceAttributor(model).fit(self.XR, self.YR)
        exp = attributor.explain(self.XR[:3] + 0.1, k=4)
        np.testing.assert_allclose(
            attributor.predict_without(self.XR[:3] + 0.1, []), model.predict(self.XR[:3] + 0.1)
        )
        after = attributor.predict_without(self.XR[:3] + 0.1, exp.indices)
        np.testing.assert_allclose(
            attributor.predict(self.XR[:3] + 0.1) - after, exp.scores.sum(1), rtol=1e-7
        )
        drops = attributor.attribute(self.XR[:3] + 0.1)
        np.testing.assert_array_equal(exp.indices[:, 0], drops.argmax(1))
        assert exp.targets == "numbers"
        assert not hasattr(attributor, "classes_")

    def test_provenance_regressor(self):
        model = ProvenanceRegressor(width="small", max_epochs=2, random_state=0)
        model.fit(self.XR, self.YR)
        attributor = InfluenceAttributor(model).fit(self.XR, self.YR)
        exp = attributor.explain(self.XR[:2], k=3)
        after = attributor.predict_without(self.XR[:2], exp.indices)
        np.testing.assert_allclose(model.predict(self.XR[:2]) - after, exp.scores.sum(1), rtol=1e-3)


def test_networks_of_all_kinds():
    torch.manual_seed(0)
    skorch = NeuralNetClassifier(
        network().float(), criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0
    )
    models = [
        (skorch.fit(X.astype(np.float32), Y), X.astype(np.float32)),
        (ProvenanceClassifier(width="small", max_epochs=2, random_state=0).fit(X, Y), X),
        (
            make_pipeline(
                StandardScaler(), MLPClassifier((4,), alpha=1.0, solver="lbfgs", random_state=0)
            ),
            X,
        ),
    ]
    for model, rows in models:
        attributor = InfluenceAttributor(model).fit(rows, Y)
        exp = attributor.explain(rows[:2], k=3)
        assert np.isfinite(exp.scores).all()
        assert attributor.score(rows, Y) <= 1
        before = attributor.predict_without(rows[:2], [])
        np.testing.assert_allclose(before, attributor.estimator_.predict_proba(rows[:2]), rtol=1e-4)


def test_copies_and_pickles_answer_alike(mlp):
    attributor = InfluenceAttributor(mlp).fit(X, Y)
    want = attributor.explain(QUERIES, k=3)
    for other in (clone(attributor).fit(X, Y), pickle.loads(pickle.dumps(attributor))):
        np.testing.assert_array_equal(other.explain(QUERIES, k=3).indices, want.indices)


class TestRefusals:
    def test_parameters_of_networks_where_there_is_none(self):
        model = LogisticRegression()
        for options in (
            {"ridge": 2.0},
            {"curvature": "row"},
            {"measurement": "label_logit"},
            {"features": "exact"},
            {"batch_size": 8},
        ):
            with pytest.raises(ValueError, match="is a parameter for networks"):
                InfluenceAttributor(model, **options).fit(X, Y)

    def test_what_networks_do_not_take(self, mlp):
        with pytest.raises(ValueError, match="sample_weight must be None for a network"):
            InfluenceAttributor(mlp).fit(X, Y, sample_weight=np.ones(len(X)))
        with pytest.raises(ValueError, match='n_steps must be "auto" for a network'):
            InfluenceAttributor(mlp, n_steps=2).fit(X, Y)
        regressor = MLPRegressor(
            hidden_layer_sizes=(2,), solver="lbfgs", alpha=1.0, max_iter=9999, random_state=0
        )
        for curvature in ("row", "softmax"):
            with pytest.raises(ValueError, match='curvature must be "mean" for a regressor'):
                InfluenceAttributor(regressor, curvature=curvature).fit(X, X[:, 0])
        with pytest.raises(ValueError, match='measurement must be "margin" for a regressor'):
            InfluenceAttributor(regressor, measurement=lead).fit(X, X[:, 0])
        with pytest.raises(ValueError, match="at least one model"):
            InfluenceAttributor([]).fit(X, Y)
        with pytest.raises(AttributeError, match="generalised linear models; got a network"):
            _ = InfluenceAttributor(mlp).fit(X, Y).leverage_
        attributor = InfluenceAttributor(mlp).fit(X, Y)
        with pytest.raises(ValueError, match="every class must keep a row"):
            attributor.predict_without(QUERIES, np.flatnonzero(Y == 1))

    def test_features_that_say_nothing(self):
        nothing = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 3, bias=False)).double()
        for parameter in nothing.parameters():
            nn.init.zeros_(parameter)
        with pytest.raises(ValueError, match=r"must be positive and finite; got 0"):
            InfluenceAttributor(nothing).fit(X, Y)
        certain = nn.Linear(3, 3, bias=False).double()
        with torch.no_grad():
            certain.weight.copy_(2000 * torch.eye(3))
        with pytest.raises(ValueError, match="must leave some doubt about its training rows"):
            InfluenceAttributor(certain).fit(np.eye(3)[Y], Y)

    def test_models_without_objective_or_gradient(self):
        forest = RandomForestClassifier(n_estimators=2)
        with pytest.raises(TypeError, match="smooth convex objective"):
            InfluenceAttributor(forest).fit(X, Y)

    def test_a_failed_fit_changes_nothing(self, mlp):
        attributor = InfluenceAttributor(mlp).fit(X, Y)
        before = attributor.attribute(QUERIES)
        with pytest.raises(ValueError, match="sample_weight"):
            attributor.fit(X, Y, sample_weight=np.ones(len(X)))
        np.testing.assert_array_equal(attributor.attribute(QUERIES), before)
