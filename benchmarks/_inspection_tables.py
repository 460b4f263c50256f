"""Tables of memorisation, membership, subsets, sharing, robustness and page size."""

import re

import matplotlib.pyplot as plt
import pandas as pd
from _evaluation_tables import grouped, plus_minus

from sklearn_provenance.inspection import ConvergenceDisplay

NAMES = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "cifar10": "CIFAR-10"}
FURTHER_KEYS = ("data", "n_train", "width", "epochs", "recipe", "class_sees")
# [PN] Table 2, single branch, MNIST, 60000 images: index accuracy, top-1.
PAPER_MEMORISATION = {0.0: ("1.000", ".846"), 0.5: (".496", ".988")}
# [PN] Table 1: main branch, then top-1, 5 and 10, where any of k counts.
PAPER_SUBSETS = {
    ("Fashion-MNIST", 6000): (".867", ".591", ".872", ".936"),
    ("Fashion-MNIST", 18000): (".900", ".601", ".893", ".949"),
    ("Fashion-MNIST", 30000): (".909", ".669", ".897", ".948"),
    ("MNIST", 5996): (".983", ".683", ".926", ".966"),
    ("MNIST", 17995): (".989", ".797", ".955", ".978"),
    ("MNIST", 29997): (".990", ".699", ".921", ".960"),
}
# [PN] Table 6, Fashion-MNIST, 60000 images: parameters, shared; class, index, top-1, top-5.
PAPER_SHARING = {
    ("small", 1): ("4.0 M", "0.0 %", ".895", ".933", ".555", ".820"),
    ("small", 2): ("4.0 M", "0.3 %", ".893", ".944", ".568", ".832"),
    ("small", 3): ("4.0 M", "1.3 %", ".895", ".998", ".624", ".877"),
    ("small", 4): ("3.9 M", "10.4 %", ".887", ".826", ".521", ".787"),
    ("medium", 1): ("17.2 M", "0.0 %", ".908", ".757", ".439", ".717"),
    ("medium", 2): ("17.2 M", "0.4 %", ".906", ".977", ".595", ".850"),
    ("medium", 3): ("17.1 M", "2.1 %", ".906", ".982", ".611", ".860"),
    ("medium", 4): ("16.1 M", "18.8 %", ".893", ".950", ".565", ".827"),
}


def short(table):
    """Numbers that are texts, such as "0.604 ± 0.001", without leading zeros and in one line."""

    def shorten(value):
        if isinstance(value, str) and re.match(r"-?\d+\.\d+($| ± )", value):
            return re.sub(r"(?<!\d)0\.", ".", value).replace(
                " ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
            )
        return value

    return table.map(shorten)


def seeded(frame, *keys, **digits):
    """Means ± standard errors over seeds, a line for each key and whatever else a run varies.

    What all lines have in common is left to the text.
    """
    frame = frame.assign(data=frame["data"].replace(NAMES))
    also = [name for name in FURTHER_KEYS if name in frame and frame[name].nunique() > 1]
    keys = [*(name for name in also if name not in keys), *keys]
    table = grouped(frame, keys, **digits).rename(columns={"n": "seeds"})
    return short(table.drop(columns="seeds") if table["seeds"].nunique() == 1 else table)


def with_paper(table, lines):
    """Lines of the paper below ours; what it does not state stays empty."""
    lines = pd.DataFrame(lines, dtype=object)
    return pd.concat([table.astype(object), lines], ignore_index=True).fillna("")


def memorisation(frame, folder):
    frame = frame.sort_values(["epochs", "alpha", "mixing"], kind="stable")
    names = ["index_accuracy", "test_top1"]
    digits = dict.fromkeys([*names, "test_class_accuracy", "sampled_target_accuracy"], 3)
    table = seeded(frame, "epochs", "alpha", "mixing", **digits)
    paper = [
        {"epochs": "80, paper", "alpha": alpha, "mixing": "sampled"}
        | dict(zip(names, values, strict=True))
        for alpha, values in PAPER_MEMORISATION.items()
    ]
    return with_paper(table.drop(columns="seeds", errors="ignore"), paper)


