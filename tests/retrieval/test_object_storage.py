"""LanceDB in object storage, on an S3 server of this machine: ``pip install "moto[server]"``.

The server brings 300 MB of packages, and is not among those of the tests.
"""

import os
import pickle
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfoGainAttributor
from sklearn_provenance.retrieval import LanceIndex
from sklearn_provenance.retrieval._base import RowIndex

from .test_changes import ROWS, agrees

pytest.importorskip("lancedb")
KEYS = {"AWS_ACCESS_KEY_ID": "the name of a key", "AWS_SECRET_ACCESS_KEY": "the secret of a key"}
COMMON = {"allow_http": "true", "region": "us-east-1", "client_max_retries": "0"}
X, Y = load_iris(return_X_y=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def keys(monkeypatch):
    """Keys in the environment, where LanceDB looks for them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def nobody():
    """Options for an address where nobody answers."""
    return COMMON | {"endpoint": f"http://127.0.0.1:{free_port()}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with a bucket that is called rows."""
    pytest.importorskip("moto")
    pytest.importorskip("flask_cors", reason="moto is installed without its server")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with open(tmp_path_factory.mktemp("server") / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(
                    urllib.request.Request(f"{address}/rows", method="PUT"), timeout=60
                ).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("kind", ["flat", "inverted_file", "quantized_inverted_file"])
def test_rows_come_and_go(kind, server, keys, tmp_path):
    options = COMMON | {"endpoint": server}
    lists = {} if kind == "flat" else {"n_lists": 4, "n_probe": 4}
    index = LanceIndex("s3://rows/a folder", kind, storage_options=options, **lists)
    agrees(index.build(ROWS[:300]), ROWS[:300])
    index.save(tmp_path / "before")
    rows = ROWS[5:300]
    agrees(index.remove(rows, np.arange(5)), rows)
    rows = ROWS[5:]
    agrees(index.add(rows), rows)
    index.save(tmp_path / "after")
    agrees(clone(index).load(tmp_path / "after", rows), rows)
    agrees(pickle.loads(pickle.dumps(index)), rows)
    before = clone(index).load(tmp_path / "before", ROWS[:300])
    agrees(before, ROWS[:300])  # the table at an earlier version
    for _ in range(2):  # as often as you like
        index.drop_table()
    for call in (
        lambda: clone(index).load(tmp_path / "after", rows),
        lambda: index.search(ROWS[:1], 2),
        lambda: index.remove(ROWS[6:], [0]),
    ):
        with pytest.raises(ValueError, match=r"'s3://rows/a folder' must hold the table 'rows-"):
            call()


def test_a_bucket_that_is_not_there(server, keys):
    index = LanceIndex("s3://no-rows/folder", storage_options=COMMON | {"endpoint": server})
    with pytest.raises(OSError, match=r"'s3://no-rows/folder' must be within.*NoSuchBucket"):
        index.build(ROWS)


def test_a_store_goes_on_when_the_database_is_back(server, nobody, keys, tmp_path, monkeypatch):
    """Endpoint and keys lie in the environment: the store has none of them, and needs none."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    builds = []
    build = RowIndex.build
    monkeypatch.setattr(RowIndex, "build", lambda *a: builds.append(a[0]) or build(*a))
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    store = tmp_path / "store"
    index = LanceIndex("s3://rows/of a store", storage_options={"client_max_retries": "0"})
    params = {"candidates": "all", "pool_size": 20, "measurement": "margin"}
    InfoGainAttributor(model, index=LanceIndex("s3://rows/of a store"), **params).fit(
        X[:120], Y[:120], store=store
    )
    attributor = InfoGainAttributor.load(store, index=index)
    whole = InfoGainAttributor(model, index="exact", **params).fit(X, Y, store=tmp_path / "exact")
    files = {path.name: path.read_bytes() for path in store.iterdir()}
    assert not any(value.encode() in part for value in KEYS.values() for part in files.values())
    assert len(builds) == 1

    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody["endpoint"])
    for call in (
        lambda: attributor.append_rows(X[120:], Y[120:]),
        lambda: attributor.drop_rows([0]),
        lambda: attributor.explain(X[:3]),
    ):
        with pytest.raises(OSError, match="'s3://rows/of a store' must be within reach"):
            call()
    assert len(attributor.training_) == 120
    manifest = (store / "manifest.json").read_bytes()
    assert manifest == files["manifest.json"]

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    attributor.append_rows(X[120:], Y[120:])
    found = InfoGainAttributor.load(store).explain(X[:5], k=3)
    np.testing.assert_array_equal(found.indices, whole.explain(X[:5], k=3).indices)
    attributor.drop_rows([found.indices[0, 0]])
    again = InfoGainAttributor.load(store).explain(X[:5], k=3)
    assert found.indices[0, 0] not in again.sample_id
    assert len(builds) == 2  # of the exact scan
    # Options might be secret, so they are given again.
    secret = InfoGainAttributor(
        model, index=LanceIndex("s3://rows/2", storage_options=COMMON), **params
    )
    secret.fit(X, Y, store=tmp_path / "secret")
    with pytest.raises(ValueError, match="index must be given to load"):
        InfoGainAttributor.load(tmp_path / "secret")
    InfoGainAttributor.load(tmp_path / "secret", index=secret.index).explain(X[:5])
    assert len(builds) == 3


# What needs no server.


def test_nobody_answers(nobody, keys, tmp_path):
    LanceIndex(tmp_path / "database").build(ROWS).save(tmp_path / "index")
    index = LanceIndex("s3://rows/folder", storage_options=nobody)
    content = (tmp_path / "index").read_text()
    content = content.replace(os.fspath(tmp_path / "database"), "s3://rows/folder")
    (tmp_path / "index").write_text(content)
    for call in (lambda: index.build(ROWS), lambda: index.load(tmp_path / "index", ROWS)):
        with pytest.raises(OSError, match=r"'s3://rows/folder' must be within.*refused"):
            call()


def test_a_version_that_was_cleaned_up(tmp_path):
    """It counts as a table that is gone: stores build the search index again."""
    from datetime import timedelta

    index = LanceIndex(tmp_path / "database").build(ROWS[:100])
    index.save(tmp_path / "index")
    index.add(ROWS)
    with pytest.warns(UserWarning, match="removes every version"):
        index._open.optimize(cleanup_older_than=timedelta(0))
    with pytest.raises(ValueError, match=r"must hold the table.*no longer exists.*Build the"):
        LanceIndex(tmp_path / "database").load(tmp_path / "index", ROWS[:100])


@pytest.mark.parametrize("uri", [Path("s3://bucket/folder"), "gs:/bucket"])
def test_an_address_that_has_lost_a_slash(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"uri must be a str with two slashes.*; got .*:/bucket"):
        LanceIndex(uri).build(ROWS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow_http": True}, "'allow_http' is of type bool"),
        ({"secret_access_key": b"secret"}, "'secret_access_key' is of type bytes$"),
        ({3: "3"}, "of 3 is of type str"),
    ],
)
def test_options_that_are_no_texts(options, message):
    with pytest.raises(TypeError, match=f"storage_options must be texts by name.*{message}"):
        LanceIndex("s3://bucket/folder", storage_options=options).build(ROWS)
