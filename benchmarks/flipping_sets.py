"""Whether predictions change without the sets that are predicted to change them.

Digits (10 classes) and breast cancer. Of 100 test rows, in the order of how far the predicted class
leads, every third of the first 60 is a query. The smallest set of at most a sixth of the training
rows that is predicted to change the prediction is removed, and so are 19 random sets with as many
rows of each class; models are trained again, networks from three seeds. Where no set was found the
size is 0. Margins are those of the class that the model with all rows predicts.
"""

import numpy as np
from _common import Results, parse, parser
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_provenance import InfluenceAttributor

DATA = {"breast cancer": (load_breast_cancer, 400), "digits": (load_digits, 600)}
MODELS = {
    "LogisticRegression": LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000),
    "RidgeClassifier": RidgeClassifier(alpha=10.0),
    "MLPClassifier": MLPClassifier((32,), alpha=1.0, max_iter=400, tol=1e-5, random_state=0),
}
SEEDS = {"MLPClassifier": (0, 1, 2)}


def data(loader, n_train):
    X, y = loader(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: n_train + 100]
    X, y = X[order], y[order]
    scaler = StandardScaler().fit(X[:n_train])
    return scaler.transform(X[:n_train]), y[:n_train], scaler.transform(X[n_train:])


def leads(model, X):
    """How far the predicted class leads the next one."""
    scores = (
        model.predict_proba(X) if hasattr(model, "predict_proba") else model.decision_function(X)
    )
    if scores.ndim == 1:
        return np.abs(scores)
    ordered = np.sort(scores, 1)
    return ordered[:, -1] - ordered[:, -2]


def main():
    options = parse(parser(__doc__, "breast cancer, 5 queries, 4 random sets"))
    results = Results("flipping_sets", ["data", "model", "query"])
    for kind, estimator in MODELS.items():
        for name, (loader, n_train) in DATA.items():
            if options.quick and name == "digits":
                continue
            if results.has(data=name, model=kind, query=0):
                continue
            X, y, X_test = data(loader, n_train)
            model = estimator.fit(X, y)
            order = np.argsort(leads(model, X_test), kind="stable")[:60:3]
            queries = X_test[order[:5] if options.quick else order]
            attributor = InfluenceAttributor(model).fit(X, y)
            sets = attributor.flipping_set(queries, max_rows=n_train // 6)
            n_random = 4 if options.quick else 19
            result = attributor.certify(queries, sets, seeds=SEEDS.get(kind), n_random=n_random)
            print(name, kind, result)
            found = {row["query"]: row for row in result.to_frame().to_dict("records")}
            for query in range(len(queries)):
                line = found.get(
                    query, {"query": query, "size": 0, "before": sets.margins[query, 0]}
                )
                values = {
                    column: round(float(line.get(column, np.nan)), 5)
                    for column in ("before", "predicted", "realised", "flipped", "p_value")
                }
                results.add(data=name, model=kind, query=query, size=line["size"], **values)


if __name__ == "__main__":
    main()
