"""Areas under ROC curves of several scores of the same rows, with their covariance."""

import numpy as np


def auc_and_covariance(positive, negative):
    """Compute areas under ROC curves, and DeLong's estimate of their covariance.

    Parameters
    ----------
    positive : ndarray of shape (n_scores, n_positive)
        Scores of positive rows.
    negative : ndarray of shape (n_scores, n_negative)
        Scores of negative rows.

    Returns
    -------
    auc : ndarray of shape (n_scores,)
        Share of pairs in which the positive row has the larger score. A tie counts one half.
    covariance : ndarray of shape (n_scores, n_scores)
        Covariance over draws of both kinds of rows. It is 0 where all pairs are in order.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson. Comparing the areas under two or
       more correlated receiver operating characteristic curves: a nonparametric approach.
       Biometrics 44, 1988, Eqs. 4 to 6.
    """
    pairs = list(zip(positive, negative, strict=True))
    # For each positive row the share of negative ones below it, (n_scores, n_positive), and for
    # each negative row the share of positive ones above it, (n_scores, n_negative).
    above = np.array([_share_below(p, n) for p, n in pairs])
    below = np.array([1 - _share_below(n, p) for p, n in pairs])
    covariance = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(1), np.atleast_2d(covariance)


def _share_below(values, others):
    """Compute the share of others below each value; a tie counts one half."""
    others = np.sort(others)
    places = np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")
    return places / (2 * len(others))
