"""Encoded images in, 8-bit RGB out: all of the image, or a crop of it, resized.

A JPEG is decoded at half its size or less where the crop allows it, which is most of the speed of
reading large photographs. The orientation that a camera may note in its files is ignored, as is
usual with ImageNet.

Files may be broken or hostile. Whatever is in one, it is decoded or refused with a ValueError, and
the memory and time that it takes are bounded. Only JPEG and PNG are read, as their headers hold the
size.
"""

import itertools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from lens_jax.data import headers

# Records are decoded in many threads already, and OpenCV's own would only get in their way.
cv2.setNumThreads(0)
# Images that do not decode raise an exception; OpenCV need not log them too.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
CENTRAL_FRACTION = 0.875
# Encoders write 1 to some 20. Each goes over the whole image, but need not be longer than ten
# bytes.
MAX_SCANS = 100
_ATTEMPTS = 10
_LOG_ASPECT_RANGE = tuple(np.log(ASPECT_RANGE))
# Decoding at 5/8 to 7/8 of the size takes longer than at full size, and the crop is less exact.
_LEAST_FACTOR = 2
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_JPEG_SCAN = re.compile(rb"\xff\xda")


class Box(NamedTuple):
    """A rectangle inside an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The first column to the right of it."""
        return self.left + self.width


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG file of any colors and depth; transparency is ignored.

    Returns:
      RGB, uint8 [height, width, 3].

    Raises:
      ValueError: `data` is no such file, or only part of one, or it has more than
        `headers.MAX_PIXELS` pixels or `MAX_SCANS` scans.

    """
    height, width = headers.read_shape(data)
    return _decode(data, height, width)


def resize(data: bytes, size: int) -> np.ndarray:
    """Decodes an image and resizes all of it to a square, whatever its aspect.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return Box(0, 0, height, width)

    return _crop_resize(data, size, choose)


def central_crop_resize(data: bytes, size: int, fraction: float = CENTRAL_FRACTION) -> np.ndarray:
    """Decodes the central square whose side is `fraction` of the image's shorter side.

    This is the same as resizing the shorter side to `size / fraction` and cutting out the central
    `size` pixels.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return central_box(height, width, fraction)

    return _crop_resize(data, size, choose)


def random_crop_resize(data: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
    """Decodes a crop of random position, area and aspect, see `random_box`.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return random_box(height, width, rng)

    return _crop_resize(data, size, choose)


def central_box(height: int, width: int, fraction: float) -> Box:
    """The central square whose side is `fraction`, in (0, 1], of the shorter side."""
    shorter = min(height, width)
    side = max(1, round(fraction * shorter))
    top = (height - side) // 2
    left = (width - side) // 2
    return Box(top, left, side, side)


def random_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """Draws a crop of an image as ResNets are trained on.

    Its area is 8 to 100 % of the image (5 to 100 % in the first Inception), its aspect is between
    3:4 and 4:3. Where ten draws in a row do not fit into the image, the largest central square is
    taken.
    """
    for _ in range(_ATTEMPTS):
        fraction = rng.uniform(*AREA_RANGE)
        area = height * width * fraction
        # Uniform in the logarithm, so that upright and wide crops are equally likely.
        log_aspect = rng.uniform(*_LOG_ASPECT_RANGE)
        aspect = math.exp(log_aspect)
        crop_height = round(math.sqrt(area / aspect))
        crop_width = round(math.sqrt(area * aspect))

        fits_height = 0 < crop_height <= height
        fits_width = 0 < crop_width <= width
        if fits_height and fits_width:
            top = rng.integers(height - crop_height + 1)
            left = rng.integers(width - crop_width + 1)
            return Box(int(top), int(left), crop_height, crop_width)
    return central_box(height, width, 1.0)


def _crop_resize(data: bytes, size: int, choose: Callable[[int, int], Box]) -> np.ndarray:
    """Decodes the box that `choose` returns for the image's height and width, and resizes it."""
    height, width = headers.read_shape(data)
    box = choose(height, width)

    # The least size of the whole image at which the crop still has `size` pixels a side.
    min_height = math.ceil(size * height / box.height)
    min_width = math.ceil(size * width / box.width)
    image = _decode(data, min_height, min_width)

    # What was decoded may be smaller than the file's image, and the box with it.
    decoded_height, decoded_width, _ = image.shape
    vertical = decoded_height / height
    horizontal = decoded_width / width
    top, bottom = _scale(box.top, box.bottom, vertical)
    left, right = _scale(box.left, box.right, horizontal)
    crop = image[top:bottom, left:right]
    return _resize(crop, size)


def _decode(data: bytes, min_height: int, min_width: int) -> np.ndarray:
    """Decodes a file whose shape was read; a JPEG at half its size or less, if large enough."""
    if data.startswith(headers.PNG):
        image = headers.first_png_image(data)
        return _decode_any(image)

    scans = _JPEG_SCAN.finditer(data)
    beyond_limit = itertools.islice(scans, MAX_SCANS, None)
    if any(beyond_limit):
        raise ValueError(f"a JPEG of more than {MAX_SCANS} scans")
    try:
        return simplejpeg.decode_jpeg(
            data,
            min_height=min_height,
            min_width=min_width,
            min_factor=_LEAST_FACTOR,
        )
    except ValueError:
        # It is stricter than OpenCV, which forgives stray bytes but not missing ones.
        return _decode_any(data)


def _decode_any(data: bytes) -> np.ndarray:
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, _FLAGS)
    except cv2.error as error:
        raise ValueError(headers.INVALID) from error
    if image is None:
        raise ValueError(headers.INVALID)
    return image


def _scale(start: int, end: int, factor: float) -> tuple[int, int]:
    """The two edges of a box, scaled: at least one pixel apart."""
    # The edges are rounded, not the sides: a box at the border stays inside.
    start = round(start * factor)
    end = round(end * factor)
    return start, max(start + 1, end)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    height, width, _ = image.shape
    if height == width == size:
        return np.ascontiguousarray(image)

    # Interpolation takes a quarter of the time of averaging, and below a factor of 2 it skips no
    # pixel.
    shorter = min(height, width)
    longer = max(height, width)
    averages = shorter >= size and longer >= 2 * size
    method = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
