"""Minima without rows, against SciPy's minimiser and against one Newton step written out."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from sklearn_provenance.information import (
    _conjugate,
    _convex_problem,
    _function_space,
    _leave_one_out,
)
from sklearn_provenance.information._conjugate import ConjugateGradients
from sklearn_provenance.information._convex_problem import Balance, ConvexProblem
from sklearn_provenance.information._diagnostics import CaseDeletion
from sklearn_provenance.information._function_space import (
    FunctionSpaceInverse,
    invert_through_rows,
)
from sklearn_provenance.information._hessians import FormedInverse, NoMinimumError, invert
from sklearn_provenance.information._leave_one_out import LeaveOneOut
from sklearn_provenance.information._losses import (
    HuberLoss,
    LogisticLoss,
    ModifiedHuberLoss,
    MultinomialLoss,
    SquaredEpsilonInsensitiveLoss,
    SquaredHingeLoss,
    SquaredLoss,
    TweedieLoss,
)
from sklearn_provenance.information._newton import Point, minimise
from sklearn_provenance.information._row_algebra import UpdatedInverse, parameter_scale

LOSSES = {
    "squared": (SquaredLoss(), "number"),
    "logistic": (LogisticLoss(), "mark"),
    "multinomial": (MultinomialLoss(), "class"),
    "squared hinge": (SquaredHingeLoss(), "sign"),
    "modified Huber": (ModifiedHuberLoss(), "sign"),
    "Huber": (HuberLoss(0.7), "number"),
    "squared epsilon-insensitive": (SquaredEpsilonInsensitiveLoss(0.2), "number"),
    "Poisson": (TweedieLoss(1.0), "count"),
    "Gamma": (TweedieLoss(2.0), "positive"),
    "Tweedie": (TweedieLoss(1.5), "count"),
}
SMOOTH = ["squared", "logistic", "multinomial", "Poisson", "Gamma", "Tweedie"]


def make_targets(kind, rng, n):
    if kind == "class":
        return np.eye(3)[np.r_[0, 1, 2, rng.integers(3, size=n - 3)]]
    values = {
        "number": rng.normal(size=n),
        "mark": np.r_[0, 1, rng.integers(2, size=n - 2)],
        "sign": np.r_[-1, 1, rng.choice([-1, 1], size=n - 2)],
        "count": rng.poisson(2, size=n),
        "positive": rng.gamma(2, size=n),
    }[kind]
    return values[:, None].astype(float)


def make_problem(name, seed, n=18, d=3, averaged=False, balanced=False, weighted=False):
    """A random problem with a column of ones that is not penalised."""
    rng = np.random.default_rng(seed)
    loss, kind = LOSSES[name]
    design = np.hstack([rng.normal(size=(n, d)), np.ones((n, 1))])
    targets = make_targets(kind, rng, n)
    masses = rng.uniform(0.5, 2, n) if weighted else None
    weights = np.ones(n) if masses is None else masses
    classes = np.r_[0, 0, 1, 1, rng.integers(2, size=n - 4)]
    return ConvexProblem(
        design=design,
        targets=targets,
        loss=loss,
        weights=weights,
        penalty=np.r_[np.full(d, 0.8), 0],
        masses=masses,
        averaged=averaged,
        balance=Balance(classes, 2, classes >= 0) if balanced else None,
        gauge=np.arange(d + 1) == d if kind == "class" else None,
    )


def start(problem):
    return np.zeros((problem.n_outputs, problem.design.shape[1]))


def value(problem, removed, theta):
    """F written out, without any of the package's shortcuts."""
    kept = np.setdiff1d(np.arange(problem.n_rows), removed)
    masses = np.ones(problem.n_rows) if problem.masses is None else problem.masses
    weights = problem.weights.copy()
    if problem.balance is not None:
        classes = problem.balance.class_of
        for label in range(2):
            share = masses[kept][classes[kept] == label].sum() / masses[kept].sum()
            weights[classes == label] /= 2 * share
    scale = masses[kept].sum() / masses.sum() if problem.averaged else 1
    losses = problem.loss.value(problem.design @ theta.T, problem.targets)
    return weights[kept] @ losses[kept] + scale * 0.5 * (theta**2 * problem.penalty).sum()