def membership(frame, folder):
    """Areas by confidence, and those of the class branch less the plain classifier's."""
    frame = frame[frame["statistic"] == "confidence"]
    keys = ["data", "network", "n_train", "width", "epochs", "model", "seed"]
    wide = frame.pivot(index=keys, columns="branch", values=["auc", "tpr_at_1_fpr"])
    wide.columns = [f"{branch}_{value}" for value, branch in wide.columns]
    plain = wide["class_auc"].xs("plain", level="model").rename("plain")
    wide = wide.join(plain, on=plain.index.names).reset_index()
    wide["beyond_plain"] = (wide["class_auc"] - wide["plain"]).where(wide["model"] != "plain")
    order = {name: place for place, name in enumerate(frame["model"].unique())}
    wide = wide.sort_values(
        ["data", "n_train", "model"], key=lambda c: c.map(lambda v: order.get(v, v))
    )
    digits = {"index_auc": 4, "class_auc": 3, "beyond_plain": 3, "class_tpr_at_1_fpr": 3}
    names = {
        "index_auc": "AUC, index branch",
        "class_auc": "AUC, class branch",
        "beyond_plain": "less that of plain",
        "class_tpr_at_1_fpr": "found at 1 %, class branch",
    }
    wide = wide.rename(columns={"n_train": "images"})
    return (
        seeded(wide, "data", "network", "images", "model", **digits)
        .replace("nan", "")
        .rename(columns=names)
    )


def subsets(frame, folder):
    frame = frame.rename(columns={"n_indexed": "images"})
    frame = frame.assign(architecture=frame["architecture"].str.replace("_", " "))
    names = ["test_accuracy", "test_top1", "test_any@5", "test_any@10"]
    digits = dict.fromkeys([names[0], "index_accuracy", *names[1:]], 3)
    table = seeded(frame, "data", "images", "architecture", **digits)
    paper = [
        {"data": data, "images": size, "architecture": "paper"}
        | dict(zip(names, values, strict=True))
        for (data, size), values in PAPER_SUBSETS.items()
    ]
    return with_paper(table, paper).sort_values("data", kind="stable")


def sharing(frame, folder):
    names = ["parameters", "shared"]
    measures = ["test_accuracy", "index_accuracy", "test_top1", "test_any@5"]
    frame = frame.assign(
        parameters=(frame["parameters"] / 1e6).map("{:.1f} M".format),
        shared=(100 * frame["shared"]).map("{:.1f} %".format),
    )
    table = seeded(frame, "width", "level", *names, **dict.fromkeys(measures, 3))
    run = set(table["width"])
    paper = [
        {"data": NAMES["fashion"], "width": f"{width}, paper", "level": level}
        | dict(zip([*names, *measures], values, strict=True))
        for (width, level), values in PAPER_SHARING.items()
        if width in run
    ]
    return with_paper(table, paper).sort_values(["data", "width"], kind="stable")


def sharing_curves(frame, folder):
    """Accuracies over epochs, a line for each level; and when most rows are known."""
    frame = frame.assign(data=frame["data"].replace(NAMES))
    parts = list(frame.groupby(["data", "width"], sort=False))
    figure, axes = plt.subplots(
        2, len(parts), figsize=(4 * len(parts), 5.4), sharex="col", sharey="row", squeeze=False
    )
    lines = []
    for column, ((data, width), part) in zip(axes.T, parts, strict=True):
        histories = {}
        for level, runs in part.groupby("level"):
            curve = runs.groupby("epoch")[["index_accuracy", "class_accuracy"]].mean()
            histories[f"level {level}"] = curve.reset_index().to_dict("records")
            line = {"data": data, "images": runs["n_train"].iloc[0], "width": width}
            line["level"] = level
            for share in (0.5, 0.9):
                reached = curve.index[curve["index_accuracy"] >= share]
                line[f"epochs to {share}"] = reached.min() if len(reached) else "not reached"
            lines.append(line)
        ConvergenceDisplay.from_histories(histories, ax=column)
        column[0].set_title(f"{data}, {width}")
    for ax in axes.flat:
        ax.label_outer()
    for ax in axes[1, :-1]:
        ax.get_legend().remove()
    figure.tight_layout()
    figure.savefig(folder / "sharing_curves.svg")
    plt.close(figure)
    return pd.DataFrame(lines)


