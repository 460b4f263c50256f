"""Results on disk: killed at any moment, nothing that was finished is trained again."""

import functools
import json
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance._utils.hashing import fingerprint
from sklearn_provenance.retraining import Recipe, iter_retrain, retrain
from sklearn_provenance.retraining._removals import Removals

from .conftest import data, mlp, random_masks

CALLS = {"seen": 0, "stop_after": np.inf}


def watched(logits):
    """Logits as they are."""
    return np.positive(logits)


@pytest.fixture(autouse=True)
def _watch(monkeypatch):
    """Count copies and pull the plug where no digest looks: in a library."""

    def positive(logits):
        CALLS["seen"] += 1
        if CALLS["seen"] > CALLS["stop_after"]:
            raise KeyboardInterrupt
        return logits

    monkeypatch.setattr(np, "positive", positive)


def run(store, stop_after=np.inf, function=retrain, **change):
    CALLS.update(seen=0, stop_after=stop_after)
    X, y, X_eval = data()
    arguments = {
        "model": mlp().double(),
        "X": X,
        "y": y,
        "masks": random_masks(8, 23),
        "X_eval": X_eval,
        "recipe": Recipe(batch_size=8, max_epochs=2),
        "evaluate": watched,
        "group_size": 2,
        "store": store,
    }
    return function(**(arguments | change))


@pytest.mark.parametrize("group_size", [1, 3, "auto"])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, group_size):
    expected = run(None).outputs
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_after=5)  # in the third group of two
    result = run(tmp_path, group_size=group_size)
    assert CALLS["seen"] == 4
    np.testing.assert_allclose(result.outputs, expected, rtol=0, atol=1e-10)
    assert isinstance(result.outputs, np.memmap)
    assert not result.outputs.flags.writeable
    again = run(tmp_path)
    assert CALLS["seen"] == 0
    np.testing.assert_array_equal(again.outputs, result.outputs)
    assert again.seconds == result.seconds > 0


def test_what_is_stored_comes_first(tmp_path):
    groups = run(tmp_path, function=iter_retrain)
    first, outputs = next(groups)
    groups.close()
    groups = run(tmp_path, function=iter_retrain)
    again, stored = next(groups)
    assert CALLS["seen"] == 0
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(stored, outputs)
    rest = [copies for copies, _ in groups]
    assert sorted(np.concatenate([first, *rest])) == list(range(8))
    copies, _ = next(run(tmp_path, function=iter_retrain))
    assert copies.tolist() == list(range(8))


def test_a_run_that_starts_after_another_finished_gives_what_is_stored(tmp_path):
    groups = run(tmp_path, function=iter_retrain)
    outputs = run(tmp_path).outputs
    before = (tmp_path / "outputs.npy").read_bytes()
    CALLS["seen"] = 0
    ((copies, found),) = groups
    assert CALLS["seen"] == 0
    assert copies.tolist() == list(range(8))
    np.testing.assert_array_equal(found, outputs)
    assert (tmp_path / "outputs.npy").read_bytes() == before


def test_a_run_that_goes_on_after_another_finished_gives_what_is_stored(tmp_path):
    groups = run(tmp_path, function=iter_retrain)
    first, found = next(groups)
    outputs = run(tmp_path, group_size=3).outputs
    assert CALLS["seen"] == 6
    np.testing.assert_array_equal(found, outputs[first])
    CALLS["seen"] = 0
    ((rest, found),) = groups
    assert CALLS["seen"] == 0
    assert sorted([*first, *rest]) == list(range(8))
    np.testing.assert_array_equal(found, outputs[rest])


