"""Tables of influence on networks: ridges, certificates and costs."""

import pandas as pd

RULES = {
    "1 x": None,
    "density of labels": "log density of held-out labels",
    "density of responses": "log density of held-out responses",
    "evidence": "evidence of the responses",
    "leave-one-out": "leave-one-out error of the responses",
    "generalised cross-validation": "generalised cross-validation",
    "LDS of 8 halves": "LDS on 8 halves",
}


def influence_ridge(frame, folder):
    """What each ridge does, a line for each network and measure."""
    shown = frame[frame["what"].str.startswith("drop") | (frame["what"] == "LDS")].copy()
    shown["rows removed"] = shown["k"].where(shown["k"] > 0, "")
    table = shown.pivot_table(
        index=["data", "what", "rows removed"], columns="ridge", values="value", sort=False
    )
    table = table.map(lambda value: "" if pd.isna(value) else f"{value:.2f}")
    table.columns = [f"{ridge:g} ×" for ridge in table.columns]
    return table.reset_index()


def chosen_ridges(frame):
    """Ridge that each rule chooses for each network: (rules x networks)."""
    chosen = {}
    for rule, name in RULES.items():
        if name is None:
            chosen[rule] = dict.fromkeys(frame["data"].unique(), 1.0)
            continue
        lines = frame[frame["what"] == rule]
        best = lines.loc[lines.groupby("data")["value"].idxmax()]
        chosen[name] = dict(zip(best["data"], best["ridge"], strict=True))
    return pd.DataFrame(chosen).T


def influence_ridge_rules(frame):
    """The ridge that each rule chooses, and the mean of what is lost to the best one."""
    chosen = chosen_ridges(frame)
    table = chosen.map("{:g} ×".format)
    drops = frame[frame["what"] == "drop, greedy"].pivot_table(
        index=["data", "k"], columns="ridge", values="value"
    )
    scores = frame[frame["what"] == "LDS"].pivot_table(
        index="data", columns="ridge", values="value"
    )
    for rule, ridges in chosen.iterrows():
        shares = [drops.loc[at, ridges[at[0]]] / drops.loc[at].max() for at in drops.index]
        lost = [scores.loc[data].max() - scores.loc[data, ridges[data]] for data in scores.index]
        table.loc[rule, "share of the best drop"] = f"{sum(shares) / len(shares):.2f}"
        table.loc[rule, "LDS lost"] = f"{sum(lost) / len(lost):.3f}"
    return table.rename_axis("rule").reset_index()


def influence_certificates(frame, folder):
    """How predicted and realised falls agree."""
    columns = ["r2", "rank", "slope", "r2_scaled", "predicted", "realised", "noise", "bias"]
    table = frame[["data", "sets", "size", "falls", *columns]].copy()
    for name in columns:
        table[name] = table[name].map("{:.2f}".format)
    return table


def influence_networks(frame, folder):
    """Seconds and memory of each method."""
    names = ["method", "cpu_seconds_fit", "cpu_seconds_system", "cpu_seconds_explain"]
    return frame[[*names, "extra_peak_mb"]]


def r2_of_falls(group):
    """R² of predicted and realised falls, as text."""
    realised = group["before"] - group["realised"]
    errors = (group["predicted"] - group["realised"]) ** 2
    r2 = 1 - errors.sum() / ((realised - realised.mean()) ** 2).sum()
    return f"{r2:.2f}"


def flipping_sets(frame, folder):
    """How many sets were found, how many changed the prediction, and how large they are."""
    found = frame[frame["size"] > 0]
    keys = ["data", "model"]
    groups = found.groupby(keys, sort=False)
    table = frame.groupby(keys, sort=False).size().rename("queries").to_frame()
    table["sets found"] = groups.size()
    table["rows, median"] = groups["size"].median().map("{:g}".format)
    table["R² of falls"] = groups[["before", "predicted", "realised"]].apply(r2_of_falls)
    table["share of copies that change"] = groups["flipped"].mean().map("{:.2f}".format)
    table["largest p-value"] = groups["p_value"].max().map("{:.2f}".format)
    return table.reset_index()


TABLES = (influence_ridge, influence_certificates, influence_networks, flipping_sets)
