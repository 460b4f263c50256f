"""Every layout of rows and images gives the same network the same input."""

import sys

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_provenance._utils.rows import image_layout

from ..checks import thorough
from .conftest import quick

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 8, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (24, 8, 6, 3), dtype=np.uint8)
Y = np.arange(24) % 2


def fit(X, **options):
    return quick(max_epochs=2, **options).fit(X, Y)


def network_input(clf, X):
    return clf.net_.module_.scaling(torch.tensor(clf._rows(X)))


@pytest.mark.parametrize(
    ("X", "options"),
    [
        (GREY, {}),
        (GREY[:, None], {}),
        (GREY[..., None], {}),
        (GREY.reshape(24, -1), {"input_shape": (8, 6)}),
        (GREY / 255, {}),
        (torch.tensor(GREY), {}),
        *thorough(
            (GREY.reshape(24, -1), {"input_shape": [1, 8, 6]}),
            (GREY.reshape(24, -1), {"input_shape": (8, 6, 1)}),
            ((GREY / 255).astype(np.float32), {}),
            (list(GREY), {}),
            (GREY, {"input_shape": (8, 6)}),
        ),
    ],
)
def test_grey_images(X, options):
    clf = fit(X, **options)
    assert clf.input_shape_ == (1, 8, 6)
    assert clf.n_features_in_ == 48
    expected = torch.tensor(GREY[:, None] / 255, dtype=torch.float32)
    torch.testing.assert_close(network_input(clf, X), expected)
    np.testing.assert_array_equal(clf.predict(X), fit(GREY).predict(GREY))
    explanation = clf.explain(X, k=2)
    assert explanation.image_shape == (1, 8, 6)
    explanation.plot()


