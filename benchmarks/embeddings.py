"""Clusters inside a class: do they come back with another seed, and do exemplars stay inside them?

K-means on the features of the index branch, as in Figures 3 and 13 of the paper, for each class of
the training images. *Same in another network* is the adjusted Rand index between the clusters of
two networks that differ in their seed alone, *same in pixels* that with clusters of the images
themselves, *other start* that with the same features and another start of k-means: what k-means
itself leaves open. *Exemplars inside* is the share of the five training rows named for a row, the
row itself left out, that are in its cluster, beside the share of row pairs of the class that are.

`--quick` takes the small MLP and flat pixels, a full run the network of the paper's 7.2 and a GPU.
"""

import numpy as np
from _common import Results, load
from _sizes import read_sizes, seconds
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import embedding_clusters

QUICK = {"data": ["mnist"], "n_train": 6000, "width": "small", "epochs": 20, "seeds": 3}
FULL = {
    "data": ["mnist", "fashion"],
    "n_train": 60_000,
    "width": "paper",
    "epochs": 80,
    "seeds": 3,
}
MODELS = {
    "class conditional": {"alpha": 0.0},
    "class conditional, alpha = 0.3": {"alpha": 0.3},
    "class independent": {"architecture": "class_independent", "alpha": 0.0},
}
N_CLUSTERS = (2, 4)
K = 5


def main():
    quick, sizes = read_sizes(__doc__, QUICK, FULL)
    keys = ["data", "n_train", "width", "epochs", "model", "label", "n_clusters", "seed"]
    results = Results("embeddings", keys)
    for data in sizes["data"]:
        # One draw of rows for all seeds, since clusters of the same rows are compared.
        X, y, *_ = load(f"{data}_{sizes['n_train']}" + ("_flat" if quick else ""), 0)
        for model, params in MODELS.items():
            base = {name: sizes[name] for name in ("n_train", "width", "epochs")}
            base |= {"data": data, "model": model}
            last = {"label": np.unique(y)[-1], "n_clusters": N_CLUSTERS[-1]}
            if all(results.has(**base, **last, seed=seed) for seed in range(sizes["seeds"])):
                continue
            networks = [
                ProvenanceClassifier(
                    width=sizes["width"],
                    max_epochs=sizes["epochs"],
                    random_state=seed,
                    verbose=1,
                    **params,
                ).fit(X, y)
                for seed in range(sizes["seeds"])
            ]
            exemplars = [clf.explain(k=K).indices for clf in networks]
            for label in np.unique(y):
                for n_clusters in N_CLUSTERS:
                    found = measure(networks, exemplars, X, label, n_clusters)
                    for seed, values in enumerate(found):
                        case = base | {"label": label, "n_clusters": n_clusters, "seed": seed}
                        if not results.has(**case):
                            results.add(
                                **{key: case[key] for key in keys},
                                **{name: round(float(v), 4) for name, v in values.items()},
                                seconds=seconds(networks[seed]),
                            )


def measure(networks, exemplars, X, label, n_clusters):
    """Figures of the clusters of one class, for each network."""
    found = [
        [
            embedding_clusters(
                clf, label=label, n_clusters=n_clusters, embedding="pca", random_state=start
            )
            for start in (0, 1)
        ]
        for clf in networks
    ]
    clusters = [first.clusters for first, _ in found]
    rows = found[0][0].rows
    pixels = KMeans(n_clusters, n_init=10, random_state=0).fit_predict(
        X[rows].reshape(len(rows), -1)
    )
    for seed, own in enumerate(clusters):
        cluster_of = np.full(len(X), -1)
        cluster_of[rows] = own
        named = exemplars[seed][rows]
        shares = np.bincount(own) / len(own)
        yield {
            "same_in_another_network": adjusted_rand_score(own, clusters[seed - 1]),
            "other_start": adjusted_rand_score(own, found[seed][1].clusters),
            "same_in_pixels": adjusted_rand_score(own, pixels),
            "exemplars_inside": np.mean((cluster_of[named] == own[:, None]) & (named >= 0)),
            "pairs_inside": np.square(shares).sum(),
        }


if __name__ == "__main__":
    main()
