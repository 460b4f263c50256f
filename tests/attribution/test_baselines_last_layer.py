"""LastLayerAttributor against autograd, retraining and the decomposition of the logits."""

import decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.attribution import LastLayerAttributor
from sklearn_provenance.information._softmax import curvature, likelihood_gradient, one_minus_p
from sklearn_provenance.tangent import measure

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def hessian_of(function):
    """torch.func.hessian in reverse mode: forward mode runs torch.jit, which is deprecated."""
    return torch.func.jacrev(torch.func.jacrev(function))


def influence_by_definition(head, features, y, queries, labels, damping, n_classes):
    """Influence of each row on each query with the gradients and Hessian of autograd.

    ``head(weights, z)`` gives logits; damping is absolute.
    """
    function, weights = head
    features, queries = torch.as_tensor(features), torch.as_tensor(queries)
    y, labels = torch.as_tensor(y), torch.as_tensor(labels)

    def losses(w):
        return nn.functional.cross_entropy(function(w, features), y, reduction="none")

    def margins(w):
        return measure(function(w, queries), labels, "margin")

    hessian = hessian_of(lambda w: losses(w).sum())(weights)
    hessian = hessian.reshape(weights.numel(), -1)
    hessian.diagonal().add_(damping)
    rows = -torch.func.jacrev(losses)(weights).flatten(1)
    found = torch.func.jacrev(margins)(weights).flatten(1)
    return (found @ torch.linalg.solve(hessian, rows.mT)).numpy()


def affine(w, z):
    return z @ w[:, :-1].T + w[:, -1]


def linear(w, z):
    return z @ w.T


def binary(w, z):
    z = affine(w, z)
    return torch.cat([-z / 2, z / 2], 1)


def head_of(estimator):
    """Head, its weights and the features of rows."""
    if isinstance(estimator, nn.Linear):
        return (linear, estimator.weight.detach()), lambda X: X
    if isinstance(estimator, LogisticRegression):
        weights = np.column_stack([estimator.coef_, estimator.intercept_])
        function = binary if len(weights) == 1 else affine
        return (function, torch.as_tensor(weights)), lambda X: X
    weights = np.column_stack([estimator.coefs_[-1].T, estimator.intercepts_[-1]])
    return (affine, torch.as_tensor(weights)), lambda X: np.maximum(
        X @ estimator.coefs_[0] + estimator.intercepts_[0], 0
    )


ESTIMATORS = {
    "network": None,
    "logistic": LogisticRegression(),
    "binary": LogisticRegression(),
    "mlp": MLPClassifier((4,), max_iter=30, random_state=0),
}


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_influence_by_definition(network, data, name, candidates):
    X, y, queries = data
    y = y % 2 if name == "binary" else y
    estimator = network if name == "network" else ESTIMATORS[name].fit(X, y)
    attributor = LastLayerAttributor(estimator, candidates=candidates, damping=0.03).fit(X, y)
    labels = np.arange(7) % (y.max() + 1)
    head, features = head_of(estimator)
    # A mean eigenvalue is the mean of the diagonal.
    hessian = hessian_of(
        lambda w: nn.functional.cross_entropy(
            head[0](w, torch.as_tensor(features(X))), torch.as_tensor(y), reduction="sum"
        )
    )(head[1]).reshape(head[1].numel(), -1)
    mean = torch.linalg.eigvalsh(hessian).mean().item()
    np.testing.assert_allclose(attributor.damping_, 0.03 * mean, rtol=1e-9)
    expected = influence_by_definition(
        head, features(X), y, features(queries), labels, attributor.damping_, y.max() + 1
    )
    if candidates == "same_class":
        expected[labels[:, None] != y] = np.nan
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-7)
    np.testing.assert_allclose(attributor.transform(queries), features(queries), rtol=1e-12)