@pytest.mark.parametrize(
    ("X", "options"),
    [
        (COLOUR, {}),
        (COLOUR.transpose(0, 3, 1, 2), {}),
        (COLOUR.reshape(24, -1), {"input_shape": (8, 6, 3)}),
        (COLOUR.transpose(0, 3, 1, 2).reshape(24, -1), {"input_shape": (3, 8, 6)}),
    ],
)
def test_colour_images(X, options):
    clf = fit(X, **options)
    assert clf.input_shape_ == (3, 8, 6)
    expected = torch.tensor(COLOUR.transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
    torch.testing.assert_close(network_input(clf, X), expected)
    explanation = clf.explain(X, k=2)
    assert explanation.image_shape == (3, 8, 6)
    explanation.plot()


@pytest.mark.parametrize("kind", [float, np.float32, int, np.uint8, bool])
def test_rows_are_divided_by_one_number(kind):
    X = RNG.integers(0, 5, (24, 5)).astype(kind)
    clf = fit(X)
    assert clf.input_shape_ == (5,)
    size = np.sqrt(np.mean(X.astype(float) ** 2))
    expected = torch.tensor(X / size, dtype=torch.float32)
    torch.testing.assert_close(network_input(clf, X), expected)
    other = X.astype(np.float32)  # numbers are numbers, whatever their type
    np.testing.assert_array_equal(clf.predict_proba(X), clf.predict_proba(other))


def test_image_layout():
    assert image_layout((5, 7)) == ((1, 5, 7), None)
    assert image_layout((3, 5, 7)) == ((3, 5, 7), None)
    assert image_layout((5, 7, 3)) == ((5, 7, 3), (0, 3, 1, 2))
    assert image_layout((16, 5, 7)) == ((16, 5, 7), None)
    for shape in [(3, 5, 3), (1, 28, 4), (4, 4, 4)]:
        with pytest.raises(ValueError, match="channels-first and as channels-last"):
            image_layout(shape)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        image_layout((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (GREY.reshape(24, -1), {"input_shape": (8, 7)}, "asks for 56 values per row; X has 48"),
        (GREY, {"input_shape": (6, 8)}, "images must have one size"),
        (RNG.random((24, 3, 5, 3)), {}, "channels-last"),
        (RNG.random((24, 2, 2, 2, 2)), {}, "dim 5|5 dim|ndim"),
        (np.full((24, 4, 4), np.nan), {}, "NaN"),
        (GREY[:0], {}, "0 sample"),
        (GREY, {"input_shape": (8, -6)}, "positive integers"),
        (GREY, {"input_shape": ("a", 6)}, "positive integers"),
        ([GREY[0], GREY[1, :5]], {}, "images must have one size"),
    ],
)
def test_bad_images_are_refused_in_fit(X, options, message):
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(X, Y[: len(X)])


def test_images_in_a_list_and_their_shape_may_be_given():
    expected = fit(GREY).predict_proba(GREY)
    for X, options in ((list(GREY), {}), (GREY, {"input_shape": (8, 6)})):
        np.testing.assert_array_equal(fit(X, **options).predict_proba(X), expected)


def test_bad_images_are_refused_in_predict():
    clf = fit(GREY)
    before = clf.predict_proba(GREY)
    for X, message in [
        (GREY[:, :7], r"fit saw images of shape \(8, 6\), got \(7, 6\)"),
        (GREY.transpose(0, 2, 1), "got"),
        (COLOUR, "got"),
        (GREY.astype(float), "uint8"),
        (GREY.reshape(24, -1)[:, :-1], "47 features"),
        (GREY[0], r"got one image. Pass X\[None\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            clf.predict(X)
    np.testing.assert_array_equal(clf.predict_proba(GREY), before)
    np.testing.assert_allclose(clf.predict_proba(GREY / 255), before, atol=1e-5)


def test_bytes_do_not_compare_with_unscaled_floats():
    clf = fit(GREY.astype(float))
    with pytest.raises(ValueError, match="fit saw floating-point values up to"):
        clf.predict(GREY)
    unit = fit(GREY / 255)
    np.testing.assert_allclose(unit.predict_proba(GREY), unit.predict_proba(GREY / 255), atol=1e-5)


def test_bytes_in_a_frame_are_scaled_too():
    import pandas as pd

    rows = GREY.reshape(24, -1)
    frame = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(48)])
    one, two = fit(rows, input_shape=(8, 6)), fit(frame, input_shape=(8, 6))
    np.testing.assert_array_equal(one.predict_proba(rows), two.predict_proba(frame))


def test_bytes_in_a_frame_of_polars_are_scaled_too():
    polars = pytest.importorskip("polars")
    rows = GREY.reshape(24, -1)
    frame = polars.DataFrame(rows, schema=[f"pixel{i}" for i in range(48)])
    clf = fit(frame, input_shape=(8, 6))
    assert clf._fit_X.dtype == np.uint8
    np.testing.assert_array_equal(
        clf.predict_proba(frame), fit(rows, input_shape=(8, 6)).predict_proba(rows)
    )


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
@pytest.mark.parametrize("kind", [float, bool, *thorough(np.float32, int, np.uint8)])
def test_sparse_rows_are_as_dense_ones(convert, kind):
    X = RNG.integers(0, 2, (24, 12)).astype(kind)
    clf, same = fit(convert(X)), fit(X)
    np.testing.assert_array_equal(clf.predict_proba(convert(X)), same.predict_proba(X))
    one, two = clf.explain(convert(X), k=2), same.explain(X, k=2)
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.queries, two.queries)
    assert isinstance(one.training_data, np.ndarray)


def test_sparse_images_are_as_dense_ones():
    rows = GREY.reshape(24, -1)
    clf = fit(sparse.csr_array(rows), input_shape=(8, 6))
    np.testing.assert_array_equal(clf.predict_proba(GREY), fit(GREY).predict_proba(GREY))


def test_sparse_values_are_checked(monkeypatch):
    X = sparse.csr_array(np.eye(24))
    X.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fit(X)
    clf = fit(sparse.csr_array(np.eye(24)))
    with pytest.raises(ValueError, match="5 features"):
        clf.predict(sparse.csr_array(np.ones((2, 5))))
    monkeypatch.setattr("sklearn_provenance.provenance._input._LARGE", 100)
    with pytest.warns(UserWarning, match="24 rows of 24 features take 0.0 GiB") as seen:
        fit(sparse.csr_array(np.eye(24)))
    assert len(seen) == 1


def test_rows_of_zeros_are_scaled_by_one():
    X = np.zeros((24, 5))
    clf = fit(X)
    assert clf._input_scale == 1
    assert np.isfinite(clf.predict_proba(X)).all()


def test_frames_of_polars_are_rows_where_there_is_no_pandas(monkeypatch):
    polars = pytest.importorskip("polars")
    rows = GREY.reshape(24, -1).astype(np.float32)
    clf = fit(polars.DataFrame(rows, schema=[f"pixel{i}" for i in range(48)]))
    assert list(clf.training_.X.columns) == [f"pixel{i}" for i in range(48)]
    monkeypatch.setitem(sys.modules, "pandas", None)
    np.testing.assert_array_equal(clf.training_.X, rows)
