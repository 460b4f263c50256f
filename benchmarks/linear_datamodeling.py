"""Linear datamodeling score on the counterfactual truth that the package ships.

Models are fitted on all rows with `random_state` 0 and explained; scores of the rows of each of 100
random halves are added up and compared, by rank, with the margin of the models trained on the half
(mean of five initialisations for the network). Standard errors are over queries and halves.
"""

import time
import warnings

from _common import Results, parse, parser
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_provenance import InfluenceAttributor, InfoGainAttributor, InfoLossAttributor
from sklearn_provenance import attribution as methods
from sklearn_provenance.datasets import load_counterfactual_truth
from sklearn_provenance.evaluation import linear_datamodeling_score


def studied(models):
    model, every = models[0], {"candidates": "all"}
    lines = {
        "Random": methods.RandomAttributor(model, random_state=0, **every),
        "RepSim": methods.RepSimAttributor(model, **every),
        "GradDot": methods.GradDotAttributor(model, **every),
        "EK-FAC": methods.EKFACAttributor(model, **every),
        "EK-FAC, 10 iterations": methods.EKFACAttributor(model, n_iterations=10, **every),
        "influence": InfluenceAttributor(model, **every),
        "last layer": methods.LastLayerAttributor(model, **every),
        "TRAK": methods.TRAKAttributor(model, **every),
        "RelatIF": methods.RelatIFAttributor(model, measurement="margin", **every),
        "InfoGain": InfoGainAttributor(model, **every),
        "InfoGain, margin": InfoGainAttributor(model, measurement="margin", **every),
        "InfoLoss": InfoLossAttributor(model, **every),
    }
    if len(models) > 1:
        lines[f"TRAK, {len(models)} models"] = methods.TRAKAttributor(models, **every)
        lines[f"influence, {len(models)} models"] = InfluenceAttributor(models, **every)
    return lines


def main():
    options = parse(parser(__doc__, "breast cancer alone"))
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("linear_datamodeling", ["data", "model", "method"])
    for data in ("breast_cancer", "digits")[: 1 if options.quick else None]:
        for model in ("logistic_regression", "mlp"):
            truth = load_counterfactual_truth(data, model)
            models = [
                clone(truth.estimator).set_params(random_state=seed).fit(truth.data, truth.target)
                for seed in range(truth.margins.shape[1])
            ]
            for name, attributor in studied(models).items():
                case = {"data": data, "model": model, "method": name}
                if results.has(**case):
                    continue
                start = time.perf_counter()
                attributor.fit(truth.data, truth.target)
                attributor.attribute(truth.queries, truth.query_target)
                seconds = time.perf_counter() - start
                result = linear_datamodeling_score(
                    {name: attributor},
                    truth.data,
                    truth.target,
                    truth.queries,
                    truth.query_target,
                    masks=truth.masks,
                    margins=truth.margins.mean(1),
                )
                results.add(
                    **case,
                    lds=round(float(result.scores[0]), 4),
                    standard_error=round(float(result.standard_errors[0]), 4),
                    seconds=round(seconds, 2),
                )


if __name__ == "__main__":
    main()