def by_scipy(problem, removed=()):
    shape = start(problem).shape
    found = minimize(
        lambda flat: value(problem, removed, flat.reshape(shape)),
        start(problem).ravel(),
        method="BFGS",
        options={"gtol": 1e-7},
    )
    return found.x.reshape(shape)


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_derivatives_are_those_of_the_value(name, seed):
    rng = np.random.default_rng(seed)
    loss, kind = LOSSES[name]
    targets = make_targets(kind, rng, 6)
    outputs = rng.normal(size=targets.shape)
    step = 1e-5
    gradient = np.empty_like(outputs)
    curvature = np.empty((*outputs.shape, outputs.shape[1]))
    for k in range(outputs.shape[1]):
        shift = np.zeros_like(outputs)
        shift[:, k] = step
        up, down = outputs + shift, outputs - shift
        gradient[:, k] = (loss.value(up, targets) - loss.value(down, targets)) / (2 * step)
        second = (loss.gradient(up, targets) - loss.gradient(down, targets)) / (2 * step)
        curvature[:, :, k] = second
    np.testing.assert_allclose(loss.gradient(outputs, targets), gradient, rtol=1e-4, atol=2e-5)
    if name in SMOOTH:  # others jump
        np.testing.assert_allclose(
            loss.curvature(outputs, targets), curvature, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_minimum_is_that_of_scipy(name, averaged, balanced):
    problem = make_problem(name, 0, averaged=averaged, balanced=balanced, weighted=True)
    for removed in ([], [2, 5, 7]):
        found = minimise(problem, start(problem), removed)
        outputs = problem.design @ by_scipy(problem, removed).T
        if problem.n_outputs > 1:  # what all outputs have in common has no effect
            outputs -= outputs.mean(1, keepdims=True)
        ours = found.outputs - (
            found.outputs.mean(1, keepdims=True) if problem.n_outputs > 1 else 0
        )
        np.testing.assert_allclose(ours, outputs, atol=2e-4)
        assert found.value == pytest.approx(value(problem, removed, found.theta), rel=1e-12)


@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(SMOOTH),
    averaged=st.booleans(),
    balanced=st.booleans(),
)
def test_one_step_is_newtons(seed, name, averaged, balanced):
    """The closed form is the step with the gradient and Hessian of the problem without the row."""
    problem = make_problem(name, seed, averaged=averaged, balanced=balanced)
    minimum = minimise(problem, start(problem))
    rows = np.arange(problem.n_rows)
    removal = LeaveOneOut(minimum)
    theta = removal.parameters(rows)
    for row in rows:
        without = Point(problem, [row], minimum.theta)
        step = np.linalg.pinv(without.hessian(), rcond=1e-12) @ without.gradient.ravel()
        expected = problem.design @ (minimum.theta - step.reshape(minimum.theta.shape)).T
        outputs = problem.design @ theta[row].T
        if problem.n_outputs > 1:
            expected -= expected.mean(1, keepdims=True)
            outputs -= outputs.mean(1, keepdims=True)
        np.testing.assert_allclose(outputs, expected, atol=1e-8 * (1 + abs(expected).max()))
    query = np.random.default_rng(seed).normal(size=problem.design.shape[1])
    changes = minimum.theta @ query - theta @ query
    np.testing.assert_allclose(removal.output_changes(query), changes, atol=1e-10)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), averaged=st.booleans(), balanced=st.booleans())
