"""Scores of single rows beside what training again without the row changes.

For eight sets and every estimator that InfluenceAttributor takes and a minute can refit: the
estimator is cloned and fitted again without each of some training rows, and the change of the
queries' margins is compared with the scores of InfluenceAttributor, of pyinfluence 0.5.0 where it
takes the model, and of the package's attributors of one checkpoint. Rank correlations are means
over queries; the slope is that of the truth over the scores; ``error`` is the root mean square
error relative to that of a score of 0. Without 50 rows at a time, ``set_error`` is the mean
absolute error of ``predict_without``, relative to the mean absolute change, in margins; for other
methods, of the sum of scores. What is below 1e-6 of the largest change counts as 0.
"""

import time
import warnings
from functools import partial

import numpy as np
from _common import Results, parse, parser, standardise
from scipy.special import log_expit, logsumexp
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC, LinearSVR

from sklearn_provenance import InfluenceAttributor
from sklearn_provenance import attribution as methods
from sklearn_provenance.datasets import load_rte

SIZES = {"full": (400, 60, 100), "quick": (200, 20, 40)}  # training rows, queries, rows left out
N_SETS, SET_SIZE = 5, 50


def split(X, y, n_train, n_queries, seed):
    order = np.random.default_rng(seed).permutation(len(y))
    n_train = min(n_train, len(y) - n_queries)
    train, queries = order[:n_train], order[n_train : n_train + n_queries]
    return X[train], y[train], X[queries], y[queries]


def table(loader, n_train, n_queries, seed):
    X, y, Xq, yq = split(*loader(), n_train, n_queries, seed)
    X, Xq = standardise(X, Xq)
    return np.nan_to_num(X), y, np.nan_to_num(Xq), yq


def wine():
    return load_wine(return_X_y=True)


def threes_and_eights():
    X, y = load_digits(return_X_y=True)
    ours = np.isin(y, [3, 8])
    return X[ours], (y[ours] == 8).astype(int)


def eights():
    """One class in ten."""
    X, y = load_digits(return_X_y=True)
    return X, (y == 8).astype(int)


def visits():
    """Numbers of outpatient visits of the RAND health insurance experiment."""
    from statsmodels.datasets import randhie

    frame = randhie.load_pandas().data
    return frame.drop(columns="mdvis").to_numpy(), frame["mdvis"].to_numpy()


def texts(n_train, n_queries, seed):
    data = load_rte("train")
    joined = np.array([" ".join(pair) for pair in data.data], dtype=object)
    X, y, Xq, yq = split(joined, data.target, n_train, n_queries, seed)
    vectors = TfidfVectorizer(min_df=2).fit(X)
    return vectors.transform(X), y, vectors.transform(Xq), yq


SETS = {
    "breast cancer": partial(table, partial(load_breast_cancer, return_X_y=True)),
    "wine": partial(table, wine),
    "digits 3 or 8": partial(table, threes_and_eights),
    "digits": partial(table, partial(load_digits, return_X_y=True)),
    "diabetes": partial(table, partial(load_diabetes, return_X_y=True)),
    "health visits": partial(table, visits),
    "RTE texts": texts,
    "digits 8 or not": partial(table, eights),
}
NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 1000}
LBFGS = {"tol": 1e-10, "max_iter": 10**5}
LIBLINEAR = {"tol": 1e-9, "max_iter": 10**6, "dual": False}
COORDINATES = {"tol": 1e-12, "max_iter": 10**6}
CLASSIFIERS = {
    "LogisticRegression": LogisticRegression(C=0.1, **NEWTON),
    "LogisticRegression balanced": LogisticRegression(C=0.1, class_weight="balanced", **NEWTON),
    "RidgeClassifier": RidgeClassifier(alpha=10.0),
    "LinearSVC": LinearSVC(C=0.01, **LIBLINEAR),
}
SEVERAL = {"one-vs-rest": OneVsRestClassifier(LogisticRegression(C=0.1, **NEWTON))}
REGRESSORS = {
    "LinearRegression": LinearRegression(),
    "Ridge": Ridge(alpha=10.0),
    "LinearSVR": LinearSVR(loss="squared_epsilon_insensitive", epsilon=10.0, C=0.01, **LIBLINEAR),
    "ElasticNet": ElasticNet(alpha=0.1, **COORDINATES),
    "Lasso": Lasso(alpha=1.0, **COORDINATES),
    "KernelRidge": KernelRidge(kernel="rbf", gamma=0.02, alpha=1.0),
    "GaussianProcessRegressor": GaussianProcessRegressor(
        ConstantKernel(4000) * RBF(4) + WhiteKernel(3000), optimizer=None
    ),
    "GammaRegressor": GammaRegressor(alpha=0.1, **NEWTON),
}
COUNTS = {
    "PoissonRegressor": PoissonRegressor(alpha=0.1, **NEWTON),
    "TweedieRegressor": TweedieRegressor(power=1.5, alpha=0.1, **NEWTON),
    "Ridge": Ridge(alpha=10.0),
}
SPARSE = {
    "LogisticRegression": LogisticRegression(C=1.0, **LBFGS),
    "LogisticRegression balanced": LogisticRegression(C=1.0, class_weight="balanced", **LBFGS),
    "RidgeClassifier": RidgeClassifier(alpha=1.0, solver="sparse_cg", tol=1e-12),
    "LinearSVC": LinearSVC(C=0.1, **LIBLINEAR),
}
ESTIMATORS = {
    "breast cancer": CLASSIFIERS,
    "wine": CLASSIFIERS | SEVERAL,
    "digits 3 or 8": CLASSIFIERS,
    "digits": CLASSIFIERS | SEVERAL,
    "diabetes": REGRESSORS,
    "health visits": COUNTS,
    "RTE texts": SPARSE,
    "digits 8 or not": CLASSIFIERS,
}


