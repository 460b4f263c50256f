"""What realism found, and its figure."""

import numpy as np

from .._utils.displays import LinesDisplay, PointsDisplay
from .._utils.plotting import COLORS
from .._utils.results import Result
from .._utils.tables import Table, text_table

SPLITS = ("threshold", "median", "class median")
GROUPS = ("high", "low", "low - high", "train", "test", "reconstruction")
_BINS = 10  # of equally many samples, whose mean distance is drawn


def realism_result(*, confidence, labels, feature_distance, input_distance, high, size, **others):
    """Make the result of realism: attributes, tables and text."""
    samples = {
        "label": labels,
        "confidence": confidence,
        "feature_distance": feature_distance,
        "input_distance": input_distance,
    }
    splits = {"above_threshold": high[0], "upper_half": high[1], "upper_half_of_class": high[2]}
    frechet = others["frechet"]
    spearman = others["spearman"]
    estimate, lower, upper = np.moveaxis(frechet, 2, 0)
    groups = {"frechet": estimate, "lower": lower, "upper": upper, "size": size[:, None]}
    names = ["features", "values", "features, within classes"]
    return Result(
        text_table(
            f"Rank correlation of confidence with distance, {len(confidence)} samples",
            names,
            [f"  {rho:.2f} ({low:.2f} to {up:.2f})" for rho, low, up in spearman],
        ),
        Table({}, samples | splits),
        _figure,
        summary=Table({"split": SPLITS, "group": GROUPS}, groups),
        confidence=confidence,
        labels=labels,
        feature_distance=feature_distance,
        input_distance=input_distance,
        high=high,
        n_high=high.sum(axis=1),
        n_low=(~high).sum(axis=1),
        size=size,
        **others,
    )


def _figure(result, **style):
    """Draw distance over confidence with means of equal groups, beside Fréchet distances."""
    split = int(np.isnan(result.frechet[0, 0, 0]))
    threshold = result.thresholds[split]
    sides = ["upper half", "lower half"]
    if split == 0:
        sides = [f"confidence {sign} {threshold:.2g}" for sign in "≥<"]
    names = np.array([*sides, "training rows", "held out", "reconstructions"])
    shown = [GROUPS.index(g) for g in ("high", "low", "train", "test", "reconstruction")]
    frechet = result.frechet[split, shown]
    known = ~np.isnan(frechet[:, 0])
    estimate, lower, upper = frechet[known].T
    distances = PointsDisplay(
        [estimate],
        # An interval need not hold the estimate exactly.
        np.clip([[estimate - lower, upper - estimate]], 0, None),
        rows=names[known],
        style={"color": COLORS[1], "marker": "s", "capsize": 3},
        axes={"xlabel": "Fréchet distance (not FID)", "xlim": (0, None)},
    )
    order = np.argsort(result.confidence, kind="stable")
    bins = [rows for rows in np.array_split(order, _BINS) if len(rows)]
    rho, low, up = result.spearman[0]
    return LinesDisplay(
        np.array([result.confidence[rows].mean() for rows in bins]),
        [[result.feature_distance[rows].mean() for rows in bins]],
        names=["mean of equal groups"],
        style=style,
        dots=(result.confidence, result.feature_distance),
        references=[(threshold, None, {"color": "0.3", "linewidth": 0.8, "linestyle": ":"})],
        axes={
            "xlabel": "index confidence",
            "ylabel": "distance to the nearest training row",
            "title": f"Spearman {rho:.2f} ({low:.2f} to {up:.2f})",
        },
        legend={"fontsize": "small"},
        beside=distances,
    )
