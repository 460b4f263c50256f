"""What an installed wheel may lack: templates, data, annotations. Run by `make package`."""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import sklearn_provenance
from sklearn_provenance import ProvenanceClassifier, explain
from sklearn_provenance.datasets import load_counterfactual_truth


def main():
    checkout = Path(__file__).parents[1] / "sklearn_provenance"
    if Path(sklearn_provenance.__file__).parent == checkout:
        raise SystemExit(f"the package in {checkout} was imported, not the wheel")
    X, y = load_iris(return_X_y=True)
    explanation = explain(LogisticRegression(max_iter=500).fit(X, y), X[:2], training=(X, y))
    clf = ProvenanceClassifier(max_epochs=3, width="small", random_state=0).fit(X, y)
    with TemporaryDirectory() as folder:
        explanation.to_html(Path(folder) / "page.html")
        clf.save(Path(folder) / "clf")
        ProvenanceClassifier.load(Path(folder) / "clf").explain(X[:2])
    load_counterfactual_truth("digits")
    if not files(sklearn_provenance).joinpath("py.typed").is_file():
        raise SystemExit("py.typed is missing: type checkers ignore the annotations")
    print(explanation)


if __name__ == "__main__":
    main()