def architectures(frame, folder):
    """A line for each network, at the first seed; of runs of several sizes the largest is shown."""
    frame = _largest(frame)
    frame = frame[frame["seed"] == 0]
    order = list(frame["data"].unique())  # networks that were added later stand with their data
    frame = frame.sort_values("data", key=lambda data: data.map(order.index), kind="stable")
    measures = ["test_accuracy", "index", "local", "end_to_end", "top1", "majority@5"]
    digits = dict.fromkeys([*measures, "influence_last", "influence_all"], 3)
    frame = frame.assign(data=frame["data"].replace(NAMES))
    table = short(grouped(frame, ["data", "n_train", "model"], **digits).drop(columns="n"))
    return table.replace("nan", "").rename(
        columns={
            "n_train": "images",
            "test_accuracy": "class",
            "end_to_end": "end to end",
            "influence_last": "influence, last layer",
            "influence_all": "influence, all layers",
        }
    )


def architectures_normalisation(frame):
    """Class-conditional networks with and without standardised images, at the seeds of both."""
    frame = _largest(frame)
    names = {
        "two branches, class conditional": "divided by 255",
        "two branches, class conditional, standardised": "standardised",
    }
    frame = frame[frame["model"].isin(names)]
    frame = frame[frame.groupby(["data", "seed"])["model"].transform("nunique") == 2]
    frame = frame.sort_values(["data", "model"], ascending=[False, True], kind="stable")
    frame = frame.assign(images=frame["model"].map(names), data=frame["data"].replace(NAMES))
    digits = dict.fromkeys(["test_accuracy", "index"], 3)
    table = short(grouped(frame, ["data", "n_train", "images"], **digits))
    return table.rename(columns={"n": "seeds", "test_accuracy": "class"})


def _largest(frame):
    """Rows of the largest size of each data set."""
    return frame[frame["n_train"] == frame.groupby("data")["n_train"].transform("max")]


def robustness(frame):
    """Tables by name, a line for each distortion and a column for each network.

    Of runs of several sizes the largest is shown.
    """
    # The isolated CNN names no rows: its class stands for theirs.
    frame = frame.assign(top1=frame["top1"].fillna(frame["accuracy"]))
    frame["model"] = frame["model"].str.replace("single branch, ", "")
    tables = {}
    for (data, *_), part in frame.groupby(["data", "n_train", "epochs"]):
        for value in ("accuracy", "top1"):
            groups = part.groupby(["distortion", "model"])[value]
            means, errors = groups.mean(), groups.sem()
            texts = pd.Series(plus_minus(means, errors, 3), means.index).unstack()
            table = texts.loc[part["distortion"].unique(), part["model"].unique()]
            tables[f"robustness_{value}_{data}"] = short(table.reset_index())
    return tables


def page_size(frame, folder):
    frame = frame.astype({"kilobytes_embedded_anew": "Int64"})
    names = {"n_different": "different exemplars", "kilobytes": "kB"}
    names |= {"kilobytes_embedded_anew": "kB, each image embedded anew"}
    return frame[["data", "k", *names]].rename(columns=names)


def embeddings(frame, folder):
    """Means over classes and seeds."""
    names = {
        "same_in_another_network": "same in another network",
        "other_start": "other start of k-means",
        "same_in_pixels": "same in pixels",
        "exemplars_inside": "exemplars inside",
        "pairs_inside": "pairs of rows inside",
    }
    by_class = frame.groupby(["model", "n_clusters", "label"], sort=False)[list(names)].mean()
    table = grouped(by_class.reset_index(), ["model", "n_clusters"], **dict.fromkeys(names, 2))
    return table.rename(columns=names).drop(columns="n")


