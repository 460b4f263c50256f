"""What goes wrong in training is named, and nothing of the user's changes."""

import copy
import random

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance.attribution import RepSimAttributor
from sklearn_provenance.retraining import Recipe, iter_retrain, retrain

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y, X_EVAL = np.arange(20) % 3, X[:5].copy()
MASKS = np.random.default_rng(1).random((6, 20)) < 0.8


class Net(nn.Module):
    """A linear layer before which, and after which, something may be done."""

    def __init__(self, before=lambda x: x, after=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.before, self.after = nn.Linear(4, 3), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def train(model=None, masks=MASKS, **changes):
    arguments = {"model": model or Net(), "X": X, "y": Y, "X_eval": X_EVAL, "masks": masks}
    arguments |= {"recipe": Recipe(max_epochs=2, batch_size=8)}
    return retrain(**arguments | changes)


@pytest.mark.parametrize("group_size", [1, 6])
@pytest.mark.parametrize("evaluate", ["logits", "margin", lambda logits: logits.max()])
def test_copies_that_diverge_are_nan_and_named(evaluate, group_size):
    rows = X.copy()
    rows[3] = 1e25  # whoever is trained on it diverges
    masks = MASKS | True
    masks[[0, 2, 5], 3] = False
    options = {"evaluate": evaluate, "y_eval": Y[:5], "group_size": group_size}
    with pytest.warns(UserWarning, match=r"copies \[1, 3, 4\] diverged"):
        result = train(masks=masks, X=rows, **options)
    nan = np.isnan(result.outputs).reshape(6, -1)
    assert nan[[1, 3, 4]].all()
    assert not nan[[0, 2, 5]].any()
    alone = train(masks=masks[[0, 2, 5]], X=rows, **options).outputs
    np.testing.assert_allclose(result.outputs[[0, 2, 5]], alone, rtol=1e-4)


@pytest.mark.parametrize("group_size", [1, 6])
def test_the_last_step_may_diverge(group_size):
    recipe = Recipe(max_epochs=1, batch_size=20, lr=1e30, weight_decay=0)
    big = X * 1e20
    with pytest.warns(UserWarning, match="diverged"):
        result = train(X=big, recipe=recipe, group_size=group_size)
    assert np.isnan(result.outputs).all()


def test_integers_cannot_be_nan():
    with pytest.raises(ValueError, match=r"copies \[0\] diverged.*int64"):
        train(recipe=Recipe(lr=1e30), evaluate=lambda logits: logits.argmax(1), group_size=1)


@pytest.mark.parametrize("group_size", [1, 6])
def test_losses_that_are_infinite_diverge_though_gradients_are_not(group_size):
    def loss(logits, y):
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        return losses + torch.where(y == 2, torch.inf, 0.0)

    masks = np.stack([Y >= 0, Y != 2])
    with pytest.warns(UserWarning, match=r"copies \[0\] diverged"):
        result = train(masks=masks, recipe=Recipe(loss=loss, max_epochs=1), group_size=group_size)
    assert np.isnan(result.outputs).any((1, 2)).tolist() == [True, False]


def test_what_a_module_draws_depends_on_the_seed_of_its_copy():
    same = {"X": np.ones((20, 4), np.float32), "y": np.zeros(20, int)}  # in whatever order
    masks = np.ones((3, 20), dtype=bool)
    outputs = train(Net(nn.Dropout(0.5)), masks=masks, seeds=[0, 0, 1], **same).outputs
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-4


def test_groups_name_copies_that_diverge():
    with pytest.warns(UserWarning, match="copies .* diverged"):
        groups = list(
            iter_retrain(Net(), X, Y, MASKS, X_eval=X_EVAL, recipe=Recipe(lr=1e30), group_size=1)
        )
    assert np.isnan([logits for _, logits in groups]).all()


class Doubling(ClassifierMixin, BaseEstimator):
    """Writes to the rows that it is asked about."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        X *= 2
        return np.full((len(X), 3), 1 / 3) + 0 * X[:, :1]

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


@pytest.mark.parametrize("group_size", ["auto", 1])
def test_modules_may_write_to_their_input(group_size):
    rows, held_out = torch.tensor(X), torch.tensor(X_EVAL)
    module = Net(before=lambda x: x.mul_(2))
    result = train(module, X=rows, X_eval=held_out, masks=MASKS[[0, 0]], group_size=group_size)
    assert np.array_equal(rows, X)
    assert np.array_equal(held_out, X_EVAL)
    assert np.array_equal(*result.outputs)
    plain = train(Net(before=lambda x: x * 2), masks=MASKS[[0, 0]], group_size=1)
    np.testing.assert_allclose(result.outputs, plain.outputs, rtol=1e-5)


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.thorough)])
def test_classifiers_may_write_to_their_input(n_jobs):
    held_out = X_EVAL.copy()
    retrain(Doubling(), X, Y, MASKS, X_eval=held_out, n_jobs=n_jobs)
    assert np.array_equal(held_out, X_EVAL)


def spoiled(value):
    module = Net()
    with torch.no_grad():
        module.inner.weight[0, 0] = value
    return module


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda: nn.Sequential(torch.jit.script(nn.Linear(4, 3)))}, "torch.jit"),
        ({"model": spoiled(np.nan)}, r"inner\.weight.* must be finite"),
        ({"model": lambda: spoiled(np.inf)}, r"inner\.weight.* must be finite"),
        ({"model": nn.Linear(4, 3, device="meta")}, "meta"),
        ({"model": nn.LazyLinear(3)}, "no shape yet"),
        ({"model": FrozenEstimator(LogisticRegression())}, "FrozenEstimator"),
        ({"model": RepSimAttributor(LogisticRegression())}, "the estimator that it explains"),
        ({"model": Net(after=lambda x: x[:, :0])}, "logits of shape"),
        ({"model": Net(after=lambda x: x + 0j)}, "logits of shape"),
        ({"model": Net(after=lambda x: x.to_sparse())}, "logits of shape"),
        ({"model": Net(after=lambda x: {"scores": x})}, "without .logits."),
        ({"model": Net(after=lambda x: x.tolist())}, "tensor of logits"),
        ({"X": torch.tensor(X).long()}, r"rows of X, .*X\.float\(\)"),
        ({"X_eval": torch.tensor(X).long()}, r"rows of X_eval, .*X_eval\.float\(\)"),
        ({"X": torch.tensor(X).to_sparse()}, "X must be dense"),
        ({"X_eval": torch.tensor(X).to("meta")}, "X_eval .* meta"),
        ({"X": torch.tensor(X) + 0j}, "X must hold real values"),
        ({"X_eval": X_EVAL * np.nan}, "X_eval"),
        ({"y": Y.astype(str)}, "y must be"),
        ({"device": "bad"}, "device"),
        ({"device": "meta"}, "device"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_changes(changes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        train(**changes)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
def test_scripted_modules_are_refused():
    with pytest.raises(TypeError, match=r"torch\.jit"):
        train(torch.jit.script(nn.Linear(4, 3)))


def test_arrays_of_integers_are_numbers_to_a_linear_layer():
    whole = (10 * X).astype(np.int64)
    result = train(X=whole, X_eval=whole[:5])
    assert np.array_equal(result.outputs, train(X=whole / 1.0, X_eval=whole[:5] / 1.0).outputs)


def test_integers_go_to_embeddings():
    words = np.arange(40).reshape(20, 2) % 7
    result = train(
        lambda: nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(8, 3)),
        X=words,
        X_eval=words[:5],
    )
    assert result.outputs.shape == (6, 5, 3)


def test_a_batch_has_no_more_rows_than_there_are():
    everything = train(recipe=Recipe(max_epochs=2, batch_size=20)).outputs
    for batches in ("common", "own"):
        recipe = Recipe(max_epochs=2, batch_size=10**9, batches=batches)
        assert np.array_equal(train(recipe=recipe).outputs, everything)


class Drawing(nn.Module):
    """Draws from every global generator, and fails where it is told to."""

    def __init__(self, fails=False):
        super().__init__()
        self.inner, self.norm, self.fails = nn.Linear(4, 3), nn.BatchNorm1d(3), fails

    def forward(self, x):
        if self.fails and not self.training and len(x) > 2:
            raise KeyError("broken")
        noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return self.norm(self.inner(x)) + noise


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_nothing_of_the_users_changes(fails, training):
    module = Drawing(fails).train(training)
    module.inner.weight.grad = torch.ones(3, 4)
    generators = lambda: (  # noqa: E731
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
    )
    arguments = {"X": X.copy(), "y": Y.copy(), "X_eval": X_EVAL.copy(), "masks": MASKS.copy()}
    before = copy.deepcopy((module.state_dict(), arguments)), generators()
    try:
        train(module, **arguments)
    except KeyError:
        assert fails
    (weights, given), states = before
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name])
    for name, value in arguments.items():
        assert np.array_equal(value, given[name])
    assert generators() == states
    assert torch.equal(module.inner.weight.grad, torch.ones(3, 4))
    assert {m.training for m in module.modules()} == {training}


@pytest.mark.parametrize(
    "change",
    [
        {"betas": "bad"}, {"betas": (0.9,)}, {"betas": (0.9, 1)}, {"betas": None},
        {"nesterov": "anything"}, {"nesterov": None}, {"nesterov": True, "momentum": 0},
        {"lr": True}, {"lr": np.nan}, {"lr": -1}, {"lr": "0.1"}, {"lr": None}, {"lr": np.inf},
        {"batch_size": True}, {"batch_size": 0}, {"batch_size": 2.0}, {"batch_size": None},
        {"max_epochs": True}, {"max_epochs": -1}, {"eps": "small"}, {"weight_decay": np.nan},
        {"momentum": True}, {"schedule": 3}, {"schedule": "cosine"}, {"optimizer": "lion"},
        {"optimizer": None}, {"batches": 3}, {"loss": "mse"},
    ],
    ids=str,
)  # fmt: skip
def test_a_recipe_says_what_is_wrong(change):
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        Recipe(**change)


def test_networks_that_draw_elsewhere_are_not_stacked():
    """One call for all copies draws one number of NumPy; alone each copy draws its own."""
    result = train(Net(after=lambda z: z * (1 + np.random.rand())))  # noqa: NPY002
    assert result.route == "one by one (its stacked output is another one)"
