"""The command line builds, changes and asks stores as the classes do."""

import csv
import io
import json
import os

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_provenance._command_line import main
from sklearn_provenance.attribution import AttributionStore, InfoGainAttributor

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(150)
X, Y = X[ORDER], Y[ORDER]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as a job has them."""
    folder = tmp_path_factory.mktemp("files")
    model = LogisticRegression(max_iter=500).fit(X, Y)
    joblib.dump(model, folder / "model.joblib")
    torch.save(model, folder / "model.pt")
    np.save(folder / "X.npy", X[:100])
    np.save(folder / "y.npy", Y[:100])
    np.save(folder / "queries.npy", X[100:104])
    np.savez(folder / "more.npz", X=X[104:], y=Y[104:])
    frame = pd.DataFrame(X[:100], columns=list("abcd"))
    frame["kind"] = Y[:100]
    frame["name"] = [f"row {i}" for i in range(100)]
    frame.to_csv(folder / "rows.csv", index=False)
    return folder


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_job(folder, tmp_path, capsys):
    store = tmp_path / "store"
    model = ("--model", folder / "model.joblib", "--trust-model")
    rows = ("--data", folder / "X.npy", "--labels", folder / "y.npy")
    build = ("build", store, *model, *rows, "--param", "noise_variance=3*diagonal")
    for _ in range(2):  # a job that is done may be run again
        status, said, _ = run(capsys, *build, "--dtype", "float32")
        assert status == 0
        assert "n_rows          100" in said
    status, said, _ = run(capsys, "explain", store, "--data", folder / "queries.npy", "-k", 3)
    assert status == 0
    lines = list(csv.DictReader(io.StringIO(said)))
    found = InfoGainAttributor.load(store).explain(X[100:104], k=3)
    assert [int(line["row"]) for line in lines] == found.indices.ravel().tolist()
    np.testing.assert_array_equal([float(line["score"]) for line in lines], found.scores.ravel())
    assert found.scores.shape == (4, 3)

    status, _, _ = run(capsys, "append", store, "--data", folder / "more.npz")
    assert status == 0
    assert run(capsys, "drop", store, "--id", 3, "--id", 120)[0] == 0
    assert len(AttributionStore(store)) == 144
    status, said, _ = run(capsys, "inspect", store, "--verify", "--json")
    assert json.loads(said)["n_rows"] == 144
    assert json.loads(said)["params"]["noise_variance"] == "3*diagonal"
    loaded = InfoGainAttributor.load(store)
    assert json.loads(said)["noise_variance"] == loaded.noise_variance_


@pytest.mark.parametrize("suffix", ["csv", "json", "npz"])
def test_a_table_with_names(folder, tmp_path, capsys, suffix):
    store = tmp_path / "store"
    columns = ("--label-column", "kind", "--id-column", "name")
    rows = ("--data", folder / "rows.csv", *columns)
    # The model has seen an array, and is given names.
    with pytest.warns(UserWarning, match="feature names"):
        status, _, error = run(capsys, "build", store, "--model", folder / "model.pt", *rows)
    assert (status, error) == (0, "")
    output = tmp_path / f"found.{suffix}"
    with pytest.warns(UserWarning, match="feature names"):
        run(capsys, "explain", store, *rows, "-k", 1, "--output", output)
    if suffix == "csv":
        table = pd.read_csv(output).to_dict("list")
    elif suffix == "json":
        table = json.loads(output.read_text())
    else:
        table = dict(np.load(output))
    assert len(table["sample_id"]) == 100
    assert set(table["sample_id"]) <= {f"row {i}" for i in range(100)}
    assert list(table["query"][:2]) == ["row 0", "row 1"]


def test_errors_are_named(folder, tmp_path, capsys):
    store = tmp_path / "store"
    rows = ("--data", folder / "X.npy", "--labels", folder / "y.npy")
    pickled = ("--model", folder / "model.joblib")
    for arguments, message in (
        (("build", store, *pickled, *rows), "pass --trust-model"),
        (("build", store, *pickled, "--trust-model", *rows[:2]), "labels must be given"),
        (("build", store, "--model", "model.txt", *rows), "must be a .joblib, .pkl"),
        (("explain", store, *rows), "holds no attribution store"),
        (("inspect", store), "holds no attribution store"),
        (("explain", store, "--data", "X.txt"), "holds no attribution store"),
    ):
        status, _, error = run(capsys, *arguments)
        assert status == 1
        assert error.startswith("error: ")
        assert message in error
    assert not store.exists()
    with pytest.raises(SystemExit) as stop:
        main(["build"])
    assert stop.value.code == 2


def test_what_is_wrong_with_files_and_options_is_said(folder, tmp_path, capsys):
    store = tmp_path / "store"
    rows = ("--data", folder / "X.npy", "--labels", folder / "y.npy")
    build = ("build", store, "--model", folder / "model.pt")
    assert run(capsys, *build, *rows, "--n-components", 8)[0] == 0
    assert InfoGainAttributor.load(store).get_params()["features"].n_components == 8
    explain = ("explain", store, "--data", folder / "queries.npy")
    np.save(tmp_path / "ids.npy", [1, 2])
    for arguments, message in (
        (explain + ("--output", tmp_path / "found.txt"), "must end in .csv, .json or .npz"),
        (("explain", store, "--data", "X.txt"), "must be a .npy, .npz or .csv file"),
        (("append", store, "--data", folder / "more.npz", "--data-key", "Z"), "an array 'Z'"),
        (
            ("append", store, "--data", folder / "rows.csv", "--label-column", "sort"),
            "must have a column 'sort'",
        ),
        (build + (*rows[:3], "labels.txt"), "must be in .npy files; got labels.txt"),
        (build + (*rows, "--param", "noise_variance"), "must be NAME=VALUE"),
        (("drop", store), "must name rows to drop"),
        (("drop", store, "--id", "one"), "must be an integer"),
    ):
        status, _, error = run(capsys, *arguments)
        assert (status, message in error) == (1, True), (arguments, error)
    assert len(AttributionStore(store)) == 100
    assert run(capsys, "drop", store, "--ids", tmp_path / "ids.npy")[0] == 0
    assert len(AttributionStore(store)) == 98


def test_an_interrupted_command_may_be_given_again(folder, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(InfoGainAttributor, "fit", interrupted)
    rows = ("--data", folder / "X.npy", "--labels", folder / "y.npy")
    status, _, error = run(
        capsys, "build", tmp_path / "store", "--model", folder / "model.pt", *rows
    )
    assert (status, error) == (130, "interrupted; the same command goes on from here\n")


def test_no_code_of_a_model_runs_unless_it_is_trusted(folder, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    rows = ("--data", folder / "X.npy", "--labels", folder / "y.npy")
    for name, dump in (("evil.pt", torch.save), ("evil.joblib", joblib.dump)):
        dump(Evil(), tmp_path / name)
        status, _, error = run(capsys, "build", tmp_path / "s", "--model", tmp_path / name, *rows)
        assert status == 1
        assert "--trust-model" in error
    assert not (tmp_path / "was here").exists()


def test_as_a_module(template, folder, tmp_path):
    code = "import runpy; runpy.run_module('sklearn_provenance', run_name='__main__')"
    done = template.run(code, "inspect", tmp_path)
    assert done.returncode == 1
    assert "holds no attribution store" in done.stderr
