"""Membership inference by confidence and entropy: index branch, class branch, a plain classifier.

The plain classifier has the class branch of the others with the same initial weights and order of
rows, and an index branch without a loss. Each attack has a line: area under the ROC curve, DeLong's
standard error over rows, and the share of members found while 1 % of the others are.

A full run follows 7.7 of the paper: all training images, 40 epochs, loss weights 0.3 and 0.7, 5000
members and 5000 non-members; it wants a GPU. Two cores carry `--width small --n-train 5000
--seeds 1 --precision bfloat16` where the processor multiplies matrices of bfloat16. `--quick`
trains the small MLP on 2000 images as flat rows, all of which are members, beside 2000 test images.
"""

from _common import Results, load, subset
from _sizes import read_sizes, seconds

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import membership_inference, memorisation_scores

QUICK = {
    "data": ["fashion", "mnist"],
    "n_train": 2000,
    "n_attacked": 2000,
    "width": "small",
    "epochs": 40,
    "seeds": 3,
    "precision": "auto",
}
FULL = {
    "data": ["fashion", "mnist"],
    "n_train": 60_000,
    "n_attacked": 5000,
    "width": "paper",
    "epochs": 40,
    "seeds": 3,
    "precision": "auto",
}
WEIGHTS = {"lambda_class": 0.3, "lambda_index": 0.7}
MODELS = {
    "class conditional": {"alpha": 0.0, **WEIGHTS},
    "class conditional, alpha = 0.5": {"alpha": 0.5, **WEIGHTS},
    "single branch, alpha = 0.5": {"architecture": "single_branch", "alpha": 0.5},
    "plain": {"lambda_index": 0, "index_subset": 10},
}
FURTHER_MODELS = {
    "class independent": {"architecture": "class_independent", "alpha": 0.0, **WEIGHTS},
    "single branch": {"architecture": "single_branch", "alpha": 0.0},
}


def main():
    quick, sizes = read_sizes(__doc__, QUICK, FULL)
    models = MODELS if quick else MODELS | FURTHER_MODELS
    keys = ["data", "n_train", "width", "epochs", "seed", "model", "branch", "statistic"]
    results = Results("membership", keys)
    for seed in range(sizes["seeds"]):
        for data in sizes["data"]:
            name = f"{data}_{sizes['n_train']}" + ("_flat" if quick else "")
            X, y, X_test, y_test = load(name, seed)
            members, nonmembers = (
                subset(rows, labels, min(sizes["n_attacked"], len(rows)), seed)[0]
                for rows, labels in ((X, y), (X_test, y_test))
            )
            for model, params in models.items():
                case = {name: sizes[name] for name in ("n_train", "width", "epochs")}
                case |= {"data": data, "seed": seed, "model": model}
                if results.has(**case, branch="class", statistic="entropy"):  # the last one
                    continue
                clf = ProvenanceClassifier(
                    width=sizes["width"],
                    max_epochs=sizes["epochs"],
                    precision=sizes["precision"],
                    random_state=seed,
                    verbose=1,
                    **params,
                ).fit(X, y)
                scores = memorisation_scores(clf, X_test, y_test)
                accuracies = {
                    "index_accuracy": ""
                    if model == "plain"
                    else round(scores["index_accuracy"], 4),
                    "train_accuracy": round(clf.score(X, y), 4),
                    "test_accuracy": round(scores["test_class_accuracy"], 4),
                }
                result = membership_inference(clf, members, nonmembers)
                for line in result.to_frame().to_dict("records"):
                    case |= {"branch": line["branch"], "statistic": line["statistic"]}
                    if results.has(**case):
                        continue
                    results.add(
                        **{key: case[key] for key in keys},
                        auc=round(line["auc"], 4),
                        auc_se=round(line["auc_se"], 4),
                        tpr_at_1_fpr=round(line["tpr@1%fpr"], 4),
                        n_members=len(members),
                        n_nonmembers=len(nonmembers),
                        **accuracies,
                        seconds=seconds(clf),
                        network="MLP" if quick else "CNN",
                        precision=sizes["precision"],
                    )


if __name__ == "__main__":
    main()
