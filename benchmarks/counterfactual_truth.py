"""Makes the counterfactual truth that the package ships: retrains on random halves of the rows.

`--store FOLDER` keeps what is finished, so that the script may be stopped and started again.
"""

from pathlib import Path

import numpy as np
from _common import parse, parser

import sklearn_provenance.datasets
from sklearn_provenance.datasets._counterfactual import counterfactual_problem
from sklearn_provenance.evaluation import retrain

FOLDER = Path(sklearn_provenance.datasets.__file__).parent / "data"
N_MASKS, N_REPEATS = 100, 5


def halves(n_rows, y, n_masks):
    """Random halves of the rows, every class among them; y is None where there are none."""
    rng = np.random.default_rng(0)
    masks = np.zeros((n_masks, n_rows), dtype=bool)
    for mask in masks:
        mask[rng.permutation(n_rows)[: n_rows // 2]] = True
        assert y is None or len(np.unique(y[mask])) == len(np.unique(y))
    return masks


def main():
    arguments = parser(__doc__, "3 halves, nothing written")
    arguments.add_argument("--store", type=Path, required=True)
    arguments.add_argument("--jobs", type=int, default=None)
    options = parse(arguments)
    n_masks = 3 if options.quick else N_MASKS
    FOLDER.mkdir(exist_ok=True)
    for data in ("diabetes", "breast_cancer", "digits"):
        models = ("ridge",) if data == "diabetes" else ("logistic_regression", "mlp")
        for model in models:
            path = FOLDER / f"counterfactual_{data}_{model}.npz"
            if path.exists():
                continue
            X, y, queries, labels, estimator = counterfactual_problem(data, model)
            classes, evaluate = (None, "logits") if data == "diabetes" else (y, "margin")
            masks = halves(len(X), classes, n_masks)
            n_repeats = N_REPEATS if model == "mlp" else 1  # the other has no random part
            result = retrain(
                estimator,
                X,
                y,
                masks.repeat(n_repeats, axis=0),
                X_eval=queries,
                y_eval=labels,
                seeds=np.tile(np.arange(n_repeats), n_masks),
                evaluate=evaluate,
                n_jobs=options.jobs,
                store=options.store / path.stem,
                verbose=True,
            )
            margins = result.outputs.reshape(n_masks, n_repeats, len(queries)).astype(np.float32)
            print(path.stem, f"{result.seconds:.0f} s", margins.mean(), margins.std(0).mean())
            if not options.quick:
                np.savez_compressed(path, masks=np.packbits(masks, axis=1), margins=margins)


if __name__ == "__main__":
    main()
