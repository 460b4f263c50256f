"""The scoreboard of the package's attributors on logistic regression and on a network.

`--store FOLDER` keeps scores as they come, so that the script may be stopped and started again.
Most of the time goes to influence, which solves the problem anew for each row that it picks;
"label_disagreement" asks it for ten picks for every training row.

"network" has 32 hidden units and is trained for 40 epochs. Two methods come from elsewhere:
"cosine, given" is a matrix of scores, that of the cosine of rows, which only the criteria that
train on the rows given can judge; "gradients of inputs" is a function of the trained network, the
inner product of the gradients of two rows' log probabilities in the inputs.
"""

from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from _methods import baselines, influence, information
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.evaluation import Recipe, scoreboard
from sklearn_provenance.tangent import measure

LOGISTIC = LogisticRegression(max_iter=500)
RECIPE = Recipe(lr=0.05, momentum=0.9, weight_decay=1e-3, batch_size=32, max_epochs=40)
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


def make_network():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, N_CLASSES))


def gradients_of_inputs(model, X, y, X_queries, y_queries):
    """Inner products (n_queries, n_rows) of gradients of log probabilities in the inputs."""
    found = []
    for rows, labels in ((X_queries, y_queries), (X, y)):
        leaf = torch.as_tensor(np.asarray(rows), dtype=torch.float32).requires_grad_()
        total = measure(model(leaf), torch.as_tensor(labels), "log_probability").sum()
        found.append(torch.autograd.grad(total, leaf)[0])
    return (found[0] @ found[1].T).numpy()


def studied(model):
    methods = influence(model) | baselines(model) | information(model, sketched=False)
    del methods["Random"]  # a baseline of the scoreboard
    # They differ from their namesakes in how rows are picked only.
    del methods["influence, additive"], methods["linear response"]
    return methods


def logistic_regression(rows):
    """Methods, what is trained, and how."""
    return studied(LOGISTIC), {"model": LOGISTIC}


def network(rows):
    """As :func:`logistic_regression`."""
    X, _, queries, _ = rows
    torch.manual_seed(0)
    module = make_network()
    methods = studied(module)
    methods["influence, softmax"] = InfluenceAttributor(module, curvature="softmax")
    methods["cosine, given"] = cosine_similarity(queries, X)
    methods["gradients of inputs"] = gradients_of_inputs
    return methods, {"model": make_network, "recipe": RECIPE}


MODELS = {"logistic_regression": logistic_regression, "network": network}


def main():
    arguments = parser(__doc__, "one seed")
    arguments.add_argument("--store", type=Path, default=None)
    arguments.add_argument("--rows", type=int, default=100)
    arguments.add_argument("--queries", type=int, default=16)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    options = parse(arguments)
    if options.quick:
        options.seeds = options.seeds[:1]
    results = Results("scoreboard", ["model", "rows", "queries", "seed", "method", "criterion"])
    rows = digits(options.rows, options.queries)
    for name in options.model:
        for seed in options.seeds:
            run = {"model": name, "rows": options.rows, "queries": options.queries, "seed": seed}
            if results.has(**run, method="similarity", criterion="stability"):
                continue
            methods, training = MODELS[name](rows)
            board = scoreboard(
                methods, *rows, **training, random_state=seed, store=options.store, verbose=True
            )
            print(board)
            frame = board.to_frame()[["method", "criterion", "score", "score_se", "n", "chance"]]
            for line in frame.round(6).to_dict("records"):
                reason = board.reasons.get((line["method"], line["criterion"]), "")
                results.add(**run, **line, reason=reason)


if __name__ == "__main__":
    main()
