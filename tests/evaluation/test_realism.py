"""Fréchet distances against closed forms, and realism against the autoencoder's own words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr, special_ortho_group
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer

from sklearn_provenance import ProvenanceVAE
from sklearn_provenance.datasets import load_digits
from sklearn_provenance.evaluation import LinesDisplay, frechet_distance, realism
from sklearn_provenance.evaluation._realism import GROUPS, _rank_correlation

FEW = {"n_samples": 200, "n_bootstrap": 20, "random_state": 0}


def flatten(images):
    return images.reshape(len(images), -1) / 255


def rows(seed, n=40, n_features=5):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n_features, n_features))
    return rng.normal(size=(n, n_features)) @ mixing + rng.normal(size=n_features)


def white(seed, n=60, n_features=4):
    """Rows with mean 0 and the identity as covariance, up to rounding."""
    X = rows(seed, n, n_features)
    X = np.linalg.qr(X - X.mean(0))[0]
    return X * np.sqrt(n - 1)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X_test, y_test = load_digits("test", return_X_y=True)
    X, X_test = X[y < 3], X_test[y_test < 3]
    options = {"backbone": "mlp", "width": "small", "max_epochs": 30, "lambda_gen": 0.05}
    vae = ProvenanceVAE(8, device="cpu", random_state=0, **options).fit(X, y[y < 3])
    pca = PCA(6).fit(flatten(X))
    return vae, lambda images: pca.transform(flatten(images)), X, X_test


@pytest.fixture(scope="module")
def result(digits):
    vae, features, _, X_test = digits
    return realism(vae, features, X_test=X_test, threshold=0.1, **FEW)


def test_frechet_distance_of_one_feature():
    a, b = rows(0, 30, 1), rows(1, 50, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_of_commuting_covariances():
    turn = special_ortho_group.rvs(4, random_state=0)
    scales, others = np.array([1, 2, 0.5, 3]), np.array([2, 2, 0, 1])
    shift = np.array([1, -1, 0, 2])
    a, b = white(0) * scales @ turn, white(1) * others @ turn + shift
    expected = shift @ shift + np.square(scales - others).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_frechet_distance_by_the_root_of_a_matrix():
    a, b = rows(0), rows(1, 70)
    S, T = np.cov(a.T), np.cov(b.T)
    root = sqrtm(S @ T).real
    means = np.square(a.mean(0) - b.mean(0)).sum()
    expected = means + np.trace(S + T - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 12),
    m=st.integers(2, 12),
    n_features=st.integers(2, 6),
    scale=st.floats(1e-3, 1e3),
)
def test_frechet_distance_is_one(seed, n, m, n_features, scale):
    a, b = rows(seed, n, n_features), rows(seed + 1, m, n_features)
    distance = frechet_distance(a, b)
    size = np.square(a).sum() + np.square(b).sum()
    close = {"rel": 1e-7, "abs": 1e-9 * size}
    assert distance >= 0
    assert frechet_distance(b, a) == pytest.approx(distance, **close)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * size)
    turn, shift = special_ortho_group.rvs(n_features, random_state=seed), rows(seed, 2, n_features)
    assert frechet_distance(a @ turn + shift[0], b @ turn + shift[0]) == pytest.approx(
        distance, rel=1e-6, abs=1e-8 * size
    )
    assert frechet_distance(scale * a, scale * b) / scale**2 == pytest.approx(distance, **close)
    assert frechet_distance(a[::-1], b) == pytest.approx(distance, **close)
    moved = frechet_distance(a + shift[0], a)
    assert moved == pytest.approx(shift[0] @ shift[0], rel=1e-6, abs=1e-8 * size)


def test_frechet_distance_of_few_rows_is_larger():
    distances = [
        np.mean([frechet_distance(white(s, n), white(s + 99, 5000)) for s in range(20)])
        for n in (10, 40, 160)
    ]
    assert distances == pytest.approx([0] * 3, abs=1e-9)  # by their making
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(5000, 4))
    distances = [
        np.mean([frechet_distance(rng.normal(size=(n, 4)), reference) for _ in range(20)])
        for n in (10, 40, 160)
    ]
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


@pytest.mark.parametrize(
    ("a", "message"),
    [
        (rows(0, 1), "must have 2 rows"),
        (rows(0)[0], "finite numbers of shape .any, any"),
        (rows(0)[:, :4], "as features, 4; got 5"),
        (rows(0) * np.nan, "nan or infinite"),
    ],
)
def test_frechet_distance_refuses(a, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, rows(1))


def test_samples_confidence_and_labels_are_those_of_the_autoencoder(digits, result):
    vae, features, X, X_test = digits
    samples, codes = vae.sample(200, random_state=0, return_codes=True)
    explanation = vae.explain_latent(codes, k=1)
    np.testing.assert_array_equal(result.codes, codes)
    np.testing.assert_array_equal(result.confidence, explanation.scores[:, 0])
    np.testing.assert_array_equal(result.labels, explanation.query_labels)
    nearest = cdist(features(samples), features(X)).min(1)
    np.testing.assert_allclose(result.feature_distance, nearest)
    nearest = cdist(flatten(samples), flatten(X)).min(1)
    np.testing.assert_allclose(result.input_distance, nearest, rtol=1e-5)
    np.testing.assert_array_equal(result.high[0], result.confidence >= 0.1)
    np.testing.assert_array_equal(result.n_high + result.n_low, 200)
    assert result.high[1].sum() == 100
    least = result.confidence[result.high[1]].min()
    assert least >= result.confidence[~result.high[1]].max()
    np.testing.assert_array_equal(result.thresholds, [0.1, least, np.nan])
    assert 12 <= result.size[0] < 100 == result.size[1]
    for label in vae.classes_:
        own = result.labels == label
        upper, lower = (result.confidence[own & part] for part in (result.high[2], ~result.high[2]))
        assert abs(len(upper) - len(lower)) <= 1
        assert upper.min() >= lower.max()


def test_groups_are_compared_at_one_size(digits, result):
    vae, features, X, X_test = digits
    sampled, reference = features(vae.inverse_transform(result.codes)), features(X)
    for split in range(3):
        smaller = min(result.high[split], ~result.high[split], key=sum)
        group = int(smaller[0] != result.high[split][0])
        estimate = result.frechet[split, group, 0]
        assert estimate == pytest.approx(frechet_distance(sampled[smaller], reference))
    high, low, difference = result.frechet[:, :3, 0].T
    np.testing.assert_allclose(difference, low - high)
    assert np.isfinite(result.frechet).all()
    estimate, lower, upper = np.moveaxis(result.frechet, 2, 0)
    assert (lower <= estimate).all()
    assert (estimate <= upper).all()
    assert (np.delete(result.frechet, 2, axis=1) >= 0).all()
    # What is real is nearer to the reference than what is generated.
    train, test = (estimate[:, GROUPS.index(name)] for name in ("train", "test"))
    assert (np.maximum(train, test) < np.minimum(high, low)).all()
    # The larger group at its full size would look better than it is compared.
    larger = max(result.high[0], ~result.high[0], key=sum)
    larger_at_size = result.frechet[0, int(larger[0] != result.high[0][0]), 0]
    assert frechet_distance(sampled[larger], reference) < larger_at_size


def test_correlations(result):
    for distance, line in zip(
        (result.feature_distance, result.input_distance), result.spearman, strict=False
    ):
        assert line[0] == pytest.approx(spearmanr(result.confidence, distance)[0])
    assert (result.spearman[:, 1] < result.spearman[:, 0]).all()
    assert (result.spearman[:, 0] < result.spearman[:, 2]).all()


def test_correlation_within_classes():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(list("abc"), 40))
    x = rng.normal(size=120) + 9 * (labels == "a")
    y = x - 18 * (labels == "a")
    assert _rank_correlation(x, y, np.zeros(120)) < 0
    assert _rank_correlation(x, y, labels) == pytest.approx(1)
    y = rng.normal(size=120)
    rhos = [spearmanr(x[labels == label], y[labels == label])[0] for label in "abc"]
    assert _rank_correlation(x, y, labels) == pytest.approx(np.mean(rhos))
    assert np.isnan(_rank_correlation(x[:3], y[:3], np.arange(3)))
    alone = np.append(labels, "d")
    joined = _rank_correlation(np.append(x, 5), np.append(y, 5), alone)
    assert joined == pytest.approx(_rank_correlation(x, y, labels))


def test_groups_that_are_too_small_are_nan(digits):
    vae, features, *_, X_test = digits
    with pytest.warns(UserWarning, match=r"split at the threshold has 0 samples of high and 200"):
        result = realism(vae, features, threshold=1, **FEW)
    assert np.isnan(result.frechet[0]).all()
    given = np.isfinite(result.frechet[1]).all(axis=1)
    assert given.tolist() == [group != "test" for group in GROUPS]
    pytest.importorskip("matplotlib")
    assert result.plot().beside.rows[0] == "upper half"

    with pytest.warns(UserWarning, match="12 of each") as caught:
        result = realism(vae, features, X_test=X_test, n_samples=20, n_bootstrap=2, threshold=0.1)
    assert len(caught) == 3
    assert np.isnan(result.frechet).all()
    assert np.isfinite(result.spearman).all()
    display = result.plot()  # of points alone
    display.figure_.canvas.draw()


def test_constant_confidence_has_no_correlation():
    X = np.random.default_rng(0).normal(size=(6, 3))
    # One row in each class, so that each is certain.
    vae = ProvenanceVAE(2, width="small", max_epochs=1, random_state=0).fit(X, np.arange(6))
    with pytest.warns(UserWarning, match="samples of high"):
        result = realism(vae, FunctionTransformer(), **FEW)
    np.testing.assert_array_equal(result.confidence, 1)
    assert np.isnan(result.spearman).all()
    np.testing.assert_allclose(result.input_distance, result.feature_distance, rtol=1e-5)
    assert result.high[0].all()
    assert result.high[1].tolist() == [True] * 100 + [False] * 100


def test_seeds(digits, result):
    vae, features, _, X_test = digits
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    again = realism(vae, features, X_test=X_test, threshold=0.1, **FEW)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    for name in ("codes", "frechet", "spearman"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    other = realism(vae, features, threshold=0.1, **FEW | {"random_state": 1})
    assert not np.array_equal(other.codes, result.codes)


def test_reference_and_features_of_your_own(digits, result):
    vae, features, X, X_test = digits

    class Scaler:
        def transform(self, images):
            assert images.shape[1:] == (8, 8)
            return features(images)

    same = realism(vae, Scaler(), X_reference=X, X_test=X_test, threshold=0.1, **FEW)
    np.testing.assert_array_equal(same.frechet, result.frechet)
    held_out = realism(vae, Scaler(), X_reference=X_test, threshold=0.1, **FEW)
    nearest = cdist(features(vae.inverse_transform(held_out.codes)), features(X_test)).min(1)
    np.testing.assert_allclose(held_out.feature_distance, nearest)


def test_tables_and_figure(result, digits):
    pytest.importorskip("pandas")
    frame, summary = result.to_frame(), result.summary()
    assert frame.columns.tolist() == [
        *("label", "confidence", "feature_distance", "input_distance"),
        *("above_threshold", "upper_half", "upper_half_of_class"),
    ]
    assert frame["above_threshold"].sum() == result.n_high[0]
    assert summary.columns.tolist() == ["split", "group", "frechet", "lower", "upper", "size"]
    line = summary[(summary["split"] == "median") & (summary["group"] == "low")].iloc[0]
    np.testing.assert_array_equal(line[["frechet", "lower", "upper"]], result.frechet[1, 1])
    assert line["size"] == 100

    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots(1, 2)
    display = result.plot(ax=axes[1])
    assert isinstance(display, LinesDisplay)
    assert display.figure_ is figure
    confidence, distance = display.lines_[0].get_data()
    assert confidence[-1] == pytest.approx(np.sort(result.confidence)[-20:].mean())
    assert len(distance) == 10
    estimates = display.beside.errorbars_[0][0].get_xdata()
    np.testing.assert_array_equal(estimates, np.delete(result.frechet[0, :, 0], 2))
    labels = [tick.get_text() for tick in display.axes_[1].get_yticklabels()]
    assert labels == [
        *("confidence ≥ 0.1", "confidence < 0.1"),
        *("training rows", "held out", "reconstructions"),
    ]
    vae, features, _, X_test = digits
    same = realism(vae, features, X_test=X_test, threshold=0.1, **FEW)
    np.testing.assert_array_equal(same.frechet, result.frechet)
    figure.canvas.draw()
    with pytest.raises(ValueError, match="subplot"):
        result.plot(ax=plt.figure().add_axes((0, 0, 1, 1)))
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vae": PCA()}, TypeError, "ProvenanceVAE"),
        ({"vae": ProvenanceVAE}, TypeError, "ProvenanceVAE"),
        ({"vae": ProvenanceVAE()}, NotFittedError, "not fitted"),
        ({"features": "pca"}, TypeError, r"'features' parameter .* a callable or"),
        ({"features": lambda images: images}, ValueError, "dim 3"),
        ({"features": lambda images: np.ones((3, 2))}, ValueError, "rows, got 3"),
        (
            {"features": lambda images: images[:, 0, : 4 + (len(images) == 200)]},
            ValueError,
            "columns",
        ),
        ({"n_samples": 3}, ValueError, "n_samples"),
        ({"threshold": 1.5}, ValueError, "threshold"),
        ({"n_bootstrap": 1}, ValueError, "n_bootstrap"),
    ],
)
def test_what_does_not_fit_is_refused(digits, change, error, message):
    with pytest.raises(error, match=message):
        realism(**FEW | {"vae": digits[0], "features": digits[1]} | change)
