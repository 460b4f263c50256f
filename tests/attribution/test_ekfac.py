"""EK-FAC influence against matrices written out in full, other methods and kronfluence."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

from sklearn_provenance.attribution import EKFACAttributor, GradDotAttributor, LastLayerAttributor
from sklearn_provenance.attribution.rules import _ekfac as module

from .test_grad_dot import gradients, make_network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SLICES = [(slice(0, 36), 6, 6), (slice(36, 57), 3, 7)]


def layer_matrices(rows):
    """Gradient matrices (n, O, I), bias last, of the two layers of make_network()."""
    for columns, n_out, n_in in SLICES:
        weight, bias = np.split(rows[:, columns], [n_out * (n_in - 1)], axis=1)
        yield np.concatenate([weight.reshape(-1, n_out, n_in - 1), bias[:, :, None]], 2)


def by_definition(network, X, y, queries, labels, measurement="margin", damping=None):
    """Scores of EK-FAC with the exact Fisher matrix, every matrix written out; and each λ."""
    with torch.no_grad():
        hidden = network[1](network[0](torch.as_tensor(X)))
        p = network(torch.as_tensor(X)).softmax(1).numpy()
    ones = np.ones((len(X), 1))
    activations = np.hstack([X, ones]), np.hstack([hidden.numpy(), ones])
    classes = [
        list(layer_matrices(gradients(network, X, np.full(len(X), c), "log_probability")))
        for c in range(3)
    ]
    left = list(layer_matrices(gradients(network, queries, labels, measurement)))
    right = list(layer_matrices(gradients(network, X, y, "log_probability")))
    scores, used = 0, []
    for layer, a in enumerate(activations):
        A = a.T @ a / len(X)
        outputs = [matrices[layer][:, :, -1] for matrices in classes]  # g: the bias's gradient
        S = sum((g * p[:, [c]]).T @ g for c, g in enumerate(outputs)) / len(X)
        Q = np.kron(np.linalg.eigh(S)[1], np.linalg.eigh(A)[1])
        squares = sum(
            p[:, [c]] * (matrices[layer].reshape(len(X), -1) @ Q) ** 2
            for c, matrices in enumerate(classes)
        )
        eigenvalues = squares.mean(0)
        used.append(0.1 * eigenvalues.mean() if damping is None else damping)
        F = Q @ np.diag(eigenvalues) @ Q.T + used[-1] * np.eye(len(Q))
        scores = scores + left[layer].reshape(len(queries), -1) @ np.linalg.solve(
            F, right[layer].reshape(len(X), -1).T
        )
    return scores, used


@pytest.mark.parametrize("candidates", ["same_class", "all"])
@pytest.mark.parametrize("measurement", ["margin", "label_logit"])
@pytest.mark.parametrize("damping", ["auto", 0.02])
def test_scores_by_definition(data, damping, measurement, candidates):
    X, y, queries = data
    network, labels = make_network(), np.arange(7) % 3
    attributor = EKFACAttributor(
        network, damping=damping, measurement=measurement, candidates=candidates, batch_size=4
    ).fit(X, y)
    expected, used = by_definition(
        network, X, y, queries, labels, measurement, None if damping == "auto" else damping
    )
    if candidates == "same_class":
        expected[labels[:, None] != y] = np.nan
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-8)
    assert list(attributor.damping_) == ["0.weight", "2.weight"]
    np.testing.assert_allclose(list(attributor.damping_.values()), used, rtol=1e-9)
    assert attributor.n_samples_ == "exact"
    assert attributor.coverage_.shares == {"kronecker": 1, "formed": 0, "diagonal": 0, "none": 0}


def test_softmax_regression_whose_fisher_matrix_is_a_kronecker_product(rng):
    """EK-FAC is then the influence of the last layer with its exact Hessian, times n."""
    X, y, queries = rng.normal(size=(30, 5)), np.arange(30) % 3, rng.normal(size=(7, 5))
    network = nn.Linear(5, 3).double()
    with torch.no_grad():
        network.weight.zero_()
    exact = LastLayerAttributor(network, candidates="all").fit(X, y)
    attributor = EKFACAttributor(network, damping=exact.damping_ / 30, candidates="all").fit(X, y)
    np.testing.assert_allclose(
        attributor.attribute(queries) / 30, exact.attribute(queries), rtol=1e-7, atol=1e-10
    )


def test_nearer_to_the_exact_influence_than_grad_dot():
    """Softmax regression on digits, whose Hessian is known."""
    X, y = load_digits(return_X_y=True)
    X, y, queries = X[:600] / 16, y[:600], X[600:620] / 16
    model = LogisticRegression(max_iter=500).fit(X, y)
    exact = LastLayerAttributor(model, damping=0.1, candidates="all").fit(X, y)
    damping = exact.damping_ / 600

    def correlation(attributor):
        scores = attributor.set_params(candidates="all").fit(X, y).attribute(queries)
        pairs = zip(scores, exact.attribute(queries), strict=True)
        return np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs])

    near = correlation(EKFACAttributor(model, damping=damping))
    assert near > 0.8
    assert correlation(GradDotAttributor(model)) < near - 0.3


def test_large_damping_is_grad_dot(data):
    X, y, queries = data
    damped = EKFACAttributor(make_network(), damping=1e9, candidates="all").fit(X, y)
    plain = GradDotAttributor(make_network(), candidates="all").fit(X, y)
    np.testing.assert_allclose(damped.attribute(queries) * 1e9, plain.attribute(queries), rtol=1e-6)


def test_transform_is_a_square_root(data):
    """∇log p = (1 - p) ∇margin, so coordinates of rows and queries give the scores."""
    X, _, queries = data
    network = make_network()
    with torch.no_grad():
        p = network(torch.as_tensor(X)).softmax(1).numpy()
    attributor = EKFACAttributor(network, candidates="all").fit(X, p.argmax(1))
    products = attributor.transform(queries) @ attributor.transform(X).T
    np.testing.assert_allclose(attributor.attribute(queries), products * (1 - p.max(1)), rtol=1e-9)
    assert attributor.get_feature_names_out().shape == (57,)


def test_random_gradients_have_the_expectation_of_labels(data):
    X, y, queries = data
    exact, many, few, other, same = (
        EKFACAttributor(
            make_network(), n_samples=n, random_state=seed, candidates="all", batch_size=size
        ).fit(X, y)
        for n, seed, size in (
            ("exact", 0, 7), (400, 0, 30), (1, 0, 7), (1, 1, 7), (1, 0, 30)
        )
    )  # fmt: skip
    scores = exact.attribute(queries)
    assert [a.n_samples_ for a in (exact, many, few)] == ["exact", 400, 1]
    np.testing.assert_allclose(
        list(many.damping_.values()), list(exact.damping_.values()), rtol=0.02
    )
    largest = np.abs(scores).max()
    assert np.abs(many.attribute(queries) - scores).max() < 0.14 * largest
    assert np.abs(few.attribute(queries) - other.attribute(queries)).max() > 0.05 * largest
    # What a row draws does not depend on its batch.
    np.testing.assert_allclose(same.attribute(queries), few.attribute(queries), rtol=1e-7)


def test_empirical_is_of_the_rows_labels(data):
    """The model's own labels, where it is certain of each row, are the rows' labels."""
    X, _, queries = data
    network = make_network()
    with torch.no_grad():
        network[2].weight *= 30
        y = network(torch.as_tensor(X)).argmax(1).numpy()
    pair = [
        EKFACAttributor(network, fisher=fisher, damping=1.0, candidates="all").fit(X, y)
        for fisher in ("empirical", "true")
    ]
    assert pair[0].n_samples_ is None
    a, b = (one.attribute(queries) for one in pair)
    assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()  # certain is not enough: p (1 - p) counts
    flipped = EKFACAttributor(network, fisher="empirical", damping=1.0, candidates="all").fit(
        X, (y + 1) % 3
    )
    fishers = [one._rule_at(None, everything=True).fisher for one in (flipped, pair[0])]
    assert all(fishers[0][n].moments.mean() > 10 * fishers[1][n].moments.mean() for n in (0, 1))


def test_auto_takes_the_expectation_of_small_data(data, monkeypatch):
    X, y, _ = data
    work = 30 * 3 * 57  # rows, classes, parameters
    monkeypatch.setattr(module, "_EXACT", work - 1)
    assert EKFACAttributor(make_network()).fit(X, y).n_samples_ == 1
    monkeypatch.setattr(module, "_EXACT", work)
    assert EKFACAttributor(make_network()).fit(X, y).n_samples_ == "exact"


def test_coverage_of_other_layers(rng):
    X, y = rng.normal(size=(40, 1, 6, 6)).astype(np.float32), np.arange(40) % 2
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2),
        nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip
    network.unused = nn.Linear(3, 3)
    network.forward = lambda x: nn.Sequential.forward(network[:6], x)
    attributor = EKFACAttributor(network).fit(X, y)
    sizes = {"kronecker": 40 + 34, "formed": 8 + 76, "diagonal": 0, "none": 12}
    assert attributor.coverage_.shares == pytest.approx({k: v / 170 for k, v in sizes.items()})
    assert [attributor.coverage_.routes[f"{i}.weight"] for i in (0, 1, 3, 5)] == [
        "kronecker", "formed", "formed", "kronecker"
    ]  # fmt: skip
    assert np.isfinite(attributor.explain(X[:3], k=2).scores).all()


def test_memory_keeps_the_fisher_matrix(data, tmp_path, monkeypatch):
    X, y, queries = data
    calls, fit = [], module.fit_fisher
    monkeypatch.setattr(module, "fit_fisher", lambda *a, **k: calls.append(1) or fit(*a, **k))

    def scores(**params):
        attributor = EKFACAttributor(make_network(), memory=str(tmp_path), **params).fit(X, y)
        return attributor.attribute(queries)

    first = scores(damping=0.1)
    scores(damping=0.3)
    np.testing.assert_array_equal(scores(damping=0.1), first)
    assert len(calls) == 1
    scores(n_samples=1)
    scores(n_samples=1, random_state=5)
    scores(fisher="empirical")
    assert len(calls) == 4
    np.testing.assert_array_equal(
        EKFACAttributor(make_network(), damping=0.1).fit(X, y).attribute(queries), first
    )


def test_a_model_that_is_certain_of_everything(rng):
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    network = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1e3, 0, 0], [-1e3, 0, 0]]))
    X[:, 0] = np.where(y == 0, 1.0, -1.0)
    with pytest.raises(ValueError, match="certain of every training row"):
        EKFACAttributor(network).fit(X, y)
    assert (EKFACAttributor(network, damping=1.0).fit(X, y).explain(X[:3]).scores == 0).all()
    with torch.no_grad():
        network.weight *= 0.03  # margins of 60
    scores = EKFACAttributor(network).fit(X, y).attribute(X[:4])
    own = scores[np.arange(4), np.arange(4)]
    assert (np.isfinite(own) & (own > 0)).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"damping": 0.0}, "damping"),
        ({"damping": "heuristic"}, "damping"),
        ({"fisher": "exact"}, "fisher"),
        ({"n_samples": 0}, "n_samples"),
        ({"n_samples": 2, "fisher": "empirical"}, "nothing is drawn"),
        ({"measurement": "log_probability"}, "measurement"),
    ],
)
def test_bad_parameters_are_named(data, params, message):
    with pytest.raises(ValueError, match=message):
        EKFACAttributor(make_network(), **params).fit(*data[:2])


def test_the_coordinates_of_a_large_model_are_refused(data):
    X, y, queries = data
    attributor = EKFACAttributor(nn.Sequential(nn.Linear(5, 12000), nn.Linear(12000, 3)))
    attributor.set_params(fisher="empirical").fit(X, y)
    assert attributor.coverage_.shares["diagonal"] == 1
    with pytest.raises(ValueError, match="108003 numbers"):
        attributor.transform(queries)


def test_mlp_classifier_of_two_classes(data):
    X, y, queries = data
    model = MLPClassifier((4,), max_iter=50, random_state=0).fit(X, y > 0)
    scores = EKFACAttributor(model, candidates="all").fit(X, y > 0).attribute(queries)
    # The margin of the other label is minus this label's.
    attributor = EKFACAttributor(model, candidates="all").fit(X, y > 0)
    other = attributor.attribute(queries, ~model.predict(queries))
    np.testing.assert_allclose(other, -scores, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("damping", ["auto", 1e-3])
def test_kronfluence_agrees(rng, tmp_path, damping):
    pytest.importorskip("kronfluence")
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(self, batch, model, sample=False):
            return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch, model):
            logits = model(batch[0])
            own = logits.gather(1, batch[1][:, None])[:, 0]
            others = logits.scatter(1, batch[1][:, None], -torch.inf).logsumexp(1)
            return (others - own).sum()

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 2, bias=False),
        nn.ReLU(), nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 3),
    ).double()  # fmt: skip
    X, y = torch.as_tensor(rng.normal(size=(60, 1, 6, 6))), torch.arange(60) % 3
    queries, labels = torch.as_tensor(rng.normal(size=(8, 1, 6, 6))), torch.arange(8) % 3
    wrapped = prepare_model(copy.deepcopy(network), Classification())
    analyzer = Analyzer(
        "ekfac", wrapped, Classification(), cpu=True, output_dir=str(tmp_path),
        disable_tqdm=True,
    )  # fmt: skip
    double = ("activation_covariance", "gradient_covariance", "per_sample_gradient", "lambda")
    analyzer.fit_all_factors(
        "factors",
        torch.utils.data.TensorDataset(X, y),
        per_device_batch_size=16,
        factor_args=FactorArguments(
            strategy="ekfac",
            use_empirical_fisher=True,
            **{f"{name}_dtype": torch.float64 for name in double},
        ),
    )
    analyzer.compute_pairwise_scores(
        "scores",
        "factors",
        torch.utils.data.TensorDataset(queries, labels),
        torch.utils.data.TensorDataset(X, y),
        per_device_query_batch_size=4,
        score_args=ScoreArguments(
            damping_factor=None if damping == "auto" else damping,
            score_dtype=torch.float64,
            per_sample_gradient_dtype=torch.float64,
            precondition_dtype=torch.float64,
        ),
    )
    expected = analyzer.load_pairwise_scores("scores")["all_modules"].numpy()
    attributor = EKFACAttributor(network, damping=damping, fisher="empirical", candidates="all")
    found = attributor.fit(X, y).attribute(queries, labels.numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
