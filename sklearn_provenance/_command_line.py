"""Stores of attributions on the command line, for jobs: build, append, drop, explain, inspect."""

import argparse
import csv
import io
import json
import sys
from pathlib import Path

import numpy as np

from . import attribution
from ._utils.encoding import DTYPES
from ._utils.files import write
from .attribution import AttributionStore
from .attribution.stores._model_file import read_model
from .provenance import ProvenanceClassifier
from .tangent import TangentFeatures

_ATTRIBUTORS = {
    "infogain": attribution.InfoGainAttributor,
    "infoloss": attribution.InfoLossAttributor,
    "relatif": attribution.RelatIFAttributor,
    "repsim": attribution.RepSimAttributor,
}
_COLUMNS = ("query", "query_label", "rank", "row", "sample_id", "label", "score")
_DATA = ".npy (read as a memory map), .npz or .csv (with pandas; columns keep their names)"
_EPILOG = """\
An example, which may be run again whenever it was killed:

  python -m sklearn_provenance build store --model model.joblib --trust-model \\
      --data X.npy --labels y.npy --ids ids.npy --dtype float16
  python -m sklearn_provenance explain store --model model.joblib --trust-model \\
      --data queries.npy -k 10 --output exemplars.csv

It exits with 0 where all went well, 1 for an error, which it names, and 2 for wrong arguments.
"""


def make_parser():
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sklearn_provenance",
        description="Explain predictions by training rows whose features lie in a store.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    build = _command(commands, "build", _build, "put the features of training rows into a store")
    _add_model(build, required=True)
    _add_rows(build, "training rows", labels=True)
    build.add_argument("--attributor", choices=_ATTRIBUTORS, default="infogain")
    build.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the attributor, such as noise_variance=3*diagonal or pool_size=200",
    )
    build.add_argument(
        "--n-components",
        type=int,
        metavar="N",
        help="sketch gradients to so many numbers a row; default: whole gradients of up to 4096 "
        "weights, and a sketch to 4096 of others",
    )
    build.add_argument("--dtype", choices=("auto", *DTYPES), default="auto")
    build.add_argument("--shard-rows", type=int, metavar="N", help="default: shards of 32 MB")

    append = _command(commands, "append", _append, "add training rows to a store")
    _add_model(append)
    _add_rows(append, "training rows", labels=True)

    drop = _command(commands, "drop", _drop, "remove training rows from a store")
    drop.add_argument("--id", action="append", default=[], metavar="ID", help="may be repeated")
    drop.add_argument("--ids", metavar="FILE", help="a .npy file of identifiers")
    drop.add_argument(
        "--ignore-missing", action="store_true", help="pass over what the store does not have"
    )

    explain = _command(commands, "explain", _explain, "name the training rows behind predictions")
    _add_model(explain)
    _add_rows(explain, "queries", labels=False)
    explain.add_argument("-k", type=int, default=5, help="training rows per query (default: 5)")
    explain.add_argument(
        "--output", metavar="FILE", help=".csv, .json or .npz; default: CSV on standard output"
    )

    inspect = _command(commands, "inspect", _inspect, "say what a store holds")
    inspect.add_argument("--verify", action="store_true", help="read all files, compare checksums")
    inspect.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _command(commands, name, function, text):
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(function=function)
    command.add_argument("store", metavar="STORE", help="folder of the store")
    command.add_argument("--verbose", action="store_true", help="show progress")
    return command


def _add_model(command, required=False):
    text = "the fitted model: .joblib, .pkl, .pt, or .safetensors of a ProvenanceClassifier"
    if not required:
        text += "; default: the one in the store, if it holds one"
    command.add_argument("--model", metavar="FILE", required=required, help=text)
    command.add_argument(
        "--trust-model",
        action="store_true",
        help="allow the file of the model to run code, as pickles do when they are read",
    )


def _add_rows(command, what, labels):
    command.add_argument("--data", metavar="FILE", required=True, help=f"{what}: {_DATA}")
    command.add_argument("--data-key", default="X", metavar="KEY", help="of a .npz file")
    command.add_argument("--labels", metavar="FILE", help=".npy, one for each row")
    command.add_argument("--labels-key", default="y", metavar="KEY", help="of a .npz file")
    command.add_argument("--label-column", metavar="NAME", help="of a .csv file")
    if labels:
        command.add_argument("--ids", metavar="FILE", help=".npy, an identifier for each row")
    command.add_argument("--id-column", metavar="NAME", help="of a .csv file")


def _build(options):
    params = dict(_param(text) for text in options.param)
    if options.n_components is not None:
        params["features"] = TangentFeatures(n_components=options.n_components)
    model = _read_model(options)
    attributor = _ATTRIBUTORS[options.attributor](model, verbose=int(options.verbose), **params)
    X, y, ids = _read_rows(options)
    store = AttributionStore(
        options.store, dtype=options.dtype, shard_rows=options.shard_rows or "auto"
    )
    attributor.fit(X, _required(y), ids, store=store)
    return _inspect(options)


def _append(options):
    X, y, ids = _read_rows(options)
    _load(options).append_rows(X, _required(y), ids)
    return _inspect(options)


def _drop(options):
    store = AttributionStore(options.store)
    ids = options.id
    if ids and store.sample_id.dtype.kind == "i":
        ids = [_integer(text) for text in ids]
    if options.ids is not None:
        ids = [*ids, *_read_array(options.ids).tolist()]
    if not ids:
        raise ValueError("--id or --ids must name rows to drop")
    store.drop_rows(ids, ignore_missing=options.ignore_missing)
    return _inspect(options)


