"""Shards in one process that keep nothing of pairs of queries and rows: a scan for each pick.

A scan computes c = φ·w of all rows and all queries, in single precision. Bounds say which rows may
have the best score, and these are scored in double precision: the picks are those of
:mod:`._local_shards`. For G_xx given the picks A, which is never more than before any pick,

    rows added       G_xx >= σ² + (1 - λ) k_xx,   λ the largest eigenvalue of Σ d d^T = I - S_A^-1
    rows removed     G_xx >= σ⁴ / (σ² + k_xx)

so that c² over this bound, and over G_xx before any pick, are bounds of the score. They are close
while σ² is large beside the kernel. Where too many rows may be the best, the selection is lost: it
has to be made otherwise.
"""

import torch

from .._utils.budget import block_numbers
from .._utils.numeric import single_precision_is_kept
from ._local_shards import slices_of
from ._shards import NUMBERS, Leaders, barred, count_at_least, leaders, taken_of

# Rows that may be the best of a selection, at most.
MOST = 2048
# Selections that are made together, at most.
_TOGETHER = 1024
# Numbers of products of queries and rows that are looked at together.
_PRODUCTS = 2**21
# Share of a bound that rounding of what is not a product may be, and ties.
_LOOSE = 1e-5


def can_scan(rows, device):
    """Return whether blocks of rows are arrays that can be scanned: on the CPU and not scaled."""
    return hasattr(rows.points, "array") and rows.roots is None and device.type == "cpu"


