"""Architectures side by side: Table 2 of the paper on provenance networks.

Class accuracy on test images and accuracy of the index on training images: of the most probable row
(*index*), of the most probable row of the true class (*local*), and where the predicted class is
right as well (*end to end*). *Top1* and *majority@5*: the class of the first, or of most of the
first five rows that a test image is given. At alpha = 0.5 targets are drawn anew, as in the paper.
*Standardised* is what its 7.4.3 does: images less their mean, over their standard deviation, by
channel; the others are divided by 255.

*Influence* is what the paper calls so (its 7.12): the class of the training image that is nearest
by the cosine of what a plain network computes, before its last layer or in all of them, for 2000
test images.

`--quick` takes the small CNN, 2000 images and 20 epochs; a full run all images and a GPU. Two cores
carry `--quick --n-train 15000 --precision bfloat16` where the processor multiplies such matrices.
`--models` takes some of the networks, by name.
"""

from collections import defaultdict

import numpy as np
import torch
from _common import Results, load
from _sizes import read_sizes, seconds
from torch import nn
from torch.nn import functional as F

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import memorisation_scores

MODELS = {
    "two branches, class conditional": {"architecture": "class_conditional", "alpha": 0},
    "two branches, class conditional, standardised": {
        "architecture": "class_conditional",
        "alpha": 0,
        "normalization": "standardize",
    },
    "two branches, class independent": {"architecture": "class_independent", "alpha": 0},
    "single branch, alpha = 0": {"architecture": "single_branch", "alpha": 0},
    "single branch, alpha = 0.5": {
        "architecture": "single_branch",
        "alpha": 0.5,
        "mixing": "sampled",
    },
    "plain": {"lambda_index": 0, "index_subset": 10},
}
DATA = ["mnist", "fashion", "cifar10"]
COMMON = {"data": DATA, "seeds": 1, "precision": "auto", "models": list(MODELS)}
QUICK = {**COMMON, "n_train": 2000, "width": "small", "epochs": 20}
FULL = {**COMMON, "n_train": 50_000, "width": "paper", "epochs": 80}
N_NEAREST = 2000
BLOCK = 500  # training images whose activations are held at once
LEFT_OUT = "plain"  # whose index means nothing


def main():
    _, sizes = read_sizes(__doc__, QUICK, FULL)
    keys = ["data", "n_train", "width", "epochs", "seed", "model"]
    results = Results("architectures", keys)
    for seed in range(sizes["seeds"]):
        for data in sizes["data"]:
            X, y, X_test, y_test = load(f"{data}_{sizes['n_train']}", seed)
            for model in sizes["models"]:
                case = {name: sizes[name] for name in ("n_train", "width", "epochs")}
                case |= {"data": data, "seed": seed, "model": model}
                if results.has(**case):
                    continue
                clf = ProvenanceClassifier(
                    width=sizes["width"],
                    max_epochs=sizes["epochs"],
                    precision=sizes["precision"],
                    random_state=seed,
                    verbose=1,
                    **MODELS[model],
                ).fit(X, y)
                results.add(
                    **{key: case[key] for key in keys},
                    **accuracies(clf, X_test, y_test, model),
                    **nearest_accuracies(clf, X, y, X_test, y_test, model),
                    seconds=seconds(clf),
                    precision=sizes["precision"],
                )


def accuracies(clf, X_test, y_test, model):
    scores = memorisation_scores(clf, X_test, y_test)
    found = {"test_accuracy": round(scores["test_class_accuracy"], 4)}
    names = {
        "index": "index_accuracy",
        "local": "local_index_accuracy",
        "end_to_end": "attribution_accuracy",
        "top1": "test_top1",
        "majority@5": "test_majority@5",
    }
    for column, name in names.items():
        found[column] = "" if model == LEFT_OUT else round(scores[name], 4)
    return found


def nearest_accuracies(clf, X, y, X_test, y_test, model):
    """Share of test images whose nearest training image has their class, for the plain network."""
    if model != LEFT_OUT:
        return {"influence_last": "", "influence_all": ""}
    wanted = activations(clf, X_test[:N_NEAREST])
    best = [torch.full((len(one),), -torch.inf) for one in wanted]
    nearest = [torch.zeros(len(one), dtype=torch.int64) for one in wanted]
    for start in range(0, len(X), BLOCK):
        for place, rows in enumerate(activations(clf, X[start : start + BLOCK])):
            cosine, row = (wanted[place] @ rows.T).max(1)
            nearest[place] = torch.where(cosine > best[place], start + row, nearest[place])
            best[place] = torch.maximum(cosine, best[place])
    labels = y_test[: len(best[0])]
    shares = [round(float(np.mean(y[rows.numpy()] == labels)), 4) for rows in nearest]
    return dict(zip(("influence_last", "influence_all"), shares, strict=True))


def activations(clf, X):
    """What goes into the last layer of the class branch, and what all ReLUs give, of length 1."""
    module = clf.net_.module_
    last = module.class_branch[-1]
    inputs, outputs = [], defaultdict(list)
    handles = [last.register_forward_pre_hook(lambda m, args: inputs.append(args[0]))]
    for m in module.modules():
        if isinstance(m, nn.ReLU):
            keep = outputs[m].append
            handles.append(m.register_forward_hook(lambda m, args, out, keep=keep: keep(out)))
    clf.predict(X)
    for handle in handles:
        handle.remove()
    every = [torch.cat(parts).flatten(1) for parts in outputs.values() if parts]
    return F.normalize(torch.cat(inputs)), F.normalize(torch.cat(every, 1))


if __name__ == "__main__":
    main()
