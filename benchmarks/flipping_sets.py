"""Whether predictions change without the sets that are predicted to change them.

Digits (10 classes) and breast cancer. Of 100 test rows, in the order of how far the predicted class
leads, every third of the first 60 is a query. The smallest set of at most a sixth of the training
rows that is predicted to change the prediction is removed, and so are 19 random sets with as many
rows of each class; models are trained again, networks from three seeds. Where no set was found the
size is 0. Margins are those of the class that the model with all rows predicts.

"network" has 32 hidden units and is trained for 30 epochs with a weight decay of 0.001;
InfluenceAttributor has its defaults. "network, own weights" is the same network with
curvature="row", and λ is 10 n times the weight decay.
"""

from functools import partial

import numpy as np
import torch
from _common import Results, parse, parser
from _networks import train
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance.evaluation import Recipe

DATA = {"breast cancer": (load_breast_cancer, 400), "digits": (load_digits, 600)}
MODELS = {
    "LogisticRegression": LogisticRegression(C=0.1, tol=1e-8, max_iter=10_000),
    "RidgeClassifier": RidgeClassifier(alpha=10.0),
}
RECIPE = Recipe(lr=0.05, momentum=0.9, weight_decay=1e-3, batch_size=64, max_epochs=30)
OWN_WEIGHTS = "network, own weights"
SEEDS = (0, 1, 2)


def data(loader, n_train):
    X, y = loader(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[: n_train + 100]
    X, y = X[order], y[order]
    scaler = StandardScaler().fit(X[:n_train])
    return scaler.transform(X[:n_train]), y[:n_train], scaler.transform(X[n_train:])


def make_network(n_in, n_classes):
    return nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, n_classes))


def of_estimator(estimator, X, y, X_test):
    """An attributor, how far the predicted class leads, and what ``certify`` needs."""
    model = estimator.fit(X, y)
    if hasattr(model, "predict_proba"):
        scores = model.predict_proba(X_test)
    else:
        scores = model.decision_function(X_test)
    if scores.ndim == 1:
        leads = np.abs(scores)
    else:
        leads = -np.diff(np.sort(scores, 1)[:, ::-1][:, :2])[:, 0]
    return InfluenceAttributor(model).fit(X, y), leads, {}


def of_network(name, X, y, X_test):
    """The same of a network; rows are in single precision."""
    make = partial(make_network, X.shape[1], y.max() + 1)
    torch.manual_seed(SEEDS[0])
    network = train(make(), X, torch.as_tensor(y), RECIPE, SEEDS[0])
    attributor = InfluenceAttributor(network)
    if name == OWN_WEIGHTS:
        attributor.set_params(curvature="row")
        scale = attributor.fit(X, y).ridge_[0]
        attributor.set_params(ridge=10 * len(y) * RECIPE.weight_decay / scale)
    with torch.no_grad():
        ordered = network(X_test).softmax(1).sort(1, descending=True).values.numpy()
    leads = ordered[:, 0] - ordered[:, 1]
    return attributor.fit(X, y), leads, {"model": make, "recipe": RECIPE, "seeds": SEEDS}


def main():
    options = parse(parser(__doc__, "breast cancer, 5 queries, 4 random sets"))
    results = Results("flipping_sets", ["data", "model", "query"])
    for kind in (*MODELS, "network", OWN_WEIGHTS):
        for name, (loader, n_train) in DATA.items():
            if options.quick and name == "digits":
                continue
            if results.has(data=name, model=kind, query=0):
                continue
            X, y, X_test = data(loader, n_train)
            if kind in MODELS:
                found = of_estimator(MODELS[kind], X, y, X_test)
            else:
                X, X_test = (torch.as_tensor(rows).float() for rows in (X, X_test))
                found = of_network(kind, X, y, X_test)
            attributor, leads, training = found
            order = np.argsort(leads, kind="stable")[:60:3]
            if options.quick:
                order = order[:5]
            queries = X_test[order]
            sets = attributor.flipping_set(queries, max_rows=n_train // 6)
            n_random = 4 if options.quick else 19
            result = attributor.certify(queries, sets, n_random=n_random, **training)
            print(name, kind, result)
            certified = {row["query"]: row for row in result.to_frame().to_dict("records")}
            for query in range(len(queries)):
                nothing = {"size": 0, "before": sets.margins[query, 0]}
                line = certified.get(query, nothing)
                values = {
                    column: round(float(line.get(column, np.nan)), 5)
                    for column in ("before", "predicted", "realised", "flipped", "p_value")
                }
                results.add(data=name, model=kind, query=query, size=line["size"], **values)


if __name__ == "__main__":
    main()
