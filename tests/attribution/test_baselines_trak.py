"""TRAKAttributor against its definition, retraining and the traker package."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance.attribution import InfoGainAttributor, TRAKAttributor
from sklearn_provenance.tangent import TangentFeatures, measure

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RIDGE = 0.3


def make_network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)).double()


def gradients(network, X, labels):
    """∇ log(p / (1 - p)) of each row at its label, one backward pass each."""
    rows = []
    for x, label in zip(torch.as_tensor(X), torch.as_tensor(labels), strict=True):
        f = measure(network(x[None]), label[None], "margin")[0]
        found = torch.autograd.grad(f, list(network.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]).numpy())
    return np.array(rows)


def one_minus_p(network, X, labels):
    with torch.no_grad():
        return 1 - network(torch.as_tensor(X)).softmax(1).numpy()[np.arange(len(X)), labels]


def trak_by_definition(phi, phi_queries, weights, ridge):
    return phi_queries @ np.linalg.inv(phi.T @ phi + ridge * np.eye(phi.shape[1])) @ phi.T * weights


@pytest.mark.parametrize("candidates", ["same_class", "all"])
def test_scores_by_definition(data, candidates):
    X, y, queries = data
    network, labels = make_network(), np.arange(7) % 3
    attributor = TRAKAttributor(
        network, n_components="exact", ridge=RIDGE, candidates=candidates
    ).fit(X, y)
    phi, phi_queries = gradients(network, X, y), gradients(network, queries, labels)
    expected = trak_by_definition(phi, phi_queries, one_minus_p(network, X, y), RIDGE)
    if candidates == "same_class":
        expected[labels[:, None] != y] = np.nan
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-8)
    np.testing.assert_array_equal(attributor.ridge_, [RIDGE])
    predicted = attributor.predict(queries)
    np.testing.assert_allclose(
        attributor.transform(queries), gradients(network, queries, predicted), rtol=1e-9
    )


def test_checkpoints_average_products_and_doubts_apart(data):
    X, y, queries = data
    networks, labels = [make_network(0), make_network(1), make_network(2, 6)], np.arange(7) % 3
    attributor = TRAKAttributor(networks, n_components="exact", ridge=RIDGE, candidates="all").fit(
        X, y
    )
    products = [
        trak_by_definition(gradients(n, X, y), gradients(n, queries, labels), 1, RIDGE)
        for n in networks
    ]
    doubts = [one_minus_p(n, X, y) for n in networks]
    expected = np.mean(products, 0) * np.mean(doubts, 0)
    np.testing.assert_allclose(attributor.attribute(queries, labels), expected, rtol=1e-8)
    with torch.no_grad():
        p = sum(n(torch.as_tensor(queries)).softmax(1) for n in networks)
    np.testing.assert_array_equal(attributor.predict(queries), p.argmax(1))
    assert attributor.get_feature_names_out().shape == attributor.transform(queries).shape[1:]
    assert attributor.estimator_ == networks


def test_one_model_in_a_list_is_that_model(data):
    X, y, queries = data
    network = make_network()
    alone = TRAKAttributor(network, n_components=32).fit(X, y)
    listed = TRAKAttributor([network], n_components=32).fit(X, y)
    np.testing.assert_array_equal(listed.attribute(queries), alone.attribute(queries))


def test_sketches(data):
    X, y, queries = data
    network = make_network()
    sketch = TangentFeatures(n_components=16, sketch="sjlt", random_state=5)
    attributor = TRAKAttributor(
        [network, network], n_components=16, sketch="sjlt", random_state=5
    ).fit(X, y)
    both = attributor.transform(queries)
    assert both.shape == (7, 32)
    # The first sketch is that of any other attributor with this seed, the second another.
    other = InfoGainAttributor(network, features=sketch, measurement="margin").fit(X, y)
    np.testing.assert_allclose(both[:, :16], other.transform(queries), rtol=1e-12)
    assert np.abs(both[:, 16:] - both[:, :16]).max() > 0.1
    given = TRAKAttributor([network, network], features=sketch).fit(X, y)
    np.testing.assert_array_equal(given.transform(queries), both)
    assert sketch.module is None
    part = TangentFeatures(n_components="exact", parameters=["2.weight"])
    assert TRAKAttributor(network, features=part).fit(X, y).transform(queries).shape == (7, 12)
    scores = [
        TRAKAttributor(network, n_components=16, random_state=seed).fit(X, y).attribute(queries)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.nanmax(np.abs(scores[0] - scores[2])) > 1e-6


def test_ridge_is_the_mean_eigenvalue(data):
    X, y, _ = data
    network = make_network()
    attributor = TRAKAttributor(network, n_components="exact").fit(X, y)
    phi = gradients(network, X, y)
    eigenvalues = np.linalg.eigvalsh(phi.T @ phi)
    np.testing.assert_allclose(attributor.ridge_, [eigenvalues.mean()], rtol=1e-9)


def test_a_training_row_is_not_among_the_others(data):
    X, y, _ = data
    networks = [make_network(0), make_network(1)]
    settings = {"n_components": "exact", "ridge": RIDGE, "candidates": "all"}
    exp = TRAKAttributor(networks, **settings).fit(X, y).explain(k=29)
    for i in (0, 14, 29):
        rest = np.delete(np.arange(30), i)
        without = TRAKAttributor(networks, **settings).fit(X[rest], y[rest])
        found = without.explain(X[[i]], y[[i]], k=29)
        np.testing.assert_array_equal(exp.indices[i], rest[found.indices[0]])
        np.testing.assert_allclose(exp.scores[i], found.scores[0], rtol=1e-8)


def test_rows_of_which_a_float32_model_is_certain_keep_their_score(rng):
    X, y = rng.normal(size=(20, 3)), np.arange(20) % 2
    network = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[30.0, 0, 0], [-30.0, 0, 0]]))
    X[:, 0] = np.where(y == 0, 1.0, -1.0)  # margin 60: p is 1 in any precision
    scores = TRAKAttributor(network, n_components="exact").fit(X, y).attribute(X[:4])
    own = scores[np.arange(4), np.arange(4)]
    assert ((own > 0) & (own < 1e-20)).all()


def test_pipelines_of_different_scales_and_their_classes(data):
    X, y, queries = data
    models = [
        make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=20, random_state=0)),
        MLPClassifier((5,), max_iter=20, random_state=1),
    ]
    attributor = TRAKAttributor(models, n_components=16).fit(X, y)
    assert [hasattr(m, "classes_") for m in models] == [False, False]
    assert np.isfinite(attributor.explain(queries, k=3).scores).all()
    other = LogisticRegression().fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match=r"model 1 of the list knows \[0, 1\]"):
        TRAKAttributor([models[1], other]).fit(X, y)
    with pytest.raises(ValueError, match="empty list"):
        TRAKAttributor([]).fit(X, y)


def test_a_list_is_cloned_and_fitted_in_every_fold(data):
    X, y, _ = data
    models = [MLPClassifier((4,), max_iter=20, random_state=seed) for seed in range(2)]
    attributor = TRAKAttributor(models, n_components=16)
    found = cross_validate(attributor, X, y, cv=3, return_estimator=True)
    assert np.isfinite(found["test_score"]).all()
    for fold in found["estimator"]:
        assert fold.estimator_[0] is not models[0]
        assert [model.random_state for model in fold.estimator_] == [0, 1]


def test_bad_parameters_are_named(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="ridge"):
        TRAKAttributor(make_network(), ridge=0.0).fit(X, y)
    with pytest.raises(ValueError, match="n_components must be left at its default"):
        TRAKAttributor(make_network(), n_components=16, features=TangentFeatures()).fit(X, y)
    with pytest.raises(ValueError, match="Give more"):
        TRAKAttributor(make_network(), n_components="exact", ridge=1e-30).fit(X, y)
    with pytest.raises(ValueError, match="are zero"):
        TRAKAttributor(nn.Linear(5, 3, bias=False), n_components=8).fit(np.zeros_like(X), y)


def test_memory_keeps_the_sketches(data, tmp_path, monkeypatch):
    X, y, queries = data
    network, calls = make_network(), []
    measured = TangentFeatures._measured
    monkeypatch.setattr(
        TangentFeatures, "_measured", lambda *args: calls.append(1) or measured(*args)
    )
    for _ in range(2):
        kept = TRAKAttributor(network, n_components=16, memory=str(tmp_path)).fit(X, y)
        scores = kept.attribute(queries)
    assert len(calls) == 2  # training rows and queries, once
    plain = TRAKAttributor(network, n_components=16).fit(X, y)
    np.testing.assert_array_equal(scores, plain.attribute(queries))


@pytest.mark.parametrize("n_models", [1, 2])
def test_traker_agrees(data, tmp_path, n_models):
    trak = pytest.importorskip("trak")
    from trak.projectors import NoOpProjector

    X, y, queries = (torch.as_tensor(a) for a in data)
    X, queries, labels = X.float(), queries.float(), torch.arange(7) % 3
    networks = [make_network(seed).float() for seed in range(n_models)]
    n_parameters = sum(p.numel() for p in networks[0].parameters())
    traker = trak.TRAKer(
        model=make_network().float(),
        task="image_classification",
        train_set_size=30,
        save_dir=str(tmp_path),
        device="cpu",
        projector=NoOpProjector(device="cpu"),
        use_half_precision=False,
        lambda_reg=RIDGE / n_parameters,  # its features are divided by the root of that
        logging_level=100,
    )
    for number, network in enumerate(networks):
        traker.load_checkpoint(network.state_dict(), model_id=number)
        traker.featurize((X, y), num_samples=30)
    traker.finalize_features()
    for number, network in enumerate(networks):
        traker.start_scoring_checkpoint("queries", network.state_dict(), number, num_targets=7)
        traker.score((queries, labels), num_samples=7)
    expected = traker.finalize_scores("queries").T
    attributor = TRAKAttributor(networks, n_components="exact", ridge=RIDGE, candidates="all").fit(
        X, y
    )
    scores = attributor.attribute(queries, labels)
    if n_models == 1:
        factor = np.linalg.norm(expected) / np.linalg.norm(scores)
        np.testing.assert_allclose(factor * scores, expected, atol=1e-4 * np.abs(expected).max())
    else:  # traker weighs models by the size of their inverses
        assert np.corrcoef(scores.ravel(), expected.ravel())[0, 1] > 0.99
