"""Tables of label errors and outliers, from the CSV files that debugging.py writes."""

import pandas as pd

# Entropies at their high end alone: the low end has one minus the area.
LABEL_SCORES = [
    *("loss", "disagreement", "distance", "entropy", "confidence", "entropy, all indices"),
    "own index",
    "cleanlab normalized_margin, own probabilities",
    "cleanlab self_confidence, cross-validated",
    "cleanlab normalized_margin, cross-validated",
]
OUTLIER_SCORES = [
    *("distance", "entropy", "confidence", "disagreement", "entropy, all indices"),
    *("class confidence", "distance in pixels"),
]


def by_network(frame, keys, scores, value):
    """Mean ± standard error over seeds: a line for each key and score, a column per network."""
    frame = frame[(frame["end"] == "high") & frame["score"].isin(scores)].copy()
    frame["network"] = frame["model"] + ", " + frame["epochs"].astype(str) + " epochs"
    networks = list(frame.sort_values("epochs", kind="stable")["network"].unique())
    frame["score"] = pd.Categorical(frame["score"], scores)
    groups = frame.groupby([*keys, "score", "network"], observed=True)[value]
    means, errors = groups.mean(), groups.sem()
    texts = means.map("{:.3f}".format) + errors.map(
        lambda error: "" if pd.isna(error) else f" ± {error:.3f}"
    )
    return texts.unstack()[networks].fillna("").reset_index().astype({"score": str})


def debugging_label_errors(frame, folder):
    """Areas under the ROC curve by share of wrong labels and score."""
    table = by_network(frame, ["share"], LABEL_SCORES, "auroc")
    return table.rename(columns={"share": "wrong labels"})


def debugging_outliers(frame, folder):
    """Areas under the ROC curve by kind of outlier and score."""
    return by_network(frame, ["among", "outliers"], OUTLIER_SCORES, "auroc")


def debugging_flagged(frame, folder):
    """Share of test images beyond the 90 % quantile of the training images, by score."""
    frame = frame[frame["among"] == "training images"].drop_duplicates(
        ["model", "epochs", "score", "end", "seed"]
    )
    return by_network(frame, [], OUTLIER_SCORES, "test_flagged")
