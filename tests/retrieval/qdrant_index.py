"""A search index in Qdrant; the guide shows this file."""

import json
from pathlib import Path

import numpy as np
from qdrant_client import models


class QdrantIndex:
    """Rows in a collection of Qdrant, asked with both signs of each query, and ranked exactly."""

    def __init__(self, client, collection="rows"):
        self.client = client
        self.collection = collection

    def __deepcopy__(self, memo):
        return QdrantIndex(self.client, self.collection)  # attributors copy what they are given

    def build(self, rows):
        if self.client.collection_exists(self.collection):
            self.client.delete_collection(self.collection)
        vectors = models.VectorParams(size=rows.shape[1], distance=models.Distance.DOT)
        self.client.create_collection(self.collection, vectors_config=vectors)
        self.rows = rows
        self.ids = np.empty(0, dtype=np.int64)
        self._insert(rows, 0)
        return self

    def _insert(self, rows, start):
        first = self.ids[-1] + 1 if len(self.ids) else 0
        ids = first + np.arange(len(rows) - start)
        for i in range(0, len(ids), 1000):
            part = np.asarray(rows[start + i : start + i + 1000], dtype=np.float32)
            points = models.Batch(ids=ids[i : i + 1000].tolist(), vectors=part.tolist())
            self.client.upsert(self.collection, points)
        self.ids = np.concatenate([self.ids, ids])  # of each row, ascending

    def search(self, queries, k):
        indices = np.empty((len(queries), k), dtype=np.int64)
        products = np.empty((len(queries), k))
        for i, query in enumerate(np.asarray(queries, dtype=np.float64)):
            found = set()
            for sign in (1, -1):
                vector = (sign * query).tolist()
                answer = self.client.query_points(self.collection, query=vector, limit=k + 32)
                found |= {point.id for point in answer.points}
            numbers = np.searchsorted(self.ids, sorted(found))
            exact = np.asarray(self.rows[numbers], dtype=np.float64) @ query
            best = np.argsort(-np.abs(exact), kind="stable")[:k]
            indices[i], products[i] = numbers[best], exact[best]
        return indices, products

    def add(self, rows):
        self._insert(rows, len(self.ids))
        self.rows = rows
        return self

    def remove(self, rows, numbers):
        gone = models.PointIdsList(points=self.ids[numbers].tolist())
        self.client.delete(self.collection, points_selector=gone)
        self.ids = np.delete(self.ids, numbers)
        self.rows = rows
        return self

    def save(self, path):
        Path(path).write_text(json.dumps(self.ids.tolist()))  # the collection is kept by Qdrant

    def load(self, path, rows):
        self.ids = np.array(json.loads(Path(path).read_text()), dtype=np.int64)
        if len(self.ids) != len(rows) or not self.client.collection_exists(self.collection):
            raise ValueError("the collection must have the rows; build the search index again")
        self.rows = rows
        return self
