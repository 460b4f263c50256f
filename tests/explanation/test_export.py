"""Explanation.export: a folder with a table and images, as other programs read it."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread

from .test_explanation import make


def lines_of(path):
    """Lines of the table by name."""
    with open(path / "labels.csv", newline="", encoding="utf-8") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def test_every_query_and_exemplar_has_a_line(tmp_path):
    exp = make(query_id=list("abcd"))._replace(true_labels=[0, 0, 2, 0])
    exp = exp._replace(sample_id=exp.indices + 100)
    exp.export(tmp_path / "out", label_names=["ant", "bee", "cow"])
    lines = lines_of(tmp_path / "out")
    exemplars = np.unique(exp.indices[exp.indices >= 0])
    assert set(lines) == {f"query_{q}" for q in range(4)} | {f"row_{row}" for row in exemplars}
    for query in range(4):
        line = lines[f"query_{query}"]
        rows = exp.indices[query][exp.indices[query] >= 0]
        assert line["exemplars"].split() == [f"row_{row}" for row in rows]
        assert len(line["scores"].split()) == len(rows)
        assert line["own_id"] == "abcd"[query]
        assert line["label"] == ["ant", "bee", "cow"][exp.query_labels[query]]
        assert line["is_wrong"] == str(exp.query_labels[query] != [0, 0, 2, 0][query]).lower()
        assert line["kind"] == "query"
        for row in rows:
            assert f"query_{query}" in lines[f"row_{row}"]["queries"].split()
    for row in exemplars:
        line = lines[f"row_{row}"]
        assert line["own_id"] == str(row + 100)
        assert int(line["n_queries"]) == (exp.indices == row).any(axis=1).sum()
        assert line["label"] == ["ant", "bee", "cow"][row % 3]
        x, y = map(float, line["embedding"].strip("[]").split(","))
        assert np.isfinite([x, y]).all()


def test_images_are_files_at_full_size(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 200, 7), dtype=np.uint8)
    exp = make(queries=None, training_data=None, exemplar_labels=None)[:2]
    exp = exp._replace(
        indices=[[4, 1], [4, -1]], scores=[[1, 0.5], [1, np.nan]], queries=images[:2],
        training_data=images, image_shape=(200, 7),
    )  # fmt: skip
    exp.export(tmp_path / "out")
    lines = lines_of(tmp_path / "out")
    for name, image in {"query_0": images[0], "row_4": images[4], "row_1": images[1]}.items():
        path = tmp_path / "out" / "data" / lines[name]["filepath"]
        np.testing.assert_array_equal(np.round(imread(path) * 255), image)


@pytest.mark.parametrize("missing", ["queries", "training_data"])
def test_images_that_are_known_are_written(tmp_path, missing):
    exp = make(image_shape=(4, 4), query_labels=None, **{missing: None})[:2]
    exp.export(tmp_path / "out")
    lines = lines_of(tmp_path / "out")
    assert lines["query_0"]["label"] == ""
    kind = "exemplar" if missing == "queries" else "query"
    expected = {f"{name}.png" for name, line in lines.items() if line["kind"] == kind}
    assert {path.name for path in (tmp_path / "out" / "data").iterdir()} == expected


def test_texts_and_numbers_are_written(tmp_path):
    texts = np.array(["one, two\nthree", 'a "quoted" text', "=1+1"], dtype=object)
    exp = make(queries=None, training_data=None)[:1]
    exp = exp._replace(
        indices=[[1, 2]], scores=[[1, 0.5]], queries=texts[:1], training_data=texts,
        exemplar_labels=[[1.5, 2.5]], query_labels=[2.0], true_labels=[2.25], targets="numbers",
    )  # fmt: skip
    exp.export(tmp_path / "out", embedding=None)
    lines = lines_of(tmp_path / "out")
    assert lines["query_0"]["text"] == texts[0]
    assert lines["row_1"]["text"] == texts[1]
    assert (lines["query_0"]["target"], lines["query_0"]["true_target"]) == ("2.0", "2.25")
    assert lines["row_2"]["target"] == "2.5"
    assert "embedding" not in lines["row_1"]


def test_only_folders_of_its_own_are_written_over(tmp_path):
    exp = make()
    exp.export(tmp_path / "out")
    exp[:2].export(tmp_path / "out")
    assert "query_3" not in lines_of(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="make the folder"):
        exp.export(tmp_path / "none" / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="must be a new folder, an empty one or an earlier"):
        exp.export(tmp_path / "file")
    with pytest.raises(FileExistsError, match="must be a new folder"):
        exp.export(tmp_path)


def test_images_of_an_earlier_export_go_and_other_files_stay(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    exp = make(queries=None, training_data=None, exemplar_labels=None)[:2]
    exp = exp._replace(
        indices=[[4, 1], [4, 2]], scores=[[1, 0.5], [1, 0.5]], queries=images[:2],
        training_data=images, image_shape=(4, 4),
    )  # fmt: skip
    exp.export(tmp_path / "out")
    folder = tmp_path / "out" / "data"
    (folder / "row_3.png").write_text("of the user")
    (tmp_path / "out" / "row_2.png").write_text("of the user")
    exp[:1].export(tmp_path / "out")
    assert {file.name for file in folder.iterdir()} == {
        *("query_0.png", "row_4.png", "row_1.png", "row_3.png")
    }
    assert (tmp_path / "out" / "row_2.png").is_file()
    # Names that no export writes are not followed out of the folder.
    table = tmp_path / "out" / "labels.csv"
    table.write_text(table.read_text().replace("row_1.png", "../../kept.png"))
    (tmp_path / "kept.png").write_text("of the user")
    exp[:1]._replace(queries=None, training_data=None, image_shape=None).export(tmp_path / "out")
    assert {file.name for file in folder.iterdir()} == {"row_1.png", "row_3.png"}
    assert (tmp_path / "kept.png").is_file()
