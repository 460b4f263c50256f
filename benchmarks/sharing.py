"""Size of the network by layers that its branches share: Tables 5 and 6 of the paper's 7.6.

Class-independent, as 7.6.1 says. (4.4 says class-conditional; but under hard routing exemplars have
the predicted class, and could not fall short of its accuracy as they do in the tables.) *Top1* and
*any@5*: the first, or one of the first five training rows named for a test image, has its class.
`sharing_curves` has the accuracies of both branches on the training images, epoch by epoch, as the
paper's Figures 4 and 14 to 17.

A full run takes the paper's epochs, dropout, learning rates and its batches of the class branch
(those of the index branch were half as large; here both see one batch), and a GPU. `--quick` takes
two sizes, and the package's own recipe, with which a short training learns its rows.
`--n-train 6000` makes it a tenth of the images.
"""

from _common import Results, load
from _sizes import read_sizes, seconds

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import memorisation_scores

QUICK = {"data": ["fashion"], "n_train": 2000, "epochs": 20, "seeds": 1}
FULL = {"data": ["mnist", "fashion"], "n_train": 60_000, "epochs": 150, "seeds": 1}
RECIPES = {
    "small": {"lr": 1e-3, "lr_index": 1e-4, "batch_size": 64},
    "medium": {"lr": 1e-3, "lr_index": 1e-4, "batch_size": 64},
    "large": {"lr": 5e-4, "batch_size": 64},
    "xlarge": {"lr": 2e-4, "batch_size": 32},
}
LEVELS = (1, 2, 3, 4)


def main():
    quick, sizes = read_sizes(__doc__, QUICK, FULL)
    recipes = {"small": {}, "medium": {}} if quick else RECIPES
    keys = ["data", "n_train", "epochs", "recipe", "seed", "width", "level"]
    results = Results("sharing", keys)
    curves = Results("sharing_curves", [*keys, "epoch"])
    for seed in range(sizes["seeds"]):
        for data in sizes["data"]:
            X, y, X_test, y_test = load(f"{data}_{sizes['n_train']}", seed)
            for width, recipe in recipes.items():
                for level in LEVELS:
                    case = {"data": data, "n_train": sizes["n_train"], "epochs": sizes["epochs"]}
                    case |= {"recipe": "own" if quick else "paper", "seed": seed}
                    case |= {"width": width, "level": level}
                    if results.has(**case) and curves.has(**case, epoch=sizes["epochs"]):
                        continue
                    clf = ProvenanceClassifier(
                        "class_independent",
                        alpha=0,
                        width=width,
                        sharing_level=level,
                        dropout=0.0 if quick else 0.5,
                        max_epochs=sizes["epochs"],
                        random_state=seed,
                        verbose=1,
                        **recipe,
                    ).fit(X, y)
                    if not results.has(**case):
                        results.add(**case, **measure(clf, X_test, y_test))
                    for line in clf.history_:
                        if not curves.has(**case, epoch=line["epoch"]):
                            curves.add(
                                **case,
                                epoch=line["epoch"],
                                index_accuracy=round(line["index_accuracy"], 4),
                                class_accuracy=round(line["class_accuracy"], 4),
                            )


def measure(clf, X_test, y_test):
    module = clf.net_.module_
    n_all, n_shared = (
        sum(p.numel() for p in part.parameters()) for part in (module, module.shared)
    )
    scores = memorisation_scores(clf, X_test, y_test)
    return {
        "parameters": n_all,
        "shared": round(n_shared / n_all, 4),
        "test_accuracy": round(scores["test_class_accuracy"], 4),
        "index_accuracy": round(scores["index_accuracy"], 4),
        "test_top1": round(scores["test_top1"], 4),
        "test_any@5": round(scores["test_any@5"], 4),
        "seconds": seconds(clf),
    }


if __name__ == "__main__":
    main()
