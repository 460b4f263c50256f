"""Trainings that diverge, backbones that do not fit, and what a failed fit leaves behind."""

import random

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
Y = np.arange(30) % 3


class Spoil(Callback):
    """Spoils a weight after the last step."""

    def __init__(self, value=np.nan):
        self.value = value

    def on_train_end(self, net, **kwargs):
        with torch.no_grad():
            next(net.module_.parameters()).fill_(self.value)


def classifier(**params):
    options = {"width": "small", "max_epochs": 2, "device": "cpu", "random_state": 0}
    return ProvenanceClassifier(**options | params)


def regressor(**params):
    options = {"width": "small", "max_epochs": 2, "device": "cpu", "random_state": 0}
    return ProvenanceRegressor(**options | params)


def vae(**params):
    options = {"width": "small", "latent_dim": 2, "max_epochs": 2, "device": "cpu"}
    return ProvenanceVAE(**options | {"random_state": 0} | params)


@pytest.mark.parametrize("make", [classifier, regressor, vae])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lr": 1e30, "max_epochs": 5}, r"diverged: .*epoch \d.*smaller lr than 1e\+30"),
        ({"callbacks": [Spoil()]}, "diverged: .*after epoch [24]"),
        ({"callbacks": [Spoil(np.inf)]}, "diverged: .*after epoch [24]"),
        ({"callbacks": [Spoil(1e38)]}, "diverged: .*after epoch [24]"),
    ],
)
@pytest.mark.parametrize("warm_start", [False, True])
def test_a_training_that_diverges_leaves_the_estimator_as_it_was(make, params, message, warm_start):
    fresh = make(**params)
    with pytest.raises(ValueError, match=message):
        fresh.fit(X, Y)
    assert not [name for name in vars(fresh) if name.endswith("_")]
    fitted = make(warm_start=warm_start).fit(X, Y)
    before = fitted.transform(X), vars(fitted).copy(), len(fitted.history_)
    if "lr" in params and warm_start and make is not vae:
        params = params | {"warmup_epochs": 0, "decay_epochs": 1000}
    fitted.set_params(**params)
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, Y)
    assert np.array_equal(fitted.transform(X), before[0])
    assert len(fitted.history_) == before[2]
    for name, value in before[1].items():
        if name not in params:
            assert vars(fitted)[name] is value


@pytest.mark.parametrize(
    "architecture", ["class_conditional", "class_independent", "single_branch"]
)
@pytest.mark.parametrize("value", [np.nan, 1e38])
def test_predicting_with_spoilt_weights_is_an_error(architecture, value):
    clf = classifier(architecture=architecture).fit(X, Y)
    Spoil(value).on_train_end(clf.net_)
    calls = [clf.predict, clf.predict_proba, clf.predict_index, clf.index_proba, clf.transform]
    for call in [*calls, clf.explain, clf.kneighbors, clf.set_params(routing="soft").explain]:
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(X)


@pytest.mark.parametrize("value", [np.nan, 1e38])
def test_regressing_with_spoilt_weights_is_an_error(value):
    reg = regressor().fit(X, Y)
    Spoil(value).on_train_end(reg.net_)
    calls = [reg.predict, reg.predict_index, reg.index_proba, reg.transform, reg.explain]
    for call in [*calls, reg.kneighbors]:
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(X)


def test_generating_with_spoilt_weights_is_an_error():
    model = vae().fit(X, Y)
    codes = model.transform(X)
    for parameter in model.net_.module_.parameters():
        parameter.data.fill_(np.nan)
    calls = [model.transform, model.reconstruct, model.predict, model.explain, model.score_samples]
    for call in calls:
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(X)
    for call in (model.inverse_transform, model.explain_latent):
        with pytest.raises(ValueError, match="NaN or infinite"):
            call(codes)


class Backbone(nn.Module):
    def __init__(self, after):
        super().__init__()
        self.inner, self.after = nn.Linear(4, 6), after

    def forward(self, x):
        return self.after(self.inner(x))


def with_nan():
    module = nn.Linear(4, 6)
    module.bias.data[0] = np.nan
    return module


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # since torch 2.14
@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (Backbone(lambda h: None), "one dense tensor .* gave NoneType"),
        (Backbone(lambda h: {"features": h}), "one dense tensor .* gave dict"),
        (Backbone(lambda h: (h, h)), "one dense tensor .* gave tuple"),
        (Backbone(lambda h: h[:, :0]), r"one dense tensor .* \(2, 0\)"),
        (Backbone(lambda h: h[0, 0]), "one dense tensor"),
        (Backbone(lambda h: h[:, 0]), "one dense tensor"),
        (Backbone(lambda h: h + 0j), "one dense tensor .* torch.complex64"),
        (Backbone(lambda h: h.double()), "float32 features, .* gave torch.float64"),
        (Backbone(lambda h: h.half()), "float32 features, .* gave torch.float16"),
        (Backbone(lambda h: h.to_sparse()), "one dense tensor .*sparse"),
        (Backbone(lambda h: h.argmax(1, keepdim=True)), "one dense tensor .*int64"),
        (Backbone(lambda h: {}["x"]), "must take a batch"),
        (Backbone(lambda h: h.missing), "must take a batch"),
        (nn.Linear(5, 6), "must take a batch"),
        (with_nan(), "of the backbone must be finite"),
        (lambda: torch.jit.script(nn.Linear(4, 6)), "torch.jit"),
        (lambda: None, "factory"),
    ],
)
def test_backbones_that_do_not_fit(backbone, message):
    with pytest.raises((TypeError, ValueError), match=message):
        classifier(backbone=backbone).fit(X, Y)