def margins(model, X, y):
    """Log odds of labels, leads of decision values, or predictions, from the model's outputs."""
    if not hasattr(model, "classes_"):
        return model.predict(X)
    labels = np.searchsorted(model.classes_, y)
    if isinstance(model, OneVsRestClassifier):
        outputs = log_expit(np.stack([one.decision_function(X) for one in model.estimators_], 1))
    else:
        outputs = model.decision_function(X)
    if outputs.ndim == 1:
        return np.where(labels == 1, outputs, -outputs)
    others = outputs.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    most = logsumexp(others, axis=1) if hasattr(model, "predict_proba") else others.max(1)
    return outputs[np.arange(len(labels)), labels] - most


def falls(model, X, y, Xq, yq, sets):
    """Fall of each query's margin (n_queries, n_sets) when the model is fitted without rows."""
    before, found = margins(model, Xq, yq), []
    for rows in sets:
        keep = np.setdiff1d(np.arange(len(y)), rows)
        found.append(before - margins(clone(model).fit(X[keep], y[keep]), Xq, yq))
    return np.stack(found, 1)


def influence(model, X, y, Xq, yq):
    attributor = InfluenceAttributor(model).fit(X, y)
    return attributor, attributor.attribute(Xq, yq)


def of_package(name, model, X, y, Xq, yq):
    attributor = getattr(methods, name)(model, candidates="all").fit(X, y)
    return attributor, attributor.attribute(Xq, yq)


def pyinfluence(model, X, y, Xq, yq):
    """Influence on predictions; on log odds through those of the probabilities."""
    from pyinfluence import InfluenceFunctions

    scores = InfluenceFunctions(mode="prediction").fit(model, X, y).explain(Xq)
    if not hasattr(model, "classes_"):
        return None, scores
    if hasattr(model, "predict_proba"):
        scores = scores / model.predict_proba(Xq).prod(1)[:, None]
    return None, scores * np.where(yq == model.classes_[1], 1, -1)[:, None]


METHODS = {
    "Influence": influence,
    "pyinfluence": pyinfluence,
    "last layer": partial(of_package, "LastLayerAttributor"),
    "EK-FAC": partial(of_package, "EKFACAttributor"),
    "TRAK": partial(of_package, "TRAKAttributor"),
}


def set_error(attributor, scores, model, X, y, Xq, yq, sets, truth):
    """Mean absolute error without sets of rows, relative to the mean absolute change."""
    if isinstance(attributor, InfluenceAttributor):
        minima = attributor._minima
        labels = attributor._labels(Xq, yq)
        designs = minima.designs(Xq)
        before = minima.margins(minima.outputs(designs), labels)
        predicted = [
            before - minima.margins(minima.without(rows).outputs(designs), labels) for rows in sets
        ]
    else:
        predicted = [scores[:, rows].sum(1) for rows in sets]
    return float(np.abs(np.stack(predicted, 1) - truth).mean() / np.abs(truth).mean())


def main():
    arguments = parser(__doc__, "fewer rows and queries")
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parse(arguments)
    size = "quick" if options.quick else "full"
    n_train, n_queries, n_left_out = SIZES[size]
    results = Results("leave_one_out", ["size", "set", "estimator", "method"])
    for name in options.sets:
        X, y, Xq, yq = SETS[name](n_train, n_queries, 0)
        rng = np.random.default_rng(1)
        rows = rng.choice(len(y), n_left_out, replace=False)
        sets = [rng.choice(len(y), SET_SIZE, replace=False) for _ in range(N_SETS)]
        for which, estimator in ESTIMATORS[name].items():
            run = {"size": size, "set": name, "estimator": which}
            if all(results.has(**run, method=method) for method in METHODS):
                continue
            model = clone(estimator).fit(X, y)
            start = time.perf_counter()
            truth = falls(model, X, y, Xq, yq, [[row] for row in rows])
            refit = (time.perf_counter() - start) / len(rows)
            of_sets = falls(model, X, y, Xq, yq, sets)
            for method, score in METHODS.items():
                if results.has(**run, method=method):
                    continue
                row = {**run, "method": method, "n_train": len(y), "n_features": X.shape[1]}
                measured = measure(score, model, (X, y, Xq, yq), rows, truth, sets, of_sets)
                results.add(**row, **measured, seconds_refit=f"{refit:.4f}")


def measure(score, model, data, rows, truth, sets, of_sets):
    """What a line of the table says of a method; empty where it does not take the model."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attributor, scores = score(model, *data)
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        names = ("spearman", "slope", "error", "set_error", "seconds")
        reason = " ".join(str(error).split())[:80]
        return dict.fromkeys(names, "") | {"refused": f"{type(error).__name__}: {reason}"}
    seconds = time.perf_counter() - start
    # Rows beyond a squared hinge have no influence at all; refits differ by rounding.
    ours, truth = (np.where(abs(a) < 1e-6 * abs(a).max(), 0, a) for a in (scores[:, rows], truth))
    ranks = [spearmanr(a, b)[0] for a, b in zip(ours, truth, strict=True)]
    error = np.sqrt(((ours - truth) ** 2).mean() / (truth**2).mean())
    return {
        "spearman": f"{np.mean(ranks):.5f}",
        "slope": f"{(ours * truth).sum() / (ours**2).sum():.7f}",
        "error": f"{error:.2e}",
        "set_error": f"{set_error(attributor, scores, model, *data, sets, of_sets):.2e}",
        "seconds": f"{seconds:.3f}",
        "refused": "",
    }


if __name__ == "__main__":
    main()
