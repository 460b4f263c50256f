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
        Number of the image on the page.
    width, height : int
        Pixels.
    alt : str
        Text for readers who cannot see the image.
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
            Text for readers who cannot see the image.

        Returns
        -------
        Picture
            Reference to the image, which the templates write.
        """
        number = self._numbers.setdefault((image.shape, image.tobytes()), len(self._numbers))
        return Picture(number, image.shape[1], image.shape[0], alt)

    def definitions(self):
        """Return the images in the order of their numbers, as the template of a page needs them."""
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
    left = np.zeros_like(samples)
    left[:, 1:] = samples[:, :-1]
    above = np.zeros_like(samples)
    above[1:] = samples[:-1]
    # Filters 0 (none), 1 (sub) and 2 (up) of the format, one for all lines; which of them is
    # smallest depends on the image.
    filtered = enumerate([samples, samples - left, samples - above])
    data = min((_scan_lines(number, lines) for number, lines in filtered), key=len)
    color_type = {1: 0, 3: 2, 4: 6}[samples.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    file = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        file += struct.pack(">I", len(content)) + kind + content
        file += struct.pack(">I", zlib.crc32(kind + content))
    return file


def _scan_lines(number, filtered):
    """Compress lines, each of which begins with the number of its filter."""
    lines = filtered.reshape(len(filtered), -1)
    numbered = np.concatenate([np.full((len(lines), 1), number, np.uint8), lines], axis=1)
    return zlib.compress(numbered.tobytes(), 9)