class Drawing(nn.Module):
    """Writes to its input, and draws from every global generator."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 6)

    def forward(self, x):
        x.mul_(2)
        if self.training:
            x = x + torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return self.inner(x)


@pytest.mark.parametrize("fails", [False, True])
def test_a_backbone_changes_nothing_of_the_users(fails):
    backbone, rows = Drawing(), X.copy()
    weight = backbone.inner.weight.detach().clone()
    states = lambda: (  # noqa: E731
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
    )
    before = states()
    clf = classifier(backbone=backbone, lr=1e30 if fails else 1e-3)
    if fails:
        with pytest.raises(ValueError, match="diverged"):
            clf.fit(rows, Y)
    else:
        probabilities = clf.fit(rows, Y).predict_proba(rows)
        assert np.array_equal(clf.fit(rows, Y).predict_proba(rows), probabilities)
        clf.explain(rows)
        assert np.array_equal(clf._fit_X, X)
    assert np.array_equal(rows, X)
    assert torch.equal(backbone.inner.weight, weight)
    assert backbone.training
    assert states() == before


@pytest.mark.parametrize("make", [classifier, regressor, vae])
@pytest.mark.parametrize(
    "change",
    [{"max_epochs": True}, {"lr": True}, {"lr": np.inf}, {"batch_size": True}, {"device": "bad"}],
    ids=str,
)
def test_parameters_are_checked(make, change):
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        make(**change).fit(X, Y)


@pytest.mark.parametrize("n_samples", [True, 0, -1, 2.0, None, "3", np.nan])
def test_samples_are_counted_in_integers(n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        vae().fit(X, Y).sample(n_samples)


NUMBERS = Y * 1.0


@pytest.mark.parametrize("make", [classifier, regressor, vae])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "requires y"),
        ([None] * len(Y), f"{len(Y)} of {len(Y)} are missing"),
        ([None, *Y.tolist()[1:]], f"1 of {len(Y)} are missing"),
        (np.full(len(Y), np.nan), "NaN"),
        (Y + 1j, "Complex data not supported: y"),
        (np.ma.masked_equal(Y, 1), "y must not be a masked array"),
        ([np.ma.masked, *Y.tolist()[1:]], "y must not be a masked array"),
    ],
    ids=["absent", "none", "one", "nan", "complex", "masked", "list"],
)
def test_targets_that_are_missing_are_named(make, labels, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X, labels)


@pytest.mark.parametrize("make", [classifier, regressor, vae])
def test_tensors_of_every_kind_are_read(make):
    exact = torch.tensor(X).bfloat16()  # NumPy has no such type
    labels = torch.tensor(NUMBERS if make is regressor else Y)
    fitted = make().fit(exact.double().requires_grad_(), labels)
    codes = fitted.transform(exact.float().numpy())
    np.testing.assert_array_equal(fitted.transform(exact), codes)
    if make is regressor:
        same = make().fit(exact, labels.bfloat16().requires_grad_())
        np.testing.assert_array_equal(same.predict(exact), fitted.predict(exact))
    if make is vae:
        rounded = torch.tensor(codes).bfloat16()
        np.testing.assert_array_equal(
            fitted.inverse_transform(rounded.requires_grad_()),
            fitted.inverse_transform(rounded.detach().float().numpy()),
        )


@pytest.mark.parametrize("make", [classifier, regressor])
def test_masks_of_rows_and_subsets_are_not_dropped(make):
    rows = np.ma.masked_greater(X, np.median(X))
    for masked in (rows, list(rows)):
        with pytest.raises(ValueError, match="X must not be a masked array"):
            make().fit(masked, Y)
        with pytest.raises(ValueError, match="X must not be a masked array"):
            make().fit(X, Y).predict(masked)
    subset = np.ma.masked_equal(np.arange(len(X)), 1)
    with pytest.raises(ValueError, match="index_subset must not be a masked array"):
        make(index_subset=subset).fit(X, Y)


def test_a_side_of_an_image_is_no_bool():
    with pytest.raises(ValueError, match="positive integers"):
        classifier(input_shape=(4, True)).fit(X, Y)
