"""Encoded images in, 8-bit RGB out: all of the image, a region or a crop of it, resized.

A JPEG is decoded at half its size or less where the crop allows it, which is most of the speed of
reading large photographs. Besides JPEG and PNG there are WebP, BMP, TIFF (its first page) and GIF
(its first frame). Of an image with transparency, the colors are taken as if there were none.

Files may be broken or hostile. Whatever is in one, it is decoded or refused with a ValueError, and
the memory and time that it takes are bounded.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np

from lens_jax.data import headers, orientation, pixels
from lens_jax.data.regions import WHOLE, Box, Region, find_box
from lens_jax.errors import check_choice, check_range

AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
CENTRAL_FRACTION = 0.875
_ATTEMPTS = 10
_LOG_ASPECT_RANGE = tuple(np.log(ASPECT_RANGE))


class Decoding(NamedTuple):
    """How the stored values of a file become pixels.

    Attributes:
      upright: whether images are turned as EXIF says; None leaves that to the data set. TIFF files
        are always turned, as the orientation is part of that format.
      depth: number of bits, 8 to 16, that the values of 16-bit files really use.

    """

    upright: bool | None = None
    depth: int = 16


AS_STORED = Decoding(upright=False)
AS_THE_DATA_SET = Decoding()
_ORIENT = {"auto": None, "always": True, "never": False}


def read_decoding(data: Any) -> Decoding:
    """How a config's section on data wants values to become pixels.

    Raises:
      UserError: `orient` is not auto, always or never, or `depth` is not from 8 to 16.

    """
    check_choice("data.orient", data.orient, _ORIENT)
    check_range("data.depth", data.depth, 8, 16)
    return Decoding(_ORIENT[data.orient], data.depth)


def resolve(decoding: Decoding, upright: bool) -> Decoding:
    """The decoding of a data set, which says by `upright` what the decoding leaves to it."""
    if decoding.upright is None:
        return decoding._replace(upright=upright)
    return decoding


def decode(data: bytes, decoding: Decoding = AS_STORED) -> np.ndarray:
    """Decodes a file in one of the formats above, of any colors and depth.

    Returns:
      RGB, uint8 [height, width, 3].

    Raises:
      ValueError: `data` is no such file, or only part of one, or it has more than
        `headers.MAX_PIXELS` pixels or `pixels.MAX_SCANS` scans.

    """
    header = headers.read_header(data)
    image = pixels.read(data, header.height, header.width, decoding.depth)
    if decoding.upright:
        image = orientation.turn_upright(image, header.orientation)
    return np.ascontiguousarray(image)


def resize(
    data: bytes, size: int, decoding: Decoding = AS_STORED, region: Region = WHOLE
) -> np.ndarray:
    """Decodes a region and resizes all of it to a square, whatever its aspect.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return Box(0, 0, height, width)

    return _crop_resize(data, size, choose, decoding, region)


def central_crop_resize(
    data: bytes,
    size: int,
    fraction: float = CENTRAL_FRACTION,
    decoding: Decoding = AS_STORED,
    region: Region = WHOLE,
) -> np.ndarray:
    """Decodes the central square whose side is `fraction` of the region's shorter side.

    This is the same as resizing the shorter side to `size / fraction` and cutting out the central
    `size` pixels.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return central_box(height, width, fraction)

    return _crop_resize(data, size, choose, decoding, region)


def random_crop_resize(
    data: bytes,
    size: int,
    rng: np.random.Generator,
    decoding: Decoding = AS_STORED,
    region: Region = WHOLE,
) -> np.ndarray:
    """Decodes a crop of a region, of random position, area and aspect, see `random_box`.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """

    def choose(height: int, width: int) -> Box:
        return random_box(height, width, rng)

    return _crop_resize(data, size, choose, decoding, region)


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


def _crop_resize(
    data: bytes,
    size: int,
    choose: Callable[[int, int], Box],
    decoding: Decoding,
    region: Region,
) -> np.ndarray:
    """Decodes the box that `choose` returns for the region's height and width, and resizes it."""
    height, width, stored_orientation = headers.read_header(data)
    turned = stored_orientation if decoding.upright else orientation.UPRIGHT
    is_swapped = orientation.swaps_sides(turned)
    if is_swapped:
        height, width = width, height
    part = find_box(region, height, width)
    chosen = choose(part.height, part.width)
    box = chosen._replace(top=part.top + chosen.top, left=part.left + chosen.left)

    # The least size of the whole image at which the crop still has `size` pixels a side.
    min_height = math.ceil(size * height / box.height)
    min_width = math.ceil(size * width / box.width)
    if is_swapped:
        min_height, min_width = min_width, min_height
    stored = pixels.read(data, min_height, min_width, decoding.depth)
    image = orientation.turn_upright(stored, turned)

    # What was decoded may be smaller than the file's image, and the box with it.
    decoded_height, decoded_width, _ = image.shape
    vertical = decoded_height / height
    horizontal = decoded_width / width
    top, bottom = _scale(box.top, box.bottom, vertical)
    left, right = _scale(box.left, box.right, horizontal)
    crop = image[top:bottom, left:right]
    return _resize(crop, size)


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
