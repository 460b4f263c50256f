"""Linear datamodeling score."""

from ..._utils.arguments import real, whole
from .._lds_truth import draw_masks, lds_from_truth, lds_standard_error, margins_on_subsets
from ._base import Measure, criterion


@criterion(
    "lds", lowest=-1.0, n_masks=[whole(3)], share=[real(0, 1, "neither")], n_repeats=[whole()]
)
def lds(task, n_masks=50, share=0.5, n_repeats=1):
    """Mean over queries of the Spearman correlation, over random subsets of the rows, between the
    sum of scores in a subset and the margin of a model trained on it (regression: its output).

    Random scores reach 0 in expectation. This is
    :func:`~sklearn_provenance.evaluation.linear_datamodeling_score`, with its standard errors.

    Parameters
    ----------
    task : Task
        Rows, queries and model. Where it holds truth, nothing is trained.
    n_masks : int, default=50
        Subsets.
    share : float, default=0.5
        Share of the rows in each of them.
    n_repeats : int, default=1
        Models trained on each.

    References
    ----------
    Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale, Eq. 3.
    """
    problem = task.given()
    truth = task.truth
    if truth is None:
        masks = draw_masks(n_masks, share, problem.n_rows, task.seed)
        margins = margins_on_subsets(
            task.model,
            task.X,
            task.y,
            task.X_queries,
            task.y_queries,
            masks,
            n_repeats,
            task.are_numbers,
            store=task.store("subsets"),
            **task.retraining,
        )
        truth = masks, margins

    def values(method):
        return lds_from_truth(method.scores(problem), *truth)

    def standard_error(method):
        return lds_standard_error(method.scores(problem), *truth)

    return Measure(values, 0.0, standard_error)
