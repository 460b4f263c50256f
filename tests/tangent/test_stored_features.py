"""Features kept on disk: resumed where they stopped, and told apart by all that they depend on."""

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_provenance.attribution import InfoGainAttributor
from sklearn_provenance.tangent import TangentFeatures

from .conftest import build

X = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
Y = np.arange(23) % 3


class Rows:
    """Rows that passed a network, and how many may."""

    passed, limit = 0, None


TANH = torch.tanh


def counting(x):
    """Count the rows that pass, and interrupt after some of them: no digest sees into torch."""
    if Rows.limit is not None and Rows.passed + len(x) > Rows.limit:
        raise KeyboardInterrupt
    Rows.passed += len(x)
    return TANH(x)


class Counting(nn.Module):
    """Passes rows through a function that counts them."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.register_buffer("shift", torch.zeros(4))

    def forward(self, x):
        return self.head(torch.tanh(self.layer(x + self.shift)))


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(torch, "tanh", counting)
    torch.manual_seed(0)
    Rows.passed, Rows.limit = 0, None
    return Counting()


def passed(work):
    before = Rows.passed
    result = work()
    return Rows.passed - before, result


def transformer(network, **parameters):
    """Fitted, so that planning's passes are not counted."""
    return TangentFeatures(network, **{"n_components": 16, "batch_size": 5} | parameters).fit(X)


@pytest.mark.parametrize("y", [None, Y])
@pytest.mark.parametrize("n_components", [16, "exact"])
@pytest.mark.parametrize("name", ["mlp", "convolutions", "tokens"])
def test_stored_features_are_the_features(tmp_path, name, n_components, y):
    network, x, _ = build(name, torch.float32, n=9)
    y = None if y is None else y[:9]
    plain = TangentFeatures(network, n_components, batch_size=4).fit(x)
    stored = clone(plain).set_params(store=tmp_path).fit(x)
    for _ in range(2):
        found = stored.transform(x, y)
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, plain.transform(x, y))
    assert len(list(tmp_path.glob("*.npy"))) == 1


@pytest.mark.parametrize("n_components", [16, "exact"])
def test_an_interrupted_transform_goes_on_where_it_stopped(network, tmp_path, n_components):
    expected = transformer(network, n_components=n_components).transform(X, Y)
    features = transformer(network, n_components=n_components, store=tmp_path)
    Rows.limit = Rows.passed + 17
    with pytest.raises(KeyboardInterrupt):
        features.transform(X, Y)
    Rows.limit = None
    again = transformer(network, n_components=n_components, store=str(tmp_path), batch_size=4)
    rows, found = passed(lambda: again.transform(X, Y))
    assert rows == 23 - 15  # three batches of 5 were done
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert passed(lambda: features.transform(X, Y))[0] == 0


def test_progress_of_a_resumed_transform(network, tmp_path, capsys):
    features = transformer(network, store=tmp_path, verbose=True)
    Rows.limit = Rows.passed + 17
    with pytest.raises(KeyboardInterrupt):
        features.transform(X, Y)
    capsys.readouterr()
    Rows.limit = None
    features.transform(X, Y)
    assert "15/23" in capsys.readouterr().err


def test_what_does_not_matter_is_not_computed_again(network, tmp_path, capsys):
    transformer(network, store=tmp_path).transform(X, Y)
    network.train()
    same = [
        (transformer(network, store=tmp_path, batch_size=7, verbose=True), X, Y),
        (transformer(network, store=tmp_path), X.astype(np.float64), Y.tolist()),
        (transformer(network, store=tmp_path), torch.as_tensor(X), torch.as_tensor(Y).int()),
        (transformer(network, store=tmp_path), np.asfortranarray(X), Y),
        (transformer(network, store=tmp_path), X[::-1][::-1], Y),
        (clone(transformer(network, store=tmp_path)).fit(X), X, Y),
    ]
    for features, x, y in same:
        assert passed(lambda f=features, x=x, y=y: f.transform(x, y))[0] == 0
    capsys.readouterr()  # the bar of verbose=True
    network.eval()
    features = transformer(network, store=tmp_path)
    assert passed(lambda: features.transform(X, Y))[0] == 0
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_what_matters_is_computed_again(network, tmp_path):
    def change(name, amount=1.0):
        with torch.no_grad():
            network.get_parameter(name).view(-1)[0] += amount

    y = np.roll(Y, 1)
    variants = [
        ({}, X, Y),
        ({"n_components": 17}, X, Y),
        ({"n_components": "exact"}, X, Y),
        ({"sketch": "sjlt"}, X, Y),
        ({"random_state": 1}, X, Y),
        ({"measurement": "margin"}, X, Y),
        ({"ntk_parameterization": True}, X, Y),
        ({"ntk_parameterization": 1.5}, X, Y),
        ({"parameters": ["layer.weight"]}, X, Y),
        ({"forward": lambda module, x: module(x) * 2}, X, Y),
        ({"forward": lambda module, x: module(x) * 3}, X, Y),
        ({}, X[:-1], Y[:-1]),
        ({}, X[::-1], Y),
        ({}, X, y),
        ({}, X, None),
    ]
    for parameters, x, labels in variants:
        rows, found = passed(
            lambda p=parameters, x=x, y=labels: (
                transformer(network, store=tmp_path, **p).transform(x, y).copy()
            )
        )
        assert rows >= len(x)
        plain = transformer(network, **parameters).transform(x, labels)
        np.testing.assert_array_equal(found, plain)
    files = len(list(tmp_path.glob("*.npy")))
    assert files == len(variants)
    change("layer.weight")
    transformer(network, store=tmp_path).transform(X, Y)
    change("layer.weight", -1.0)
    network.shift += 1
    transformer(network, store=tmp_path).transform(X, Y)
    network.layer.weight.requires_grad_(False)
    transformer(network, store=tmp_path).transform(X, Y)
    assert len(list(tmp_path.glob("*.npy"))) == files + 3


