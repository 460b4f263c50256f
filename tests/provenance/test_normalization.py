"""normalization="standardize": mean 0 and standard deviation 1 in every channel of the images."""

import copy
import json
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import sparse
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_provenance import ProvenanceClassifier, ProvenanceRegressor, ProvenanceVAE
from sklearn_provenance.attribution import RepSimAttributor, TRAKAttributor
from sklearn_provenance.provenance import _standardization
from sklearn_provenance.provenance._standardization import standardization

from .conftest import ARCHITECTURES, quick, quick_regressor
from .test_persistence import Raw, rewrite

RNG = np.random.default_rng(0)
# Channels differ in mean and spread.
LAST = (RNG.random((40, 8, 6, 3)) * [40, 200, 90] + [10, 50, 0]).astype(np.uint8)
FIRST = np.ascontiguousarray(LAST.transpose(0, 3, 1, 2))
GREY = LAST[..., 1]
TABLE = (RNG.normal(size=(40, 5)) * [1, 100, 0.01, 5, 1] + [0, 3, 0.1, -7, 0]).astype(np.float32)
Y = np.arange(40) % 3


def fit(X, make=quick, y=Y, **options):
    return make(max_epochs=2, normalization="standardize", **options).fit(X, y)


def network_input(estimator, X):
    return estimator.net_.module_.scaling(torch.tensor(estimator._rows(X)))


def by_hand(X, channel):
    """Subtract means and divide by standard deviations along all axes but one, in float64."""
    X = X.astype(np.float64)
    others = tuple(axis for axis in range(X.ndim) if axis != channel)
    return (X - X.mean(others, keepdims=True)) / X.std(others, keepdims=True)


