"""Memorisation against generalisation: the single branch over alpha, the paper's Figure 2.

Expected and sampled mixing. Index accuracy is counted in two ways: the network names the row
itself, or it names the target of the row, in expectation over draws by Eq. 1, as the paper seems to
have counted. `--quick` takes flat pixels and the small MLP, a full run the network of the paper's
7.1 and a GPU.
"""

from _common import Results, load
from _sizes import read_sizes, seconds

from sklearn_provenance import ProvenanceClassifier
from sklearn_provenance.inspection import memorisation_scores

QUICK = {"data": ["mnist"], "n_train": 6000, "width": "small", "epochs": 20, "seeds": 1}
FULL = {"data": ["mnist", "fashion"], "n_train": 60_000, "width": "paper", "epochs": 80, "seeds": 3}
ALPHAS = (0.0, 0.5, 0.3, 0.8, 0.95)
FURTHER_ALPHAS = (0.1, 0.2, 0.4, 0.6, 0.7, 0.9, 1.0)


def main():
    quick, sizes = read_sizes(__doc__, QUICK, FULL)
    alphas = ALPHAS if quick else ALPHAS + FURTHER_ALPHAS
    # At alpha = 0 there is nothing to draw.
    grid = [(a, m) for a in alphas for m in ("expected", "sampled") if a > 0 or m == "expected"]
    keys = ["data", "n_train", "width", "epochs", "seed", "alpha", "mixing"]
    results = Results("memorisation", keys)
    for seed in range(sizes["seeds"]):
        for data in sizes["data"]:
            name = f"{data}_{sizes['n_train']}" + ("_flat" if quick else "")
            X, y, X_test, y_test = load(name, seed)
            for alpha, mixing in grid:
                case = {name: sizes[name] for name in ("n_train", "width", "epochs")}
                case |= {"data": data, "seed": seed, "alpha": alpha, "mixing": mixing}
                if results.has(**case):
                    continue
                clf = ProvenanceClassifier(
                    "single_branch",
                    alpha=alpha,
                    mixing=mixing,
                    width=sizes["width"],
                    max_epochs=sizes["epochs"],
                    random_state=seed,
                    verbose=1,
                ).fit(X, y)
                scores = memorisation_scores(clf, X_test, y_test)
                results.add(
                    **{key: case[key] for key in keys},
                    n_test=len(y_test),
                    **{name: round(value, 4) for name, value in scores.items()},
                    train_loss=round(clf.history_[-1]["train_loss"], 4),
                    seconds=seconds(clf),
                )


if __name__ == "__main__":
    main()
