"""Tables of the documentation from the CSV files in results: mean and standard error over seeds.

`python benchmarks/summarise.py FOLDER` writes one CSV per table; the documentation calls it.
"""

import sys
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "results"

# Per file: the columns that name a line, and the columns averaged over seeds.
SEEDED = {
    "digits": (["data", "model"], ["test_accuracy", "index_accuracy", "seconds"]),
    "expected_mixing": (
        ["alpha", "mixing"],
        [
            "index_accuracy",
            "index_accuracy_resampled",
            "test_top1",
            "test_majority5",
            "test_any5",
            "test_class_mass",
        ],
    ),
    "fashion_mnist": (
        ["n_train", "epochs", "parameters"],
        ["test_accuracy", "index_accuracy", "exemplars_right", "seconds"],
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
    "explaining": ["architecture", "call", "seconds", "extra_peak_mb", "full_matrix_mb"],
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
    for name, table in tables.items():
        readable = table.rename(columns=lambda column: str(column).replace("_", " "))
        readable.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    write_tables(sys.argv[1])
