"""How far a margin falls when 80 rows go together, for methods that name them.

Logistic regression (C = 0.1) on 2000 rows of a pair of MNIST digits, 40 principal components. Each
method names 80 rows for each of ten test images, the model is fitted again without them, and the
fall of the log odds of the predicted label is averaged. *Influence, jointly* is
``InfluenceAttributor.explain``; the others take the rows with the largest scores alone, but for
InfoLoss, which is greedy too. Seconds are those of CPU for ten images.
"""

import time

import numpy as np
from _common import Results, parse, parser
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from sklearn_provenance import InfluenceAttributor, InfoLossAttributor
from sklearn_provenance import attribution as methods
from sklearn_provenance.datasets import load_mnist

N_ROWS, N_QUERIES, K = 2000, 10, 80
PAIRS = [(3, 8), (4, 9), (3, 5), (7, 9), (2, 7)]


def data(pair, seed=0):
    X, y = load_mnist("train", return_X_y=True)
    ours = np.isin(y, pair)
    X, y = X[ours].reshape(ours.sum(), -1) / 255, (y[ours] == pair[1]).astype(int)
    order = np.random.default_rng(seed).permutation(len(y))
    train, queries = order[:N_ROWS], order[N_ROWS : N_ROWS + N_QUERIES]
    reduce = PCA(40, random_state=0).fit(X[train])
    return reduce.transform(X[train]), y[train], reduce.transform(X[queries])


def alone(attributor, X, y, Xq):
    return np.argsort(-attributor.fit(X, y).attribute(Xq), axis=1)[:, :K]


def jointly(attributor, X, y, Xq):
    return attributor.fit(X, y).explain(Xq, k=K).indices


METHODS = {
    "Influence, jointly": lambda model: (InfluenceAttributor(model), jointly),
    "Influence": lambda model: (InfluenceAttributor(model), alone),
    "last layer": lambda model: (methods.LastLayerAttributor(model, candidates="all"), alone),
    "EK-FAC": lambda model: (methods.EKFACAttributor(model, candidates="all"), alone),
    "TRAK": lambda model: (methods.TRAKAttributor(model, candidates="all"), alone),
    "InfoLoss": lambda model: (InfoLossAttributor(model), jointly),
    "Random": lambda model: (methods.RandomAttributor(model), jointly),
}


def main():
    options = parse(parser(__doc__, "one pair"))
    results = Results("joint_removal", ["pair", "method"])
    for pair in PAIRS[:1] if options.quick else PAIRS:
        X, y, Xq = data(pair)

        def train(keep, X=X, y=y):
            return LogisticRegression(C=0.1, tol=1e-9, max_iter=10**4).fit(X[keep], y[keep])

        model = train(np.arange(N_ROWS))
        sign = np.where(model.predict(Xq) == 1, 1, -1)
        before = sign * model.decision_function(Xq)
        for method, make in METHODS.items():
            run = {"pair": f"{pair[0]} or {pair[1]}", "method": method}
            if results.has(**run):
                continue
            start = time.process_time()
            attributor, pick = make(model)
            picks = pick(attributor, X, y, Xq)
            seconds = time.process_time() - start
            after = [
                sign[i] * train(np.setdiff1d(np.arange(N_ROWS), rows)).decision_function(Xq[[i]])[0]
                for i, rows in enumerate(picks)
            ]
            fall = np.mean(before - after)
            results.add(**run, rows=K, fall=f"{fall:.4f}", seconds=f"{seconds:.2f}")


if __name__ == "__main__":
    main()
