"""Label errors: which method's suspicion points to the training rows whose label is wrong?

A tenth of the labels of 5000 images is replaced by another class. Networks are trained on them and
every training row is scored: by its own influence on itself at its given label ("self-influence"),
and by the share of its ten leave-one-out exemplars that carry another label ("disagreement"). The
loss needs no attribution and is the line to beat. "logistic regression" is one linear layer, "MLP"
has 128 and 64 hidden units; both are trained for 20 epochs. Seeds draw images, errors and weights.
"""

import time

import numpy as np
import torch
from _common import DEVICE, Results, load, parse, parser
from _methods import baselines, information
from _networks import as_inputs, logistic_regression, small_mlp, train

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.datasets import flip_labels
from sklearn_provenance.evaluation import label_error_ranking, label_error_scores

MODELS = {"logistic regression": logistic_regression, "MLP": small_mlp}


def main():
    arguments = parser(__doc__, "MNIST alone, one seed")
    arguments.add_argument("--share", type=float, default=0.1)
    arguments.add_argument("--seeds", type=int, default=3)
    options = parse(arguments)
    results = Results("label_errors", ["data", "model", "method", "suspicion", "share", "seed"])
    for data in ("mnist_5000", "fashion_5000")[: 1 if options.quick else None]:
        for seed in range(1 if options.quick else options.seeds):
            images, truth, *_ = load(data, seed)
            y, flipped = flip_labels(truth, options.share, random_state=seed)
            X = as_inputs(images)
            place = X.to(DEVICE), torch.as_tensor(y, device=DEVICE)
            for model, make in MODELS.items():
                network = train(make(seed).to(DEVICE), *place, seed=seed)
                with torch.no_grad():
                    fitted = network(place[0]).argmax(1).cpu().numpy() == y
                compared = baselines(network, seed, candidates="all")
                compared |= information(network, candidates="all")
                compare(results, compared, X, y, flipped, fitted, options.share, data, model, seed)
            clf = ProvenanceClassifier(
                "single_branch", alpha=0, backbone="mlp", max_epochs=20, random_state=seed
            )
            compared = {"provenance network": clf}
            compare(
                results,
                compared,
                X.numpy(),
                y,
                flipped,
                None,
                options.share,
                data,
                "single branch, alpha = 0",
                seed,
            )


def compare(results, compared, X, y, flipped, fitted, share, data, model, seed):
    """A line for each method and kind of suspicion, and one for the loss of the model."""
    for name, method in compared.items():
        case = {"data": data, "model": model, "share": share, "seed": seed}
        kinds = {"self-influence": name, "disagreement": name, "loss": "loss"}
        if all(results.has(**case, method=m, suspicion=kind) for kind, m in kinds.items()):
            continue
        start = time.perf_counter()
        scores = label_error_scores(method.fit(X, y), X, y)
        seconds = round(time.perf_counter() - start, 1)
        if fitted is None:
            fitted = method.predict(X) == y
        ranking = label_error_ranking(scores, flipped)
        for kind, auroc, (at_10, at_20) in zip(
            ranking.methods, ranking.auroc, ranking.found, strict=True
        ):
            line = case | {"method": kinds[kind], "suspicion": kind}
            if results.has(**line):
                continue
            results.add(
                **line,
                auroc=round(auroc, 4),
                found_at_10=round(at_10, 4),
                found_at_20=round(at_20, 4),
                errors_fitted=round(float(np.mean(fitted[flipped])), 4),
                seconds=seconds,
            )


if __name__ == "__main__":
    main()
