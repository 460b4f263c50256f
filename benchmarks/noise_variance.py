"""What cross-validation of the log predictive density says of the noise variance.

`GridSearchCV(attributor, {"noise_variance": np.logspace(-6, 5, 12)})`, three folds, a share of the
training labels replaced by another class. Every fold fits its own model; a memory keeps kernels and
their decompositions, so the grid costs little more than one point.
"""

import tempfile
import time
import warnings

import numpy as np
from _common import Results, load, parse, parser
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from sklearn_provenance import InfoGainAttributor

GRID = np.logspace(-6, 5, 12)
CASES = {
    ("breast_cancer", "LogisticRegression"): lambda: LogisticRegression(max_iter=1000),
    ("breast_cancer", "MLPClassifier"): lambda: MLPClassifier((32,), max_iter=300, random_state=0),
    ("digits_flat", "LogisticRegression"): lambda: LogisticRegression(max_iter=1000),
    ("digits_flat", "MLPClassifier"): lambda: MLPClassifier((64,), max_iter=300, random_state=0),
    ("fashion_2000_flat", "MLPClassifier"): lambda: MLPClassifier(
        (128, 64), max_iter=40, random_state=0
    ),
}


def with_noise(y, share, seed):
    """Labels of which a share is replaced by another class."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), round(share * len(y)), replace=False)
    classes = np.unique(y)
    noisy = y.copy()
    noisy[rows] = [rng.choice(classes[classes != label]) for label in y[rows]]
    return noisy


def main():
    options = parse(parser(__doc__, "one data set"))
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("noise_variance", ["data", "model", "label_noise", "noise_variance"])
    for (data, model), make in list(CASES.items())[: 1 if options.quick else None]:
        X, y, *_ = load(data, 0)
        if data != "breast_cancer":
            X = X / 255.0 if data.startswith("fashion") else X / 16.0
        for share in (0.0, 0.1, 0.3):
            case = {"data": data, "model": model, "label_noise": share}
            if results.has(**case, noise_variance=GRID[-1]):
                continue
            noisy = with_noise(y, share, seed=0)
            with tempfile.TemporaryDirectory() as memory:
                attributor = InfoGainAttributor(make(), memory=memory)
                start = time.perf_counter()
                search = GridSearchCV(attributor, {"noise_variance": GRID}, cv=3).fit(X, noisy)
                seconds = time.perf_counter() - start
                best = search.best_estimator_
                diagonal = best.set_params(noise_variance="diagonal").fit(X, noisy).noise_variance_
            for i, noise in enumerate(GRID):
                results.add(
                    **case,
                    noise_variance=noise,
                    relative=round(noise / diagonal, 10),
                    log_density=round(search.cv_results_["mean_test_score"][i], 5),
                    best=int(i == search.best_index_),
                    seconds_of_the_grid=round(seconds, 1),
                )


if __name__ == "__main__":
    main()