def scanned_together(n_picks, n_features, memory_limit):
    """Count the queries whose numbers are within a budget."""
    each = 8 * n_features * (2 * n_picks + 4) + 64 * MOST
    return int(min(_TOGETHER, memory_limit // each))


class ScannedShards:
    """Shards as :class:`._sharded.ShardedSystem` asks them, of one query for each selection.

    Parameters
    ----------
    rule : ShardRule
        How rows are ranked.
    rows : RowBlocks
        The rows, of which :func:`can_scan` is true.
    diagonal, floor : Tensor of shape (n_rows,)
        G_xx before any pick, and its bound.

    Attributes
    ----------
    lost : Tensor of shape (B,), bool
        Selections whose picks are not found.
    """

    def __init__(self, rule, rows, diagonal, floor):
        self.rule = rule
        self.rows = rows
        self._diagonal = diagonal
        self._floor = floor
        self.lost = torch.zeros(0, dtype=torch.bool)

    def begin(self, queries, free, labels):
        self.free = free
        self.lost = torch.zeros(len(queries), dtype=torch.bool)
        self._weights = queries[:, 0].clone()  # (B, n_features): w
        self._columns = []  # (B, n_features) for each pick: of l
        self._found = [(torch.empty(0, dtype=torch.int64), queries.new_empty(0))] * len(queries)

    def condition(self, weights, at_pick):
        self._weights -= at_pick * weights
        self._columns.append(weights)

    def leaders(self, excluded, full):
        n_selections = len(excluded)
        possible = self._possible(excluded)
        best = self._weights.new_full((n_selections,), -torch.inf)
        first = self._first_free(excluded)
        parts = []
        for selection, score in self._scores(possible, excluded):
            numbers = possible[selection]
            self._found[selection] = numbers, score
            if not len(numbers):
                continue
            one = leaders(score[None])
            best[selection] = one.best[0]
            parts.append((one.selections + selection, numbers[one.rows], one.scores))
        if not parts:
            nothing = torch.empty(0, dtype=torch.int64)
            parts = [(nothing, nothing, best[:0])]
        return [Leaders(best, first, *(torch.cat(column) for column in zip(*parts, strict=True)))]

    def count(self, excluded, thresholds):
        """Count rows by :func:`count_at_least`, of the scores that led last."""
        counts = torch.zeros(len(excluded), dtype=torch.int64)
        n_free = int(self.free.rows.sum())
        for selection, (_, score) in enumerate(self._found):
            if thresholds[selection] > 0:
                counts[selection] = count_at_least(score[None], thresholds[selection, None])[0]
                continue
            taken = excluded[selection]
            taken = taken[taken >= 0].unique()
            counts[selection] = n_free - int(self.free.rows[taken].sum())
        return counts

    def _first_free(self, excluded):
        """Find the first row (B,) that each selection may pick; -1 where there is none."""
        head = self.free.rows.nonzero()[: excluded.shape[1] + 1, 0]
        first = torch.full((len(excluded),), -1)
        for selection, taken in enumerate(excluded):
            left = head[~torch.isin(head, taken)]
            if len(left) and not self.lost[selection]:
                first[selection] = left[0]
        return first

    def _possible(self, excluded):
        """Scan; return the rows that may be the best of each selection, ascending.

        None may be missing that could tie with the best.
        """
        asked = (~self.lost).nonzero()[:, 0]  # (b,)
        excluded = excluded[asked]
        found = Found(len(asked))
        units = torch.nn.functional.normalize(self._weights[asked], dim=1, eps=1e-300)
        share = self._share_left()
        reach, largest = self._reach(share)
        dtype = torch.float64
        if single_precision_is_kept() and 1e-15 < largest < 1e15:
            dtype = torch.float32
        # Of a product of a row and a direction of length 1, for every order of summation.
        n_features = units.shape[1]
        rounding = reach * (n_features + 16) * torch.finfo(dtype).eps / 2
        units = units.to(dtype)
        for rows, block in self._blocks(len(asked), dtype):
            scale, ratio = (values.to(dtype) for values in self._scales(rows, share))
            products = (units @ block.mT).mul_(scale).abs_()  # (B, n_block): of bounds
            products[taken_of(excluded, rows.start, rows.stop)] = 0.0
            found.add(rows.start, products, ratio, 2 * rounding)
            if found.lost.all():
                break
        possible = [torch.empty(0, dtype=torch.int64)] * len(self.lost)
        for selection, numbers in zip(asked.tolist(), found.rows(), strict=True):
            possible[selection] = numbers
        self.lost[asked] = found.lost
        return possible

    def _blocks(self, n_asked, dtype):
        """Yield slices of rows and their features, in the precision of a scan."""
        array = self.rows.points.array
        step = min(
            block_numbers(NUMBERS) // array.shape[1], block_numbers(_PRODUCTS) // max(1, n_asked)
        )
        step = max(1, step)
        for start in range(0, len(array), step):
            rows = slice(start, min(start + step, len(array)))
            block = array[rows]
            if not block.flags.writeable:
                block = block.copy()
            yield rows, torch.from_numpy(block).to(dtype)

    def _share_left(self):
        """Return the least share of k_xx that picks of a selection may have left: 1 - λ."""
        if not self._columns:
            return 1.0
        columns = torch.stack(self._columns, 1)[~self.lost]  # (B, t, n_features)
        if not len(columns):
            return 1.0
        largest = torch.linalg.eigvalsh(columns @ columns.mT)[:, -1].amax().item()
        return max(0.0, 1 - largest - 1e-10)

    def _bounds(self, rows, share):
        """Bound G_xx (n,) of some rows from below and above, and k_xx (n,) from above."""
        diagonal, floor = self._diagonal[rows], self._floor[rows]
        noise_variance = self.rule.noise_variance
        if self.rule.sign > 0:
            kernel = (diagonal - noise_variance).clamp(min=0.0)
            low = torch.maximum(floor, noise_variance + share * kernel)
            size = diagonal
        else:
            low = floor
            size = noise_variance * (noise_variance / floor)
            kernel = (size - noise_variance).clamp(min=0.0)
        kernel = kernel + 4 * torch.finfo(torch.float64).eps * size
        if not self.rule.divide:
            low = diagonal = torch.ones_like(diagonal)
        return low, diagonal, kernel

    def _scales(self, rows, share):
        """Compute the factors (n,) of |c| in the bound of the root of the score, 0 for none.

        Also what the bound is multiplied by for one from below.
        """
        low, high, _ = self._bounds(rows, share)
        scale = low.rsqrt() * self.free.rows[rows]
        return scale, (low / high).sqrt()

    def _reach(self, share):
        """Find the largest factor of a row times its length, and the largest length."""
        reach = largest = 0.0
        for rows in slices_of(len(self.rows), 1):
            low, _, kernel = self._bounds(rows, share)
            length = kernel.sqrt()
            reach = max(reach, (length * low.rsqrt()).amax().item())
            largest = max(largest, length.amax().item())
        return reach, largest

    def _scores(self, possible, excluded):
        """Yield each selection and the scores (n,) of rows that may be its best ones."""
        most = block_numbers(NUMBERS)
        together = []
        n_numbers = 0
        for selection, numbers in enumerate(possible):
            together.append(selection)
            n_numbers += len(numbers) * self._weights.shape[1]
            if n_numbers >= most or selection + 1 == len(possible):
                yield from self._scores_of(together, possible, excluded)
                together, n_numbers = [], 0

    def _scores_of(self, selections, possible, excluded):
        distinct = torch.cat([possible[selection] for selection in selections]).unique()
        if not len(distinct):
            yield from ((selection, self._weights.new_empty(0)) for selection in selections)
            return
        features = self.rows.features(distinct)
        for selection in selections:
            numbers = possible[selection]
            points = features[torch.searchsorted(distinct, numbers)]  # (n, n_features)
            score = (points @ self._weights[selection]).square_()
            if self.rule.divide:
                diagonal = self._diagonal[numbers].clone()
                for column in self._columns:
                    diagonal -= (points @ column[selection]).square_()
                score /= torch.maximum(diagonal, self._floor[numbers])
            taken = torch.isin(numbers, excluded[selection]).nonzero()[:, 0]
            free = self.free._replace(rows=self.free.rows[numbers])
            yield selection, barred(score[None], free, (torch.zeros_like(taken), taken))[0]


class Found:
    """Rows whose bound reaches the best score so far.

    Parameters
    ----------
    n_selections : int
        Selections.

    Attributes
    ----------
    lost : Tensor of shape (n_selections,), bool
        Selections with more than MOST such rows.
    """

    def __init__(self, n_selections):
        self.lost = torch.zeros(n_selections, dtype=torch.bool)
        self.least = torch.zeros(n_selections)  # a bound of the root of the best score, from below
        self.parts = []
        self.n_waiting = 0

    def add(self, start, bounds, ratio, slack):
        """Look at bounds (B, n) of the roots of scores of rows, and their ratio (n,) to the least.

        Bounds may be wrong by half of ``slack``.
        """
        self.slack = slack
        self.least = torch.maximum(self.least.to(bounds), bounds.amax(1) * ratio.amin())
        selections, columns = (bounds >= self._reached()[:, None]).nonzero(as_tuple=True)
        if not len(selections):
            return
        values = bounds[selections, columns]
        self.least.scatter_reduce_(0, selections, values * ratio[columns], "amax")
        self.parts.append((selections, columns + start, values))
        self.n_waiting += len(selections)
        if self.n_waiting > len(self.lost) * MOST // 4:
            self._tidy()

    def _reached(self):
        """Return what bounds (B,) have to reach."""
        reached = (1 - _LOOSE) * self.least - self.slack
        return reached.masked_fill(self.lost, torch.inf)

    def _tidy(self):
        """Leave rows out that the best score so far is above; lose selections with too many."""
        selections, numbers, values = (torch.cat(part) for part in zip(*self.parts, strict=True))
        stay = values >= self._reached()[selections]
        counts = torch.bincount(selections[stay], minlength=len(self.lost))
        self.lost |= counts > MOST
        stay &= ~self.lost[selections]
        self.parts = [(selections[stay], numbers[stay], values[stay])]
        self.n_waiting = 0

    def rows(self):
        """List rows (n,) that may be the best of each selection, ascending."""
        if not self.parts:
            return [torch.empty(0, dtype=torch.int64)] * len(self.lost)
        self._tidy()
        selections, numbers, _ = self.parts[0]
        order = selections.argsort(stable=True)
        counts = torch.bincount(selections, minlength=len(self.lost))
        return list(numbers[order].split(counts.tolist()))
