"""Copies that diverge are no class 0: protocols leave them out, or say that they cannot go on."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_provenance.attribution import RandomAttributor, RepSimAttributor
from sklearn_provenance.evaluation import (
    Recipe,
    brittleness,
    brittleness_scorer,
    coreset_selection,
    label_loss,
    linear_datamodeling_score,
    robustness,
)

from .attributors import Told

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = (RNG.normal(size=(40, 3)) + 3 * Y[:, None]).astype(np.float32)
X_NEW, Y_NEW = X[:6] + np.float32(0.01), Y[:6]


def untrained():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def trained():
    """Knows the classes."""
    module = untrained()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
        module.bias.copy_(torch.tensor([4.5, -4.5]))
    return module


def exploding(rows_that_matter):
    """A recipe whose training diverges where a batch lacks one of the rows."""

    def loss(logits, y):
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        return losses if len(y) >= rows_that_matter else losses / 0

    return Recipe(batch_size=40, max_epochs=5, lr=0.1, loss=loss)


def arguments(attributor=RepSimAttributor):
    return attributor(trained()).fit(X, Y), X, Y, X_NEW


def test_a_query_without_its_copy_has_not_fallen():
    with pytest.warns(UserWarning, match="diverged"):
        result = brittleness(
            *arguments(), Y_NEW, model=trained(), sizes=(2, 10), recipe=exploding(35), group_size=1
        )
    assert np.isnan(result.flipped[..., 1]).all()
    assert np.isnan(result.margin_drop[..., 1]).all()
    assert np.isfinite(result.flipped[..., 0]).all()
    assert np.isnan(result.means()[0][0]).tolist() == [False, True]


def test_an_output_without_its_copy_has_not_moved():
    """Steps of one size are too large where few rows are left beside the one of large values."""
    X, y = np.full((40, 1), 0.1, np.float32), np.ones(40, np.float32)
    X[0] = 10
    first = Told(lambda x, label: np.arange(40.0))
    recipe = Recipe(loss="squared_error", lr=0.25, batch_size=40, max_epochs=200)
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="diverged"):
        result = brittleness(
            first, X, y, X[:3], y[:3], model=nn.Linear(1, 1, bias=False), sizes=(2, 35),
            recipe=recipe, group_size=1, threshold=1e-9, early_stop=False,
        )  # fmt: skip
    assert np.isnan(result.moved[..., 1]).all()
    assert np.isnan(result.output_drop[..., 1]).all()
    assert np.isfinite(result.moved[..., 0]).all()


def test_a_full_model_that_diverges_is_an_error():
    options = {"recipe": Recipe(lr=1e30), "group_size": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match="all rows must not diverge"):
            brittleness(*arguments(), Y_NEW, model=untrained(), sizes=(2,), **options)
        scorer = brittleness_scorer(untrained(), size=2, n_queries=2, **options)
        with pytest.raises(ValueError, match="all rows must not diverge"):
            scorer(arguments()[0], X_NEW, Y_NEW)


def test_scores_of_diverged_copies_are_nan():
    scorer = brittleness_scorer(trained(), size=10, n_queries=2, recipe=exploding(35), group_size=1)
    with pytest.warns(UserWarning, match="diverged"):
        assert np.isnan(scorer(arguments()[0], X_NEW, Y_NEW))


def test_a_subset_that_diverges_has_no_accuracy():
    attributor, *rows = arguments(RandomAttributor)
    options = {"recipe": Recipe(batch_size=40, batches="own", loss=exploding(15).loss)}
    options |= {"sizes": (10, 20), "group_size": 1}
    with pytest.warns(UserWarning, match="diverged"):
        result = coreset_selection(attributor, *rows, X_NEW, Y_NEW, model=untrained(), **options)
    assert np.isnan(result.accuracy[:, :, 0]).all()
    assert np.isfinite(result.accuracy[:, :, 1]).all()


def test_subsets_that_diverge_cannot_be_ranked():
    attributor = RepSimAttributor(trained(), candidates="all").fit(X, Y)
    options = {"n_masks": 3, "n_repeats": 1, "recipe": exploding(35), "group_size": 1}
    with (
        pytest.warns(UserWarning, match="diverged"),
        pytest.raises(ValueError, match=r"did on subsets \[0, 1, 2\]"),
    ):
        linear_datamodeling_score(attributor, X, Y, X_NEW, Y_NEW, model=untrained(), **options)


class Writing(nn.Module):
    """Writes to its input."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.mul_(2))


class Skorch(ClassifierMixin, BaseEstimator):
    """A classifier that holds a network, as those of skorch do."""

    classes_ = np.arange(2)

    def __init__(self, module):
        self.module = self.module_ = module

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        X *= 1
        return self.module_(torch.as_tensor(X)).softmax(1).detach().numpy()

    def predict(self, X):
        return self.predict_proba(X).argmax(1)


def test_networks_with_nan_weights_are_named():
    module = trained()
    module.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="'weight' of model must be finite"):
        label_loss(module, X, Y)
    with pytest.raises(ValueError, match="model must give finite outputs"):
        label_loss(Skorch(module), X, Y)
    images = np.clip(X[:, None], 0, 1)
    with pytest.raises(ValueError, match="'weight' of the classifier 'Skorch' must be finite"):
        robustness(Skorch(module), images, Y, distortions={})
    linear = LogisticRegression().fit(X, Y)
    linear.coef_[0, 0] = np.nan
    with pytest.raises(ValueError, match="'coef_' of the classifier 'linear' must be finite"):
        robustness({"linear": linear}, X, Y, image_shape=(3, 1), distortions={})


def test_the_users_module_and_rows_stay_as_they_are():
    module, rows = trained().train(), X.copy()
    module.weight.grad = torch.ones(2, 3)
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    label_loss(module, rows, Y)
    label_loss(Writing(module), rows, Y)
    with pytest.raises(ValueError, match="none of the classes"):
        label_loss(module, rows, Y + 5)
    brittleness(
        *arguments(), Y_NEW, model=module, sizes=(2,), recipe=Recipe(max_epochs=1), seeds=(0, 1)
    )
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(module.weight.grad, torch.ones(2, 3))
    assert module.training
    assert np.array_equal(rows, X)
    assert torch.equal(torch.get_rng_state(), state)
