"""The minima of an objective's problems, with all rows and with fewer.

Shapes in comments: n rows, m of them at a time, d columns, K outputs of all parts together.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import issparse
from tqdm.auto import tqdm

from ..._utils.budget import limit
from ..._utils.kept import check_fits
from ...information._conjugate import VECTORS
from ...information._leave_one_out import LeaveOneOut
from ...information._newton import Point, minimise
from ...information._row_algebra import outputs_of_rows

# Floating point operations that Newton steps beyond the first may take: some seconds.
_AFFORDABLE = 2e10
# Bytes of queries that are answered at once, at least where the budget is larger.
_BLOCK = 64_000_000


class Minima:
    """Minima of all parts of an objective, without some rows.

    Parameters
    ----------
    objective : Objective
        The objective.
    points : list of Point
        The minimum of each part.
    """

    def __init__(self, objective, points, leave_one_out=None):
        self.objective = objective
        self.points = points
        self._leave_one_out = leave_one_out

    @classmethod
    def of(cls, objective):
        """Find the minima with all rows, from the parameters of the fitted estimator."""
        share = limit() / len(objective.parts)
        parts = tuple(
            replace(part, problem=replace(part.problem, memory_limit=share))
            for part in objective.parts
        )
        objective = replace(objective, parts=parts)
        check_hessians_fit(parts)
        return cls(objective, [minimise(part.problem, part.theta) for part in parts])

    @property
    def bytes_held(self):
        """Bytes of what belongs to Hessians and rows; vectors for blocks come on top."""
        return bytes_of_hessians(self.objective.parts)

    @property
    def n_rows(self):
        """Number of rows, those that are left out among them."""
        return self.points[0].problem.n_rows

    @property
    def implicit(self):
        """Whether Hessians are not formed, so that parameters without each row are not either."""
        return any(point.problem.implicit for point in self.points)

    @property
    def removed(self):
        """Rows that are left out."""
        return self.points[0].removed

    def without(self, rows):
        """Find the minima without more rows."""
        removed = np.union1d(self.removed, rows).astype(np.int64)
        points = [minimise(point.problem, point.theta, removed) for point in self.points]
        return Minima(self.objective, points)

    def without_row(self, row):
        """Find the minima without one more row, by an update of what is known for each row."""
        steps = [removal.without(row) for removal in self.leave_one_out]
        return Minima(self.objective, [removal.minimum for removal in steps], steps)

    def queries_together(self):
        """Count the queries whose features of kernels are there at once; None for all."""
        size = sum(len(part.design.factor) for part in self.objective.parts if part.design.n_bytes)
        if not size:
            return None
        return max(1, int(self._left() / 2 / (8 * 3 * size)))

    def designs(self, X):
        """Return rows (n_queries, d) of each part's problem, from rows as users give them."""
        prepared = self.objective.prepare(X)
        return [part.design.rows(prepared) for part in self.objective.parts]

    def training_designs(self):
        """Return the training rows of each part's problem."""
        return [part.problem.design for part in self.objective.parts]

    def outputs(self, designs):
        """Compute outputs (n_queries, K)."""
        parts = zip(designs, self.points, strict=True)
        return np.hstack([np.asarray(rows @ point.theta.T) for rows, point in parts])

    @property
    def leave_one_out(self):
        """Newton steps to the minimum without each row, of each part."""
        if self._leave_one_out is None:
            self._leave_one_out = [LeaveOneOut(point) for point in self.points]
        return self._leave_one_out

    def affordable_steps(self):
        """Return how many Newton steps are worth their cost: 1 where that is exact, else 2 or 3."""
        removals = self.leave_one_out
        if self.implicit or all(removal.exact for removal in removals):
            return 1
        cost = sum(
            point.problem.n_rows**2 * (4 * point.theta.size + 60 * len(point.theta))
            for point in self.points
        )
        wanted = 2
        if all(point.problem.loss.quadratic for point in self.points):
            wanted = 3
        return int(min(wanted, 1 + _AFFORDABLE // cost))

    def affordable_solutions(self, n_steps):
        """Return for how many rows of each part the problem may be solved to the end."""
        if n_steps == 1:  # nothing tells where one step is not enough
            return 0
        cost = sum(
            5 * point.theta.size**2 * (point.problem.n_rows + point.theta.size)
            for point in self.points
        )
        return int(_AFFORDABLE // cost)

    def parameters_without(self, rows, n_steps, n_solved=0):
        """Compute parameters (m, K, d) of each part without each of some rows."""
        return [removal.parameters(rows, n_steps, n_solved) for removal in self.leave_one_out]

    def drops(self, designs, labels):
        """Compute the falls of margins (n_queries, n) without each row, to one step."""
        outputs = self.outputs(designs)
        before = self.margins(outputs, labels)
        drops = np.empty((len(outputs), self.n_rows))
        step = max(1, int(self._left() / self._bytes_of_query()))
        for start in range(0, len(outputs), step):
            queries = [dense_rows(design[start : start + step]) for design in designs]
            parts = zip(self.leave_one_out, queries, strict=True)
            changes = np.concatenate([part.changes_of(rows) for part, rows in parts], axis=2)
            for number, change in enumerate(changes, start):
                label = label_of(labels, number)
                after = self.objective.response.margin(outputs[number] - change, label)
                drops[number] = before[number] - after
        return drops

    def _left(self):
        """Count the bytes of a block of queries that are answered at once."""
        problems = [point.problem for point in self.points]
        limits = sum(problem.memory_limit for problem in problems)
        return max(min(_BLOCK, limits / 16), (limits - self.bytes_held) / 4)

    def _bytes_of_query(self):
        """Count the bytes that the changes of a query's outputs take on the way."""
        size = 0
        for point in self.points:
            n_outputs = len(point.theta)
            vectors = VECTORS if point.problem.implicit else 2
            size += vectors * n_outputs * point.theta.size
            size += 4 * point.problem.n_rows * n_outputs * (n_outputs + 1)
        return 8 * size

    def changes(self, query):
        """Compute by how much a query's outputs (n, K) fall without each row, to one step."""
        parts = zip(self.leave_one_out, query, strict=True)
        return np.hstack([removal.output_changes(row) for removal, row in parts])

    def margin(self, query, label):
        """Compute the margin of one query, which is given by its row of each part."""
        outputs = self.outputs([row[None] for row in query])[0]
        return self.objective.response.margin(outputs, label)

    def gains(self, query, label, allowed, sign):
        """Compute how far a query's margin falls (sign 1) or rises (-1) without each row, (n,).

        To one step; -inf where a row is not allowed or cannot be removed.
        """
        outputs = self.outputs([row[None] for row in query])[0]
        after = self.objective.response.margin(outputs - self.changes(query), label)
        gains = sign * (self.margin(query, label) - after)
        return np.where(allowed & np.isfinite(gains), gains, -np.inf)

    def own_drops(self, labels):
        """Compute falls of the margins (n,) of training rows without themselves, to one step."""
        outputs = self.outputs(self.training_designs())
        changes = np.hstack([removal.own_changes for removal in self.leave_one_out])
        return self.margins(outputs, labels) - self.margins(outputs - changes, labels)

    def margins(self, outputs, labels):
        """Compute margins (..., n_queries) from outputs (..., n_queries, K) at queries' labels."""
        response = self.objective.response
        if labels is None:
            return response.margin(outputs, None)
        margins = np.empty(outputs.shape[:-1])
        for label in np.unique(labels):
            ours = labels == label
            margins[..., ours] = response.margin(outputs[..., ours, :], label)
        return margins


class RowByRow:
    """Parameters without each row alone, kept where they fit.

    Parameters
    ----------
    minima : Minima
        Minima with all rows.
    n_steps : int
        Newton steps.
    n_solved : int
        Rows for which the problems may be solved to the end, where steps do not arrive.
    memory_limit : float
        Bytes, of which those that Hessians leave are for parameters: half of these may be kept.
    verbose : bool
        Whether to show progress.
    """

    def __init__(self, minima, n_steps, n_solved, memory_limit, verbose):
        self.minima = minima
        self.n_steps = n_steps
        self.n_solved = n_solved
        self.memory_limit = memory_limit
        self.verbose = verbose
        self._kept = None

    @property
    def _left(self):
        """Bytes that Hessians leave to parameters without rows."""
        return max(self.memory_limit / 16, self.memory_limit - self.minima.bytes_held)

    def blocks(self):
        """Yield row numbers (m,) and each part's parameters (m, K, d) without them."""
        n = self.minima.n_rows
        size = 8 * sum(point.theta.size for point in self.minima.points)
        if n * size <= self._left / 2:
            if self._kept is None:
                self._kept = self._without(np.arange(n))
            yield np.arange(n), self._kept
            return
        step = max(1, int(self._left / 8 / size))
        for start in tqdm(range(0, n, step), desc="rows", disable=not self.verbose):
            rows = np.arange(start, min(start + step, n))
            yield rows, self._without(rows)

    def drops(self, designs, labels):
        """Compute the falls of queries' margins (n_queries, n) without each row."""
        margins = self.minima.margins(self.minima.outputs(designs), labels)  # (n_queries,)
        n_queries = len(margins)
        drops = np.empty((n_queries, self.minima.n_rows))
        n_outputs = sum(len(point.theta) for point in self.minima.points)
        # Outputs of so many pairs of a row and a query, some arrays of which are there at once.
        pairs = max(1, int(min(_BLOCK, self._left / 4) / (8 * 6 * n_outputs)))
        for rows, parameters in self.blocks():
            step = max(1, pairs // max(1, n_queries))
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                part = [theta[some] for theta in parameters]
                outputs = output_blocks(part, designs)  # (m, n_queries, K)
                drops[:, rows[some]] = (margins - self.minima.margins(outputs, labels)).T
        return drops

    def own_drops(self, labels):
        """Compute the falls of the margins (n,) of training rows without themselves."""
        designs = self.minima.training_designs()
        before = self.minima.margins(self.minima.outputs(designs), labels)
        drops = np.empty(self.minima.n_rows)
        for rows, parameters in self.blocks():
            outputs = own_outputs(parameters, designs, rows)
            drops[rows] = before[rows] - self.minima.margins(outputs, label_of(labels, rows))
        return drops

    def _without(self, rows):
        """Compute parameters (m, K, d) of each part without each of some rows."""
        share = int(self.n_solved * len(rows) / self.minima.n_rows)
        return self.minima.parameters_without(rows, self.n_steps, share)

    def __getstate__(self):
        return vars(self) | {"_kept": None}  # computed again


def bytes_of_hessians(parts):
    """Count the bytes that problems hold of Hessians, where they are formed, and of rows."""
    needed = 0
    for part in parts:
        problem = part.problem
        needed += problem.bytes_of_rows if problem.implicit else problem.bytes_formed
        needed += part.design.n_bytes
    return needed


def check_hessians_fit(parts):
    """Raise a MemoryError where Hessians, or the vectors that stand for them, do not fit."""
    problems = [part.problem for part in parts]
    size = max(problem.n_parameters for problem in problems)
    needed = bytes_of_hessians(parts)
    advice = "take fewer features, by feature selection, PCA or TruncatedSVD"
    if all(problem.implicit for problem in problems):
        needed += max(problem.bytes_implicit - problem.bytes_of_rows for problem in problems)
        what = f"solving a system of {size} parameters, whose matrix is not formed, takes"
    else:
        what = f"the Hessian of {size} parameters and what is computed from it take"
    check_fits(needed, what, sum(problem.memory_limit for problem in problems), advice)


def output_blocks(parameters, designs):
    """Compute outputs (m, n_queries, K) of queries with parameters (m, K, d) of each part."""
    blocks = []
    for theta, design in zip(parameters, designs, strict=True):
        m, n_outputs, d = theta.shape
        flat = np.asarray(design @ theta.reshape(-1, d).T)  # (n_queries, m K)
        blocks.append(flat.reshape(-1, m, n_outputs).transpose(1, 0, 2))
    return np.concatenate(blocks, axis=-1)


def own_outputs(parameters, designs, rows):
    """Compute outputs (m, K) of some training rows with the parameters (m, K, d) without each."""
    pairs = zip(parameters, designs, strict=True)
    return np.hstack([outputs_of_rows(design[rows], theta) for theta, design in pairs])


def dense_rows(design):
    """Return rows (m, d) of a design that may be sparse."""
    if issparse(design):
        return design.toarray()
    return design


def dense_row(design, number):
    """Return one row (d,) of a design that may be sparse."""
    return dense_rows(design[[number]])[0]  # sparse arrays have rows of one dimension


def each_row(first, designs):
    """Yield numbers of queries from a first one on, and each one's row of each part's problem."""
    for number in range(designs[0].shape[0]):
        yield first + number, [dense_row(design, number) for design in designs]


def label_of(labels, number):
    """Return the label of a query, or of some; None in a regression."""
    if labels is None:
        return None
    return labels[number]


def distance_from_minimum(part, minimum):
    """Measure how far a fitted estimator is from the minimum of a part.

    Returns
    -------
    gradient_norm : float
        Norm of the gradient at the estimator's parameters.
    distance : float
        Root mean square difference of outputs, relative to their spread over the rows.
    """
    start = Point(part.problem, (), part.theta)
    with np.errstate(over="ignore", invalid="ignore"):
        gradient_norm = float(np.linalg.norm(start.gradient))
    difference = np.sqrt(np.mean((start.outputs - minimum.outputs) ** 2))
    spread = minimum.outputs.std(0).max()
    if spread > 0:
        return gradient_norm, float(difference / spread)
    return gradient_norm, float(difference > 0)
