"""RTE on small tab-separated files."""

import numpy as np
import pytest

from sklearn_provenance.datasets import load_rte

HEADER = "index\tsentence1\tsentence2\tlabel\n"
TRAIN = (
    HEADER
    + '0\tHe said "no.\tHe said "yes".\tnot_entailment\n'
    + '1\t"Quoted\tÜber 5" long\tentailment\n'
    + "2\tIt's a cat.\t A cat.\tentailment\n"
)
DEV = HEADER + "0\tA.\tB.\tnot_entailment\n"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "train.tsv").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "rte" / "dev.tsv").write_text(DEV, encoding="utf-8")
    return tmp_path


def test_quote_marks_are_text(home):
    bunch = load_rte(data_home=home)
    assert bunch.data.tolist() == [
        ['He said "no.', 'He said "yes".'],
        ['"Quoted', 'Über 5" long'],
        ["It's a cat.", " A cat."],
    ]
    assert bunch.data.dtype == object
    assert bunch.target.dtype == np.int64
    assert bunch.target.tolist() == [1, 0, 0]
    assert bunch.target_names.tolist() == ["entailment", "not_entailment"]
    assert "GLUE" in bunch.DESCR


def test_subsets_and_places(home, monkeypatch):
    X, y = load_rte("test", data_home=home / "rte", return_X_y=True)
    assert X.tolist() == [["A.", "B."]]
    assert y.tolist() == [1]
    monkeypatch.setenv("SKLEARN_PROVENANCE_DATA", str(home))
    assert load_rte("all").target.tolist() == [1, 0, 0, 1]
    with pytest.raises(ValueError, match="got 'dev'"):
        load_rte("dev")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tsentence1\tlabel\n0\tA.\tentailment\n", "sentence2"),
        ("", "sentence1"),
        (HEADER + "0\tA.\tB.\tentailment\n1\tA.\n", "line 3"),
        (HEADER + "0\tA.\tB.\tentailment\tmore\n", "line 2"),
        (HEADER + "0\tA.\tB.\tcontradiction\n", "contradiction"),
    ],
)
def test_a_damaged_file_is_named(home, text, message):
    path = home / "rte" / "train.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        load_rte(data_home=home)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_text_is_named(home):
    path = home / "rte" / "train.tsv"
    path.write_bytes(HEADER.encode() + b"0\t\xff\xfe\tB.\tentailment\n")
    with pytest.raises(ValueError, match=r"train\.tsv"):
        load_rte(data_home=home)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv") as caught:
        load_rte("test", data_home=tmp_path)
    assert str(tmp_path / "rte") in str(caught.value)
    # Nowhere to look is said, too; RTE is on no server that is asked.
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_rte()
