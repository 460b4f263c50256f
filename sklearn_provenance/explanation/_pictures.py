"""Images of a page, each embedded once."""

import base64
import struct
import zlib
from typing import NamedTuple

import numpy as np

_PIXELATED = 64  # pixels of a side; browsers blur larger images when they enlarge them


class Picture(NamedTuple):
    """An image at a place of a page.

    Parameters
    ----------
    number : int
        Of the image among those of the page.
    width, height : int
        Pixels.
    alt : str
        What stands for it where it cannot be seen.
    """

    number: int
    width: int
    height: int
    alt: str


class Pictures:
    """Images of a page, each embedded once, however often it is shown."""

    def __init__(self):
        self._numbers = {}

    def show(self, image, alt):
        """Show an image.

        Parameters
        ----------
        image : ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
            Grey, RGB or RGBA.
        alt : str
            What stands for the image where it cannot be seen.

        Returns
        -------
        Picture
            What the templates write as a reference to the image.
        """
        number = self._numbers.setdefault((image.shape, image.tobytes()), len(self._numbers))
        return Picture(number, image.shape[1], image.shape[0], alt)

    def definitions(self):
        """Return the images as dicts of what the template of a page writes, by number."""
        return [
            {
                "width": shape[1],
                "height": shape[0],
                "pixelated": max(shape[:2]) <= _PIXELATED,
                "png": base64.b64encode(png(np.frombuffer(data, np.uint8).reshape(shape))).decode(),
            }
            for shape, data in self._numbers
        ]


def png(image):
    """Encode an image.

    Parameters
    ----------
    image : ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
        Grey, RGB or RGBA.

    Returns
    -------
    bytes
        A PNG file.
    """
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)  # (H, W, channels)
    left, above = np.zeros_like(samples), np.zeros_like(samples)
    left[:, 1:], above[1:] = samples[:, :-1], samples[:-1]
    # Filters 0 (none), 1 (sub) and 2 (up) of the format, one for all lines; which of them is
    # smallest depends on the image.
    data = min(
        (_scan_lines(number, before) for number, before in ((0, samples), (1, samples - left),
                                                            (2, samples - above))),
        key=len,
    )  # fmt: skip
    color_type = {1: 0, 3: 2, 4: 6}[samples.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip


def _scan_lines(number, filtered):
    lines = filtered.reshape(len(filtered), -1)
    numbered = np.concatenate([np.full((len(lines), 1), number, np.uint8), lines], axis=1)
    return zlib.compress(numbered.tobytes(), 9)
