"""How many files of the package ``explain`` goes through, and how often it changes file.

A reader who follows a call makes the same hops. Calls and returns of the package's functions are
counted with sys.setprofile; those of other packages are passed over. One row of iris, or one of
each class, is explained after a fit, then again. To count after a change of the code, delete the
CSV.
"""

import itertools
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from _common import Results, parse, parser
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_provenance
from sklearn_provenance import InfoGainAttributor, InfoLossAttributor

PACKAGE = str(Path(sklearn_provenance.__file__).parent)
ATTRIBUTORS = {"InfoGain": InfoGainAttributor, "InfoLoss": InfoLossAttributor}


def models():
    """Fresh models by name."""
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "MLPClassifier": MLPClassifier((16,), max_iter=300, random_state=0),
        "torch.nn.Sequential": torch.nn.Sequential(linear(4, 8), relu(), linear(8, 3)),
    }


def count(function, *arguments):
    """Files of the package that a call runs code of, and changes from one to another."""
    files, changes, last = set(), 0, None

    def profile(frame, event, _):
        nonlocal changes, last
        if event not in ("call", "return"):
            return
        # The frame that runs from here on.
        running = frame if event == "call" else frame.f_back
        name = "" if running is None else running.f_code.co_filename
        if not name.startswith(PACKAGE):
            return
        files.add(name)
        changes += last is not None and name != last
        last = name

    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return len(files), changes


def main():
    options = parse(parser(__doc__, "LogisticRegression only"))
    warnings.simplefilter("ignore")  # networks that have not converged
    results = Results("hops", ["attributor", "model", "n_queries", "explain"])
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    for attributor, model, n_queries in itertools.product(ATTRIBUTORS, models(), (1, 3)):
        run = {"attributor": attributor, "model": model, "n_queries": n_queries}
        if options.quick and model != "LogisticRegression":
            continue
        if results.has(**run, explain="second"):
            continue
        queries = X[::50][:n_queries]  # each of another class
        for _ in range(2):  # the first time, packages are imported
            torch.manual_seed(0)
            fitted = ATTRIBUTORS[attributor](models()[model]).fit(X, y)
            counts = {which: count(fitted.explain, queries) for which in ("first", "second")}
        for which, (files, changes) in counts.items():
            results.add(**run, explain=which, files=files, changes=changes)


if __name__ == "__main__":
    main()
