"""How large the pages of Explanation.to_html get.

Exemplars are nearest neighbours among 5000 training rows, so that some occur many times. What a
page would weigh if it embedded every image anew stands beside it.
"""

import base64

import numpy as np
from _common import Results, load, parse, parser
from sklearn.neighbors import NearestNeighbors

from sklearn_provenance import Explanation
from sklearn_provenance.datasets import load_cifar10
from sklearn_provenance.explanation._pictures import png

N_TRAIN = 5000


def rows(name):
    """Training rows, their labels, test rows, and the shape of images."""
    if name == "cifar10":
        X, y = load_cifar10("train", return_X_y=True)
        return X[:N_TRAIN], y[:N_TRAIN], load_cifar10("test", return_X_y=True)[0], (3, 32, 32)
    if name == "breast_cancer":
        return (*load(name, 0)[:3], None)
    X, y, X_test, _ = load(name, 0)
    return X, y, X_test, X.shape[1:]


def main():
    options = parse(parser(__doc__, "digits and breast cancer only"))
    results = Results("page_size", ["data", "n_queries", "k"])
    names = ["digits", "breast_cancer"]
    names += [] if options.quick else ["mnist_5000", "fashion_5000", "cifar10"]
    for name in names:
        X, y, X_test, image_shape = rows(name)
        flat = X.reshape(len(X), -1).astype(np.float32)
        for k in (5, 10):
            if results.has(data=name, n_queries=100, k=k):
                continue
            queries = X_test[:100]
            nearest = NearestNeighbors(n_neighbors=k).fit(flat)
            distances, indices = nearest.kneighbors(queries.reshape(100, -1).astype(np.float32))
            explanation = Explanation(
                indices, -distances, queries=queries, training_data=X, image_shape=image_shape,
                exemplar_labels=y[indices], query_labels=y[indices[:, 0]],
                method="nearest neighbours", score_name="negative distance",
            )  # fmt: skip
            html = explanation.to_html()
            anew = ""
            if image_shape is not None:
                sizes = {row: len(base64.b64encode(png(X[row]))) for row in np.unique(indices)}
                again = sum(sizes[row] for row in indices.ravel()) - sum(sizes.values())
                anew = round((len(html.encode()) + again) / 1000)
            results.add(
                data=name,
                n_queries=100,
                k=k,
                n_exemplars=indices.size,
                n_different=len(np.unique(indices)),
                kilobytes=round(len(html.encode()) / 1000),
                kilobytes_embedded_anew=anew,
            )


if __name__ == "__main__":
    main()
