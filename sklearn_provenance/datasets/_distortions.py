"""Distortions of images, to test classifiers that were trained on clean ones."""

from numbers import Integral, Real
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.utils import check_random_state, check_scalar

from .._utils.arguments import check_readable
from .._utils.types import RandomState, Rows

_BLOCK = 1024  # images that are converted to floats at a time


def distort(images: Rows, kind: str, amount: float, random_state: RandomState = None) -> NDArray:
    """Distort images, each differently where chance is involved.

    Black is 0; white is 255 in uint8 and 1 in floats. Pixels that come from outside the image are
    black. Results are clipped to this range and, in uint8, rounded to the nearest integer.

    Parameters
    ----------
    images : ndarray of shape (n, H, W) or (n, H, W, C)
        Grey images, or images of 1, 3 or 4 channels: uint8, or float32 or float64 from 0 to 1.
        They are not changed.
    kind : str
        Operation:

        - "salt_and_pepper": each pixel turns black or white, with probability ``amount / 2`` each,
          in all channels;
        - "gaussian_noise": independent noise is added to every value; ``amount`` is its standard
          deviation, where white is 1;
        - "occlusion": a black square with sides of ``amount`` pixels is put somewhere inside the
          image, every place being equally likely;
        - "translation": the image is moved by exactly ``amount`` pixels up or down, and by as many
          to the left or to the right;
        - "rotation": the image is turned about its centre by ``amount`` degrees, one way or the
          other;
        - "scaling": the image is enlarged about its centre by a factor that is uniform between
          ``1 - amount`` and ``1 + amount``;
        - "gaussian_blur": ``amount`` is the standard deviation in pixels;
        - "motion_blur": each pixel becomes the mean of ``amount`` pixels side by side.

        Rotation and scaling interpolate linearly. Blurs mirror the image at its edges. Both
        directions of a random move or turn are equally likely.
    amount : float or int
        How much, in the unit that ``kind`` states. 0 changes nothing, nor does a motion blur of 1.
    random_state : int, RandomState instance or None, default=None
        Determines noise, places, directions and factors. Those of an image depend on its position
        in ``images``. They depend neither on the images after it nor on what images show.

    Returns
    -------
    ndarray of the shape and type of images
        Distorted images.

    Raises
    ------
    ValueError
        If ``kind`` is unknown, ``amount`` is out of its range, or images have another shape, type
        or range.

    See Also
    --------
    sklearn_provenance.evaluation.robustness : Measure the accuracy of classifiers on distorted
        images.

    Notes
    -----
    :data:`DISTORTIONS` names the 14 distortions of [1]_: it maps names such as "rotation 30" to
    pairs of ``kind`` and ``amount``. The paper states no more than "rotation (±30°, ±40°)" and the
    like. This function reads ± as a sign and not as a range; the fill, the interpolation, the edges
    and the direction of motion blur are choices, too.

    References
    ----------
    .. [1] "Provenance Networks: End-to-End Exemplar-Based Explainability", section 7.8.

    Examples
    --------
    >>> from sklearn_provenance.datasets import DISTORTIONS, distort, load_digits
    >>> images = load_digits().data[:5]
    >>> turned = distort(images, "rotation", 20, random_state=0)
    >>> turned.shape, turned.dtype
    ((5, 8, 8), dtype('uint8'))
    >>> list(DISTORTIONS)[:3]
    ['salt and pepper 0.1', 'salt and pepper 0.2', 'gaussian noise 0.1']
    >>> noisy = distort(images, *DISTORTIONS["gaussian noise 0.1"], random_state=0)
    """
    images = _check_images(images)
    operation = _check_operation(kind, amount, min(images.shape[1:3]))
    rng = check_random_state(random_state)
    is_uint8 = images.dtype == np.uint8
    white = 255 if is_uint8 else 1
    dtype = np.float32 if is_uint8 else images.dtype
    with_channels = images if images.ndim == 4 else images[..., None]
    out = np.empty_like(with_channels, order="C")
    for start in range(0, len(images), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = operation(with_channels[rows].astype(dtype) / white, amount, rng)
        block = white * np.clip(block, 0, 1)
        out[rows] = np.rint(block) if is_uint8 else block
    return out.reshape(images.shape)


# Each operation takes floats of shape (n, H, W, C) from 0 to 1. It draws all random numbers of an
# image before those of the next, so that they do not depend on the number of images.


def _salt_and_pepper(images, share, rng):
    u = rng.random_sample((*images.shape[:3], 1))
    images = np.where(u >= 1 - share / 2, 1, images)
    return np.where(u < share / 2, 0, images)


def _gaussian_noise(images, scale, rng):
    return images + scale * rng.standard_normal(images.shape)


def _occlusion(images, side, rng):
    n, height, width, _ = images.shape
    places = np.floor(rng.random_sample((n, 2)) * (height - side + 1, width - side + 1))
    top, left = places.T[..., None]  # (n, 1) each
    row = np.arange(height)
    rows = (row >= top) & (row < top + side)  # (n, H)
    column = np.arange(width)
    columns = (column >= left) & (column < left + side)  # (n, W)
    inside = rows[:, :, None] & columns[:, None, :]  # (n, H, W)
    return np.where(inside[..., None], 0, images)


def _translation(images, shift, rng):
    n, height, width, _ = images.shape
    down, right = shift * _signs((n, 2), rng).T[..., None]  # (n, 1) each
    # Where the pixels of the result come from, in the padded image.
    rows = shift + np.arange(height) - down  # (n, H)
    columns = shift + np.arange(width) - right  # (n, W)
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None]]


