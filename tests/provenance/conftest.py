import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE

ARCHITECTURES = ["class_conditional", "class_independent", "single_branch"]


def quick(architecture="class_conditional", **params):
    """A classifier that fits in a fraction of a second."""
    params = {
        "width": "small",
        "max_epochs": 15,
        "batch_size": 32,
        "warmup_epochs": 1,
        "random_state": 0,
        "device": "cpu",
        **params,
    }
    return ProvenanceClassifier(architecture, **params)


def quick_vae(latent_dim=8, **params):
    """An autoencoder that fits in a second."""
    params = {"width": "small", "max_epochs": 5, "random_state": 0, "device": "cpu", **params}
    return ProvenanceVAE(latent_dim, **params)


def quick_regressor(loss="squared_error", **params):
    """A regressor that fits in a fraction of a second."""
    params = {
        "width": "small",
        "max_epochs": 15,
        "batch_size": 32,
        "warmup_epochs": 1,
        "dropout": 0.0,
        "random_state": 0,
        "device": "cpu",
        **params,
    }
    return ProvenanceRegressor(loss, **params)


@pytest.fixture(scope="session")
def diabetes():
    """Standardised columns, and a target from 25 to 346."""
    X, y = load_diabetes(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    return X.astype(np.float32)[:200], y[:200]


@pytest.fixture(scope="session")
def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="session", params=ARCHITECTURES)
def fitted(request, iris):
    return quick(request.param, max_epochs=40).fit(*iris)