def test_one_step_is_exact_for_squared_losses(seed, averaged, balanced):
    problem = make_problem("squared", seed, averaged=averaged, balanced=balanced)
    removal = LeaveOneOut(minimise(problem, start(problem)))
    assert removal.exact
    theta = removal.parameters(np.arange(problem.n_rows))
    for row in range(problem.n_rows):
        expected = minimise(problem, start(problem), [row]).theta
        np.testing.assert_allclose(theta[row], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_further_steps_lead_to_the_minimum_without_the_row(name, averaged, balanced):
    problem = make_problem(name, 1, n=30, averaged=averaged, balanced=balanced, weighted=True)
    minimum = minimise(problem, start(problem))
    removal = LeaveOneOut(minimum)
    rows = np.arange(problem.n_rows)
    errors = []
    for n_steps in (1, 2, 8):
        theta = removal.parameters(rows, n_steps)
        outputs = np.einsum("ikd,nd->ink", theta, problem.design)
        expected = [minimise(problem, minimum.theta, [row]).outputs for row in rows]
        errors.append(abs(outputs - expected).max())
    if removal.exact:
        assert errors[0] < 1e-10
    else:
        assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 1e-3 * errors[0] + 1e-10


@pytest.mark.parametrize("name", ["logistic", "multinomial"])
def test_removal_goes_on_from_a_minimum_without_rows(name):
    problem = make_problem(name, 2, n=24, balanced=True)
    minimum = minimise(problem, start(problem), [3, 9])
    removal = LeaveOneOut(minimum)
    rows = np.setdiff1d(np.arange(24), [3, 9])
    theta = removal.parameters(rows, 8)
    for row, ours in zip(rows, theta, strict=True):
        expected = minimise(problem, minimum.theta, [3, 9, row]).outputs
        np.testing.assert_allclose(problem.design @ ours.T, expected, atol=2e-3)
    changes = removal.output_changes(problem.design[0])
    assert np.isnan(changes[[3, 9]]).all()
    assert np.isfinite(changes[rows]).all()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(SMOOTH),
    averaged=st.booleans(),
    balanced=st.booleans(),
    sparse=st.booleans(),
)
def test_updates_row_after_row_are_as_from_the_beginning(seed, name, averaged, balanced, sparse):
    problem = make_problem(name, seed, n=40, averaged=averaged, balanced=balanced, weighted=True)
    if sparse:
        fields = {key: getattr(problem, key) for key in ConvexProblem.__dataclass_fields__}
        problem = ConvexProblem(**fields | {"design": csr_matrix(problem.design)})
    removal = LeaveOneOut(minimise(problem, start(problem)))
    query = np.random.default_rng(seed).normal(size=problem.design.shape[1])
    picked = [31, 5, 17, 8, 22]
    for number, row in enumerate(picked, 1):
        removal = removal.without(row)
        fresh = LeaveOneOut(minimise(problem, start(problem), picked[:number]))
        size = abs(fresh.minimum.outputs).max()
        ours, theirs = (
            outputs - outputs.mean(1, keepdims=True) * (problem.n_outputs > 1)
            for outputs in (removal.minimum.outputs, fresh.minimum.outputs)
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * size)
        changes = removal.output_changes(query), fresh.output_changes(query)
        rows = np.setdiff1d(np.arange(40), picked[:number])
        assert np.isnan(changes[0][picked[:number]]).all()
        # The Hessian may be that of some rows ago.
        biggest = np.nanmax(abs(changes[1]))
        np.testing.assert_allclose(changes[0][rows], changes[1][rows], atol=0.1 * biggest)


def test_updates_are_exact_for_the_squared_loss():
    problem = make_problem("squared", 7, n=30)
    removal = LeaveOneOut(minimise(problem, start(problem)))
    query = np.ones(problem.design.shape[1])
    for row in (3, 9, 21, 0):
        removal = removal.without(row)
    fresh = LeaveOneOut(minimise(problem, start(problem), [0, 3, 9, 21]))
    np.testing.assert_allclose(removal.minimum.theta, fresh.minimum.theta, atol=1e-11)
    changes = removal.output_changes(query), fresh.output_changes(query)
    np.testing.assert_allclose(*changes, atol=1e-11)
    np.testing.assert_allclose(removal.leverages, fresh.leverages, atol=1e-11)
    rows = np.array([1, 7])
    theta = removal.parameters(rows), fresh.parameters(rows)
    np.testing.assert_allclose(*theta, atol=1e-11)


@pytest.mark.parametrize("name", ["logistic", "multinomial", "squared"])
def test_sparse_rows_give_the_same(name):
    dense = make_problem(name, 3, balanced=True)
    fields = {key: getattr(dense, key) for key in ConvexProblem.__dataclass_fields__}
    sparse = ConvexProblem(**fields | {"design": csr_matrix(dense.design)})
    found = [minimise(problem, start(problem)) for problem in (dense, sparse)]
    np.testing.assert_allclose(found[0].theta, found[1].theta, atol=1e-10)
    rows = np.arange(dense.n_rows)
    theta = [LeaveOneOut(minimum).parameters(rows, 2) for minimum in found]
    np.testing.assert_allclose(theta[0], theta[1], atol=1e-10)
    changes = [LeaveOneOut(minimum).output_changes(dense.design[0]) for minimum in found]
    np.testing.assert_allclose(changes[0], changes[1], atol=1e-10)


def test_leverages_sum_to_the_number_of_parameters():
    problem = make_problem("squared", 4)
    fields = {key: getattr(problem, key) for key in ConvexProblem.__dataclass_fields__}
    free = ConvexProblem(**fields | {"penalty": np.zeros(4)})
    assert LeaveOneOut(minimise(free, start(free))).leverages.sum() == pytest.approx(4)