@pytest.mark.parametrize("name", ["network", "binary", "mlp"])
def test_a_training_row_is_not_in_its_hessian(network, data, name):
    X, y, _ = data
    y = y % 2 if name == "binary" else y
    estimator = network if name == "network" else ESTIMATORS[name].fit(X, y)
    attributor = LastLayerAttributor(estimator, candidates="all").fit(X, y)
    exp = attributor.explain(k=29)
    head, features = head_of(estimator)
    for i in (0, 13, 29):
        rest = np.delete(np.arange(30), i)
        expected = influence_by_definition(
            head, features(X[rest]), y[rest], features(X[[i]]), y[[i]], attributor.damping_, 3
        )[0]
        order = np.argsort(-expected)
        np.testing.assert_array_equal(exp.indices[i], rest[order])
        np.testing.assert_allclose(exp.scores[i], expected[order], rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_influence_is_what_the_weight_of_a_row_changes(n_classes):
    """Retrained with a little less of each row, and without it."""
    X, y = load_digits(return_X_y=True)
    keep = y < n_classes
    X, y = X[keep] / 16, y[keep]
    X, y, queries, labels = X[:200], y[:200], X[200:240], y[200:240]

    C = 0.1
    model = LogisticRegression(C=C, fit_intercept=False, solver="newton-cholesky", tol=1e-10)

    def margins(weights):
        logits = torch.as_tensor(model.fit(X, y, weights).decision_function(queries))
        if n_classes == 2:
            logits = torch.stack([-logits / 2, logits / 2], 1)
        return measure(logits, torch.as_tensor(labels), "margin").numpy()

    attributor = LastLayerAttributor(model, candidates="all").fit(X, y)
    # The penalty of the training is the damping: |w|² / (2 C), where two classes share one w.
    attributor.set_params(damping=attributor.damping / attributor.damping_ / C).fit(X, y)
    scores = attributor.attribute(queries, labels)
    rows = np.argsort(-np.abs(scores).mean(0))[::20]
    slopes, drops = [], []
    for row in rows:
        weights, step = np.ones(200), 1e-3
        slope = []
        for sign in (1, -1):
            weights[row] = 1 + sign * step
            slope.append(sign * margins(weights))
        slopes.append(np.sum(slope, 0) / (2 * step))
        weights[row] = 0
        drops.append(margins(np.ones(200)) - margins(weights))
    size = np.abs(scores).max()
    np.testing.assert_allclose(scores[:, rows], np.transpose(slopes), atol=1e-4 * size)
    assert pearsonr(scores[:, rows].ravel(), np.transpose(drops).ravel()).statistic > 0.98


@pytest.mark.parametrize("n_classes", [2, 10])
def test_representer_values_add_up_to_the_logit(n_classes):
    X, y = load_digits(return_X_y=True)
    keep = y < n_classes
    X, y = X[keep][:300] / 16, y[keep][:300]
    model = LogisticRegression(C=0.3, tol=1e-10, max_iter=10000).fit(X, y)
    attributor = LastLayerAttributor(model, kind="representer", candidates="all").fit(X, y)
    assert attributor.residual_ < 1e-4
    if n_classes > 2:
        np.testing.assert_allclose(attributor.scale_, 0.3, rtol=1e-4)
    labels = np.arange(20) % n_classes
    values = attributor.attribute(X[:20], labels)
    logits = X[:20] @ model.coef_.T
    expected = logits[np.arange(20), labels] if n_classes > 2 else logits[:, 0] * (labels - 0.5)
    np.testing.assert_allclose(attributor.scale_ * values.sum(1), expected, rtol=1e-3, atol=1e-4)
    # Rows of the class raise its logit where their features agree, others lower it.
    agree = np.sign(X[:20] @ X.T)
    raises = np.where(labels[:, None] == y, 1, -1)
    np.testing.assert_array_equal(np.sign(values), agree * raises)


def test_representer_values_by_definition(data):
    X, y, queries = data
    model = MLPClassifier((4,), max_iter=30, random_state=0).fit(X, y)
    attributor = LastLayerAttributor(model, kind="representer", candidates="all").fit(X, y)
    labels = np.arange(7) % 3
    _, features = head_of(model)
    alpha = np.eye(3)[y] - model.predict_proba(X)  # (n_train, n_classes)
    expected = alpha[:, labels].T * (features(queries) @ features(X).T)
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-9)
    # What is left of the weights, when the sum of α z^T is scaled to be near them.
    total, weight = alpha.T @ features(X), model.coefs_[-1].T
    weight = weight - weight.mean(0)
    scale_, (residual,) = np.linalg.lstsq(total.reshape(-1, 1), weight.ravel(), rcond=None)[:2]
    np.testing.assert_allclose(attributor.scale_, scale_[0], rtol=1e-9)
    np.testing.assert_allclose(
        attributor.residual_, np.sqrt(residual) / np.linalg.norm(weight), rtol=1e-9
    )


