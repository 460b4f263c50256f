"""Rank agreement of summed scores with what models trained on subsets say."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.utils import check_random_state

from .._utils.arguments import check_numbers
from .._utils.tables import nan_mean, standard_error
from ..retraining import retrain
from ..retraining._schedule import check_masks


def lds_from_truth(scores: ArrayLike, masks: ArrayLike, margins: ArrayLike) -> NDArray[np.float64]:
    """Compute the linear datamodeling score of each query, from margins that were measured before.

    Parameters
    ----------
    scores : array-like of shape (n_queries, n_rows)
        Score of every row for every query.
    masks : array-like of shape (n_masks, n_rows), bool or 0 and 1
        Rows that each model was trained on.
    margins : array-like of shape (n_masks, n_queries)
        What the models say of the queries: margins, or outputs of regressors.

    Returns
    -------
    correlations : ndarray of shape (n_queries,)
        Spearman correlations of ``masks @ scores.T`` and ``margins`` over models. 0 where a
        method predicts the same for all, nan where the margins are all the same.

    Raises
    ------
    ValueError
        If shapes disagree, or scores or margins are nan.

    See Also
    --------
    linear_datamodeling_score : Trains the models.

    References
    ----------
    .. [1] Park, Georgiev, Ilyas, Leclerc, Madry (2023). TRAK: Attributing model behavior at scale,
       Eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_provenance.evaluation import lds_from_truth
    >>> masks = np.random.default_rng(0).random((50, 8)) < 0.5
    >>> effect = np.arange(8.0)  # of each row on the margin of the one query
    >>> margins = masks @ effect[:, None]
    >>> lds_from_truth(effect[None], masks, margins).tolist()
    [1.0]
    """
    try:
        of_rows = check_numbers(scores, "scores", (None, None))
    except ValueError as error:
        raise ValueError(
            f"{error}. nan stands for rows that are no candidates: fit the attributor with "
            'candidates="all", or decide yourself what they count'
        ) from error
    subsets = check_masks(masks, of_rows.shape[1])
    truth = check_margins(margins, len(subsets), len(of_rows))
    return spearman(subsets @ of_rows.T, truth)


def spearman(predictions, margins):
    """Rank correlations of columns; 0 for constant predictions, nan for constant margins."""
    # Sums of the same numbers in another order may differ in their last digits.
    size = np.abs(predictions).max(0, initial=0.0)
    constant = np.ptp(predictions, 0) <= 1e-12 * size
    ranks = [rankdata(values, axis=0) for values in (predictions, margins)]
    ranks = [r - r.mean(0) for r in ranks]
    norms = [np.sqrt((r**2).sum(0)) for r in ranks]
    with np.errstate(invalid="ignore"):
        correlations = (ranks[0] * ranks[1]).sum(0) / (norms[0] * norms[1])
    correlations = np.where(constant, 0.0, correlations.clip(-1, 1))
    return np.where(norms[1] == 0, np.nan, correlations)


def lds_standard_error(scores, masks, margins):
    """Compute the standard error of the mean correlation, for other queries and other subsets.

    Queries share the subsets, so that a plain standard error over queries is too small: that of the
    jackknife over subsets is added.
    """
    predictions = masks @ scores.T
    n = len(masks)
    over_queries = standard_error(spearman(predictions, margins), 0)
    others = ~np.eye(n, dtype=bool)
    means = [nan_mean(spearman(predictions[rest], margins[rest]), 0) for rest in others]
    return np.sqrt(over_queries**2 + (n - 1) * np.var(means))


def check_margins(margins, n_masks, n_queries):
    """Return margins as an array (n_masks, n_queries); raise where they do not fit or are nan."""
    return check_numbers(margins, "margins", (n_masks, n_queries), infinite=True)


def draw_masks(n_masks, share, n_rows, random_state):
    """Draw random subsets of equal size, bool (n_masks, n_rows)."""
    size = round(share * n_rows)
    if not 0 < size < n_rows:
        raise ValueError(
            f"share must leave some of the {n_rows} rows in and some out; got {share}, which is "
            f"{size} rows"
        )
    rng = check_random_state(random_state)
    masks = np.zeros((n_masks, n_rows), bool)
    for mask in masks:
        mask[rng.permutation(n_rows)[:size]] = True
    return masks


def margins_on_subsets(
    model, X, y, X_queries, y_queries, subsets, n_repeats, are_numbers, **options
):
    """Compute margins of models trained on subsets, or outputs of regressors, (n_masks, n_queries).

    They are means over ``n_repeats`` seeds; options are further arguments of :func:`retrain`.
    """
    evaluate = "margin"
    if are_numbers:
        evaluate = "logits"
    margins = retrain(
        model,
        X,
        y,
        np.repeat(subsets, n_repeats, axis=0),
        X_eval=X_queries,
        y_eval=y_queries,
        seeds=np.tile(np.arange(n_repeats), len(subsets)),
        evaluate=evaluate,
        **options,
    ).outputs
    margins = margins.reshape(len(subsets), n_repeats, -1).mean(1)
    diverged = np.flatnonzero(np.isnan(margins).any(1))
    if len(diverged):
        raise ValueError(
            f"Training must not diverge, but it did on subsets {diverged.tolist()}, so that "
            "they have nothing to rank. Take a smaller lr"
        )
    return margins
