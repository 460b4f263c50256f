"""Tables of autoencoders that name training rows, and a picture of their training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _evaluation_tables import grouped

NAMES = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "faces": "faces"}
KEYS = ["data", "n_train", "width", "heads", "lambda_gen"]
SPLITS = {"threshold": "at 0.5", "median": "halves", "class_median": "halves of each class"}


def varying(table, *columns):
    """Without those of the columns that say the same in every line of a data set."""
    most = table.groupby("data")[list(columns)].nunique().max()
    return table.drop(columns=[name for name in columns if most[name] == 1])


def named(frame):
    """Readable names, sorted by key."""
    names = {"data": frame["data"].replace(NAMES), "heads": frame["heads"].replace("_", " ")}
    return frame.assign(**names).sort_values(KEYS, kind="stable")


def generation(frame, folder):
    """What the network does with images."""
    digits = {"index_accuracy": 3, "test_class_accuracy": 3, "index_loss": 2, "index_chance": 2}
    digits |= {"kl_loss": 1, "test_elbo": 1}
    table = grouped(named(frame), KEYS, **digits)
    names = {
        "n": "seeds",
        "index_accuracy": "index accuracy",
        "test_class_accuracy": "test accuracy",
        "index_loss": "index loss (nats)",
        "index_chance": "of guessing",
        "kl_loss": "KL (nats)",
        "test_elbo": "lower bound, test",
    }
    return varying(table, "n_train", "width", "heads", "lambda_gen", "n").rename(columns=names)


def generation_realism(frame, folder):
    """Fréchet distances of each split, a line per network, with their intervals."""
    frame = named(frame)
    lines = []
    for split, name in SPLITS.items():
        if f"{split}_high" not in frame:
            continue
        table = frame[[*KEYS, "seed"]].assign(split=name)
        table["share_high"] = frame[f"{split}_share_high"].map("{:.2f}".format)
        for group in ("high", "low", "difference"):
            table[group] = interval(frame, f"{split}_{group}", 0)
        for group in ("train", "test", "reconstruction"):
            estimates = frame[f"{split}_{group}"]
            table[group] = estimates.map("{:.1f}".format).where(estimates.notna(), "")
        lines.append(table[frame[f"{split}_high"].notna()])
    table = pd.concat(lines).sort_values([*KEYS, "seed"], kind="stable")
    names = {"difference": "low less high", "train": "training rows", "test": "held out"}
    table = table.rename(columns=names)
    return varying(table, "n_train", "width", "heads", "lambda_gen", "seed")


def generation_correlation(frame, folder):
    """Rank correlations of confidence with distance, a line per network, with their intervals."""
    frame = named(frame)
    table = frame[[*KEYS, "seed"]].copy()
    names = {"q90": "upper tenth of confidence from", "highest": "highest"}
    for name, words in names.items():
        table[words] = frame[f"confidence_{name}"].map("{:.3f}".format)
    for name in ("features", "pixels", "within_class"):
        table[name.replace("_", " ")] = interval(frame, f"spearman_{name}", 2)
    return varying(table, "n_train", "width", "heads", "lambda_gen", "seed")


def generation_curves(frame, folder):
    """Accuracies, and the loss of naming beside its bound, over epochs: means over seeds."""
    groups = named(frame).groupby([*KEYS, "epoch"], sort=False).mean(numeric_only=True)
    data = list(groups.index.get_level_values("data").unique())
    figure, axes = plt.subplots(
        2,
        len(data),
        figsize=(4 * len(data), 5.4),
        sharex="col",
        layout="constrained",
        squeeze=False,
    )
    for column, name in zip(axes.T, data, strict=True):
        curves = groups.loc[[name]].groupby(level=KEYS, sort=False)
        for i, (case, curve) in enumerate(curves):
            epochs = curve.index.get_level_values("epoch")
            label = ", ".join(
                f"{key}={value}"
                for key, value in zip(KEYS, case, strict=True)
                if frame.loc[frame["data"].replace(NAMES) == name, key].nunique() > 1
            )
            style = {"color": f"C{i}"}
            column[0].plot(epochs, curve["index_accuracy"], label=label, **style)
            column[0].plot(epochs, curve["class_accuracy"], "--", **style)
            column[1].plot(epochs, curve["class_loss"] + curve["index_loss"], **style)
            bound = np.log(case[1]) - curve["kl_loss"]
            column[1].plot(epochs, bound.clip(lower=0), ":", **style)
        column[0].set_title(name)
        if len(curves) > 1:
            column[0].legend(fontsize="x-small", frameon=False)
        column[1].set_xlabel("epoch")
    axes[0, 0].set_ylabel("accuracy: rows, classes (dashed)")
    axes[1, 0].set_ylabel("loss of naming, bound (nats)")
    figure.savefig(folder / "generation_curves.svg")
    plt.close(figure)
    last = groups.reset_index().groupby(KEYS, sort=False).tail(1)
    accuracies = {"index_accuracy": 3, "class_accuracy": 3}
    return varying(last[[*KEYS, *accuracies]].round(accuracies), "n_train", "width", "heads")


def interval(frame, name, digits):
    """Texts "estimate (lower to upper)"; empty where there is none."""
    values = frame.reindex(columns=[name, f"{name}_lower", f"{name}_upper"]).round(digits) + 0.0
    return [
        ""
        if np.isnan(value)
        else f"{value:.{digits}f}"
        + ("" if np.isnan(lower) else f" ({lower:.{digits}f} to {upper:.{digits}f})")
        for value, lower, upper in values.to_numpy()
    ]


TABLES = (generation, generation_curves)
FURTHER = (generation_realism, generation_correlation)  # of generation.csv, too