def test_much_damping_makes_influence_a_product_of_gradients(data):
    """The three baselines of the last layer and how they are related."""
    X, y, queries = data
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3, bias=False)).double()
    labels = np.zeros(7, dtype=int)
    influence = LastLayerAttributor(network, damping=1e7).fit(X, y)
    values = LastLayerAttributor(network, kind="representer").fit(X, y).attribute(queries, labels)
    scores = influence.attribute(queries, labels) * influence.damping_
    # For rows of the query's class the margin's gradient has more to say than the logit's.
    z, z_queries = influence.transform(X), influence.transform(queries)
    p = torch.tensor(z @ network[2].weight.detach().numpy().T).softmax(1).numpy()
    others = z_queries @ network[2].weight.detach().numpy()[1:].T
    others = torch.tensor(others).softmax(1).numpy()
    expected = (1 - p[:, 0]) + others @ p[:, 1:].T  # (e_0 - others) · (e_0 - p)
    expected = np.where(y == 0, expected * (z_queries @ z.T), np.nan)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(values[:, y == 0], ((1 - p[:, 0]) * (z_queries @ z.T))[:, y == 0])


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(-400, 400), min_size=n, max_size=n), st.integers(0, n - 1)
        )
    )
)
def test_gradients_keep_their_digits_where_the_model_is_certain(case):
    logits, label = case
    with decimal.localcontext() as context:
        context.prec = 400
        p = [decimal.Decimal(v).exp() for v in logits]
        p = [v / sum(p) for v in p]
        doubts = [float(1 - v) for v in p]
        gradient = [float((i == label) - v) for i, v in enumerate(p)]
        diagonal = [float(v * (1 - v)) for v in p]
    z = torch.tensor([logits], dtype=torch.float64)
    tiny = 1e-300
    np.testing.assert_allclose(one_minus_p(z)[0], doubts, rtol=1e-12, atol=tiny)
    found = likelihood_gradient(z, torch.tensor([label]))[0]
    np.testing.assert_allclose(found, gradient, rtol=1e-11, atol=tiny)
    found = curvature(z, len(logits))[0].diagonal()
    np.testing.assert_allclose(found, diagonal, rtol=1e-12, atol=tiny)


def test_the_class_branch_of_a_provenance_network(data):
    X, y, queries = data
    estimator = ProvenanceClassifier(width="small", max_epochs=3, device="cpu").fit(X, y)
    attributor = LastLayerAttributor(estimator, candidates="all", damping=0.1).fit(X, y)
    layer = estimator.net_.module_.class_branch[-1]
    weights = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().double()
    z, z_queries = attributor.transform(X), attributor.transform(queries)
    labels = attributor.predict(queries)
    expected = influence_by_definition(
        (affine, weights), z, y, z_queries, labels, attributor.damping_, 3
    )
    np.testing.assert_allclose(attributor.attribute(queries), expected, rtol=1e-6, atol=1e-12)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(x) / 3


def test_what_has_no_softmax_regression_at_its_end_is_refused(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="not the outputs W z"):
        LastLayerAttributor(Scaled()).fit(X, y)
    single = ProvenanceClassifier("single_branch", width="small", max_epochs=1, device="cpu")
    with pytest.raises(ValueError, match="not the outputs W z"):
        LastLayerAttributor(single).fit(X, y)
    with pytest.raises(TypeError, match="RepSimAttributor has"):
        LastLayerAttributor(RandomForestClassifier(2)).fit(X, y)


def test_hessians_that_cannot_be_are_refused(data):
    X, y, queries = data
    wide = nn.Sequential(nn.Linear(5, 6000), nn.Linear(6000, 3))
    with pytest.raises(MemoryError, match=r"18003 weights.*representer"):
        LastLayerAttributor(wide).fit(X, y)
    LastLayerAttributor(wide, kind="representer").fit(X, y).explain(queries)
    zero = nn.Linear(5, 3, bias=False, dtype=torch.float64)
    with pytest.raises(ValueError, match="Hessian of the last layer is zero"):
        LastLayerAttributor(zero).fit(np.zeros_like(X), y)
    with pytest.raises(ValueError, match="Give more"):
        LastLayerAttributor(zero, damping=1e-30).fit(X, y)


def test_probabilities_of_a_skorch_network(data):
    """A network that ends in a softmax is explained through the layer before it."""
    from skorch import NeuralNetClassifier

    X, y, queries = data
    X, queries = X.astype(np.float32), queries.astype(np.float32)
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        nn.Sequential(nn.Linear(5, 3), nn.Softmax(1)), max_epochs=3, train_split=None, verbose=0
    ).fit(X, y)
    inner = LastLayerAttributor(net.module_[0], damping=0.1).fit(X, y)
    outer = LastLayerAttributor(net, damping=0.1).fit(X, y)
    np.testing.assert_allclose(outer.attribute(queries), inner.attribute(queries), rtol=1e-12)