def _rotation(images, degrees, rng):
    angles = np.deg2rad(degrees) * _signs(len(images), rng)
    sin = np.sin(angles)
    cos = np.cos(angles)
    return _warp(images, np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2))


def _scaling(images, spread, rng):
    factors = 1 + spread * (2 * rng.random_sample(len(images)) - 1)
    return _warp(images, np.eye(2) / factors[:, None, None])


def _gaussian_blur(images, scale, rng):
    return ndimage.gaussian_filter(images, (0, scale, scale, 0))


def _motion_blur(images, length, rng):
    return ndimage.correlate1d(images, np.full(length, 1 / length), axis=2)


def _signs(shape, rng):
    return np.where(rng.random_sample(shape) < 0.5, -1, 1)


def _warp(images, matrices):
    """Fill the pixel at offset v from the centre with that at matrix @ v, for each image."""
    centre = (np.array(images.shape[1:3]) - 1) / 2
    out = np.empty_like(images)
    for image, matrix, target in zip(images, matrices, out, strict=True):
        for channel in range(images.shape[3]):
            ndimage.affine_transform(
                image[..., channel],
                matrix,
                centre - matrix @ centre,
                output=target[..., channel],
                order=1,
                mode="grid-constant",
            )
    return out


# Function, type of the amount, its least and its largest value. None: the shorter side of images.
_OPERATIONS = {
    "salt_and_pepper": (_salt_and_pepper, Real, 0, 1),
    "gaussian_noise": (_gaussian_noise, Real, 0, np.inf),
    "occlusion": (_occlusion, Integral, 0, None),
    "translation": (_translation, Integral, 0, None),
    "rotation": (_rotation, Real, 0, 180),
    "scaling": (_scaling, Real, 0, 0.99),
    "gaussian_blur": (_gaussian_blur, Real, 0, None),
    "motion_blur": (_motion_blur, Integral, 1, None),
}

#: The 14 distortions of the provenance paper ([PN] 7.8) in its order: pairs of the kind and the
#: amount that :func:`distort` takes, by name. Amounts in pixels suit images of 28 x 28.
DISTORTIONS = MappingProxyType(
    {
        f"{kind} {amount}".replace("_", " "): (kind, amount)
        for kind, amounts in {
            "salt_and_pepper": (0.1, 0.2),
            "gaussian_noise": (0.1, 0.2),
            "occlusion": (4, 6),
            "translation": (3, 4),
            "rotation": (30, 40),
            "scaling": (0.2,),
            "gaussian_blur": (1, 2),
            "motion_blur": (5,),
        }.items()
        for amount in amounts
    }
)


def _check_operation(kind, amount, side):
    if kind not in _OPERATIONS:
        raise ValueError(f"kind must be one of {list(_OPERATIONS)}, got {kind!r}")
    operation, number, least, largest = _OPERATIONS[kind]
    if largest is None:
        largest = side
    check_scalar(amount, f"amount of {kind}", number, min_val=least, max_val=largest)
    return operation


def _check_images(images):
    check_readable(images, "images")
    images = np.asarray(images)
    if images.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(f"images must be uint8, float32 or float64, got {images.dtype}")
    if images.ndim not in (3, 4) or images.shape[3:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            "images must have shape (n, H, W), or (n, H, W, C) with 1, 3 or 4 channels on the last "
            f"axis; got {images.shape}"
        )
    if images.dtype != np.uint8 and not ((images >= 0) & (images <= 1)).all():
        raise ValueError(
            "images of floats must hold values from 0 (black) to 1 (white), got "
            f"{images.min()} to {images.max()}. Distort images before they are standardised"
        )
    return images
