"""Label errors: is the influence of a row on itself large where its label is wrong?"""

import numpy as np
from scipy.stats import rankdata

from ..._utils.arguments import real, whole
from ...datasets import flip_labels, shift_targets
from ._base import Measure, NotMeasured, criterion


@criterion("label_errors", share=[real(0, 1, "neither")])
def label_errors(task, share=0.1):
    """AUROC of self-influence, the score of a training row for itself at its own label: the
    probability that it is larger for a row with a wrong label than for one with a right label.

    A share of the rows gets a wrong label, any of the others with equal probability; in a
    regression a target that is 3 deviations too large or too small, and the size of the score is
    taken. Ties count one half. Random scores reach 1/2.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    share : float, default=0.1
        Share of the rows whose label is wrong.

    References
    ----------
    Koh, Liang (2017). Understanding black-box predictions via influence functions, section 5.4.
    """
    problem, wrong = problem_with_errors(task, share)
    return Measure(lambda method: auroc_values(method.suspicion(problem), wrong), 0.5)


@criterion("label_disagreement", share=[real(0, 1, "neither")], k=[whole()])
def label_disagreement(task, share=0.1, k=10):
    """AUROC of disagreement, the share of a training row's first k other rows that have another
    label, weighted by scores above 0, for rows with a wrong label against those with a right one.

    Errors are those of the criterion "label_errors". Random scores reach 1/2.

    Parameters
    ----------
    task : Task
        Rows, queries and model.
    share : float, default=0.1
        Share of the rows whose label is wrong.
    k : int, default=10
        Rows that are asked for their labels.
    """
    task.classes  # noqa: B018 raises where there are none
    problem, wrong = problem_with_errors(task, share)
    return Measure(lambda method: auroc_values(method.disagreement(problem, k), wrong), 0.5)


def problem_with_errors(task, share):
    """Make the problem in which some labels are wrong, and which (n_rows,) they are."""
    if task.are_numbers:
        y, wrong = shift_targets(task.y, share, task.seed)
    else:
        y, wrong = flip_labels(task.y, share, task.seed)
    if wrong.all() or not wrong.any():
        raise NotMeasured(f"share must make some of the {len(y)} labels wrong, got {share}")
    name = f"label errors {share}"
    return task.problem(name, task.X, y, task.X_queries, task.y_queries), wrong


def auroc_values(suspicion, wrong):
    """Compute how many right rows each wrong row is more suspicious than; the mean is the AUROC."""
    among_all = rankdata(suspicion)[wrong]
    among_wrong = rankdata(suspicion[wrong])
    return (among_all - among_wrong) / np.count_nonzero(~wrong)