def test_what_has_no_unique_minimum_is_refused():
    problem = make_problem("logistic", 5, n=8)
    fields = {key: getattr(problem, key) for key in ConvexProblem.__dataclass_fields__}
    separable = (problem.design[:, :1] > 0).astype(float)
    fields |= {"targets": separable, "penalty": np.zeros(4)}
    with pytest.raises(NoMinimumError):
        minimise(ConvexProblem(**fields), start(problem))
    copied = np.hstack([problem.design, problem.design[:, :1]])
    fields |= {"design": copied, "loss": SquaredLoss(), "penalty": np.zeros(5)}
    with pytest.raises(NoMinimumError, match="singular"):
        minimise(ConvexProblem(**fields), np.zeros((1, 5)))
    balanced = make_problem("logistic", 5, balanced=True)
    of_class = np.flatnonzero(balanced.balance.class_of == 0)
    with pytest.raises(NoMinimumError, match="every class must keep a row"):
        minimise(balanced, start(balanced), of_class)


def test_a_row_that_alone_determines_a_parameter_has_no_answer():
    problem = make_problem("squared", 6)
    design = np.hstack([problem.design, np.eye(problem.n_rows)[:, :1]])  # only row 0 has it
    fields = {key: getattr(problem, key) for key in ConvexProblem.__dataclass_fields__}
    free = ConvexProblem(**fields | {"design": design, "penalty": np.zeros(5)})
    theta = LeaveOneOut(minimise(free, np.zeros((1, 5)))).parameters(np.arange(problem.n_rows))
    assert np.isnan(theta[0]).all()
    assert np.isfinite(theta[1:]).all()
    with pytest.raises(NoMinimumError, match="the row alone determines a parameter"):
        LeaveOneOut(minimise(free, np.zeros((1, 5)))).without(0)


def test_rows_without_which_there_is_no_minimum_have_no_answer(monkeypatch):
    """Found when the problem without the row is solved to the end, as that of large steps is."""
    problem = make_problem("logistic", 5, n=8)
    removal = LeaveOneOut(minimise(problem, start(problem)))
    rows = np.arange(8)
    steps = removal.parameters(rows, n_steps=2)
    monkeypatch.setattr(_leave_one_out, "_SLOW", -1.0)

    def refuse(problem, theta, removed, **_):
        if removed[-1] == 3:
            raise NoMinimumError("classes are separated without it")
        return minimise(problem, theta, removed, tolerance=1e-12)

    monkeypatch.setattr(_leave_one_out, "minimise", refuse)
    found = removal.parameters(rows, n_steps=2, n_solved=8)
    assert np.isnan(found[3]).all()
    np.testing.assert_allclose(np.delete(found, 3, 0), np.delete(steps, 3, 0), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("diagonal", [[1.0, np.nan], [1.0, 0.0], [-1.0, 1.0], [np.inf, 1.0]])
def test_hessians_that_cannot_be_inverted_are_refused(diagonal):
    with pytest.raises(NoMinimumError, match="must be finite and positive definite"):
        invert(np.diag(diagonal))


def test_scales_of_parameters_are_those_of_the_inverse():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(9, 5))
    formed = FormedInverse(np.linalg.inv(factor.T @ factor))
    expected = np.sqrt(np.diag(formed.matrix))
    np.testing.assert_allclose(parameter_scale(formed), expected)
    columns = rng.normal(size=(5, 2))
    updated = UpdatedInverse(formed).plus(columns, np.eye(2))
    np.testing.assert_allclose(parameter_scale(updated), expected)  # near to it
    np.testing.assert_allclose(updated.times(np.eye(5)), formed.matrix + columns @ columns.T)
    diagonal = np.array([1.0, 4.0, 9.0])
    implicit = ConjugateGradients(csr_matrix((2, 3)), np.zeros((2, 1, 1)), diagonal)
    np.testing.assert_allclose(parameter_scale(implicit), [1, 1 / 2, 1 / 3])


