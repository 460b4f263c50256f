"""Tables of label errors and outliers, from the CSV files that debugging.py writes."""

import pandas as pd
from _evaluation_tables import plus_minus
from _inspection_tables import short

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
    frame = frame[(frame["end"] == "high") & frame["score"].isin(scores)]
    frame = frame.assign(score=pd.Categorical(frame["score"], scores))
    groups = frame.groupby([*keys, "score", "model"], observed=True)[value]
    means, errors = groups.mean(), groups.sem()
    texts = pd.Series(plus_minus(means, errors, 3), means.index)
    table = texts.unstack()[list(frame["model"].unique())]
    return short(table.fillna("").reset_index().astype({"score": str}))


def debugging(errors, outliers):
    """Areas under the ROC curve, and the share of test images that are flagged; by name."""
    tables, later = {}, []
    first = errors["epochs"].min()
    for (epochs, share), part in errors.groupby(["epochs", "share"]):
        table = by_network(part, [], LABEL_SCORES, "auroc")
        if epochs == first:
            tables[f"debugging_label_errors_{100 * share:.0f}"] = table
        else:
            later.append(table.assign(what="wrong labels"))
    for (epochs, among), part in outliers.groupby(["epochs", "among"]):
        table = by_network(part, ["outliers"], OUTLIER_SCORES, "auroc")
        if epochs == first:
            tables[f"debugging_outliers_{among.split()[0]}"] = table
        else:
            later.append(table.rename(columns={"outliers": "what"}))
    # Beyond the 90 % quantile of the training images.
    part = outliers[outliers["among"] == "training images"]
    part = part.drop_duplicates(["model", "epochs", "score", "end", "seed"])
    tables["debugging_flagged"] = by_network(
        part[part["epochs"] == first], [], OUTLIER_SCORES, "test_flagged"
    )
    flagged = by_network(part[part["epochs"] > first], [], OUTLIER_SCORES, "test_flagged")
    later = pd.concat([*later, flagged.assign(what="flagged")])
    tables["debugging_later"] = later[["what", *later.columns.drop("what")]]
    return tables
