"""The scoreboard of the package's attributors on logistic regression.

`--store FOLDER` keeps scores as they come, so that the script may be stopped and started again.
Most of the time goes to influence, which solves the problem anew for each row that it picks;
"label_disagreement" asks it for ten picks for every training row.
"""

from pathlib import Path

import numpy as np
from _common import Results, parse, parser
from _methods import baselines, influence, information
from sklearn.linear_model import LogisticRegression

from sklearn_provenance.datasets import load_digits
from sklearn_provenance.evaluation import scoreboard

MODEL = LogisticRegression(max_iter=500)
# Fits of more classes take longer, and brittleness needs one for each method and query.
N_CLASSES = 4


def digits(n_rows, n_queries):
    """First rows and queries of the 8x8 digits 0 to 3, flat and from 0 to 1."""
    found = []
    for part, n in (("train", n_rows), ("test", n_queries)):
        X, y = load_digits(part, return_X_y=True)
        rows = np.flatnonzero(y < N_CLASSES)[:n]
        found += [X[rows].reshape(n, -1) / 255, y[rows]]
    return found


def main():
    arguments = parser(__doc__, "one seed")
    arguments.add_argument("--store", type=Path, default=None)
    arguments.add_argument("--rows", type=int, default=100)
    arguments.add_argument("--queries", type=int, default=16)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parse(arguments)
    if options.quick:
        options.seeds = options.seeds[:1]
    results = Results("scoreboard", ["model", "rows", "queries", "seed", "method", "criterion"])
    methods = influence(MODEL) | baselines(MODEL) | information(MODEL, sketched=False)
    del methods["Random"]  # a baseline of the scoreboard
    # They differ from their namesakes in how rows are picked only.
    del methods["influence, additive"], methods["linear response"]
    for seed in options.seeds:
        run = {"model": "logistic_regression", "rows": options.rows, "queries": options.queries}
        run["seed"] = seed
        if results.has(**run, method="similarity", criterion="stability"):
            continue
        board = scoreboard(
            methods,
            *digits(options.rows, options.queries),
            model=MODEL,
            random_state=seed,
            store=options.store,
            verbose=True,
        )
        print(board)
        frame = board.to_frame()[["method", "criterion", "score", "score_se", "n", "chance"]]
        for line in frame.round(6).to_dict("records"):
            reason = board.reasons.get((line["method"], line["criterion"]), "")
            results.add(**run, **line, reason=reason)


if __name__ == "__main__":
    main()