# Rows as they are given, options, and the same standardised by hand, channels first.
CASES = {
    "last": (LAST, {}, by_hand(FIRST, 1)),
    "first": (FIRST, {}, by_hand(FIRST, 1)),
    "grey": (GREY, {}, by_hand(GREY[:, None], 1)),
    "grey, one channel": (GREY[..., None], {}, by_hand(GREY[:, None], 1)),
    "flat": (LAST.reshape(40, -1), {"input_shape": (8, 6, 3)}, by_hand(FIRST, 1)),
    "flat, first": (FIRST.reshape(40, -1), {"input_shape": (3, 8, 6)}, by_hand(FIRST, 1)),
    "floats": (LAST.astype(np.float32) / 255, {}, by_hand(FIRST, 1)),
    "floats to 255": (FIRST.astype(np.float64), {}, by_hand(FIRST, 1)),
    "mlp": (LAST, {"backbone": "mlp"}, by_hand(FIRST, 1)),
    "table": (TABLE, {}, by_hand(TABLE, 1)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("make", [quick, quick_regressor])
def test_it_is_what_one_would_do_by_hand_before(name, make):
    X, options, expected = CASES[name]
    y = Y if make is quick else RNG.normal(size=40)
    one = fit(X, make, y, **options)
    expected = expected.astype(np.float32)
    torch.testing.assert_close(network_input(one, X).numpy(), expected, atol=1e-5, rtol=1e-5)
    options = {name: value for name, value in options.items() if name != "input_shape"}
    two = make(max_epochs=2, **options).fit(expected, y)
    # The same start, and training that differs by rounding only.
    assert one.history_[0]["train_loss"] == pytest.approx(two.history_[0]["train_loss"], rel=1e-3)
    weights = one.net_.module_.state_dict()
    assert weights.pop("scaling.mean").shape == weights.pop("scaling.factor").shape
    two.net_.module_.load_state_dict(weights)
    methods = [
        "index_proba",
        "transform",
        "predict" if make is quick_regressor else "predict_proba",
    ]
    for method in methods:
        got, wanted = (getattr(m, method)(Z) for m, Z in ((one, X), (two, expected)))
        np.testing.assert_allclose(got, wanted, atol=1e-5, rtol=1e-4)
    got, wanted = one.explain(X, k=3), two.explain(expected, k=3)
    np.testing.assert_array_equal(got.indices, wanted.indices)
    np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_sees_the_same(architecture):
    clf = fit(LAST, lambda **options: quick(architecture, **options))
    expected = by_hand(FIRST, 1).astype(np.float32)
    torch.testing.assert_close(network_input(clf, LAST).numpy(), expected, atol=1e-5, rtol=1e-5)
    assert clf.index_proba(LAST).shape == (40, 40)


def test_columns_are_those_of_a_standard_scaler():
    scaler = StandardScaler().fit(TABLE.astype(np.float64))
    got = standardization(TABLE, (5,), None, 1.0)
    np.testing.assert_allclose(got.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(1 / got.factor, scaler.scale_, rtol=1e-12)


@pytest.mark.parametrize("axes", [None, (0, 3, 1, 2)])
@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([np.uint8, np.float32]).flatmap(
        lambda dtype: npst.arrays(
            dtype,
            st.tuples(st.integers(2, 9), st.just(24)),
            elements=None
            if dtype is np.uint8
            else st.floats(-1e6, 1e6, width=32).map(lambda v: np.float32(round(v, 3))),
        )
    ),
    block=st.integers(1, 300),
)
def test_blocks_do_not_matter(rows, block, axes):
    shape, channel = ((2, 4, 3), 1) if axes is None else ((2, 4, 3), 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_standardization, "BLOCK", block)
        got = standardization(rows, shape, axes, 0.25)
    for c in range(shape[channel - 1]):
        values = np.take(rows.reshape(-1, *shape), c, channel).astype(np.float64)
        assert got.mean[c] == pytest.approx(values.mean(), rel=1e-12, abs=1e-9)
        if np.ptp(values) == 0:
            assert got.mean[c] == values.flat[0]
            assert got.factor[c] == 0.25
        else:
            assert 1 / got.factor[c] == pytest.approx(values.std(), rel=1e-9)


def test_statistics_take_no_copy_of_the_images():
    images = np.zeros((3000, 64 * 64 * 3), np.uint8)  # 37 MB, 295 MB in float64
    images[::2] = 7
    tracemalloc.start()
    try:
        got = standardization(images, (64, 64, 3), (0, 3, 1, 2), 1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(got.mean, 3.5)
    assert peak < 3.5 * 8 * _standardization.BLOCK


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_constant_channel_is_scaled_as_without(dtype):
    X = LAST.astype(dtype)
    scale = 1 / 255
    if dtype is np.float32:
        X, scale = X / np.float32(255), 1
    constant = X[0, 0, 0, 1]
    X[..., 1] = constant
    clf = fit(X)
    assert (network_input(clf, X)[:, 1] == 0).all()
    new = X.copy()
    new[0, 0, 0, 1] = 0
    got = network_input(clf, new)
    assert got[0, 1, 0, 0].item() == pytest.approx(-float(constant) * scale, rel=1e-6)
    assert np.isfinite(clf.predict_proba(new)).all()


@pytest.mark.filterwarnings("ignore:.*Put a StandardScaler before")
def test_constant_columns_whose_mean_is_rounded():
    X = TABLE.copy()
    X[:, 0] = 0.1  # 40 times this, divided by 40, is another number in float64
    X[:, 1] = 0
    X[::2, 1] = 1e-42  # so near to 0 that one over the spread is no float32
    X[:, 2] = 1e8  # whose float32 neighbours are 8 away
    X[::2, 2] += 8
    clf = fit(X)
    Z = network_input(clf, X)
    assert torch.isfinite(Z).all()
    assert (Z[:, 0] == 0).all()
    assert Z[:, 1].abs().max() < 1e-6
    assert Z[:, 2].diff().abs().numpy() == pytest.approx(2, rel=1e-6)
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.filterwarnings("ignore:.*Put a StandardScaler before")
def test_a_large_mean_costs_no_more_digits_than_the_column_has():
    X = TABLE[:, 0].astype(np.float64)
    columns = np.stack([X + offset for offset in (0, 1e2, 1e4, 1e6)], 1).astype(np.float32)
    expected = by_hand(columns, 1)
    error = np.abs(network_input(fit(columns), columns).numpy() - expected).max(0)
    spacing = np.spacing(np.abs(columns).max(0)) / columns.std(0, dtype=np.float64)
    assert (error <= spacing).all()  # of float32, in standard deviations


def test_uint8_and_floats_are_the_same_images():
    floats = LAST.astype(np.float32) / np.float32(255)
    for clf in (fit(LAST), fit(floats)):
        one, two = network_input(clf, LAST), network_input(clf, floats)
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
        np.testing.assert_allclose(
            clf.predict_proba(LAST), clf.predict_proba(floats), atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(
        network_input(fit(LAST), LAST), network_input(fit(floats), floats), atol=1e-5, rtol=0
    )


def test_figures_are_those_of_the_training_rows_alone():
    clf = fit(LAST)
    before = network_input(clf, LAST[:3])
    bright = np.minimum(LAST[3:].astype(int) + 60, 255).astype(np.uint8)
    clf.predict(bright)
    assert torch.equal(network_input(clf, LAST[:3]), before)
    subset = fit(LAST, index_subset=0.3)  # rows without an output count
    assert torch.equal(network_input(subset, LAST[:3]), before)
    clf.fit(bright, Y[3:])  # a second fit begins anew
    assert network_input(clf, bright).mean((0, 2, 3)).abs().max() < 1e-5
    assert not torch.equal(network_input(clf, LAST[:3]), before)


def test_warm_starts_keep_them_and_the_option():
    clf = fit(LAST, warm_start=True)
    before = copy.deepcopy(clf.net_.module_.scaling.state_dict())
    clf.fit(LAST, Y)
    assert len(clf.history_) == 4
    for name, value in clf.net_.module_.scaling.state_dict().items():
        assert torch.equal(before[name], value)
    with pytest.raises(ValueError, match="normalization changed"):
        clf.set_params(normalization="scale").fit(LAST, Y)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_agree_and_clones_begin_anew(copier):
    clf = fit(LAST)
    twin = copier(clf)
    np.testing.assert_array_equal(twin.predict_proba(LAST), clf.predict_proba(LAST))
    again = clone(clf)
    assert again.normalization == "standardize"
    np.testing.assert_array_equal(again.fit(LAST, Y).predict_proba(LAST), clf.predict_proba(LAST))


@pytest.mark.parametrize("X", [LAST, GREY, TABLE], ids=["colour", "grey", "table"])
@pytest.mark.parametrize("make", [quick, quick_regressor])
def test_files_hold_them(X, make, tmp_path):
    estimator = fit(X, make, warm_start=True)
    estimator.set_params(normalization="scale").save(tmp_path / "m")  # set_params comes too late
    loaded = type(estimator).load(tmp_path / "m", device="cpu")
    assert loaded.normalization == "standardize"
    assert torch.equal(network_input(loaded, X), network_input(estimator, X))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    np.testing.assert_array_equal(loaded.explain(X, k=3).scores, estimator.explain(X, k=3).scores)
    assert len(loaded.fit(X, Y).history_) == 4


@pytest.mark.parametrize(
    ("cls", "make"), [(ProvenanceClassifier, quick), (ProvenanceRegressor, quick_regressor)]
)
def test_files_from_before_there_was_the_option_still_load(cls, make, tmp_path):
    estimator = make(max_epochs=1).fit(LAST, Y)
    assert not any(name.startswith("scaling") for name in estimator.net_.module_.state_dict())
    estimator.save(tmp_path / "m")

    def without(state):
        del state["params"]["normalization"]
        return Raw(json.dumps(state))

    rewrite(tmp_path / "m", without)
    loaded = cls.load(tmp_path / "m", device="cpu")
    assert loaded.normalization == "scale"
    np.testing.assert_array_equal(loaded.predict(LAST), estimator.predict(LAST))


@pytest.mark.parametrize("name", ["mean", "factor"])
@pytest.mark.parametrize("change", [lambda v: 1.1 * v, lambda v: -v, lambda v: v * np.inf])
def test_other_figures_in_a_file_are_refused(name, change, tmp_path):
    fit(LAST).save(tmp_path / "m")
    key = f"network.scaling.{name}"
    rewrite(tmp_path / "m", change_tensors=lambda t: t.update({key: change(t[key])}))
    with pytest.raises(ValueError, match=f"scaling.{name} must be"):
        ProvenanceClassifier.load(tmp_path / "m")


def test_a_file_with_figures_needs_the_option(tmp_path):
    fit(LAST).save(tmp_path / "m")
    change = {"normalization": "scale"}
    rewrite(tmp_path / "m", lambda state: state | {"params": state["params"] | change})
    with pytest.raises(ValueError, match="do not fit the network"):
        ProvenanceClassifier.load(tmp_path / "m")


def test_sparse_tables_are_as_dense_ones():
    X = TABLE * (RNG.random(TABLE.shape) < 0.4)
    one, two = fit(sparse.csr_array(X)), fit(X)
    np.testing.assert_array_equal(one.predict_proba(sparse.csc_array(X)), two.predict_proba(X))


def test_the_units_of_columns_do_not_matter():
    units = np.array([1, 1000, 1e-3, 60, 2.5])
    one, two = fit(TABLE), fit(TABLE * units)
    torch.testing.assert_close(
        network_input(one, TABLE), network_input(two, TABLE * units), atol=1e-3, rtol=1e-3
    )


def test_a_backbone_of_ones_own_sees_standardised_images():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            seen.append(x.detach())
            return self.layer(x)

    clf = fit(LAST, backbone=Watch)
    seen.clear()
    clf.predict(LAST)
    torch.testing.assert_close(torch.cat(seen)[:40], network_input(clf, LAST))


def test_attributors_see_what_the_network_sees():
    clf = fit(LAST)
    hand = by_hand(FIRST, 1).astype(np.float32)
    plain = quick(max_epochs=1).fit(hand, Y)
    weights = clf.net_.module_.state_dict()
    del weights["scaling.mean"], weights["scaling.factor"]
    plain.net_.module_.load_state_dict(weights)
    for attributor in (
        RepSimAttributor,
        lambda model: TRAKAttributor(model, n_components=16, random_state=0),
    ):
        one = attributor(clf).fit(LAST, Y).attribute(LAST[:4])
        two = attributor(plain).fit(hand, Y).attribute(hand[:4])
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3 * np.nanmax(np.abs(two)))


@pytest.mark.parametrize("value", ["standardise", "none", None, True, 1, np.nan])
def test_other_values_are_refused(value):
    for make in (quick, quick_regressor):
        with pytest.raises(ValueError, match="normalization"):
            make(normalization=value).fit(LAST, Y)


def test_autoencoders_have_values_from_0_to_1_and_no_such_option():
    assert "normalization" not in ProvenanceVAE._get_param_names()


def test_columns_that_single_precision_leaves_few_values_of_get_a_warning():
    seconds = 1.7e9 + 60 * RNG.random((len(TABLE), 1)) * np.arange(1, 60)
    with pytest.warns(UserWarning, match="Put a StandardScaler before"):
        fit(np.hstack([TABLE, seconds]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(np.hstack([TABLE, np.full((len(TABLE), 1), 1e6)]))
        fit(TABLE + 1000)
