"""Equal shares of classes."""

import numpy as np


def equal_shares(counts, k):
    """Split k over classes as evenly as their counts allow; larger classes get the remainder."""
    shares = np.zeros_like(counts)
    while shares.sum() < k:
        open_ = np.flatnonzero(shares < counts)
        open_ = open_[np.argsort(-counts[open_], kind="stable")]
        each, left = divmod(k - shares.sum(), len(open_))
        step = np.full(len(open_), each)
        step[:left] += 1
        shares[open_] = np.minimum(shares[open_] + step, counts[open_])
    return shares
