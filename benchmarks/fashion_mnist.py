"""The two-branch network of the paper's section 7.2 on 15000 Fashion-MNIST images, few epochs.

A seed that was interrupted goes on from its last epoch: checkpoints lie in results/checkpoints.
"""

import time

import numpy as np
from _common import RESULTS, Results, load, parse, parser

from sklearn_provenance import ProvenanceClassifier

EPOCHS = 6


def main():
    options = parse(parser(__doc__, "2000 images, 2 epochs"))
    size, epochs = (2000, 2) if options.quick else (15_000, EPOCHS)
    results = Results("fashion_mnist", ["n_train", "seed", "epochs"])
    for seed in range(3):
        if results.has(n_train=size, seed=seed, epochs=epochs):
            continue
        X, y, X_test, y_test = load(f"fashion_{size}", seed)
        checkpoint = RESULTS / "checkpoints" / f"fashion_{size}_{seed}.safetensors"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            clf = ProvenanceClassifier.load(checkpoint)
        else:
            clf = ProvenanceClassifier(
                width="paper", max_epochs=1, warmup_epochs=1, random_state=seed, warm_start=True
            )
        while len(getattr(clf, "history_", [])) < epochs:
            start = time.perf_counter()
            clf.fit(X, y)
            clf.save(checkpoint)
            print(f"seed {seed}: {clf.history_[-1]}, {time.perf_counter() - start:.0f} s")
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
        checkpoint.unlink()


if __name__ == "__main__":
    main()