def test_two_generators_share_the_work(tmp_path):
    expected = run(None).outputs
    pair = [run(tmp_path, function=iter_retrain) for _ in range(2)]
    CALLS["seen"] = 0
    given = [{}, {}]
    for _ in range(8):
        for groups, mine in zip(pair, given, strict=True):
            for copies, outputs in [next(groups, ([], []))]:
                assert not set(copies) & set(mine)
                mine.update(zip(copies, outputs, strict=True))
    assert CALLS["seen"] == 8
    for mine in given:
        assert sorted(mine) == list(range(8))
        for copy, outputs in mine.items():
            np.testing.assert_allclose(outputs, expected[copy], rtol=0, atol=1e-10)


def test_two_runs_at_once_train_each_copy_once(tmp_path, capsys, monkeypatch):
    results, begun = [], threading.Event()

    def slow(logits):
        begun.set()
        time.sleep(0.02)
        CALLS["seen"] += 1
        return logits

    def work():
        results.append(run(tmp_path, verbose=True).outputs)

    monkeypatch.setattr(np, "positive", slow)
    threads = [threading.Thread(target=work) for _ in range(2)]
    threads[0].start()
    begun.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert CALLS["seen"] == 8
    np.testing.assert_array_equal(*results)
    assert "retraining: waiting for another process" in capsys.readouterr().err


SCRIPT = """
import os, signal, sys
from tests.retraining.conftest import data, mlp, random_masks
from sklearn_provenance.retraining import Recipe, retrain

seen = 0
def evaluate(logits):
    global seen
    seen += 1
    if seen > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return logits

X, y, X_eval = data()
retrain(mlp().double(), X, y, random_masks(5, 23), X_eval=X_eval, evaluate=evaluate, group_size=1,
        recipe=Recipe(batch_size=8, max_epochs=2), store=sys.argv[1])
print(seen)
"""


@pytest.mark.thorough  # files and stores of attributors are killed in the same way
def test_a_killed_process_loses_the_group_in_flight(tmp_path, template):
    assert template.run(SCRIPT, tmp_path, 3).returncode == -9
    done = template.run(SCRIPT, tmp_path, 99)
    assert done.stdout.strip() == "2", done.stderr
    outputs = np.load(tmp_path / "outputs.npy")
    expected = run(None, masks=random_masks(5, 23)).outputs
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-10)


def changed_masks():
    masks = random_masks(8, 23)
    masks[3, 4] ^= True
    return masks


class Scaled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": mlp(seed=1).double()}, "network"),
        ({"model": Scaled(*mlp().double())}, "network"),
        ({"model": nn.Sequential(*mlp().double()[:3], nn.Sigmoid(), mlp().double()[4])}, "network"),
        ({"forward": lambda m, x: m(-x)}, "network"),
        ({"X": data(seed=1)[0]}, "X"),
        ({"y": data(seed=1)[1]}, "y"),
        ({"X_eval": data(seed=1)[2]}, "X_eval"),
        ({"masks": changed_masks()}, "masks"),
        ({"masks": random_masks(9, 23)}, "masks"),
        ({"seeds": range(8)}, "seeds"),
        ({"recipe": Recipe(batch_size=8, max_epochs=3)}, "recipe"),
        (
            {"recipe": Recipe(batch_size=8, max_epochs=2, schedule=lambda step, n: 1 - step / n)},
            "recipe",
        ),
        ({"evaluate": "logits"}, "evaluate"),
    ],
)
def test_results_of_another_call_are_not_mixed_in(tmp_path, change, name):
    run(tmp_path)
    before = (tmp_path / "outputs.npy").read_bytes()
    with pytest.raises(ValueError, match=f"what differs: {name}. Use another folder"):
        run(tmp_path, **change)
    assert (tmp_path / "outputs.npy").read_bytes() == before


def test_the_labels_of_margins_count(tmp_path):
    run(tmp_path, evaluate="margin", y_eval=np.zeros(7, int))
    with pytest.raises(ValueError, match="differs: evaluate"):
        run(tmp_path, evaluate="margin", y_eval=np.ones(7, int))
    run(tmp_path / "logits", y_eval=np.zeros(7, int))
    run(tmp_path / "logits", y_eval=np.ones(7, int))  # where they only label the result
    assert CALLS["seen"] == 0