@pytest.mark.parametrize("name", ["squared", "logistic", "Poisson"])
def test_leverages_of_sparse_rows_are_those_of_dense_ones(name):
    dense = make_problem(name, 4, weighted=True)
    fields = {key: getattr(dense, key) for key in ConvexProblem.__dataclass_fields__}
    sparse = ConvexProblem(**fields | {"design": csr_matrix(dense.design)})
    found, expected = (
        CaseDeletion(minimise(problem, start(problem))).leverage for problem in (sparse, dense)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert 0 < expected.sum() < 4


def test_each_step_of_conjugate_gradients_comes_nearer(monkeypatch):
    rng = np.random.default_rng(0)
    design = csr_matrix(rng.normal(size=(9, 6)))
    curvatures = rng.uniform(0.1, 2, (9, 1, 1))
    solver = ConjugateGradients(design, curvatures, np.full(6, 0.3))
    vectors = rng.normal(size=(4, 6))
    hessian = (design.T @ (design.toarray() * curvatures[:, 0])) + 0.3 * np.eye(6)
    exact = np.linalg.solve(hessian, vectors.T).T
    errors = []
    for steps in range(7):
        monkeypatch.setattr(_conjugate, "_MOST_ITERATIONS", steps)
        error = solver.times(vectors) - exact
        errors.append(np.einsum("mp,pq,mq->m", error, hessian, error))
    assert (np.diff(errors, axis=0) < 0).all()
    np.testing.assert_allclose(errors[-1], 0, atol=1e-12)


class TestFunctionSpace:
    """The inverse through the matrix among rows, beside the inverse written out."""

    @staticmethod
    def problem(free, curvatures, seed=0, n=12, d=7):
        rng = np.random.default_rng(seed)
        design = rng.normal(size=(n, d + free)) * (rng.random((n, d + free)) < 0.6)
        design[:, d:] = rng.normal(size=(n, free))
        penalty = np.r_[rng.uniform(0.5, 2, d), np.zeros(free)]
        curvature = {
            "moderate": rng.uniform(0.1, 1, n),
            "small": rng.uniform(0.1, 1, n) * 1e-6,
            "mixed": rng.uniform(0.1, 1, n) * np.where(np.arange(n) % 3, 1, 1e-7),
            "some zero": rng.uniform(0.1, 1, n) * (np.arange(n) % 3 > 0),
        }[curvatures]
        hessian = (design * curvature[:, None]).T @ design + np.diag(penalty)
        return design, curvature, penalty, np.linalg.inv(hessian)

    @pytest.mark.parametrize("free", [0, 1, 3])
    @pytest.mark.parametrize("curvatures", ["moderate", "small", "mixed", "some zero"])
    def test_products_are_those_of_the_inverse(self, free, curvatures, monkeypatch):
        design, curvature, penalty, expected = self.problem(free, curvatures)
        monkeypatch.setattr(_function_space, "_BLOCK", 4 * 12 * 5)  # several blocks of rows
        monkeypatch.setattr(_function_space, "_DENSE_COLUMNS", 2)
        inverse = FunctionSpaceInverse(csr_matrix(design), curvature, penalty)
        vectors = np.random.default_rng(1).normal(size=(4, design.shape[1]))
        scale = abs(expected).max()
        np.testing.assert_allclose(inverse.times(vectors), vectors @ expected, atol=1e-4 * scale)
        leverage = np.einsum("nd,de,ne->n", design, expected, design)
        np.testing.assert_allclose(
            inverse.cross()[:, 0, 0], leverage, rtol=1e-3, atol=1e-4 * leverage.max()
        )

    @pytest.mark.parametrize("free", [0, 1])
    @pytest.mark.parametrize("scale", [1e12, 1e38, 1e45, 1e100])
    def test_what_single_precision_cannot_hold_is_not_inverted_so(self, free, scale):
        design, curvature, penalty, _ = self.problem(free, "moderate")
        problem = make_problem("squared", 4)
        fields = {key: getattr(problem, key) for key in ConvexProblem.__dataclass_fields__}
        fields |= {"design": csr_matrix(design), "penalty": penalty, "targets": curvature[:, None]}
        for factor, is_inverted in ((1.0, True), (scale, False)):
            large = ConvexProblem(**fields | {"weights": curvature * factor})
            inverse = invert_through_rows(Point(large, [], start(large)))
            assert (inverse is not None) == is_inverted


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_inverse_of_columns_of_any_scale(seed):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(9, 5))
    scale = 10.0 ** rng.uniform(-6, 6, 5)
    inverse = invert((factor.T @ factor) * scale[:, None] * scale)
    expected = np.linalg.inv(factor.T @ factor) / scale[:, None] / scale
    np.testing.assert_allclose(inverse, expected, rtol=1e-6, atol=0)