def test_predicted_labels_are_not_the_same_labels_given(network, tmp_path):
    """They give the same numbers, but nothing says so before the network has run."""
    features = transformer(network, store=tmp_path)
    predicted = network(torch.as_tensor(X)).argmax(1)
    np.testing.assert_array_equal(features.transform(X), features.transform(X, predicted))
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_sketch_is_drawn_anew_without_a_seed(network, tmp_path):
    features = transformer(network, store=tmp_path, random_state=None)
    phi = features.transform(X, Y)
    assert passed(lambda: features.transform(X, Y))[0] == 0
    other = transformer(network, store=tmp_path, random_state=None).transform(X, Y)
    assert not np.array_equal(phi, other)
    generator = np.random.RandomState(5)
    first = transformer(network, store=tmp_path, random_state=generator).transform(X, Y)
    second = transformer(network, store=tmp_path, random_state=generator).transform(X, Y)
    assert not np.array_equal(first, second)


def test_wrong_labels_are_refused_though_right_ones_are_stored(network, tmp_path):
    features = transformer(network, store=tmp_path)
    features.transform(X, Y)
    with pytest.raises(ValueError, match="integers"):
        features.transform(X, Y.astype(float))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"got 3\. Labels"):
            features.transform(X, np.full(23, 3))


def test_store_is_a_folder(network):
    with pytest.raises(ValueError, match="'store' parameter"):
        TangentFeatures(network, store=3).fit(X)


def test_a_grid_in_several_processes_shares_a_store(network, tmp_path):
    def search(store, n_jobs):
        tangent = TangentFeatures(network.layer, 16, batch_size=2, store=store)
        grid = {"ridgeclassifier__alpha": [0.1, 1.0, 10.0]}
        search = GridSearchCV(make_pipeline(tangent, RidgeClassifier()), grid, cv=2, n_jobs=n_jobs)
        return search.fit(X, Y).cv_results_["mean_test_score"]

    with parallel_config("multiprocessing"):  # forks start sooner than new interpreters
        found = search(tmp_path, 2)
    expected = search(None, None)
    np.testing.assert_array_equal(found, expected)
    # Two halves, each the training rows of one fold and the test rows of the other, and all rows.
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_attributors_take_stored_features(network, tmp_path):
    features = TangentFeatures(n_components=16, batch_size=5)
    plain = InfoGainAttributor(network, features=features).fit(X, Y)
    stored = InfoGainAttributor(network, features=features.set_params(store=tmp_path)).fit(X, Y)
    np.testing.assert_array_equal(stored.attribute(X[:5]), plain.attribute(X[:5]))
    again = clone(stored).fit(X, Y)
    queries = X[:5]
    # Their labels, their features, and none of the training rows.
    assert passed(lambda: again.attribute(queries))[0] <= 2 * len(queries)


def test_a_network_that_cannot_be_told_from_others_is_not_stored(network, tmp_path):
    """An open file in forward has no digest, so features are computed anew each time."""
    with open(__file__) as file:
        forward = lambda module, x, file=file: module(x)  # noqa: E731
        plain = transformer(network, forward=forward)
        stored = transformer(network, forward=forward, store=tmp_path)
        for _ in range(2):
            with pytest.warns(UserWarning, match="TextIOWrapper"):
                rows, found = passed(lambda: stored.transform(X, Y))
            assert rows == 23
            np.testing.assert_array_equal(found, plain.transform(X, Y))
    assert not list(tmp_path.iterdir())