def _explain(options):
    attributor = _load(options)
    X, y, ids = _read_rows(options)
    explanation = attributor.explain(X, y, k=options.k)
    table = _table(explanation, ids)
    output = options.output
    if output is None:
        _write_csv(table, sys.stdout)
        return 0
    suffix = Path(output).suffix
    if suffix == ".npz":
        content = io.BytesIO()
        np.savez(content, **{name: np.asarray(values) for name, values in table.items()})
        write(output, content.getvalue())
        return 0
    text = io.StringIO(newline="")
    if suffix == ".json":
        json.dump({name: np.asarray(values).tolist() for name, values in table.items()}, text)
    elif suffix == ".csv":
        _write_csv(table, text)
    else:
        raise ValueError(f"--output must end in .csv, .json or .npz; got {output}")
    write(output, text.getvalue().encode())
    return 0


def _inspect(options):
    store = AttributionStore(options.store)
    if getattr(options, "verify", False):
        store.verify()
    info = store.info()
    if getattr(options, "json", False):
        print(json.dumps(info))
        return 0
    for name, value in info.items():
        print(f"{name:15} {value}")
    return 0


def _load(options):
    """Load the attributor of the store."""
    name = AttributionStore(options.store).info()["attributor"]
    model = None
    if options.model is not None:
        model = _read_model(options)
    return getattr(attribution, name).load(options.store, model, verbose=int(options.verbose))


def _read_model(options):
    """Read a fitted model, and run code of its file only where that is allowed."""
    path = Path(options.model)
    if path.suffix == ".safetensors":
        return ProvenanceClassifier.load(path)
    if path.suffix in (".pt", ".pth"):
        content = path.read_bytes()
        try:
            return read_model(content)
        except Exception:  # it holds classes that are not known to be harmless, or is no model
            _check_trusted(options)
        import torch

        model = torch.load(io.BytesIO(content), weights_only=False, map_location="cpu")
        return model
    if path.suffix not in (".joblib", ".pkl", ".pickle"):
        raise ValueError(
            f"--model must be a .joblib, .pkl, .pt or .safetensors file; got {options.model}"
        )
    _check_trusted(options)
    import joblib

    return joblib.load(path)


def _check_trusted(options):
    if not options.trust_model:
        raise ValueError(
            f"{options.model} is a pickle, which may run any code when it is read; pass "
            "--trust-model if you know who wrote it"
        )


def _read_rows(options):
    """Read rows, labels and identifiers; None where there are none."""
    path = Path(options.data)
    y = ids = None
    if path.suffix == ".csv":
        X, y, ids = _read_csv(path, options)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            X = _entry(archive, options.data_key, path)
            if options.labels_key in archive.files:
                y = archive[options.labels_key]
    elif path.suffix == ".npy":
        X = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        raise ValueError(f"--data must be a .npy, .npz or .csv file; got {options.data}")
    if options.labels is not None:
        y = _read_array(options.labels)
    if getattr(options, "ids", None) is not None:
        ids = _read_array(options.ids)
    return X, y, ids


def _read_csv(path, options):
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "a .csv file needs the package pandas: pip install sklearn-provenance[frame]"
        ) from error
    frame = pd.read_csv(path)
    parts = []
    for name in (options.label_column, options.id_column):
        part = None
        if name is not None:
            if name not in frame.columns:
                raise ValueError(f"{path} must have a column {name!r}; got {list(frame.columns)}")
            part = frame.pop(name).to_numpy()
        parts.append(part)
    return frame, *parts


def _entry(archive, key, path):
    if key not in archive.files:
        raise ValueError(f"{path} must have an array {key!r}; got {archive.files}")
    return archive[key]


def _read_array(name):
    if Path(name).suffix != ".npy":
        raise ValueError(f"labels and identifiers must be in .npy files; got {name}")
    return np.load(name, allow_pickle=False)


def _required(y):
    if y is None:
        raise ValueError("labels must be given: --labels, --label-column, or in the .npz file")
    return y


def _param(text):
    """Split NAME=VALUE; the value is JSON, or a text."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--param must be NAME=VALUE; got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _integer(text):
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--id must be an integer, as those of the store; got {text!r}") from None


def _table(explanation, ids):
    """Return a column for each name, a line for each exemplar."""
    indices = explanation.indices
    query, rank = np.nonzero(indices >= 0)
    rows = indices[query, rank]
    table = dict.fromkeys(_COLUMNS)
    table["query"] = query if ids is None else ids[query]
    table["query_label"] = explanation.query_labels[query]
    table["rank"] = rank + 1
    table["row"] = rows
    table["sample_id"] = rows
    if explanation.sample_id is not None:
        table["sample_id"] = explanation.sample_id[query, rank]
    table["label"] = explanation.exemplar_labels[query, rank]
    table["score"] = explanation.scores[query, rank]
    return {name: _plain(values) for name, values in table.items()}


def _plain(values):
    """Turn texts in an array of objects into an array of texts, which is written without pickle."""
    values = np.asarray(values)
    return values.astype(str) if values.dtype.hasobject else values


def _write_csv(table, file):
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    columns = [np.asarray(values).tolist() for values in table.values()]
    writer.writerows(zip(*columns, strict=True))


def main(arguments=None):
    """Run a command; return the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return options.function(options)
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
