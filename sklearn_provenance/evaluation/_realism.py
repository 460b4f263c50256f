"""Realism: are generated samples nearer to real ones where the index branch is confident?"""

from typing import Any
from warnings import warn

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import HasMethods, validate_params
from sklearn.utils.validation import check_is_fitted

from .._utils.arguments import ROWS, real, whole
from .._utils.results import Result
from .._utils.types import RandomState, Rows
from ._frechet import frechet_of_moments, moments
from ._realism_result import GROUPS, SPLITS, realism_result

_COVERED = 95  # per cent


@validate_params(
    {
        "features": [callable, HasMethods("transform")],
        "X_reference": [ROWS, None],
        "X_test": [ROWS, None],
        "n_samples": [whole(4)],
        "threshold": [real(0, 1, "both")],
        "n_bootstrap": [whole(2)],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def realism(
    vae: Any,
    features: Any,
    *,
    X_reference: Rows = None,
    X_test: Rows = None,
    n_samples: int = 2000,
    threshold: float = 0.5,
    n_bootstrap: int = 200,
    random_state: RandomState = None,
) -> Result:
    """Measure whether generated samples look more real where the index branch is confident.

    Codes are drawn from the prior and decoded. The confidence of a sample is the probability of
    its first exemplar. Two measures say whether confident samples are nearer to training rows:
    Spearman's correlation of confidence with the distance to the nearest training row, and the
    Fréchet distances to all training rows of the samples of high and of low confidence [1]_.

    Samples are split in three ways: at ``threshold``, as in "Provenance Networks" [PN]; in halves,
    since few or all of them may lie on one side of a threshold; and in halves of the samples of
    each predicted class, so that both sides have the same classes. Samples of equal confidence are
    halved in the order in which they were drawn.

    Parameters
    ----------
    vae : ProvenanceVAE
        Fitted.
    features : callable or transformer
        ``features(X)`` or ``features.transform(X)`` gives the features, an array of shape
        (n, n_features), of rows or images in the shape that ``vae`` was fitted on.
    X_reference : array-like, default=None
        Real rows to compare with; None takes the training rows of ``vae``.
    X_test : array-like, default=None
        Real rows that were held out: how far real rows are from the reference.
    n_samples : int, default=2000
        Samples to draw.
    threshold : float, default=0.5
        Least confidence that counts as high.
    n_bootstrap : int, default=200
        Number of draws for each interval, and for each estimate at a smaller size.
    random_state : int, RandomState instance or None, default=None
        Source of codes and draws; None takes numpy's global one.

    Returns
    -------
    Result
        ``to_frame()`` has a line for each sample, ``summary()`` one for each split and group with
        its Fréchet distance. ``plot()`` draws distance by features over confidence, beside the
        Fréchet distances of one split: at the threshold, or in halves if a side of the threshold
        has too few samples. Attributes:

        codes : ndarray of shape (n_samples, latent_dim)
            Codes, for ``vae.inverse_transform`` and ``vae.explain_latent``.
        confidence : ndarray of shape (n_samples,)
            Probability of the first exemplar.
        labels : ndarray of shape (n_samples,)
            Predicted classes.
        feature_distance, input_distance : ndarray of shape (n_samples,)
            Euclidean distance to the nearest row of the reference, by features, and by values
            (those of uint8 images divided by 255).
        high : ndarray of shape (3, n_samples), bool
            Which samples count as confident when split at the threshold, in halves, and in halves
            of each predicted class.
        thresholds : ndarray of shape (3,)
            The threshold, the least confidence in the upper half, and nan.
        size : ndarray of shape (3,)
            Rows at which groups are compared: those of the smaller one.
        frechet : ndarray of shape (3, 6, 3)
            Fréchet distances to the reference for each split: those of samples of high and of low
            confidence, the second less the first, and those of training rows, held-out rows and
            reconstructions. Each has an estimate and the ends of the interval, nan where there are
            too few rows.
        spearman : ndarray of shape (3, 3)
            Rank correlation of confidence with the distance by features, with the distance by
            values, and with the distance by features within predicted classes. Each has an estimate
            and the ends of the interval, nan where all ranks are equal.
        n_high, n_low : ndarray of shape (3,)
            Samples of high and of low confidence of each split.

    Raises
    ------
    TypeError
        If ``vae`` cannot sample and explain, or ``features`` is neither callable nor a transformer.
    ValueError
        If features are not a finite array with one line for each row, or a number is out of range.

    Warns
    -----
    UserWarning
        Where a group has fewer than two rows per feature; its Fréchet distances are nan.

    Notes
    -----
    The Fréchet distance is biased upwards, and the more so in a small group [2]_: unequal groups
    differ even if their distributions do not. All groups of a split are therefore compared at one
    size, that of its smaller group. For a larger group, the estimate is the mean over draws of so
    many rows without replacement. Three other groups are compared at that size too: the training
    rows, drawn with replacement, whose true distance is 0, so that their distance shows the bias;
    the held-out rows; and reconstructions of training rows.

    Intervals cover 95 %, by the bootstrap, for one trained network and one reference. Rows that are
    drawn with replacement repeat, which adds to the bias. The draws of a Fréchet distance are
    therefore moved so that their mean is the estimate, and the interval is cut off at 0.

    A group is compared with all of the reference. It can be far from it because its samples look
    like nothing real, or because they are of few kinds: a group that lacks a class is far. The
    third split excludes that reason. In the same way a correlation can come from classes that
    differ in both confidence and distance. The third correlation ranks samples within predicted
    classes, as shares of the class, and pools the ranks.

    References
    ----------
    .. [1] [PN] "Provenance Networks: End-to-End Exemplar-Based Explainability", section 7.11.3.
    .. [2] M. J. Chong and D. Forsyth. Effectively unbiased FID and Inception score and where to
       find them. CVPR 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_provenance import ProvenanceVAE
    >>> from sklearn_provenance.evaluation import realism
    >>> X, y = load_digits(n_class=3, return_X_y=True)
    >>> vae = ProvenanceVAE(8, width="small", max_epochs=5, random_state=0).fit(X, y)
    >>> result = realism(
    ...     vae, PCA(10).fit(X), n_samples=200, threshold=0.01, n_bootstrap=20, random_state=0
    ... )
    """
    for method in ("sample", "explain_latent", "reconstruct"):
        if isinstance(vae, type) or not hasattr(vae, method):
            raise TypeError(f"vae must be a fitted ProvenanceVAE, got {vae!r}")
    check_is_fitted(vae)
    rng = check_random_state(random_state)
    if X_reference is None:
        X_reference = vae.training_.X
    X_reference = np.asarray(X_reference)
    reference = _features(features, X_reference)

    samples, codes = vae.sample(n_samples, random_state=rng, return_codes=True)
    explanation = vae.explain_latent(codes, k=1)
    confidence = explanation.scores[:, 0]
    sampled = _features(features, samples, reference)
    distances = np.stack(
        [_to_nearest(sampled, reference), _to_nearest(_inputs(samples), _inputs(X_reference))]
    )

    rebuilt = X_reference[rng.permutation(len(X_reference))[:n_samples]]
    real = {
        "train": reference,
        "reconstruction": _features(features, vae.reconstruct(rebuilt), reference),
    }
    if X_test is not None:
        real["test"] = _features(features, X_test, reference)
    labels = explanation.query_labels
    one_class = np.zeros(n_samples)
    halves = _upper_half(confidence, one_class)
    high = np.stack([confidence >= threshold, halves, _upper_half(confidence, labels)])
    n_high = high.sum(axis=1)
    n_low = (~high).sum(axis=1)
    frechet = np.full((len(SPLITS), len(GROUPS), 3), np.nan)
    for i, split in enumerate(SPLITS):
        size = min(n_high[i], n_low[i])
        least = 2 * reference.shape[1]
        if size < least:
            warn(
                f"the split at the {split} has {n_high[i]} samples of high and {n_low[i]} of low "
                f"confidence; Fréchet distances in {reference.shape[1]} features want {least} of "
                "each, and are nan. Draw more samples, or take fewer features",
                UserWarning,
                stacklevel=2,
            )
            continue
        groups = {"high": sampled[high[i]], "low": sampled[~high[i]]} | real
        frechet[i] = _compare(groups, moments(reference), size, n_bootstrap, rng)
    return realism_result(
        codes=codes,
        confidence=confidence,
        labels=labels,
        feature_distance=distances[0],
        input_distance=distances[1],
        high=high,
        thresholds=np.array([threshold, confidence[halves].min(), np.nan]),
        size=np.minimum(n_high, n_low),
        frechet=frechet,
        spearman=np.stack(
            [
                *(_spearman(confidence, d, one_class, n_bootstrap, rng) for d in distances),
                _spearman(confidence, distances[0], labels, n_bootstrap, rng),
            ]
        ),
    )


def _upper_half(confidence, labels):
    """Find samples in the upper half of those with their label; of equal ones, the first."""
    high = np.zeros(len(confidence), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = np.argsort(-confidence[rows], kind="stable")
        high[rows[order[: (len(rows) + 1) // 2]]] = True
    return high


def _features(features, X, reference=None):
    """Return features of rows as float64; raise where they do not fit those of the reference."""
    rows = np.array(X)  # they may be written to
    function = getattr(features, "transform", features)
    values = function(rows)
    values = check_array(values, dtype=np.float64, input_name="features")
    if len(values) != len(X):
        raise ValueError(
            f"features must give one line for each of {len(X)} rows, got {len(values)}"
        )
    if reference is not None and values.shape[1] != reference.shape[1]:
        raise ValueError(
            f"features must give as many columns as for the reference, {reference.shape[1]}; got "
            f"{values.shape[1]}"
        )
    return values


def _inputs(X):
    """Return flat rows; uint8 as values from 0 to 1."""
    X = np.asarray(X)
    values = X.reshape(len(X), -1).astype(np.float32)
    if X.dtype == np.uint8:
        values /= np.float32(255)
    return values


def _to_nearest(rows, reference):
    """Compute the Euclidean distance of each row to the nearest of the reference."""
    return pairwise_distances_argmin_min(rows, reference)[1].astype(np.float64)


def _compare(groups, reference, size, n_bootstrap, rng):
    """Compute estimates and intervals (n_groups, 3) at one size; nan for what has fewer rows."""

    def at(rows, part):
        return frechet_of_moments(moments(rows[part]), reference)

    repeats = range(n_bootstrap)
    values = np.full((len(GROUPS), 3), np.nan)
    draws = {}
    for i, name in enumerate(GROUPS):
        rows = groups.get(name)
        if rows is None or (len(rows) < size and name != "train"):
            continue
        draws[name] = np.array([at(rows, rng.randint(len(rows), size=size)) for _ in repeats])
        estimate = draws[name].mean()
        if name != "train":  # whose true distance is 0, so that draws show the bias itself
            parts = [slice(None)]
            if len(rows) > size:
                parts = (rng.permutation(len(rows))[:size] for _ in repeats)
            estimate = np.mean([at(rows, part) for part in parts])
            draws[name] += estimate - draws[name].mean()
        values[i] = estimate, *_interval(draws[name].clip(min=0))
    high, low, difference = (GROUPS.index(name) for name in ("high", "low", "low - high"))
    values[difference, 0] = values[low, 0] - values[high, 0]
    values[difference, 1:] = _interval(draws["low"] - draws["high"])
    return values


def _spearman(confidence, distance, labels, n_bootstrap, rng):
    """Rank correlation within groups and its interval, of shape (3,)."""
    n = len(confidence)
    draws = [_rank_correlation(confidence, distance, labels)]
    for _ in range(n_bootstrap):
        rows = rng.randint(n, size=n)
        draws.append(_rank_correlation(confidence[rows], distance[rows], labels[rows]))
    return np.array([draws[0], *_interval(draws[1:])])


def _rank_correlation(x, y, labels):
    """Compute the correlation of ranks within groups, less their means; nan where all are equal."""
    order = np.argsort(labels, kind="stable")
    ends = np.flatnonzero(labels[order][1:] != labels[order][:-1]) + 1
    x = np.concatenate([_centred_ranks(values) for values in np.split(x[order], ends)])
    y = np.concatenate([_centred_ranks(values) for values in np.split(y[order], ends)])
    scale = np.sqrt((x @ x) * (y @ y))
    if scale == 0:
        return np.nan
    return x @ y / scale


def _centred_ranks(values):
    """Compute ranks less their mean, as shares of the number of values."""
    return (rankdata(values) - (len(values) + 1) / 2) / len(values)


def _interval(draws):
    """Compute the ends of the central interval."""
    rest = (100 - _COVERED) / 2
    return np.percentile(draws, [rest, 100 - rest])
