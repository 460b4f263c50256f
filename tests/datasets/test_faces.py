"""Faces on small archives: who is kept, how the split is made."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sklearn_provenance.datasets import load_faces

COUNTS = {"Ann_A": 1, "Bob_B": 8, "Cem_C": 2, "Dia_D_Jr": 25, "Eve_E": 30}


def _write(home, file, counts, shape):
    """Write an archive in which a picture's first pixel holds its row, by falling numbers."""
    labels = np.repeat(np.arange(len(counts)), list(counts.values())).astype(np.int16)
    numbers = np.concatenate([np.arange(n, 0, -1) for n in counts.values()]).astype(np.int16)
    images = np.zeros((len(labels), *shape), dtype=np.uint8)
    images.reshape(len(labels), -1)[:, 0] = np.arange(len(labels))
    (home / "lfw").mkdir(exist_ok=True)
    np.savez(home / "lfw" / file, X=images, y=labels, names=np.array(list(counts)), img_no=numbers)


@pytest.fixture
def home(tmp_path):
    _write(tmp_path, "lfw_gray32.npz", COUNTS, (32, 32))
    many = {name: n for name, n in COUNTS.items() if n >= 20}
    _write(tmp_path, "lfw20_rgb32.npz", many, (32, 32, 3))
    return tmp_path


def test_all_grey_faces_in_order(home):
    bunch = load_faces("all", data_home=home)
    assert bunch.data.shape == (66, 32, 32)
    assert bunch.data.dtype == np.uint8
    assert bunch.target.dtype == np.int64
    assert_array_equal(bunch.data[:, 0, 0], np.arange(66))
    assert_array_equal(bunch.index, np.arange(66))
    assert_array_equal(np.bincount(bunch.target), list(COUNTS.values()))
    assert bunch.target_names.tolist() == ["Ann A", "Bob B", "Cem C", "Dia D Jr", "Eve E"]
    assert bunch.image_number[:5].tolist() == [1, 8, 7, 6, 5]
    assert "research only" in bunch.DESCR


def test_color_has_other_people_and_channels(home):
    bunch = load_faces("all", color=True, data_home=home / "lfw")
    assert bunch.data.shape == (55, 32, 32, 3)
    assert bunch.target_names.tolist() == ["Dia D Jr", "Eve E"]


@pytest.mark.parametrize("seed", [0, 1])
def test_split_is_complementary_and_per_person(home, seed):
    train = load_faces(data_home=home, random_state=seed)
    test = load_faces("test", data_home=home, random_state=seed)
    assert sorted(np.concatenate([train.index, test.index])) == list(range(66))
    for part in (train, test):
        assert_array_equal(part.data[:, 0, 0], part.index)
        assert_array_equal(np.repeat(np.arange(5), list(COUNTS.values()))[part.index], part.target)
        assert len(part.target_names) == 5
    # A quarter of 1, 8, 2, 25 and 30, rounded half up, and never a person's last picture.
    assert np.bincount(test.target, minlength=5).tolist() == [0, 2, 1, 6, 8]


def test_split_is_shuffled_and_follows_the_seed(home):
    first, again, other = (load_faces(data_home=home, random_state=seed) for seed in (0, 0, 1))
    assert_array_equal(first.index, again.index)
    assert set(first.index) != set(other.index)
    assert np.any(np.diff(first.target) < 0)
    assert first.data.flags.writeable


def test_large_test_size_leaves_everyone_a_training_picture(home):
    test = load_faces("test", data_home=home, test_size=0.99)
    assert np.bincount(test.target, minlength=5).tolist() == [0, 7, 1, 24, 29]


def test_people_and_pictures_can_be_limited(home):
    bunch = load_faces("all", data_home=home, min_images_per_person=8, max_images_per_person=10)
    assert bunch.target_names.tolist() == ["Bob B", "Dia D Jr", "Eve E"]
    assert np.bincount(bunch.target).tolist() == [8, 10, 10]
    assert bunch.image_number.max() == 10
    assert_array_equal(bunch.data[:, 0, 0], bunch.index)
    train = load_faces(data_home=home, max_images_per_person=10)
    test = load_faces("test", data_home=home, max_images_per_person=10)
    assert len(train.index) + len(test.index) == 1 + 8 + 2 + 10 + 10
    assert not set(train.index) & set(test.index)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"subset": "valid"}, ValueError, "got 'valid'"),
        ({"min_images_per_person": 31}, ValueError, "not exceed 30, the largest number"),
        ({"min_images_per_person": 0}, ValueError, "min_images_per_person"),
        ({"max_images_per_person": 2.5}, TypeError, "max_images_per_person"),
        ({"color": True, "min_images_per_person": 5}, ValueError, "at least 20"),
        ({"test_size": 1.0}, ValueError, "test_size"),
        ({"random_state": None}, TypeError, "overlap"),
    ],
)
def test_bad_arguments(home, arguments, error, message):
    with pytest.raises(error, match=message):
        load_faces(**arguments, data_home=home)


def test_bad_archive_is_named(home):
    path = home / "lfw" / "lfw_gray32.npz"
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "names": arrays["names"][:4]})
    with pytest.raises(ValueError, match="labels from 0 to 4, expected 0 to 3"):
        load_faces(data_home=home)
    np.savez(path, **{**arrays, "img_no": arrays["img_no"][:4]})
    with pytest.raises(ValueError, match="img_no"):
        load_faces(data_home=home)
    del arrays["names"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"lfw_gray32\.npz.*names"):
        load_faces(data_home=home)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lfw20_rgb32\.npz"):
        load_faces(color=True, data_home=tmp_path)


def test_return_X_y(home):
    X, y = load_faces("test", data_home=home, return_X_y=True)
    assert X.shape == (17, 32, 32)
    assert y.shape == (17,)
