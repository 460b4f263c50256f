"""Copies of networks against training written down plainly."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sklearn_provenance.retraining import Recipe, iter_retrain, retrain
from sklearn_provenance.retraining._schedule import count_steps, epoch_batches, epoch_order

from ..checks import thorough
from .conftest import (
    Recurrent,
    Tokens,
    batch_norm,
    cnn,
    data,
    dropout,
    mlp,
    random_masks,
    reference,
    references,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def triangle(step, n_steps):
    return 1 - abs(2 * step / n_steps - 1) + 0.1


RECIPES = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2},
    "nesterov": {"lr": 0.05, "nesterov": True},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95)},
    "schedule": {"lr": 0.1, "schedule": triangle},
}


@pytest.mark.parametrize("dtype", [torch.float64, *thorough(torch.float32)], ids=str)
@pytest.mark.parametrize("batches", ["common", "own"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_is_trained_as_if_alone(name, batches, dtype):
    X, y, X_eval = data(dtype=dtype)
    module = mlp().to(dtype)
    # Some keep nearly nothing: whole batches go, and copies take different numbers of steps.
    masks = np.concatenate([random_masks(4, 23), random_masks(3, 23, keep=0.15, seed=1)])
    masks[0] = True
    recipe = Recipe(**RECIPES[name], batches=batches, batch_size=4, max_epochs=4)
    expected = references(module, X, y, masks, X_eval, recipe)
    for group_size in (1, 3, 7, "auto"):
        result = retrain(
            module, X, y, masks, X_eval=X_eval, recipe=recipe, group_size=group_size, device="cpu"
        )
        assert result.outputs.dtype == (np.float64 if dtype == torch.float64 else np.float32)
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=TOLERANCE[dtype])
    assert np.abs(expected[1:] - expected[0]).max((1, 2)).min() > 1e-3  # the rows matter


@given(st.data())
@settings(max_examples=15)
def test_grouping_changes_nothing(draw):
    make, shape = draw.draw(st.sampled_from([(mlp, (5,)), (cnn, (1, 4, 4))]))
    n_copies = draw.draw(st.integers(2, 6))
    bits = st.lists(st.booleans(), min_size=11, max_size=11).filter(any)
    masks = np.array(draw.draw(st.lists(bits, min_size=n_copies, max_size=n_copies)))
    seeds = draw.draw(st.lists(st.integers(0, 2), min_size=n_copies, max_size=n_copies))
    recipe = Recipe(
        batch_size=draw.draw(st.integers(1, 12)),
        max_epochs=draw.draw(st.integers(1, 3)),
        optimizer=draw.draw(st.sampled_from(["sgd", "adamw"])),
        eps=1e-3,  # a gradient that is zero but for rounding must not become a step
        batches=draw.draw(st.sampled_from(["common", "own"])),
        schedule=draw.draw(st.sampled_from(["constant", triangle])),
    )
    X, y, X_eval = data(11, shape)
    module = make().double()
    expected = references(module, X, y, masks, X_eval, recipe, seeds)
    for group_size in (1, draw.draw(st.integers(2, 6))):
        result = retrain(
            module, X, y, masks, X_eval=X_eval, recipe=recipe, seeds=seeds, group_size=group_size
        )
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)


@given(
    st.lists(st.booleans(), min_size=1, max_size=40).filter(any),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_an_epoch_holds_each_row_that_is_kept_once(mask, batch_size, seed):
    mask = np.array(mask)
    whole = epoch_batches(mask | True, seed, 2, Recipe(batch_size=batch_size))
    everyone = [set(batch) - {-1} for batch in whole]
    position = np.argsort(epoch_order(len(mask), seed, 2))
    for batches in ("common", "own"):
        recipe = Recipe(batch_size=batch_size, batches=batches, max_epochs=3)
        table = epoch_batches(mask, seed, 2, recipe)
        rows = table[table >= 0]
        assert sorted(rows) == np.flatnonzero(mask).tolist()
        assert (np.diff(position[rows]) > 0).all()
        assert (table[:, 0] >= 0).all()
        steps = sum(len(epoch_batches(mask, seed, epoch, recipe)) for epoch in range(3))
        assert count_steps(mask, seed, recipe) == steps
        for batch in table:
            kept = set(batch) - {-1}
            if batches == "common":
                assert any(kept == {r for r in other if mask[r]} for other in everyone)
        if batches == "own":
            assert (table[:-1] >= 0).all()


def test_each_seed_and_epoch_has_an_order_of_its_own():
    orders = [tuple(epoch_order(40, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(40)) for order in orders)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (batch_norm, "changes '1.running_mean'"),
        (dropout, "random"),
        (Recurrent, "vmap"),
    ],
)
def test_networks_that_cannot_be_stacked(make, reason):
    X, y, X_eval = data(24)
    module, masks = make().double(), random_masks(3, 24)
    recipe = Recipe(batch_size=8, max_epochs=2)
    arguments = {"X_eval": X_eval, "recipe": recipe}
    result = retrain(module, X, y, masks, **arguments)
    assert reason in result.route
    if make is not dropout:
        expected = references(module, X, y, masks, X_eval, recipe)
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)
    # What a copy draws does not depend on its company.
    torch.rand(3)
    alone = retrain(module, X, y, masks[2:], **arguments)
    np.testing.assert_array_equal(alone.outputs[0], result.outputs[2])
    with pytest.raises(ValueError, match=r"group_size must be 1 .*cannot be stacked"):
        retrain(module, X, y, masks, group_size=2, **arguments)


def test_rows_that_influence_each_other_are_noticed():
    class Centred(nn.Linear):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    X, y, X_eval = data()
    recipe = Recipe(batch_size=8, max_epochs=2)
    module, masks = Centred(5, 3).double(), random_masks(4, 23)
    result = retrain(module, X, y, masks, X_eval=X_eval, recipe=recipe)
    assert "influence each other" in result.route
    expected = references(module, X, y, masks, X_eval, recipe)
    np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_tied_frozen_and_unused_parameters_and_integer_rows(optimizer):
    generator = torch.Generator().manual_seed(0)
    X = torch.randint(0, 3, (20, 4), generator=generator)
    y = torch.randint(0, 3, (20,), generator=generator)
    torch.manual_seed(0)
    module, masks = Tokens().double(), random_masks(4, 20)
    recipe = Recipe(optimizer=optimizer, batch_size=6, max_epochs=3)
    expected = references(module, X, y, masks, X[:5], recipe)
    for group_size in (1, 4):
        result = retrain(module, X, y, masks, X_eval=X[:5], recipe=recipe, group_size=group_size)
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)


def test_a_factory_gives_each_seed_its_weights():
    X, y, X_eval = data(dtype=torch.float32)
    masks, seeds = random_masks(4, 23), [3, 5, 3, 8]
    recipe = Recipe(max_epochs=2, batch_size=8)
    before = torch.get_rng_state()

    def factory():
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))

    results = [
        retrain(
            factory, X, y, masks, X_eval=X_eval, seeds=seeds, recipe=recipe, group_size=size
        ).outputs
        for size in (1, 4)
    ]
    assert torch.equal(before, torch.get_rng_state())
    for copy_, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
        torch.manual_seed(seed)
        expected = reference(factory(), X, y, mask, X_eval, recipe, seed)
        for outputs in results:
            np.testing.assert_allclose(outputs[copy_], expected, atol=1e-5)


def test_another_loss_and_forward():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 2)

        def forward(self, x):
            return {"logits": self.layer(x)}

    X, y, X_eval = data()
    targets = X[:, :2] @ torch.ones(2, 2, dtype=torch.float64)
    module, masks = Pair().double(), random_masks(4, 23)
    recipe = Recipe(batch_size=8, max_epochs=3, loss=lambda z, t: (z - t).square().sum(1))
    result = retrain(
        module,
        X,
        targets,
        masks,
        X_eval=X_eval,
        recipe=recipe,
        forward=lambda m, x: m(x)["logits"],
        group_size=4,
    )

    def loss(z, t):
        return (z - t).square().sum(1).mean()

    for outputs, mask in zip(result.outputs, masks, strict=True):
        expected = reference(module.layer, X, targets, mask, X_eval, recipe, loss=loss)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("make", [mlp, batch_norm])
def test_copies_are_trained_in_mixed_precision_and_evaluated_in_single(make):
    X, y, X_eval = data(dtype=torch.float32)
    module, masks = make(), random_masks(3, 23)
    recipe = Recipe(lr=0.1, batch_size=8, max_epochs=2, precision="bfloat16")

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
                return self.inner(x).float()

    expected = references(Mixed(), X, y, masks, X_eval, recipe)

    def outputs(recipe, group_size):
        arguments = {"X_eval": X_eval, "recipe": recipe, "device": "cpu"}
        return retrain(module, X, y, masks, group_size=group_size, **arguments).outputs

    np.testing.assert_array_equal(outputs(recipe, 1), expected)
    single = outputs(replace(recipe, precision="float32"), 1)
    assert np.abs(single - expected).max() > 1e-4
    if make is mlp:  # copies with batch normalisation are not stacked
        np.testing.assert_allclose(outputs(recipe, 3), expected, atol=0.03)


def test_mixed_precision_leaves_double_precision_alone():
    X, y, X_eval = data(dtype=torch.float64)
    masks = random_masks(2, 23)
    outputs = [
        retrain(
            mlp().double(),
            X,
            y,
            masks,
            X_eval=X_eval,
            recipe=Recipe(max_epochs=1, precision=precision),
            device="cpu",
        ).outputs
        for precision in ("float32", "bfloat16")
    ]
    np.testing.assert_array_equal(*outputs)


def test_rows_that_all_copies_leave_out_do_not_matter():
    X, y, X_eval = data()
    masks = random_masks(3, 23)
    masks[:, 0] = False
    spoiled = X.clone()
    spoiled[0] = 1e300
    recipe = Recipe(batch_size=8, max_epochs=2)
    for group_size in (1, 3):
        clean, other = (
            retrain(
                mlp().double(), x, y, masks, X_eval=X_eval, recipe=recipe, group_size=group_size
            ).outputs
            for x in (X, spoiled)
        )
        np.testing.assert_array_equal(clean, other)


class Stop(Exception):
    pass


def stop(logits):
    raise Stop


@pytest.mark.parametrize("make", [mlp, batch_norm, dropout])
@pytest.mark.parametrize("evaluate", ["logits", stop])
def test_the_users_module_and_generators_stay_as_they_are(make, evaluate):
    X, y, X_eval = data(24, dtype=torch.float32)
    module = make()
    module[0].weight.requires_grad_(False)
    module[-1].weight.grad = torch.ones_like(module[-1].weight)
    module[-1].eval()
    before = copy.deepcopy(module.state_dict())
    modes = [m.training for m in module.modules()]
    rng = torch.get_rng_state()
    arguments = {"X_eval": X_eval, "recipe": Recipe(batch_size=8, max_epochs=1)}
    try:
        retrain(module, X, y, random_masks(4, 24), evaluate=evaluate, **arguments)
    except Stop:
        assert evaluate is stop
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert [m.training for m in module.modules()] == modes
    assert not module[0].weight.requires_grad
    assert module[0].weight.grad is None
    assert torch.equal(module[-1].weight.grad, torch.ones_like(module[-1].weight))
    assert torch.equal(rng, torch.get_rng_state())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_training_works_where_gradients_are_off(context):
    X, y, X_eval = data()
    masks, recipe = random_masks(4, 23), Recipe(batch_size=8, max_epochs=1)
    module = mlp().double()
    expected = references(module, X, y, masks, X_eval, recipe)
    for group_size in (1, 4):
        with context():
            result = retrain(
                module, X * 1, y, masks, X_eval=X_eval, recipe=recipe, group_size=group_size
            )
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)


def test_margins_and_evaluate():
    X, y, X_eval = data()
    y_eval = np.array([0, 1, 2, 0, 1, 2, 0])
    masks = random_masks(3, 23)
    module, recipe = mlp().double(), Recipe(batch_size=8, max_epochs=1)
    arguments = {"X_eval": X_eval, "y_eval": y_eval, "recipe": recipe}
    result = retrain(module, X, y, masks, **arguments)
    p = torch.from_numpy(result.outputs).softmax(2).numpy()[:, np.arange(7), y_eval]
    np.testing.assert_allclose(result.margins(), np.log(p / (1 - p)))
    np.testing.assert_allclose(
        retrain(module, X, y, masks, evaluate="margin", **arguments).outputs, result.margins()
    )
    guesses = retrain(module, X, y, masks, evaluate=lambda z: z.argmax(1), **arguments)
    np.testing.assert_array_equal(guesses.outputs, result.outputs.argmax(2))
    assert result.seconds > 0
    with pytest.raises(ValueError, match="margins need logits"):
        guesses.margins()
    with pytest.raises(ValueError, match="none of the classes"):
        result.margins(np.full(7, 3))
    with pytest.raises(ValueError, match="give y_eval"):
        retrain(module, X, y, masks, X_eval=X_eval, evaluate="margin")


def test_a_caller_can_stop_early():
    X, y, X_eval = data()
    trained = []

    def count(logits):
        trained.append(1)
        return logits

    groups = iter_retrain(
        mlp().double(), X, y, random_masks(9, 23), X_eval=X_eval, evaluate=count, group_size=2,
        recipe=Recipe(batch_size=8, max_epochs=1),
    )  # fmt: skip
    assert not trained
    copies, outputs = next(groups)
    assert outputs.shape == (len(copies), 7, 3)
    groups.close()
    assert len(trained) == len(copies) <= 2


def test_progress_says_how_far_and_how_long(capsys):
    X, y, X_eval = data()
    recipe = Recipe(batch_size=8, max_epochs=1)
    arguments = {"X_eval": X_eval, "recipe": recipe, "group_size": 2}
    retrain(mlp().double(), X, y, random_masks(4, 23), **arguments)
    assert capsys.readouterr().err == ""
    retrain(mlp().double(), X, y, random_masks(4, 23), verbose=True, **arguments)
    shown = capsys.readouterr().err
    assert "retraining, stacked by 2" in shown
    assert "4.0/4 [00:00<00:00]" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.ones((2, 22), bool)}, r"\(n_copies, 23\)"),
        ({"masks": np.ones((2, 23))}, "must be bool, .* got float64"),
        ({"masks": np.ones(23, bool)}, "got an array of shape"),
        ({"masks": [[True] * 23, [True] * 22]}, "masks must have rows of one length"),
        ({"masks": np.ones((0, 23), bool)}, "n_copies"),
        ({"masks": np.repeat([[True], [False]], 23, 1)}, r"copies \[1\] keep no row"),
        ({"seeds": [0]}, "2 integers"),
        ({"seeds": [0, -1]}, "at least 0"),
        ({"seeds": [0.5, 1]}, "integers"),
        ({"group_size": 0}, "group_size"),
        ({"group_size": True}, "group_size"),
        ({"evaluate": "accuracy"}, "evaluate"),
        ({"n_jobs": 2}, "n_jobs"),
        ({"y": np.zeros(22, int)}, "23 rows, but y has 22"),
        ({"y": np.full(23, 3)}, r"0\.\.2"),
        ({"y": np.zeros(23)}, "integers"),
        ({"X": np.full((23, 5), np.nan)}, "NaN"),
        ({"model": mlp().requires_grad_(False)}, "requires_grad"),
        ({"model": mlp().bfloat16()}, "bfloat16"),
        ({"recipe": Recipe(loss=nn.functional.cross_entropy)}, "reduction='none'"),
        ({"forward": lambda m, x: m(x)[0]}, "logits of shape"),
        (
            {"X": torch.zeros(23, 4)},
            r"must take rows of X, .* the network says: .* and 5x8\)$",
        ),
        (
            {"forward": lambda m, x: torch.cat([m(x)] * len(x), 1), "X_eval": torch.zeros(1, 5)},
            r"X and X_eval must give equally many logits, got \[6, 3\]",
        ),
    ],
)
@pytest.mark.parametrize("function", [retrain, iter_retrain])
def test_what_does_not_fit_is_refused(function, change, message):
    X, y, X_eval = data(dtype=torch.float32)
    arguments = {"model": mlp(), "X": X, "y": y, "masks": np.ones((2, 23), bool), "X_eval": X_eval}
    with pytest.raises(ValueError, match=message):
        list(function(**(arguments | change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 3}, "The 'model' parameter of retrain must be .* Got 3 instead"),
        ({"model": lambda: 3}, "calling it gave <class 'int'>"),
        ({"model": nn.Linear}, "missing 2 required positional arguments"),
        ({"recipe": {"lr": 1}}, "The 'recipe' parameter of retrain must be"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused(change, message):
    X, y, X_eval = data(dtype=torch.float32)
    arguments = {"model": mlp(), "X": X, "y": y, "masks": np.ones((2, 23), bool), "X_eval": X_eval}
    with pytest.raises(TypeError, match=message):
        retrain(**(arguments | change))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adam"},
        {"batches": "all"},
        {"batch_size": 0},
        {"max_epochs": 1.5},
        {"lr": -1},
        {"lr": float("nan")},
        {"schedule": "linear"},
        {"loss": "hinge"},
        {"precision": "float16"},
    ],
)
def test_a_recipe_checks_its_values(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Recipe(**change)


def test_a_factory_must_make_the_same_layers():
    X, y, X_eval = data(dtype=torch.float32)
    sizes = iter([4, 4, 5])

    def factory():
        width = next(sizes)
        return nn.Sequential(nn.Linear(5, width), nn.Linear(width, 3))

    with pytest.raises(ValueError, match="same"):
        retrain(factory, X, y, np.ones((2, 23), bool), X_eval=X_eval, seeds=[0, 1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("group_size", [1, 4, "auto"])
@pytest.mark.parametrize("make", [mlp, batch_norm, dropout])
def test_cuda(make, group_size):
    X, y, X_eval = data(24)
    masks, recipe = random_masks(4, 24), Recipe(batch_size=8, max_epochs=2)
    module = make().double()
    rng = torch.cuda.get_rng_state()
    if make is not mlp:
        group_size = 1
    result = retrain(
        module, X, y, masks, X_eval=X_eval, recipe=recipe, device="cuda", group_size=group_size
    )
    assert next(module.parameters()).device.type == "cpu"
    assert torch.equal(rng, torch.cuda.get_rng_state())
    if make is not dropout:
        expected = references(module, X, y, masks, X_eval, recipe)
        np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-8)


@pytest.mark.filterwarnings("ignore:The module returns numbers that look like probabilities")
def test_a_network_that_ends_in_a_softmax_is_pointed_out():
    X, y = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32), np.arange(12) % 2
    network = nn.Sequential(nn.Linear(2, 2), nn.Softmax(1))
    options = {"X_eval": X[:2], "recipe": Recipe(max_epochs=1), "device": "cpu"}
    masks = np.ones((1, 12), dtype=bool)
    with pytest.warns(UserWarning, match="look like probabilities"):
        retrain(network, X, y, masks, **options)
    # What the warning advises leaves nothing to warn of.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        retrain(network, X, y, masks, forward=lambda module, x: module(x).log(), **options)
        retrain(network[0], X, y, masks, **options)
