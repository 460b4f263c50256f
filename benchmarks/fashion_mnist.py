"""The two-branch network of the paper's section 7.2 on 15000 Fashion-MNIST images, few epochs."""

import numpy as np
from _common import Results, load, parse, parser

from sklearn_provenance import ProvenanceClassifier

EPOCHS = 4


def main():
    options = parse(parser(__doc__, "2000 images, 2 epochs"))
    size, epochs = (2000, 2) if options.quick else (15_000, EPOCHS)
    results = Results("fashion_mnist", ["n_train", "seed", "epochs"])
    for seed in range(3):
        if results.has(n_train=size, seed=seed, epochs=epochs):
            continue
        X, y, X_test, y_test = load(f"fashion_{size}", seed)
        clf = ProvenanceClassifier(
            width="paper",
            max_epochs=epochs,
            warmup_epochs=1,
            decay_epochs=1,
            random_state=seed,
            verbose=1,
        ).fit(X, y)
        results.add(
            n_train=size,
            n_test=len(y_test),
            seed=seed,
            epochs=epochs,
            test_accuracy=round(clf.score(X_test, y_test), 4),
            index_accuracy=round(np.mean(clf.predict_index(X) == np.arange(size)), 4),
            exemplars_right=round(
                np.mean(y[clf.explain(X_test, k=5).indices] == y_test[:, None]), 4
            ),
            parameters=sum(p.numel() for p in clf.net_.module_.parameters()),
            seconds=round(sum(epoch["dur"] for epoch in clf.history_)),
        )


if __name__ == "__main__":
    main()