def index_branches(frame, folder):
    wide = frame.pivot(index=["n_rows", "architecture", "outputs"], columns="index_loss")
    table = pd.DataFrame(index=wide.index)
    measures = {"step_seconds": ("s a step", "{:.3f}"), "peak_mb": ("MB", "{:.0f}")}
    for measure, (unit, form) in measures.items():
        for loss in ("full", "sampled"):
            values = wide[measure, loss]
            table[f"{loss}, {unit}"] = values.map(form.format).where(values.notna(), "")
    table = table.reset_index().rename(columns={"n_rows": "rows"})
    return table.assign(architecture=table["architecture"].str.replace("_", " "))


def workers(frame, folder):
    """Processor seconds by number of workers, and what a network of 0.1 GB/s would add."""
    table = frame.pivot(index="work", columns="workers", values="cpu_seconds")
    table = table.loc[frame["work"].drop_duplicates()]
    table.columns = ["no workers, s", *(f"{n}, s" for n in table.columns[1:])]
    one = frame[frame["workers"] == 1].set_index("work")
    table["tasks"] = one["tasks"]
    table["MB"] = (one["sent_mb"] + one["received_mb"]).map("{:.2f}".format)
    seconds = (one["sent_mb"] + one["received_mb"]) / 100 + one["tasks"] / 1000
    table["network, s"] = seconds.map("{:.3f}".format)
    return table.reset_index()


def index_branches_naming(frame, folder):
    wide = frame.pivot(index=["n_rows", "method"], columns="n_queries").reindex(
        pd.MultiIndex.from_frame(frame[["n_rows", "method"]].drop_duplicates())
    )
    table = pd.DataFrame({"build, s": wide["build_seconds", 100].map("{:.1f}".format)})
    measures = {"seconds": ("s", "{:.2f}"), "peak_mb": ("MB", "{:.0f}")}
    for measure, (unit, form) in measures.items():
        for n_queries in (100, 1000):
            values = wide[measure, n_queries]
            column = values.map(form.format).where(values.notna(), "")
            table[f"{n_queries} queries, {unit}"] = column
    table["common"] = wide["common", 100]
    return table.reset_index().rename(columns={"n_rows": "rows"})


def index_branches_accuracy(frame, folder):
    loss = frame["index_loss"].where(frame["n_negatives"] == 0, "sampled, ")
    draws = frame["n_negatives"].replace(0, "").astype(str)
    other = frame["other_seed"].gt(0).map({True: ", other seed", False: ""})
    architecture = frame["architecture"].str.replace("_", " ")
    frame = frame.assign(architecture=architecture, index_loss=loss + draws + other)
    measures = ["index_accuracy", "class_accuracy", "exemplar_accuracy", "common"]
    digits = {**dict.fromkeys(measures, 3), "seconds": 0}
    table = grouped(frame, ["n_train", "architecture", "index_loss"], **digits)
    return table.drop(columns="n").replace("nan", "").rename(columns={"n_train": "rows"})


def index_subsets(frame, folder):
    frame = frame.assign(
        data=frame["data"].str.split("_").str[0].replace(NAMES),
        share=(100 * frame["share"]).map("{:.0f} %".format),
    )
    measures = ["class_accuracy", "first_exemplar", "any_exemplar"]
    table = grouped(frame, ["data", "n_indexed", "method"], **dict.fromkeys(measures, 3))
    return table.drop(columns="n")


TABLES = (
    memorisation,
    membership,
    subsets,
    index_branches,
    workers,
    index_branches_naming,
    index_branches_accuracy,
    index_subsets,
    sharing,
    sharing_curves,
    architectures,
    page_size,
    embeddings,
)
