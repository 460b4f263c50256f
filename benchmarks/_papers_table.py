"""One table of every table and figure of both papers: what they state, what was found here.

`papers.csv` has a line for each, with a verdict; `papers_figures.csv` says which figures belong to
it and where each of ours is in `results`: a file, a query for its rows, and a column. The rows of
a figure differ in nothing but what the column `over` names, such as the seed.
"""

import re
from pathlib import Path

import pandas as pd
from _evaluation_tables import plus_minus

HERE = Path(__file__).parent
VERDICTS = ("reproduced", "in part", "refuted", "not comparable", "not run", "nothing measured")


def read_lines():
    """Tables and figures of the papers, and their figures here."""
    return [
        pd.read_csv(HERE / name, dtype=str, keep_default_na=False)
        for name in ("papers.csv", "papers_figures.csv")
    ]


def find_values(figure):
    """Values of a figure, one for each seed, query or whatever it is averaged over."""
    path = HERE / "results" / figure["csv"]
    rows = pd.read_csv(path).query(figure["query"])
    over = figure["over"]
    n_values = 1
    if over:
        n_values = rows[over].nunique()
    if len(rows) == 0 or len(rows) != n_values:
        raise ValueError(
            f"{path.name} must have one row for each {over or 'figure'} where {figure['query']}; "
            f"got {len(rows)} rows for {n_values}"
        )
    values = rows[figure["value"]]
    if values.isna().any():
        raise ValueError(f"{path.name} has no {figure['value']} where {figure['query']}")
    return values


def write_value(values):
    """Mean ± standard error, without a leading zero."""
    digits = 1 if values.abs().max() > 10 else 3
    text = plus_minus([values.mean()], [values.sem()], digits)[0]
    return re.sub(r"(?<!\d)0\.", ".", text).replace(" ", "\N{NO-BREAK SPACE}")


def papers():
    """Write a line for each table or figure: its figures, sizes and verdict."""
    lines, figures = read_lines()
    figures["text"] = [
        f"| {figure['figure']}: **{write_value(find_values(figure))}** ({figure['stated']})"
        for _, figure in figures.iterrows()
    ]
    by_place = figures.groupby(["paper", "place"])["text"].agg("\n".join)
    sources = figures.groupby(["paper", "place"])["csv"].first()
    places = pd.MultiIndex.from_frame(lines[["paper", "place"]])
    files = sources.reindex(places, fill_value="")
    table = pd.DataFrame()
    table["where"] = lines["paper"] + " " + lines["place"]
    table["what"] = lines["what"]
    table["ours (the paper's)"] = by_place.reindex(places, fill_value="").to_numpy()
    table["our size"] = lines["size_ours"]
    table["the paper's size"] = lines["size_paper"]
    table["verdict"] = "**" + lines["verdict"] + "** " + lines["why"]
    table["files"] = [
        "\n".join(f"| ``{name}``" for name in pair if name)
        for pair in zip(files, lines["script"], strict=True)
    ]
    # Cells are reStructuredText, where "any@5" would be an address of mail.
    return table.map(lambda text: text.replace("@", r"\@"))
