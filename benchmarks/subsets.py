"""Stratified subsets of the training images: Tables 1 and 4 of the paper (4.3 and 7.5).

Branches share the first convolution block only. Both are trained on the subset, as in the paper
(*class branch sees: subset*), or the class branch on all images and the index branch on the subset
(`index_subset`, *all*). The paper calls its networks class-conditional; under hard routing all
exemplars then have the predicted class, and *top1*, *any@5* and *any@10* would not differ as they
do there, so both architectures are run.

`--quick` takes subsets of 6000 images, both branches on the subset, and the small CNN. A full run
takes a GPU.
"""

from _common import Results, load, subset
from _sizes import read_sizes, seconds

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import memorisation_scores

QUICK = {"data": ["fashion", "mnist"], "n_train": 6000, "width": "small", "epochs": 20, "seeds": 1}
FULL = {
    "data": ["fashion", "mnist"],
    "n_train": 60_000,
    "width": "medium",
    "epochs": 100,
    "seeds": 1,
}
SHARES = (0.1, 0.3, 0.5)
FURTHER_SHARES = (0.7, 0.9)
ARCHITECTURES = ("class_conditional", "class_independent")


def main():
    quick, sizes = read_sizes(__doc__, QUICK, FULL)
    shares = SHARES if quick else SHARES + FURTHER_SHARES
    seen = ("subset",) if quick else ("subset", "all")
    keys = ["data", "n_train", "width", "epochs", "seed", "share", "architecture", "class_sees"]
    results = Results("subsets", keys)
    for seed in range(sizes["seeds"]):
        for data in sizes["data"]:
            X_all, y_all, X_test, y_test = load(f"{data}_{sizes['n_train']}", seed)
            for share in shares:
                n_indexed = round(share * len(y_all))
                X, y = subset(X_all, y_all, n_indexed, seed)
                for architecture, class_sees in [(a, s) for s in seen for a in ARCHITECTURES]:
                    case = {name: sizes[name] for name in ("n_train", "width", "epochs")}
                    case |= {"data": data, "seed": seed, "share": share}
                    case |= {"architecture": architecture, "class_sees": class_sees}
                    if results.has(**case):
                        continue
                    clf = ProvenanceClassifier(
                        architecture,
                        alpha=0,
                        width=sizes["width"],
                        sharing_level=1,
                        index_subset=n_indexed if class_sees == "all" else None,
                        max_epochs=sizes["epochs"],
                        random_state=seed,
                        verbose=1,
                    )
                    clf.fit(*((X, y) if class_sees == "subset" else (X_all, y_all)))
                    scores = memorisation_scores(clf, X_test, y_test, k=(5, 10))
                    results.add(
                        **{key: case[key] for key in keys},
                        n_indexed=n_indexed,
                        parameters=sum(p.numel() for p in clf.net_.module_.parameters()),
                        test_accuracy=round(scores["test_class_accuracy"], 4),
                        index_accuracy=round(scores["index_accuracy"], 4),
                        test_top1=round(scores["test_top1"], 4),
                        **{name: round(scores[name], 4) for name in ("test_any@5", "test_any@10")},
                        seconds=seconds(clf),
                    )


if __name__ == "__main__":
    main()
