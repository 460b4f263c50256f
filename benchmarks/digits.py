"""Class and index accuracy on handwritten digits with the defaults: 75/25 split, five seeds.

Rows of 64 values (MLP) and images of 8 x 8 (CNN), beside one nearest neighbour on the same split.
"""

import time

import numpy as np
from _common import Results, load, parse, parser
from sklearn.neighbors import KNeighborsClassifier

from sklearn_provenance import ProvenanceClassifier

ARCHITECTURES = ["class_conditional", "class_independent", "single_branch"]


def main():
    options = parse(parser(__doc__, "one seed"))
    results = Results("digits", ["data", "seed", "model"])
    for seed in range(1 if options.quick else 5):
        for name in ("digits_flat", "digits"):
            X, y, X_test, y_test = load(name, seed)
            flat = X.reshape(len(X), -1), X_test.reshape(len(X_test), -1)
            for model in [*ARCHITECTURES, "one_nearest_neighbour"]:
                if results.has(data=name, seed=seed, model=model):
                    continue
                start = time.perf_counter()
                if model == "one_nearest_neighbour":
                    clf = KNeighborsClassifier(1).fit(flat[0], y)
                    accuracy, index = clf.score(flat[1], y_test), ""
                else:
                    width = "small" if name == "digits" else "medium"
                    clf = ProvenanceClassifier(model, width=width, random_state=seed).fit(X, y)
                    accuracy = clf.score(X_test, y_test)
                    index = round(np.mean(clf.predict_index(X) == np.arange(len(y))), 4)
                results.add(
                    data=name,
                    seed=seed,
                    model=model,
                    test_accuracy=round(accuracy, 4),
                    index_accuracy=index,
                    seconds=round(time.perf_counter() - start, 2),
                )


if __name__ == "__main__":
    main()
