import numpy as np
import pytest
from sklearn.datasets import load_iris

from sklearn_provenance import ProvenanceClassifier, ProvenanceVAE

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


@pytest.fixture(scope="session")
def iris():
    X, y = load_iris(return_X_y=True)
    return X.astype(np.float32), np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.fixture(scope="session", params=ARCHITECTURES)
def fitted(request, iris):
    return quick(request.param, max_epochs=40).fit(*iris)