def test_a_factory_counts_by_what_it_makes(tmp_path):
    run(tmp_path, model=lambda: nn.Linear(5, 3).double(), seeds=range(8))
    CALLS["seen"] = 0
    run(tmp_path, model=lambda: nn.Sequential(nn.Linear(5, 3))[0].double(), seeds=range(8))
    assert CALLS["seen"] == 0
    with pytest.raises(ValueError, match="network"):
        run(tmp_path, model=lambda: nn.Linear(5, 3, bias=False).double(), seeds=range(8))


def test_other_files_are_noticed(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(ValueError, match="not a manifest"):
        run(tmp_path)


@pytest.mark.parametrize("damage", [lambda raw: raw[:200], lambda raw: raw[:-1] + b"\xff"])
def test_damaged_outputs_are_refused_at_the_call(tmp_path, damage):
    run(tmp_path)
    path = tmp_path / "outputs.npy"
    path.write_bytes(damage(path.read_bytes()))
    for function in (retrain, iter_retrain):
        with pytest.raises(ValueError, match=r"outputs\.npy and manifest\.json"):
            run(tmp_path, function=function)


def test_outputs_of_one_shape():
    shapes = iter([3, 3, 4])
    with pytest.raises(ValueError, match="same shape"):
        run(None, evaluate=lambda logits: np.zeros(next(shapes)), group_size=1)


@pytest.mark.parametrize("folder", [None, "store"])
def test_outputs_are_numbers_of_one_type(tmp_path, folder):
    store = folder and tmp_path / folder
    values = iter([np.arange(3), np.arange(3.0)])
    with pytest.raises(ValueError, match="same type"):
        run(store, evaluate=lambda logits: next(values), group_size=1)
    with pytest.raises(ValueError, match="must give numbers"):
        run(store and tmp_path / "other", evaluate=lambda logits: np.array(["a"]))


def closure(value):
    return lambda z: z * value


def test_functions_are_told_apart_by_what_they_do():
    assert fingerprint(closure(1)) == fingerprint(closure(1))
    assert fingerprint(closure(1)) != fingerprint(closure(2))
    assert fingerprint(closure(torch.zeros(2))) != fingerprint(closure(torch.ones(2)))
    assert fingerprint(lambda z, k=1: z) != fingerprint(lambda z, k=2: z)
    assert fingerprint(lambda z: z + 1) != fingerprint(lambda z: z - 1)
    assert fingerprint(functools.partial(max, 1)) != fingerprint(functools.partial(max, 2))
    digests = [fingerprint(functools.partial(closure(value), 3)) for value in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_what_cannot_be_seen_into_is_refused(tmp_path):
    with (
        (tmp_path / "file").open("w") as file,
        pytest.warns(UserWarning, match="a TextIOWrapper in file"),
        pytest.raises(ValueError, match="evaluate hold what the warning names"),
    ):
        run(tmp_path, evaluate=lambda logits: print(logits, file=file))


@pytest.mark.parametrize(
    ("keys", "shape"), [(["a", "b"], (3, 4, 3)), (["a"], (1, 4, 2)), ([["a"]], (1, 4, 3))]
)
def test_outputs_of_other_rows_are_not_taken_for_those_of_copies(tmp_path, keys, shape):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2)), np.arange(12) % 3
    arguments = (LogisticRegression(), X, y, X[:4], (0,), tmp_path)
    copies = Removals(*arguments)
    expected = copies.without([[1, 2]], [0])
    np.testing.assert_array_equal(Removals(*arguments).without([[1, 2]], [0]), expected)
    np.savez(tmp_path / "copies-other.npz", keys=np.array(keys), logits=np.zeros(shape))
    with pytest.raises(ValueError, match=r"other\.npz must hold outputs of shape .* Delete it"):
        Removals(*arguments)
