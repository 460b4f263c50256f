"""Wrong labels by models that have not seen them: which rows are named, beside cleanlab's.

A twentieth or a tenth of the labels is replaced by another class. A forest and a logistic
regression predict every row from four fifths of the others. find_label_issues and cleanlab are
given the same probabilities: the area under the ROC curve of their rankings, and the precision and
recall of the rows that they name. The comparison needs cleanlab: pip install -e ".[benchmark]".
"""

import time

import numpy as np
from _common import Results, load, parse, parser
from cleanlab.filter import find_label_issues as cleanlab_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance.datasets import flip_labels
from sklearn_provenance.inspection import find_label_issues

DATA = ("digits", "breast_cancer", "mnist_2000", "fashion_2000")
MODELS = {
    "forest": lambda seed: RandomForestClassifier(random_state=seed),
    "logistic regression": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=300)
    ),
}


def main():
    options = parse(parser(__doc__, "one seed"))
    results = Results("label_issues", ["data", "model", "share", "seed", "method"])
    for data in DATA:
        for seed in range(1 if options.quick else 3):
            X, truth, *_ = load(data, seed)
            X = X.reshape(len(X), -1)
            for share in (0.05, 0.1):
                y, wrong = flip_labels(truth, share, random_state=seed)
                for model, make in MODELS.items():
                    case = {"data": data, "model": model, "share": share, "seed": seed}
                    if not results.has(**case, method="cleanlab, confident learning"):
                        compare(results, case, make(seed), X, y, wrong)


def compare(results, case, estimator, X, y, wrong):
    """A line for each method, from the same probabilities."""
    start = time.process_time()
    issues = find_label_issues(estimator, X, y, random_state=case["seed"])
    seconds = round(time.process_time() - start, 1)
    given = {"labels": np.unique(y, return_inverse=True)[1], "pred_probs": issues.predicted}
    quality = {
        "self_confidence": get_label_quality_scores(**given),
        "normalized_margin": get_label_quality_scores(**given, method="normalized_margin"),
    }
    named = {
        "find_label_issues": (issues.is_issue, issues.suspicion),
        "cleanlab, default": (cleanlab_issues(**given), -quality["normalized_margin"]),
        "cleanlab, confident learning": (
            cleanlab_issues(**given, filter_by="confident_learning"),
            -quality["self_confidence"],
        ),
    }
    for method, (is_issue, suspicion) in named.items():
        results.add(
            **case,
            method=method,
            n_rows=len(y),
            n_errors=int(wrong.sum()),
            n_named=int(is_issue.sum()),
            precision=round(float(wrong[is_issue].mean()), 4),
            recall=round(float(is_issue[wrong].mean()), 4),
            auroc=round(roc_auc_score(wrong, suspicion), 4),
            cpu_seconds_of_predictions=seconds,
        )


if __name__ == "__main__":
    main()
