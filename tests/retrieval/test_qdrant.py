"""The search index that the guide shows, in Qdrant's local mode."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfoGainAttributor

from .test_changes import ROWS, agrees

qdrant_client = pytest.importorskip("qdrant_client")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def itself(X):
    return X


def test_the_adapter_of_the_guide(tmp_path):
    from .qdrant_index import QdrantIndex

    client = qdrant_client.QdrantClient(":memory:")
    index = QdrantIndex(client).build(ROWS[:100])
    agrees(index, ROWS[:100])
    agrees(index.remove(ROWS[5:100], np.arange(5)), ROWS[5:100])
    agrees(index.add(ROWS[5:200]), ROWS[5:200])
    index.save(tmp_path / "index")
    agrees(QdrantIndex(client).load(tmp_path / "index", ROWS[5:200]), ROWS[5:200])
    # In a store it follows the rows without being built again.
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    params = {"features": itself, "candidates": "all", "pool_size": 20}
    expected = InfoGainAttributor(model, index="exact", **params).fit(X, y).explain(X[:5], k=3)
    attributor = InfoGainAttributor(model, index=QdrantIndex(client, "iris"), **params)
    attributor.fit(X[:120], y[:120], store=tmp_path / "store").append_rows(X[120:], y[120:])
    np.testing.assert_array_equal(attributor.explain(X[:5], k=3).indices, expected.indices)
    assert client.count("iris").count == 150
    assert attributor.drop_rows([0]).explain(X[:5], k=3).sample_id.min() > 0
    assert client.count("iris").count == 149
