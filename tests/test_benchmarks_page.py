"""What the page of benchmarks says stands in a file of results, and no file is left out."""

import importlib
import math
import re
import sys
from pathlib import Path

import pytest

import sklearn_provenance

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
docutils = pytest.importorskip("docutils.core")

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
NUMBERED = {
    ("[IT]", "Figure"): 9,
    ("[IT]", "Table"): 1,
    ("[PN]", "Figure"): 28,
    ("[PN]", "Table"): 7,
}
COMPARED = ("reproduced", "in part", "refuted", "not comparable")
# Results that no page shows.
NOT_SHOWN = {
    "hops": "how many files a reader goes through who follows a call: for developers",
}


def import_benchmark(name):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def table():
    """The module that makes the table of the papers."""
    return import_benchmark("_papers_table")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with all tables."""
    folder = tmp_path_factory.mktemp("tables")
    import_benchmark("summarise").write_tables(folder)
    return folder


@pytest.fixture(scope="module")
def record(table):
    return table.read_lines()


def texts():
    """Pages, guides and README, whose words may name a file."""
    pages = [*(ROOT / "doc").rglob("*.rst"), *ROOT.glob("*.rst"), *ROOT.glob("examples/**/*.py")]
    made = ("auto_examples", "_build", "generated")
    return {
        page.relative_to(ROOT): page.read_text(encoding="utf-8")
        for page in pages
        if not set(made) & set(page.parts)
    }


def numbers(place):
    """Numbers of a place such as "Figures 4, 14 and 15" or "Figures 7 to 9"."""
    first = re.match(r"(Figure|Table)s? ([\d, andto]+\d|\d+)", place)
    if first is None:
        return None, []
    words = re.findall(r"\d+", first[2])
    if " to " in first[2]:
        return first[1], list(range(int(words[0]), int(words[1]) + 1))
    return first[1], [int(word) for word in words]


def test_every_table_and_figure_of_the_papers_has_a_line(record):
    lines, _ = record
    found = {key: set() for key in NUMBERED}
    for paper, place in zip(lines["paper"], lines["place"], strict=True):
        kind, several = numbers(place)
        if kind is not None:
            found[paper, kind].update(several)
    assert found == {key: set(range(1, most + 1)) for key, most in NUMBERED.items()}


def test_lines_have_a_verdict_and_what_it_rests_on(table, record):
    lines, figures = record
    places = list(zip(lines["paper"], lines["place"], strict=True))
    assert len(set(places)) == len(places)
    with_figures = set(zip(figures["paper"], figures["place"], strict=True))
    assert with_figures <= set(places)
    for place, (_, line) in zip(places, lines.iterrows(), strict=True):
        verdict = line["verdict"]
        assert verdict in table.VERDICTS, place
        assert (place in with_figures) == (verdict in COMPARED), place
        assert bool(line["size_ours"]) == (verdict in COMPARED), place
        if verdict in COMPARED:
            assert line["script"], place
            assert line["size_paper"], place
        if verdict != "nothing measured":
            assert line["why"], place
        if line["script"]:
            assert (BENCHMARKS / line["script"]).is_file(), place


def test_every_figure_is_in_its_file(table, record):
    _, figures = record
    for _, figure in figures.iterrows():
        assert len(table.find_values(figure)) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"csv": "nowhere.csv"}, "nowhere.csv"),
        ({"query": "method == 'Nobody'"}, "got 0 rows"),
        ({"query": "method == 'RepSim'", "over": ""}, "one row for each figure"),
        ({"value": "nothing"}, "nothing"),
        ({"query": "nothing == 1"}, "nothing"),
    ],
)
def test_a_figure_that_is_not_there_is_an_error(table, change, message):
    figure = {"csv": "backdoor.csv", "query": "network == 'MLP' and method == 'RepSim'"}
    figure |= {"over": "seed", "value": "recall"}
    assert len(table.find_values(figure)) == 2
    with pytest.raises(Exception, match=message):
        table.find_values(figure | change)


def test_values_are_means_with_errors(table):
    import pandas as pd

    values = pd.Series([0.2, 0.4])
    assert table.write_value(values).replace("\N{NO-BREAK SPACE}", " ") == ".300 ± .100"
    assert table.write_value(pd.Series([-0.62])) == "-.620"
    assert table.write_value(pd.Series([249.94])) == "249.9"


def test_the_table_is_restructuredtext(table):
    page = table.papers()
    cells = [cell for _, line in page.iterrows() for cell in line]
    text = "\n\nnext\n\n".join(cell for cell in cells if cell)
    settings = {"report_level": 1, "halt_level": 1}  # the least remark is an error
    doctree = docutils.publish_doctree(text, settings_overrides=settings)
    assert not list(doctree.findall(lambda node: node.tagname in ("reference", "problematic")))


def test_packages_are_compared_at_the_versions_that_were_measured():
    import pandas as pd

    features = pd.read_csv(BENCHMARKS / "peers_features.csv").set_index("feature")
    measured = pd.read_csv(BENCHMARKS / "results" / "peers.csv", dtype=str)
    versions = features.loc["version"].to_dict()
    assert versions["sklearn-provenance"] == sklearn_provenance.__version__
    assert (
        dict(zip(measured["package"], measured["version"], strict=True)).items() <= versions.items()
    )
    assert not features.isna().any(axis=None)


# Pages whose decimals are looked up, in the tables of the section and in prose_figures.csv.
LOOKED_UP = ("benchmarks", "user_guide/debugging", "user_guide/which_method")
DECIMAL = re.compile(r"(?<![\w.])-?\d*\.\d+(?![\w.]*\d)")
SECTION = re.compile(r"\n(?=[^\n]+\n[-=~]{4,}\n)")
NOT_PROSE = re.compile(
    r"^\.\. .*\n(?:   .*\n|\n(?=   ))*|``[^`]*``|`[^`]*`|^>>> .*\n(?:.+\n)*", re.M
)


def prose_figures():
    import pandas as pd

    return pd.read_csv(BENCHMARKS / "prose_figures.csv", dtype=str).fillna("")


def is_rounded(figure, value):
    """Whether a value has been rounded to the decimals of a figure, whatever its sign."""
    half = 0.5 * 10.0 ** -len(figure.split(".")[1])
    return abs(abs(value) - abs(float(figure))) <= half + 1e-9


def test_figures_of_prose_follow_from_results():
    import pandas as pd

    for _, line in prose_figures().iterrows():
        assert bool(line["expression"]) != bool(line["why"]), line["figure"]
        if line["why"]:
            continue
        d = pd.read_csv(BENCHMARKS / "results" / f"{line['csv']}.csv") if line["csv"] else None
        names = {
            "d": d,
            "math": math,
            "of": lambda query, value, d=d: d.query(query)[value].mean(),
            "wide": lambda by, value, d=d: d.pivot_table(value, ["data", "share"], by),
        }
        value = eval(line["expression"], names)
        assert is_rounded(line["figure"], value), f"{line['figure']}, but {value}: {dict(line)}"


@pytest.mark.thorough  # makes all tables
@pytest.mark.parametrize("page", LOOKED_UP)
def test_figures_of_prose_are_in_tables(page, tables):
    text = (ROOT / "doc" / f"{page}.rst").read_text(encoding="utf-8")
    further = set(prose_figures().query("page == @page")["figure"])
    missing = []
    for section in SECTION.split(text):
        cells = []
        for name in re.findall(r"_tables/(\w+)\.csv", section):
            cells += re.findall(r"\d*\.?\d+(?:e-?\d+)?", (tables / f"{name}.csv").read_text())
        for figure in DECIMAL.findall(NOT_PROSE.sub("", section)):
            if not any(is_rounded(figure, float(cell)) for cell in cells):
                missing.append(figure)
    assert set(missing) <= further
    assert further <= set(DECIMAL.findall(text))  # the page still has them


def shows(table, result, results):
    """Whether a table is made of a result: it has its name, or a longer one that is no result."""
    return table == result or (table.startswith(f"{result}_") and table not in results)


def test_every_result_is_shown_or_named():
    pages = "\n".join(texts().values())
    tables = set(re.findall(r"_tables/(\w+)\.(?:csv|svg)", pages))
    results = {path.stem for path in (BENCHMARKS / "results").glob("*.csv")}
    named = set(re.findall(r"``(?:benchmarks/results/)?(\w+)\.csv``", pages))
    left_out = {
        result
        for result in results - named
        if not any(shows(table, result, results) for table in tables)
    }
    assert left_out == NOT_SHOWN.keys()


def test_scripts_that_pages_name_exist():
    for page, text in texts().items():
        for script in re.findall(r"benchmarks/(\w+\.(?:py|csv))", text):
            assert (BENCHMARKS / script).is_file(), f"{page} names benchmarks/{script}"
        for script in re.findall(r"benchmarks/results/(\w+\.csv)", text):
            assert (BENCHMARKS / "results" / script).is_file(), page
