"""Distortions against what they are said to do, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sklearn_provenance.datasets import DISTORTIONS, _distortions, distort

NOTHING = {
    **dict.fromkeys(
        [
            *("salt_and_pepper", "gaussian_noise", "occlusion", "translation", "rotation"),
            *("scaling", "gaussian_blur"),
        ],
        0,
    ),
    "motion_blur": 1,
}
SOMETHING = {
    "salt_and_pepper": 0.3,
    "gaussian_noise": 0.3,
    "occlusion": 3,
    "translation": 2,
    "rotation": 25,
    "scaling": 0.3,
    "gaussian_blur": 0.8,
    "motion_blur": 3,
}
RANDOM = [kind for kind in SOMETHING if "blur" not in kind]


@st.composite
def batches(draw, max_n=5):
    sides = st.integers(4, 9)
    channels = draw(st.sampled_from([(), (1,), (3,), (4,)]))
    shape = (draw(st.integers(1, max_n)), draw(sides), draw(sides), *channels)
    dtype = draw(st.sampled_from([np.uint8, np.float32, np.float64]))
    white = 255 if dtype == np.uint8 else 1
    values = st.integers(0, 255) if white == 255 else st.floats(0, 1, width=32)
    return draw(arrays(dtype, shape, elements=values))


def noise_images(n, height=9, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


def test_the_paper_has_fourteen():
    assert list(DISTORTIONS.values()) == [
        *(("salt_and_pepper", 0.1), ("salt_and_pepper", 0.2)),
        *(("gaussian_noise", 0.1), ("gaussian_noise", 0.2)),
        *(("occlusion", 4), ("occlusion", 6), ("translation", 3), ("translation", 4)),
        *(("rotation", 30), ("rotation", 40), ("scaling", 0.2)),
        *(("gaussian_blur", 1), ("gaussian_blur", 2), ("motion_blur", 5)),
    ]
    with pytest.raises(TypeError):
        DISTORTIONS["rotation 30"] = ("rotation", 31)
    images = noise_images(3, 28, 28)
    for distortion in DISTORTIONS.values():
        assert not np.array_equal(distort(images, *distortion, random_state=0), images)


@given(images=batches(), kind=st.sampled_from(sorted(SOMETHING)), seed=st.integers(0, 9))
def test_shape_type_and_range_are_kept_and_the_input_too(images, kind, seed):
    before = images.copy()
    out = distort(images, kind, SOMETHING[kind], random_state=seed)
    np.testing.assert_array_equal(images, before)
    assert not np.may_share_memory(out, images)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)
    assert out.min() >= 0
    assert out.max() <= (255 if out.dtype == np.uint8 else 1)
    np.testing.assert_array_equal(out, distort(images, kind, SOMETHING[kind], random_state=seed))


@given(images=batches(), kind=st.sampled_from(sorted(NOTHING)))
def test_nothing_is_done_exactly(images, kind):
    np.testing.assert_array_equal(distort(images, kind, NOTHING[kind], random_state=0), images)


@pytest.mark.parametrize("kind", SOMETHING)
def test_no_image_depends_on_others(kind, monkeypatch):
    images, amount = noise_images(6), SOMETHING[kind]
    out = distort(images, kind, amount, random_state=3)
    np.testing.assert_array_equal(distort(images[:4], kind, amount, random_state=3), out[:4])
    changed = images.copy()
    changed[2] = 255 - changed[2]
    again = distort(changed, kind, amount, random_state=3)
    others = np.arange(6) != 2
    np.testing.assert_array_equal(again[others], out[others])
    monkeypatch.setattr(_distortions, "_BLOCK", 2)
    np.testing.assert_array_equal(distort(images, kind, amount, random_state=3), out)


@pytest.mark.parametrize("kind", RANDOM)
def test_chance_is_drawn_for_each_image(kind):
    same = np.repeat(noise_images(1), 20, axis=0)
    out = distort(same, kind, SOMETHING[kind], random_state=0)
    assert len(np.unique(out, axis=0)) > 1
    assert not np.array_equal(out, distort(same, kind, SOMETHING[kind], random_state=1))


@pytest.mark.parametrize("kind", [kind for kind in SOMETHING if kind != "gaussian_noise"])
def test_channels_go_together(kind):
    grey = noise_images(4)
    amount = SOMETHING[kind]
    other = noise_images(4, seed=1)
    out = distort(np.stack([grey, other, grey], axis=-1), kind, amount, random_state=0)
    np.testing.assert_array_equal(out[..., 0], distort(grey, kind, amount, random_state=0))
    np.testing.assert_array_equal(out[..., 1], distort(other, kind, amount, random_state=0))
    np.testing.assert_array_equal(out[..., 2], out[..., 0])


@pytest.mark.parametrize("kind", SOMETHING)
def test_bytes_and_floats_agree(kind):
    images, amount = noise_images(5), SOMETHING[kind]
    out = distort(images, kind, amount, random_state=0).astype(float)
    for dtype, white in ((np.float32, np.float32(255)), (np.float64, 255)):
        floats = distort((images / white).astype(dtype), kind, amount, random_state=0)
        assert np.abs(out - 255 * floats).max() <= 0.5 + 1e-4  # rounded to the nearest


def test_pixels_turn_black_or_white():
    images = np.full((40, 30, 20, 3), 100, np.uint8)
    out = distort(images, "salt_and_pepper", 0.2, random_state=0)
    assert (out == out[..., :1]).all()
    for value, share in ((0, 0.1), (255, 0.1), (100, 0.8)):
        error = np.sqrt(share * (1 - share) / out[..., 0].size)
        assert abs(np.mean(out[..., 0] == value) - share) < 4 * error


def test_noise_has_the_scale_asked_for():
    out = distort(np.full((40, 20, 20, 3), 0.5), "gaussian_noise", 0.1, random_state=0)
    assert out.mean() == pytest.approx(0.5, abs=1e-3)
    assert out.std() == pytest.approx(0.1, rel=0.02)
    assert abs(np.corrcoef(out.reshape(-1, 3).T)[0, 1]) < 0.03


@given(
    height=st.integers(2, 6),
    width=st.integers(2, 6),
    side=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_a_square_is_hidden(height, width, side, seed):
    side = min(side, height, width)
    out = distort(np.ones((3, height, width)), "occlusion", side, random_state=seed)
    for image in out:
        rows, columns = np.nonzero(image == 0)
        assert len(rows) == side**2
        assert np.ptp(rows) == np.ptp(columns) == side - 1


def test_every_place_is_hidden_as_often():
    out = distort(np.ones((6000, 3, 5)), "occlusion", 2, random_state=0)
    places, counts = np.unique(out, axis=0, return_counts=True)
    assert len(places) == 2 * 4
    assert np.abs(counts - 750).max() < 4 * np.sqrt(6000 * 7 / 64)


@given(images=batches(), shift=st.integers(0, 4), seed=st.integers(0, 99))
def test_images_move_by_exact_pixels(images, shift, seed):
    out = distort(images, "translation", shift, random_state=seed)
    height, width = images.shape[1:3]
    for image, moved in zip(images, out, strict=True):
        possible = []
        for down in (-shift, shift):
            for right in (-shift, shift):
                expected = np.zeros_like(image)
                for row in range(height):
                    for column in range(width):
                        if 0 <= row - down < height and 0 <= column - right < width:
                            expected[row, column] = image[row - down, column - right]
                possible.append(np.array_equal(moved, expected))
        assert any(possible)


def test_all_directions_are_taken_as_often():
    dot = np.zeros((4000, 5, 5))
    dot[:, 2, 2] = 1
    out = distort(dot, "translation", 2, random_state=0)
    corners = out[:, ::4, ::4].sum(axis=0)
    assert corners.sum() == 4000
    assert np.abs(corners - 1000).max() < 4 * np.sqrt(4000 * 3 / 16)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_quarter_turns(channels):
    images = np.random.default_rng(0).random((60, 6, 6, *channels))
    ways = np.zeros(2)
    for image, turned in zip(images, distort(images, "rotation", 90, random_state=0), strict=True):
        same = [np.allclose(turned, np.rot90(image, times), atol=1e-6) for times in (1, -1)]
        assert sum(same) == 1
        ways += same
    assert ways.min() > 15
    np.testing.assert_allclose(
        distort(images, "rotation", 180, random_state=0), images[:, ::-1, ::-1], atol=1e-6
    )


def interpolated(image, row, column):
    """Linear interpolation in an image on a black ground."""
    height, width = image.shape
    top, left = int(np.floor(row)), int(np.floor(column))
    value = 0.0
    for r, weight_r in ((top, top + 1 - row), (top + 1, row - top)):
        for c, weight_c in ((left, left + 1 - column), (left + 1, column - left)):
            if 0 <= r < height and 0 <= c < width:
                value += weight_r * weight_c * image[r, c]
    return value


@settings(max_examples=20)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    matrix=arrays(float, (2, 2), elements=st.floats(-2, 2)),
)
def test_warps_by_definition(height, width, matrix):
    image = np.random.default_rng(0).random((height, width))
    out = _distortions._warp(image[None, :, :, None], matrix[None])[0, :, :, 0]
    centre = (np.array([height, width]) - 1) / 2
    for place in np.ndindex(height, width):
        source = matrix @ (place - centre) + centre
        # Rounding may put a place at the last pixel just outside: the weight is then near 0.
        assert out[place] == pytest.approx(interpolated(image, *source), abs=1e-6)


def blob(height, width, spread):
    rows, columns = np.mgrid[:height, :width] - np.array([[[height - 1]], [[width - 1]]]) / 2
    return np.exp(-(rows**2 + columns**2) / (2 * spread**2))


def test_turns_by_the_angle_asked_for():
    # Two blobs beside the centre of an image that is not square: its long axis turns.
    rows, columns = np.mgrid[:41, :61] - np.array([[[20]], [[30]]])
    two = 0.9 * sum(np.exp(-((columns - x) ** 2 + rows**2) / 18) for x in (-10, 10))
    out = distort(np.repeat(two[None], 40, axis=0), "rotation", 30, random_state=0)
    moments = [np.einsum("nij,ij->n", out, m) for m in (columns**2, rows**2, rows * columns)]
    angles = np.rad2deg(0.5 * np.arctan2(2 * moments[2], moments[0] - moments[1]))
    np.testing.assert_allclose(np.abs(angles), 30, atol=0.2)
    assert 8 < (angles > 0).sum() < 32


def test_scales_within_the_range_about_the_centre():
    image = blob(61, 71, 6)
    out = distort(np.repeat(image[None], 300, axis=0), "scaling", 0.3, random_state=0)
    factors = np.sqrt(out.sum(axis=(1, 2)) / image.sum())  # areas
    assert factors.min() == pytest.approx(0.7, abs=0.02)
    assert factors.max() == pytest.approx(1.3, abs=0.02)
    assert factors.mean() == pytest.approx(1, abs=4 * 0.6 / np.sqrt(12 * 300))
    for scaled, factor in zip(out[:20], factors, strict=False):
        np.testing.assert_allclose(scaled, blob(61, 71, 6 * factor), atol=0.02)


@given(images=batches(), scale=st.floats(0.3, 3), length=st.integers(1, 4))
def test_blurs_keep_the_mean(images, scale, length):
    images = images.astype(float) / max(images.max(), 1)
    mean = images.mean(axis=(1, 2))
    for kind, amount in (("gaussian_blur", scale), ("motion_blur", length)):
        out = distort(images, kind, amount)
        if kind == "gaussian_blur" or length % 2:  # mirrored edges; even lengths have no middle
            np.testing.assert_allclose(out.mean(axis=(1, 2)), mean, atol=1e-12)
        assert out.min() >= images.min() - 1e-12
        assert out.max() <= images.max() + 1e-12


def test_blurs_of_a_point():
    point = np.zeros((1, 31, 41))
    point[0, 15, 20] = 1
    out = distort(point, "gaussian_blur", 2)[0]
    density = blob(31, 41, 2) / (2 * np.pi * 2**2)
    np.testing.assert_allclose(out, density, atol=1e-4)
    expected = np.zeros((31, 41))
    expected[15, 18:23] = 1 / 5
    np.testing.assert_allclose(distort(point, "motion_blur", 5)[0], expected, atol=1e-15)


def test_no_images_make_none():
    for shape in [(0, 4, 4), (0, 4, 4, 3)]:
        assert distort(np.zeros(shape, np.uint8), "rotation", 3).shape == shape


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"kind": "turning"}, ValueError, "one of .*'rotation'.*got 'turning'"),
        ({"amount": -1}, ValueError, "amount of rotation == -1"),
        ({"kind": "salt_and_pepper", "amount": 1.5}, ValueError, "<= 1"),
        ({"kind": "occlusion", "amount": 5}, ValueError, "<= 4"),
        ({"kind": "translation", "amount": 1.5}, TypeError, "amount of translation"),
        ({"kind": "motion_blur", "amount": 0}, ValueError, ">= 1"),
        ({"images": np.ma.zeros((2, 4, 5), np.uint8)}, ValueError, "must not be a masked array"),
        ({"images": np.zeros((4, 5), np.uint8)}, ValueError, r"\(n, H, W\).*got \(4, 5\)"),
        ({"images": np.zeros((2, 3, 4, 5), np.uint8)}, ValueError, "last axis"),
        ({"images": np.zeros((2, 4, 5), int)}, ValueError, "got int64"),
        ({"images": np.full((2, 4, 5), 16.0)}, ValueError, "from 0 .* to 1 .*got 16.0 to 16.0"),
        ({"images": np.full((2, 4, 5), np.nan)}, ValueError, "from 0"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    arguments = {"images": np.zeros((2, 4, 5), np.uint8), "kind": "rotation", "amount": 10}
    with pytest.raises(error, match=message):
        distort(**(arguments | change))