class TestHessiansThatAreNotFormed:
    """With conjugate gradients and estimated leverages, beside the same with a matrix."""

    @staticmethod
    def problems(monkeypatch, name, **kwargs):
        dense = make_problem(name, 8, n=60, d=6, weighted=True, **kwargs)
        fields = {key: getattr(dense, key) for key in ConvexProblem.__dataclass_fields__}
        sparse = ConvexProblem(**fields | {"design": csr_matrix(dense.design)})
        monkeypatch.setattr(_convex_problem, "MOST_FORMED", 0)
        assert sparse.implicit
        assert not dense.implicit
        return dense, sparse

    @pytest.mark.parametrize("averaged", [False, True])
    @pytest.mark.parametrize("name", SMOOTH)
    def test_minima_are_the_same(self, monkeypatch, name, averaged):
        dense, sparse = self.problems(monkeypatch, name, averaged=averaged, balanced=True)
        for removed in ([], [4, 7, 30]):
            expected = minimise(dense, start(dense), removed).outputs
            found = minimise(sparse, start(sparse), removed).outputs
            if dense.n_outputs > 1:
                expected = expected - expected.mean(1, keepdims=True)
                found = found - found.mean(1, keepdims=True)
            np.testing.assert_allclose(found, expected, atol=1e-7 * abs(expected).max())

    @pytest.mark.parametrize("balanced", [False, True])
    @pytest.mark.parametrize("name", SMOOTH)
    def test_steps_are_nearly_the_same(self, monkeypatch, name, balanced):
        dense, sparse = self.problems(monkeypatch, name, balanced=balanced, averaged=balanced)
        exact, estimated = (
            LeaveOneOut(minimise(problem, start(problem))) for problem in (dense, sparse)
        )
        query = dense.design[0]
        for number in range(3):
            expected, found = exact.output_changes(query), estimated.output_changes(query)
            if dense.n_outputs > 1:
                expected = expected - expected.mean(1, keepdims=True)
                found = found - found.mean(1, keepdims=True)
            largest = np.nanmax(abs(expected))
            np.testing.assert_allclose(found, expected, atol=0.15 * largest)
            exact, estimated = exact.without(10 * number), estimated.without(10 * number)

    def test_one_output_is_inverted_through_rows(self, monkeypatch):
        dense, sparse = self.problems(monkeypatch, "logistic")
        exact, found = (
            LeaveOneOut(minimise(problem, start(problem))) for problem in (dense, sparse)
        )
        inverse = found._near
        vectors = np.random.default_rng(0).normal(size=(20, sparse.design.shape[1]))
        expected = found.minimum.inverse().times(vectors)
        np.testing.assert_allclose(inverse.times(vectors), expected, rtol=1e-3, atol=1e-5)
        many = ConjugateGradients(
            sparse.design,
            found.minimum.weights[:, None, None] * found.minimum.row_curvatures,
            found.minimum.penalty_scale * sparse.penalty,
            near=inverse,
        )
        np.testing.assert_allclose(many.times(vectors), expected, atol=1e-6)
        np.testing.assert_allclose(found.leverages, exact.leverages, rtol=1e-4)
        queries = dense.design[:18]
        each = [exact.output_changes(query) for query in queries]
        np.testing.assert_allclose(found.changes_of(queries), each, rtol=1e-4, atol=1e-6)
        again = pickle.loads(pickle.dumps(inverse))
        assert "_left" not in inverse.__getstate__()
        np.testing.assert_array_equal(again.times(vectors), inverse.times(vectors))
        monkeypatch.setattr(_function_space, "MOST_ROWS", 10)
        assert LeaveOneOut(minimise(sparse, start(sparse)))._near is None

    def test_leverages_are_estimated_without_bias(self, monkeypatch):
        dense, sparse = self.problems(monkeypatch, "multinomial")
        minimum = minimise(dense, start(dense))
        exact = LeaveOneOut(minimum).leverages
        point = Point(sparse, [], minimum.theta)
        cross = point.inverse().cross(n_probes=5000)
        curvatures = sparse.weights[:, None, None] * point.row_curvatures
        estimated = np.einsum("mkl,mlk->m", curvatures, cross)
        np.testing.assert_allclose(estimated, exact, rtol=0.12)


@pytest.mark.parametrize("name", ["squared", "multinomial", "Poisson"])
def test_own_changes_are_those_of_each_row_as_query(name):
    problem = make_problem(name, 9, balanced=True, averaged=True)
    removal = LeaveOneOut(minimise(problem, start(problem)))
    expected = [removal.output_changes(row)[i] for i, row in enumerate(problem.design)]
    np.testing.assert_allclose(removal.own_changes, expected, atol=1e-10)
