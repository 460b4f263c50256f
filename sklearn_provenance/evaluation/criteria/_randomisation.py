"""Model randomisation: do scores change when the model's weights are put in disorder?"""

import copy
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from torch import nn

from .._lds_truth import spearman
from ._base import Measure, NotMeasured, criterion

# Arrays that scikit-learn's linear models and networks keep their weights in.
_WEIGHTS = ("coef_", "intercept_", "coefs_", "intercepts_")


@criterion("randomisation", lowest=-1.0, best=0.0)
def randomisation(task):
    """Mean over queries of the Spearman correlation, over rows, of scores for the model and for a
    copy whose weights are put in random order within each array: near 0 is good, 1 is bad.

    Scores that stay the same do not come from what the model has learnt. It is a check that can
    only fail: random scores reach 0, too, so read it beside "lds".

    Parameters
    ----------
    task : Task
        Rows, queries and model. An estimator has to keep its weights in ``coef_`` or ``coefs_``.

    References
    ----------
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim (2018). Sanity checks for saliency maps; Hanawa,
    Yokoi, Hara, Inui (2021). Evaluation of similarity-based explanations, section 3.
    """
    problem = task.given()
    model = shuffled(problem.model, task.generator("randomisation"))
    random = problem.with_model(model, "randomisation")

    def values(method):
        with catch_warnings():
            # Influence says that weights in disorder are at no minimum, which is the point.
            simplefilter("ignore", ConvergenceWarning)
            scores = method.scores(random)
        correlations = spearman(method.scores(problem).T, scores.T)
        # Scores that are the same for all rows do not follow the others.
        return np.nan_to_num(correlations, nan=0.0)

    return Measure(values, 0.0)


def shuffled(model, rng):
    """Copy a fitted model and put the numbers of each array of weights in random order."""
    model = copy.deepcopy(model)
    if isinstance(model, nn.Module):
        with torch.no_grad():
            for weights in model.parameters():
                order = torch.from_numpy(rng.permutation(weights.numel())).to(weights.device)
                weights.copy_(weights.flatten()[order].view_as(weights))
        return model
    last = model[-1] if isinstance(model, Pipeline) else model
    found = [name for name in _WEIGHTS if name in vars(last)]
    if not found:
        raise NotMeasured(
            f"{type(last).__name__} keeps no weights in {' or '.join(_WEIGHTS)} that could be put "
            "in random order"
        )
    for name in found:
        weights = getattr(last, name)
        if isinstance(weights, list):
            weights = [_in_disorder(array, rng) for array in weights]
        else:
            weights = _in_disorder(weights, rng)
        setattr(last, name, weights)
    return model


def _in_disorder(array, rng):
    """Put the numbers of an array in random order; a single number stays."""
    if np.ndim(array) == 0:
        return array
    return rng.permutation(np.ravel(array)).reshape(np.shape(array))
