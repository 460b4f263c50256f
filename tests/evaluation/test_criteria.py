"""Each criterion of the scoreboard: small cases by hand, oracles, and what chance reaches."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_provenance.evaluation import label_error_ranking
from sklearn_provenance.evaluation._scoreboard_cells import Cell
from sklearn_provenance.evaluation._scoreboard_methods import FunctionMethod, RandomScores
from sklearn_provenance.evaluation.criteria import CRITERIA, NotMeasured
from sklearn_provenance.evaluation.criteria._base import average_precision_of_chance
from sklearn_provenance.evaluation.criteria._label_errors import auroc_values
from sklearn_provenance.evaluation.criteria._randomisation import shuffled
from sklearn_provenance.evaluation.criteria._shortcut import precision_of_rows
from sklearn_provenance.evaluation.criteria._stability import overlaps
from sklearn_provenance.evaluation.criteria._task import Problem, Task
from sklearn_provenance.evaluation.criteria._trigger import Trigger

N_CLASSES = 4


def rows(n, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % N_CLASSES
    return np.eye(N_CLASSES)[y].repeat(4, axis=1) + 0.5 * rng.normal(size=(n, 16)), y


X, y = rows(120, 0)
X_queries, y_queries = rows(80, 1)


def task(model=None, **options):
    model = LogisticRegression(C=10.0, max_iter=1000) if model is None else model
    settings = {"are_numbers": False, "seed": 0, "training": {}, "retraining": {}} | options
    return Task(X, y, X_queries, y_queries, model=model, **settings)


def problem(scores, y=None):
    """Queries of which somebody gives the scores, about rows that nobody looks at."""
    n_queries, n_rows = np.shape(scores)
    y = np.zeros(n_rows, int) if y is None else y
    nothing = np.zeros((n_queries, 1)), np.zeros(n_queries, int)
    return Problem("told", np.zeros((n_rows, 1)), y, *nothing, None, 0, False)


def told(scores):
    return FunctionMethod("told", lambda *arguments: np.asarray(scores, dtype=float))


def reached(name, function, task, **options):
    """Score of a function by a criterion; random scores beside it must reach the chance level."""
    criterion = CRITERIA[name]
    measure = criterion.function(task, **criterion.options(options))
    cells = [Cell.measured(measure, m) for m in (FunctionMethod("f", function), RandomScores("r"))]
    for cell in cells:
        assert criterion.lowest - 1e-9 <= cell.score <= criterion.highest + 1e-9
    chance = cells[1]
    assert abs(chance.score - chance.chance) < 4 * chance.standard_error + 0.02
    return cells[0].score


# --- small cases by hand ---


def test_every_criterion_says_what_it_is():
    for name, criterion in CRITERIA.items():
        assert criterion.name == name
        assert criterion.lowest <= criterion.best <= criterion.highest
        assert criterion.definition.endswith((".", "bad.", "right one."))
        assert len(criterion.definition) > 40
        assert set(criterion.constraints) == set(criterion.defaults)
        assert "Random scores" in criterion.function.__doc__ or name in (
            "brittleness",
            "randomisation",
        )


def test_precision_of_rows_by_hand():
    # Ranks of the relevant rows 0 and 3: 1 and 3, then 2 and 4.
    scores = [[9.0, 1.0, 7.0, 5.0], [5.0, 7.0, 3.0, 1.0]]
    measure = precision_of_rows(problem(scores), np.array([0, 3]))
    np.testing.assert_allclose(measure.values(told(scores)), [(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2])


@pytest.mark.parametrize(("m", "n"), [(1, 4), (2, 5), (3, 3), (1, 1)])
def test_average_precision_of_chance_is_the_mean_over_all_orders(m, n):
    relevant = np.arange(n) < m
    mean = np.mean([average_precision_score(relevant, p) for p in permutations(range(n))])
    assert average_precision_of_chance(m, n) == pytest.approx(mean)


def test_values_of_auroc_by_hand():
    wrong = np.array([True, False, True, False])
    # Row 0 is above both right rows; row 2 is above one and level with the other.
    values = auroc_values(np.array([5.0, 1.0, 2.0, 2.0]), wrong)
    np.testing.assert_allclose(values, [1.0, 0.75])


def test_values_of_auroc_have_the_auroc_of_the_protocol_as_their_mean():
    rng = np.random.default_rng(0)
    wrong = rng.random(50) < 0.3
    suspicion = rng.integers(0, 9, 50).astype(float)  # with ties
    protocol = label_error_ranking({"loss": suspicion}, wrong).auroc[0]
    assert auroc_values(suspicion, wrong).mean() == pytest.approx(protocol)
    assert roc_auc_score(wrong, suspicion) == pytest.approx(protocol)


def test_overlaps_by_hand():
    first = np.array([[0, 1, 2], [3, 4, 5], [1, 1, 1]])
    second = np.array([[2, 6, 0], [6, 7, 8], [2, 3, 4]])
    kept = np.array([0, 2, 3, 4, 5, 6, 7, 8])
    np.testing.assert_array_equal(overlaps(first, second, kept), [1.0, 0.0, np.nan])
    np.testing.assert_allclose(overlaps(first[:2], second[:2], np.arange(9)), [2 / 3, 0.0])


def test_triggers_differ_and_only_change_their_places():
    rng = np.random.default_rng(0)
    trigger = Trigger(X, 3, rng)
    assert len(trigger.places) == 8  # half of the columns
    stamped = trigger.stamp(X, np.arange(120) % 3)
    others = np.setdiff1d(np.arange(16), trigger.places)
    np.testing.assert_array_equal(stamped[:, others], X[:, others])
    assert len(np.unique(stamped[:, trigger.places], axis=0)) == 3
    assert set(np.unique(stamped[:, trigger.places])) <= {*X.min(0), *X.max(0)}
    assert not np.array_equal(stamped, X)
    with pytest.raises(NotMeasured, match="half of the columns"):
        Trigger(X[:, :4], 3, rng)


@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7), (6, 7, 3)])
def test_triggers_of_images_are_in_the_corner(shape):
    images = 0.25 + 0.5 * np.random.default_rng(0).random((5, *shape))
    images.flat[:2] = 0.0, 1.0
    changed = Trigger(images, 2, np.random.default_rng(1)).stamp(images, 1) != images
    assert changed.any(0).sum() == 9 * (3 if len(shape) == 3 else 1)
    corner = changed[:, 3:, 4:] if shape[-1] == 3 else changed[..., 3:, 4:]
    assert corner.all()


def test_shuffled_weights_are_the_same_numbers_elsewhere():
    rng = np.random.default_rng(0)
    linear = LogisticRegression().fit(X, y)
    network = MLPClassifier((5,), max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        network.fit(X, y)
    module = torch.nn.Linear(16, 4)
    pairs = [
        (linear.coef_, shuffled(linear, rng).coef_),
        (network.coefs_[1], shuffled(network, rng).coefs_[1]),
        (module.weight.detach().numpy(), shuffled(module, rng).weight.detach().numpy()),
    ]
    piped = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    pairs.append((piped[-1].coef_, shuffled(piped, rng)[-1].coef_))
    for before, after in pairs:
        assert not np.array_equal(before, after)
        np.testing.assert_array_equal(np.sort(before, None), np.sort(after, None))
    with pytest.raises(NotMeasured, match="RandomForestClassifier keeps no weights"):
        shuffled(RandomForestClassifier(2).fit(X, y), rng)


# --- oracles, and random scores beside them ---


def test_an_oracle_finds_the_backdoor():
    def poisoned(model, rows, labels, queries, attack):
        return ((rows != X).any(1) & (labels != y)) * (labels == attack[:, None])

    assert reached("backdoor", poisoned, task(), share=0.2) == 1.0


def test_an_oracle_finds_the_shortcut():
    def stamped(model, rows, labels, queries, c):
        np.testing.assert_array_equal(labels, y)
        assert (labels[(rows != X).any(1)] == c[0]).all()
        return np.broadcast_to((rows != X).any(1), (len(c), len(rows)))

    assert reached("shortcut", stamped, task(), share=0.9) == 1.0


def test_an_oracle_finds_foreign_rows():
    def foreign(model, rows, labels, queries, c):
        return np.broadcast_to(np.arange(len(rows)) >= len(X), (len(c), len(rows)))

    assert reached("mixed", foreign, task()) == 1.0
    other = np.random.default_rng(5).normal(loc=3.0, size=(40, 16))
    assert reached("mixed", foreign, task(), foreign=other) == 1.0
    with pytest.raises(ValueError, match="foreign must hold"):
        reached("mixed", foreign, task(), foreign=other[:, :3])


def test_an_oracle_knows_subclasses():
    def same(model, rows, labels, queries, groups):
        assert set(labels) == {0, 1}
        return (y == y_queries[:, None]).astype(float)

    def same_group(model, rows, labels, queries, groups):
        return (labels == groups[:, None]).astype(float)

    assert reached("subclass", same, task()) == 1.0
    assert reached("subclass", same_group, task()) == pytest.approx(0.5, abs=0.25)


def test_oracles_know_which_labels_are_wrong():
    def own(model, rows, labels, queries, of_queries):
        return np.diag((labels != y).astype(float))

    def true_class(model, rows, labels, queries, of_queries):
        return (y == y[:, None]) * (labels == y)

    assert reached("label_errors", own, task()) == 1.0
    assert reached("label_disagreement", true_class, task()) == 1.0


def test_scores_of_the_weights_change_with_them():
    def of_weights(model, rows, labels, queries, of_queries):
        seed = abs(int(1e6 * model.coef_[0, 0]))
        return np.random.default_rng(seed).random((len(queries), len(rows)))

    def of_rows(model, rows, labels, queries, of_queries):
        return queries @ rows.T

    assert abs(reached("randomisation", of_weights, task())) < 0.1
    assert reached("randomisation", of_rows, task()) == pytest.approx(1.0)


def test_scores_that_do_not_look_at_the_model_are_stable():
    def of_rows(model, rows, labels, queries, of_queries):
        assert len(rows) in (120, 108)
        return queries @ rows.T

    # A row that the second model lacks makes place for another, so that all others stay.
    assert reached("stability", of_rows, task(), k=5) == 1.0


def test_effects_that_add_up_have_the_best_lds():
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(len(X_queries), len(X)))
    masks = rng.random((60, len(X))) < 0.5
    truth = masks, masks @ effects.T

    assert reached("lds", lambda *arguments: effects, task(truth=truth)) == pytest.approx(1.0)
    assert reached("lds", lambda *arguments: -effects, task(truth=truth)) == pytest.approx(-1.0)


def test_removing_the_rows_that_support_a_query_is_brittleness():
    # Only the first three rows of class 1 know the direction of the queries.
    rows = np.zeros((40, 2))
    rows[:3, 1] = 4.0
    rows[:, 0] = np.random.default_rng(0).normal(size=40)
    labels = np.repeat([1, 0, 1], [3, 20, 17])
    model = LogisticRegression()
    queries = np.array([[0.0, 4.0], [0.0, 3.0]])
    given = Task(
        rows,
        labels,
        queries,
        np.ones(2, int),
        model=model,
        are_numbers=False,
        seed=0,
        training={},
        retraining={},
    )
    measure = CRITERIA["brittleness"].function(given, size=3)
    values = measure.values(FunctionMethod("support", lambda *a: a[3][:, 1:] @ a[1][:, 1:].T))
    full = model.fit(rows, labels).decision_function(queries)
    without = LogisticRegression().fit(rows[3:], labels[3:]).decision_function(queries)
    np.testing.assert_allclose(values, full - without, atol=1e-6)
    assert (values > 1).all()
    assert abs(measure.values(RandomScores("r"))).max() < values.min()


def test_brittleness_of_a_regression_is_in_deviations_of_the_target():
    rows = np.arange(10.0)[:, None]
    target = np.where(rows[:, 0] == 9, 20.0, 0.0)
    given = Task(
        rows,
        target,
        rows[-1:],
        None,
        model=LinearRegression(),
        are_numbers=True,
        seed=0,
        training={},
        retraining={},
    )
    measure = CRITERIA["brittleness"].function(given, size=1)
    last = FunctionMethod("last", lambda *a: a[1].T)
    drop = LinearRegression().fit(rows, target).predict(rows[-1:])[0]  # without row 9 it is 0
    np.testing.assert_allclose(measure.values(last), drop / target.std())


# --- what does not suit ---


def test_what_a_criterion_needs_and_does_not_find_is_the_reason():
    numbers = task(LinearRegression(), are_numbers=True)
    for name in ("backdoor", "shortcut", "mixed", "subclass", "label_disagreement"):
        with pytest.raises(NotMeasured, match="labels of classes"):
            CRITERIA[name].function(numbers)
    texts = task()
    texts.X = ["a", "b"] * 60
    for name in ("backdoor", "shortcut", "mixed"):
        with pytest.raises(NotMeasured, match="array or tensor of numbers"):
            CRITERIA[name].function(texts)
    binary = task()
    binary.y, binary.y_queries = y % 2, y_queries % 2
    with pytest.raises(NotMeasured, match="four classes"):
        CRITERIA["subclass"].function(binary)
    with pytest.raises(NotMeasured, match="must have learnt the shortcut"):
        CRITERIA["shortcut"].function(task(LogisticRegression(C=1e-9)), share=0.1)
    with pytest.raises(NotMeasured, match="size must be less than the 30 rows"):
        CRITERIA["brittleness"].function(task(), size=30)
    with pytest.raises(NotMeasured, match="k must be less than the 108 rows"):
        CRITERIA["stability"].function(task(), k=108)
    for name in ("backdoor", "shortcut"):
        with pytest.raises(NotMeasured, match="one row or more"):
            CRITERIA[name].function(task(), share=0.001)
    with pytest.raises(NotMeasured, match="some of the 120 labels wrong, got 0"):
        CRITERIA["label_errors"].function(task(), share=0.001)
    rare = task()
    rare.y = np.where(np.arange(120) < 1, 9, y)
    with pytest.raises(NotMeasured, match="a class has too few rows to keep one"):
        CRITERIA["stability"].function(rare, share=0.98, k=1)
    wrong = task()
    wrong.y_queries = (y_queries + 1) % N_CLASSES
    with pytest.raises(NotMeasured, match="no query is classified correctly"):
        CRITERIA["brittleness"].function(wrong)


def test_options_are_checked():
    with pytest.raises(
        ValueError, match=r"'lds'\] must be a dict of options among .* got {'n_mask': 3}"
    ):
        CRITERIA["lds"].options({"n_mask": 3})
    with pytest.raises(ValueError, match=r"'share' parameter of criteria\['shortcut'\]"):
        CRITERIA["shortcut"].options({"share": 1.5})
