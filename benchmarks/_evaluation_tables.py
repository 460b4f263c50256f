"""Tables and pictures of the protocols, from the CSV files in results."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_provenance.evaluation import LinesDisplay
from sklearn_provenance.evaluation._coreset_result import coreset_lines

# [IT] section 4.2: CIFAR-10, ResNet-9, Recall@50 and MRR@100.
PAPER_BACKDOOR = {
    "Random": ".011, .045",
    "GradDot": ".010, .217",
    "RepSim": ".985, 1.000",
    "TRAK": ".009, .189",
    "EK-FAC": ".058, .504",
    "InfoLoss, NTK": "1.000, .999",
    "InfoGain, NTK": ".974, .998",
}
# 5000 MNIST images and 500 queries, with another recipe than ours.
ANCHORS = {
    "last layer": (".80 (explicit influence)", ".26 (explicit influence)"),
    "TRAK-1": (".42", ".11"),
    "TRAK-10": (".64", ".33"),
    "TRAK-50": (".68", ".45"),
}


def plus_minus(means, errors, digits):
    """Texts "mean ± error"; without the error where it is nan."""
    return [
        f"{m:.{digits}f}" + ("" if np.isnan(e) else f" ± {e:.{digits}f}")
        for m, e in zip(means, errors, strict=True)
    ]


def grouped(frame, keys, **digits):
    """Number of lines, and mean ± standard error of columns, a line for each key."""
    groups = frame.groupby(keys, sort=False)
    table = groups.size().rename("n").to_frame()
    for column, n_digits in digits.items():
        table[column] = plus_minus(groups[column].mean(), groups[column].sem(), n_digits)
    return table.reset_index()


def causal_models(frame, folder):
    """Share of prompts whose row is first, and among the first five, beside the correlations."""
    found = frame[frame["part"] == "retrieval"]
    table = pd.DataFrame(index=pd.Index(frame["method"].unique(), name="method"))
    for prompt, lines in found.groupby("prompt", sort=False):
        means = lines.groupby("method")[["top1", "top5"]].mean()
        cells = [f"{first:.2f} / {five:.2f}" for first, five in means.to_numpy()]
        table[prompt] = pd.Series(cells, index=means.index)
    scores = frame[frame["part"] == "lds"].set_index("method")
    if len(scores):
        cells = plus_minus(scores["lds"], scores["lds_se"], 2)
        table["LDS"] = pd.Series(cells, index=scores.index)
    return table.reset_index()


def brittleness_noise(frame, folder):
    table = grouped(frame, ["method", "size"], flipped=2, margin_drop=1)
    return table.rename(
        columns={"n": "queries", "flipped": "fell", "margin_drop": "margin drop (nats)"}
    )


def brittleness_record(frame, folder):
    """Drops over queries and seeds, and how far influence is ahead on the same query and seed."""
    drop = frame.pivot(index=["method", "seed", "query"], columns="size", values="margin_drop")
    fell = frame.pivot_table(index="method", columns="size", values="flipped", aggfunc="mean")
    lines = []
    for method in frame["method"].unique():
        drops = drop.loc[method]
        ahead = drop.loc["influence"] - drops  # nan where one of them has not been run
        line = {"method": method}
        for size in drop.columns:
            line[f"queries, {size}"] = drops[size].count()
        for size in drop.columns:
            line[f"fell, {size}"] = f"{fell.loc[method, size]:.2f}"
        for size in drop.columns:
            line[f"drop, {size}"] = mean_and_error(drops[size])
        for size in drop.columns:
            line[f"influence ahead, {size}"] = mean_and_error(ahead[size])
        if method == "influence":
            line |= {f"influence ahead, {size}": "" for size in drop.columns}
        lines.append(line)
    return pd.DataFrame(lines)


def mean_and_error(values, digits=2):
    """Text "mean ± standard error"."""
    return plus_minus([values.mean()], [values.sem()], digits)[0]


def brittleness_methods(frame, folder):
    """Drops at each size, and those of the same query that random rows cause taken off."""
    return compare_drops(frame, folder / "brittleness_methods.svg")


def brittleness_cifar10(frame, folder):
    """As :func:`brittleness_methods`, for ResNet-9."""
    return compare_drops(frame, folder / "brittleness_cifar10.svg")


def compare_drops(frame, path):
    names, sizes = list(frame["method"].unique()), np.sort(frame["size"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    labels = "fraction misclassified", "drop of the margin (nats)"
    for ax, value, label in zip(axes, ("flipped", "margin_drop"), labels, strict=True):
        groups = frame.groupby(["method", "size"])[value]
        means, errors = (
            values.unstack().loc[names, sizes].to_numpy()
            for values in (groups.mean(), groups.sem())
        )
        axes_labels = {"xlabel": "training rows removed", "ylabel": label, "xticks": sizes}
        display = LinesDisplay(
            sizes, means, errors, names=names, dodge=True, axes=axes_labels
        ).plot(ax)
        display.ax_.get_legend().remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path)
    plt.close(figure)
    drop = frame.pivot(index=["method", "query"], columns="size", values="margin_drop")
    beyond = drop - drop.loc["Random"].reindex(drop.index, level="query")
    fell = frame.pivot_table(index="method", columns="size", values="flipped", aggfunc="mean")
    tables = [fell.loc[names].map("{:.2f}".format).add_prefix("fell, ")]
    for kind, values in (("drop, ", drop), ("drop beyond Random, ", beyond)):
        groups = values.groupby(level="method", sort=False)
        texts = {
            f"{kind}{size}": plus_minus(groups[size].mean(), groups[size].sem(), 1)
            for size in sizes
            if kind == "drop, " or size == sizes[-1]
        }
        tables.append(pd.DataFrame(texts, index=list(groups.groups)).loc[names])
    return pd.concat(tables, axis=1).rename_axis("method").reset_index()


def backdoor(frame, folder):
    table = grouped(
        frame,
        ["data", "n_train", "network", "method"],
        recall=3,
        mrr=3,
        attack_success=3,
        clean_accuracy=3,
    ).rename(columns={"n": "seeds", "recall": "recall@50", "mrr": "MRR@100"})
    table["paper, CIFAR-10"] = table["method"].map(PAPER_BACKDOOR).fillna("")
    return table


def coreset(frame, folder):
    """Accuracy of each subset, images by images; pictures of each kind of method."""
    tables = []
    for data, lines in frame.groupby("data", sort=False):
        sizes, names = np.sort(lines["size"].unique()), list(lines["method"].unique())
        groups = lines.groupby(["balanced", "method", "size"], sort=False)["accuracy"]
        draw_coresets(sizes, names, groups, folder / f"coreset_{data}.svg")
        cells = groups.agg(["mean", "sem"]).apply(
            lambda row: plus_minus([row["mean"]], [row["sem"]], 3)[0], axis=1
        )
        table = cells.unstack().reindex(columns=sizes).reset_index()
        table.insert(0, "data", data)
        tables.append(table.sort_values("balanced", kind="stable"))
    return pd.concat(tables).fillna("")


def coreset_groups(names):
    """Kinds of methods with the names of each; random rows are drawn beside all of them."""
    groups = {}
    for name in sorted(names):
        kind = "rankings of single rows"
        if name.startswith(("InfoGain", "linear response")):
            kind = "information gain"
        elif name.startswith("InfoLoss"):
            kind = "information loss"
        groups.setdefault(kind, []).append(name)
    groups["rankings of single rows"].remove("Random")
    return groups


def draw_coresets(sizes, names, groups, path):
    """A column for each kind of method, as selected above balanced classes; random is grey."""
    kinds = dict(sorted(coreset_groups(names).items()))
    size = {"figsize": (11.5, 8), "sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(2, len(kinds), **size)
    for line, (balanced, title) in enumerate(
        {False: "as selected", True: "balanced classes"}.items()
    ):
        means, errors = (
            values.loc[balanced].unstack()[sizes] for values in (groups.mean(), groups.sem())
        )
        for ax, (kind, members) in zip(axes[line], kinds.items(), strict=True):
            mean, error = (values.loc["Random"] for values in (means, errors))
            ends = mean - error.fillna(0), mean + error.fillna(0)
            ax.fill_between(sizes, *ends, color="0.85", linewidth=0)
            ax.plot(sizes, mean, color="0.5", linewidth=3, label="random rows, ± standard error")
            of_kind = (values.loc[members].to_numpy()[:, None] for values in (means, errors))
            coreset_lines(sizes, *of_kind, members, [False]).plot(ax)
            ax.set_title(f"{kind}, {title}", fontsize="medium")
            ax.label_outer()
            ax.get_legend().remove()
    for ax in axes[1]:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
        ax.legend(frameon=False, fontsize="small", **place)
    figure.savefig(path)
    plt.close(figure)


def mixed_precision(frame, folder):
    keys = ["precision", "channels"]
    table = grouped(frame, keys, cpu_seconds=1, test_accuracy=3)
    fastest = frame.groupby(keys, sort=False)["cpu_seconds"].mean()
    table["times faster"] = (fastest.max() / fastest).map("{:.1f}".format).to_numpy()
    return table.rename(columns={"n": "seeds", "cpu_seconds": "CPU seconds"})


def pass_variants(frame, folder):
    names = {"n_train": "rows", "cpu_seconds": "CPU seconds", "kernel_error": "error of the kernel"}
    names |= {"picks_shared": "picks shared", "seconds_to_compile": "seconds to compile"}
    columns = ["network", "n_train", "variant", "cpu_seconds", "ratio"]
    columns += ["kernel_error", "picks_shared", "seconds_to_compile"]
    return frame[columns].astype(object).rename(columns=names).fillna("")


def hot_paths(frame, folder):
    """Shares of kinds of operations by path, in per cent; those of 3 % and more."""
    totals = frame[frame["kind"] == "all"].set_index("path")["cpu_seconds"]
    parts = frame[frame["kind"].ne("all") & frame["share"].ge(0.03)]
    shares = parts.pivot(index="path", columns="kind", values="share").loc[totals.index]
    kinds = shares.sum().sort_values(ascending=False).index
    table = (100 * shares[kinds]).map(lambda share: "" if pd.isna(share) else f"{share:.0f} %")
    table.insert(0, "CPU seconds", totals)
    return table.reset_index()


def label_errors(frame, folder):
    frame = frame.assign(case=frame["data"].str.split("_").str[0] + ", " + frame["model"])
    table = grouped(frame, ["case", "method", "suspicion"], auroc=3, found_at_10=2, found_at_20=2)
    names = {"n": "seeds", "found_at_10": "found@10%", "found_at_20": "found@20%"}
    return table.rename(columns=names)


def relative_information(frame, folder):
    frame = frame[frame["n_train"] == frame["n_train"].max()]
    frame = frame.assign(text=plus_minus(frame["relative_information"], frame["standard_error"], 3))
    keys = ["noise_variance", "noise_over_scale", "method"]
    return frame.pivot(index=keys, columns="size", values="text").reset_index()


def datamodeling_mnist(frame, folder):
    frame = frame[frame["n_queries"] == frame["n_queries"].max()]
    most = frame["n_masks"].max()
    fewer = frame["model"] + ", " + frame["n_masks"].astype(str) + " halves"
    frame = frame.assign(
        lds=plus_minus(frame["lds"], frame["standard_error"], 3),
        model=frame["model"].where(frame["n_masks"] == most, fewer),
    )
    models = list(frame["model"].unique())
    table = frame.pivot(index="method", columns="model", values="lds")
    table = table.loc[list(dict.fromkeys(frame["method"])), models].fillna("").reset_index()
    anchors = table["method"].str.split(",").str[0].map(ANCHORS)
    for place, model in enumerate(models[:2]):  # the third is the second again
        table[f"elsewhere, {model}"] = [
            pair[place] if isinstance(pair, tuple) else "" for pair in anchors
        ]
    return table


def rte_retraining(frame, folder):
    """Datamodeling scores, and drops where rows were removed."""
    lds = frame[frame["study"] == "lds"].set_index("method")
    scores = pd.Series(plus_minus(lds["lds"], lds["standard_error"], 3), lds.index)
    methods = pd.Index(frame["method"].unique(), name="method")
    table = pd.DataFrame({"LDS": scores.reindex(methods)})
    brittleness = frame[frame["study"] == "brittleness"]
    for size, of_size in brittleness.groupby("size"):
        of_methods = of_size.groupby("method")
        drops = of_methods["margin_drop"].agg(["mean", "sem"])
        cells = plus_minus(drops["mean"], drops["sem"], 2)
        table[f"drop without {size:g}"] = pd.Series(cells, drops.index)
        table[f"flipped without {size:g}"] = of_methods["flipped"].mean().map("{:.1f}".format)
    return table.fillna("").reset_index()


def linear_datamodeling(frame, folder):
    frame = frame.assign(
        lds=plus_minus(frame["lds"], frame["standard_error"], 3),
        case=frame["data"] + ", " + frame["model"],
    )
    wide = frame.pivot(index="method", columns="case", values="lds").fillna("")
    return wide.loc[list(frame["method"].unique()), list(frame["case"].unique())].reset_index()


def regression_protocols(frame, folder):
    """A column for each measure, a line for each estimator and method."""
    text = plus_minus(frame["value"], frame["standard_error"], 2)
    keys = ["data", "model", "method"]
    table = frame.assign(text=text).pivot(index=keys, columns="measure", values="text")
    lines = pd.MultiIndex.from_frame(frame[keys].drop_duplicates())
    measures = ["moved@20", "dropped@20", "lds", "found"]
    return table.loc[lines, measures].fillna("").reset_index()


def scoreboard(frame, folder):
    """Mean score over seeds of each method and criterion, and what chance reaches."""
    tables = []
    for model, lines in frame.groupby("model", sort=False):
        scores = lines.pivot_table("score", "method", columns="criterion", sort=False)
        scores.loc["(chance)"] = lines.groupby("criterion")["chance"].mean()
        scores.insert(0, "model", model.replace("_", " "))
        tables.append(scores.reset_index())
    table = pd.concat(tables).set_index(["model", "method"])
    table.columns = [name.replace("_", " ") for name in table.columns]
    return table.map("{:.2f}".format).replace("nan", "").reset_index()


def peers(frame, folder):
    """Time, memory, statements and the check of each method, those of this package first."""
    return pd.DataFrame(
        {
            "method": frame["method"],
            "package": frame["package"] + " " + frame["version"],
            "seconds": frame["seconds"].map("{:.1f}".format),
            "epochs": frame["epochs"].map("{:.1f}".format),
            "beyond the network (MB)": frame["extra_peak_mb"],
            "statements": frame["statements"],
            "same class": frame["same_class"].map("{:.2f}".format),
            "kernel error": frame["kernel_error"].map("{:.3f}".format, na_action="ignore"),
        }
    )


def peers_features(frame, measured):
    """What each package offers, and the statements and seconds measured for its methods."""
    frame = frame.set_index("feature")
    shortest = measured.groupby("package")["statements"].agg(["min", "max"])
    fastest = measured.groupby("package")["seconds"].agg(["min", "max"]).map("{:.1f}".format)
    names = {"statements to the ten best rows": shortest, "seconds for it": fastest}
    for name, range_ in names.items():
        frame.loc[name] = "not measured"
        for package, (least, most) in range_.iterrows():
            frame.loc[name, package] = f"{least}" if least == most else f"{least} to {most}"
    return frame.reset_index()


TABLES = (
    scoreboard,
    peers,
    causal_models,
    brittleness_noise,
    brittleness_methods,
    brittleness_cifar10,
    brittleness_record,
    backdoor,
    coreset,
    mixed_precision,
    pass_variants,
    hot_paths,
    label_errors,
    relative_information,
    datamodeling_mnist,
    rte_retraining,
    linear_datamodeling,
    regression_protocols,
)
