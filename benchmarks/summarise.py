"""Tables of the documentation from the CSV files in results: mean and standard error over seeds.

`python benchmarks/summarise.py FOLDER` writes one CSV per table; the documentation calls it.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from _debugging_tables import debugging
from _evaluation_tables import TABLES, peers_features
from _generation_tables import FURTHER as GENERATED
from _generation_tables import TABLES as GENERATION
from _influence_tables import TABLES as INFLUENCE
from _influence_tables import influence_ridge_rules
from _inspection_tables import TABLES as INSPECTION
from _inspection_tables import architectures_normalisation, robustness
from _papers_table import papers

RESULTS = Path(__file__).parent / "results"

# Per file: the columns that name a line, and the columns averaged over seeds.
SEEDED = {
    "digits": (["data", "model"], ["test_accuracy", "index_accuracy", "seconds"]),
    "provenance_regressor": (
        ["data", "model"],
        ["r2", "r2_named", "r2_mass", "r2_embeddings", "index_accuracy"],
    ),
    "fashion_mnist": (
        ["n_train", "epochs", "parameters"],
        ["test_accuracy", "index_accuracy", "exemplars_right", "seconds"],
    ),
    "label_issues": (["data", "model", "share", "method"], ["precision", "recall", "auroc"]),
    "trees": (
        ["data", "model", "measure", "method"],
        ["leave_one_out", "removed_10", "removed_20"],
    ),
}
COPIED = {
    "training_overhead": [
        "case",
        "repeats",
        "hand_written_seconds",
        "estimator_seconds",
        "ratio",
        "ratio_lowest",
        "ratio_highest",
    ],
    "training_memory": ["case", "hand_written_peak_mb", "estimator_peak_mb"],
    "language_models": ["network", "parameters", "share", "step_seconds", "pass_seconds", "steps"],
    "rte": ["step", "rows", "queries", "cpu_seconds", "agreement", "test_accuracy"],
    "influence_cost": ["data", "step", "seconds", "cpu_seconds", "extra_peak_mb"],
    "explaining": ["architecture", "call", "seconds", "extra_peak_mb", "full_matrix_mb"],
    "stores": [
        "n_rows",
        "n_features",
        "method",
        "threads",
        "file_mb",
        "n_queries",
        "fit_cpu_seconds",
        "first_query_cpu_seconds",
        "explain_cpu_seconds",
        "explain_seconds",
        "peak_mb",
        "recall",
        "share_of_nats",
    ],
    "store_dtypes": [
        "dtype",
        "bytes_per_row",
        "picks_shared",
        "queries_with_the_same_picks",
        "same_order",
        "largest_error_of_nats",
        "fit_cpu_seconds",
        "fit_cpu_seconds_in_memory",
    ],
    "store_added": [
        "n_rows",
        "n_components",
        "fit_cpu_seconds_in_memory",
        "fit_cpu_seconds",
        "ratio",
        "ratio_lowest",
        "ratio_highest",
    ],
    "store_loss": [
        "n_rows",
        "memory_limit_mb",
        "file_mb",
        "in_double_precision_mb",
        "first_query_cpu_seconds",
        "explain_cpu_seconds",
        "peak_mb",
        "same_picks",
    ],
    "store_relatif": [
        "n_rows",
        "memory_limit_mb",
        "file_mb",
        "in_double_precision_mb",
        "first_query_cpu_seconds",
        "explain_cpu_seconds",
        "peak_mb",
        "same_picks",
    ],
    "vector_database": [
        "method",
        "build_cpu_seconds",
        "search_cpu_seconds",
        "one_query_cpu_seconds",
        "recall",
        "lowest_recall",
        "index_mb",
        "extra_peak_mb",
    ],
    "retrieval": [
        "data",
        "method",
        "setting",
        "build_seconds",
        "search_seconds",
        "one_query_seconds",
        "recall",
        "lowest_recall",
        "index_mb",
        "extra_peak_mb",
    ],
    "retraining": [
        "network",
        "dtype",
        "copies",
        "on",
        "group_size",
        "route",
        "seconds_per_copy_epoch",
        "speed_over_by_hand",
        "peak_mb",
        "largest_difference",
        "other_predictions",
    ],
    "noise_log_density": ["noise_over_scale", "log_density"],
    "retrieval_pool": [
        "noise_over_scale",
        "k",
        "pool",
        "picks_in_pool",
        "queries_with_the_same_picks",
        "share_of_nats",
        "lowest_share_of_nats",
    ],
}
STEPS = {
    "exact_same_class": "exact kernels of every class's rows, and of 100 queries with theirs",
    "exact_queries": "exact kernel of 100 queries with all rows",
    "sketch": "TensorSketch of all rows, K = 4096",
    "greedy": "exact greedy, k = 300, 100 queries, 1500 candidates each, kernels given",
    "info_gain": "InfoGainAttributor: fit and explain 100 queries, k = 50",
    "info_loss": "InfoLossAttributor: fit and explain the queries of one class, all rows, exact",
    "info_loss_sketch": "the same, K = 4096 in weight space",
}


def over_seeds(frame, keys, values):
    """One line per key with the number of seeds and mean ± standard error of each value."""
    groups = frame.groupby(keys, sort=False)
    table = groups.size().rename("seeds").to_frame()
    for value in values:
        mean, error = groups[value].mean(), groups[value].sem()
        digits = 1 if value == "seconds" else 4
        table[value] = [
            "" if pd.isna(m) else f"{m:.{digits}f}" + ("" if pd.isna(e) else f" ± {e:.{digits}f}")
            for m, e in zip(mean, error, strict=True)
        ]
    return table.reset_index()


def defaults():
    """Change of accuracy against the base, a column per data set."""
    frame = pd.read_csv(RESULTS / "defaults.csv")
    lines = {}
    for value in ("test_accuracy", "index_accuracy", "exemplars_right"):
        table = frame.pivot_table(index="change", columns="data", values=value, aggfunc="mean")
        order = ["base", *(c for c in frame["change"].unique() if c != "base")]
        data = list(frame["data"].unique())
        lines[value] = table.loc[order, data].map(lambda x: "" if pd.isna(x) else f"{x:.3f}")
    return {f"defaults_{value}": table.reset_index() for value, table in lines.items()}


def attribution():
    """Median, least and largest cost of each step over its repeats; errors of the sketches."""
    frame = pd.read_csv(RESULTS / "attribution.csv")
    groups = frame[frame["step"].isin(STEPS)].groupby("step", sort=False)
    table = groups[["seconds", "epochs"]].median()
    table["extra_peak_mb"] = groups["extra_peak_mb"].max()
    table["epochs, least to largest"] = [
        f"{group.min():.2f} to {group.max():.2f}" for _, group in groups["epochs"]
    ]
    table = table.rename(index=STEPS).reset_index()
    errors = frame.loc[frame["step"] == "sketch_error", ["error", "error_rademacher"]].head(1)
    return {"attribution": table, "sketch_error": errors}


def feature_passes():
    """Cost of each pass for features, by network."""
    frame = pd.read_csv(RESULTS / "feature_passes.csv")
    columns = ["network", "n_rows", "step", "cpu_seconds", "epochs"]
    return {"feature_passes": frame[columns]}


def noise_variance():
    """The noise variance that cross-validation picks, in units of the mean kernel diagonal."""
    frame = pd.read_csv(RESULTS / "noise_variance.csv")
    best = frame[frame["best"] == 1].copy()
    best["relative"] = best["relative"].map("{:.2g}".format)
    columns = ["data", "model", "label_noise", "noise_variance", "relative", "seconds_of_the_grid"]
    return {"noise_variance": best[columns]}


def leave_one_out():
    """Influence on every estimator, and the rank correlations of other methods."""
    frame = pd.read_csv(RESULTS / "leave_one_out.csv")
    frame = frame[frame["size"] == "full"]
    ours = frame[frame["method"] == "Influence"].set_index(["set", "estimator"])
    table = pd.DataFrame(index=ours.index)
    table["rank correlation"] = ours["spearman"].map("{:.4f}".format)
    table["slope"] = ours["slope"].map("{:.6f}".format)
    table["error of 50 rows"] = ours["set_error"].map("{:.0e}".format)
    for method in ("pyinfluence", "last layer", "EK-FAC", "TRAK"):
        others = frame[frame["method"] == method].set_index(["set", "estimator"])["spearman"]
        table[method] = others.map(lambda rank: "" if pd.isna(rank) else f"{rank:.3f}")
    return {"leave_one_out": table.reset_index()}


def joint_removal():
    """Fall of the margin, a column per pair of digits."""
    frame = pd.read_csv(RESULTS / "joint_removal.csv")
    table = frame.pivot_table(index="method", columns="pair", values="fall", sort=False)
    table["mean"] = table.mean(axis=1)
    return {"joint_removal": table.map("{:.2f}".format).reset_index()}


def exponents(curve, varied):
    """Slope of log seconds over log size between the last three points of a curve."""
    curve = curve.sort_values(varied).tail(3)
    return np.polyfit(np.log(curve[varied]), np.log(curve["seconds"]), 1)[0]


def scaling(folder):
    """A table of exponents, and a picture of the curves."""
    frame = pd.read_csv(RESULTS / "scaling.csv")
    sweeps = list(frame["varied"].unique())
    figure, axes = plt.subplots(
        1, len(sweeps), figsize=(13, 3.6), sharey=True, layout="constrained"
    )
    rows = {}
    for ax, varied in zip(axes, sweeps, strict=True):
        for method, curve in frame[frame["varied"] == varied].groupby("method"):
            slope = exponents(curve, varied)
            rows.setdefault(method, {})[varied] = f"{slope:.2f}"
            curve = curve.sort_values(varied)
            names = list(frame["method"].unique())
            ax.loglog(
                curve[varied],
                curve["seconds"],
                marker="os^vD"[names.index(method)],
                color=f"C{names.index(method)}",
                label=method,
            )
        sizes = sorted(frame.loc[frame["varied"] == varied, varied].unique())
        ax.set_xticks(sizes, sizes)
        ax.minorticks_off()
        ax.set_xlabel({"N": "candidates N", "K": "features K", "k": "picks k"}.get(varied, varied))
    axes[0].set_ylabel("seconds")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(folder / "scaling.svg")
    plt.close(figure)
    table = pd.DataFrame(rows).T[sweeps].fillna("").rename_axis("method").reset_index()
    return {"scaling": table}


def write_tables(folder):
    """Write every table for which there are results."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {}
    for name, (keys, values) in SEEDED.items():
        if (RESULTS / f"{name}.csv").exists():
            tables[name] = over_seeds(pd.read_csv(RESULTS / f"{name}.csv"), keys, values)
    for name, columns in COPIED.items():
        if (RESULTS / f"{name}.csv").exists():
            tables[name] = pd.read_csv(RESULTS / f"{name}.csv")[columns]
    if (RESULTS / "defaults.csv").exists():
        tables |= defaults()
    for table in (attribution, feature_passes, noise_variance, leave_one_out, joint_removal):
        if (RESULTS / f"{table.__name__}.csv").exists():
            tables |= table()
    for table in (*TABLES, *INSPECTION, *GENERATION, *INFLUENCE):
        path = RESULTS / f"{table.__name__}.csv"
        if path.exists():
            tables[table.__name__] = table(pd.read_csv(path), folder)
    if (RESULTS / "influence_ridge.csv").exists():
        frame = pd.read_csv(RESULTS / "influence_ridge.csv")
        tables["influence_ridge_rules"] = influence_ridge_rules(frame)
    if (RESULTS / "debugging_outliers.csv").exists():
        names = ("debugging_label_errors", "debugging_outliers")
        tables |= debugging(*(pd.read_csv(RESULTS / f"{name}.csv") for name in names))
    if (RESULTS / "architectures.csv").exists():
        frame = pd.read_csv(RESULTS / "architectures.csv")
        tables["architectures_normalisation"] = architectures_normalisation(frame)
    if (RESULTS / "robustness.csv").exists():
        tables |= robustness(pd.read_csv(RESULTS / "robustness.csv"))
    if (RESULTS / "generation.csv").exists():
        frame = pd.read_csv(RESULTS / "generation.csv")
        tables |= {table.__name__: table(frame, folder) for table in GENERATED}
    if (RESULTS / "scaling.csv").exists():
        tables |= scaling(folder)
    tables["papers"] = papers()
    features = pd.read_csv(RESULTS.parent / "peers_features.csv")
    tables["peers_features"] = peers_features(features, pd.read_csv(RESULTS / "peers.csv"))
    for name, table in tables.items():
        table = table.rename(columns={"noise_over_scale": "noise / mean diagonal"})
        # The names are reStructuredText, where "any@10" would be an address of mail.
        readable = table.rename(
            columns=lambda name: str(name).replace("_", " ").replace("@", r"\@")
        )
        readable.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    write_tables(sys.argv[1])
