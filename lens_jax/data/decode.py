"""Encoded images in, 8-bit RGB out: whole, or cropped and resized in the same go.

JPEG is decoded at a fraction of its size where the crop allows it, which is most of the speed of
reading photographs. The orientation that a camera may note in its files is ignored, as is usual with
ImageNet.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

# Records are decoded in many threads already; OpenCV's own would only get in their way.
cv2.setNumThreads(0)
# What does not decode is told by an exception.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
CENTRAL_FRACTION = 0.875
_ATTEMPTS = 10
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class Box(NamedTuple):
    """A rectangle inside an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def decode(data: bytes) -> np.ndarray:
    """Decodes an image file of any usual format and depth.

    Returns:
      RGB, uint8 [height, width, 3].

    Raises:
      ValueError: `data` is no image, or only part of one.

    """
    return _decode(data, 0, 0)


def resize(data: bytes, size: int) -> np.ndarray:
    """Decodes an image and resizes all of it, its aspect given up, to uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """
    return _crop_resize(data, size, lambda height, width: Box(0, 0, height, width))


def central_crop_resize(data: bytes, size: int, fraction: float = CENTRAL_FRACTION) -> np.ndarray:
    """Decodes the central square whose side is `fraction` of the image's shorter side.

    To resize the shorter side to `size / fraction` and to cut out the central `size` pixels is the same.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """
    return _crop_resize(data, size, lambda height, width: central_box(height, width, fraction))


def random_crop_resize(data: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
    """Decodes a crop of random place, area and aspect, see `random_box`.

    Returns:
      RGB, uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """
    return _crop_resize(data, size, lambda height, width: random_box(height, width, rng))


def central_box(height: int, width: int, fraction: float) -> Box:
    """The central square whose side is `fraction`, in (0, 1], of the shorter side."""
    side = max(1, round(fraction * min(height, width)))
    return Box((height - side) // 2, (width - side) // 2, side, side)


def random_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """Draws a crop of an image as ResNets are trained on.

    Its area is 8 to 100 % of the image (5 to 100 % in the first Inception), its aspect is between 3:4 and
    4:3. Where ten draws in a row do not fit into the image, the largest central square is taken.
    """
    for _ in range(_ATTEMPTS):
        area = height * width * rng.uniform(*AREA_RANGE)
        aspect = math.exp(rng.uniform(*np.log(ASPECT_RANGE)))
        crop = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < crop[0] <= height and 0 < crop[1] <= width:
            top, left = rng.integers(height - crop[0] + 1), rng.integers(width - crop[1] + 1)
            return Box(int(top), int(left), *crop)
    return central_box(height, width, 1.0)


def _crop_resize(data: bytes, size: int, choose: Callable[[int, int], Box]) -> np.ndarray:
    shape = _jpeg_shape(data)
    if shape is None:
        image = decode(data)
        return _resize(_cut(image, choose(*image.shape[:2])), size)
    box = choose(*shape)
    least = (math.ceil(size * full / part) for full, part in zip(shape, box[2:], strict=True))
    image = _decode(data, *least)
    return _resize(_cut(image, _scale(box, shape, image.shape)), size)


def _decode(data: bytes, min_height: int, min_width: int) -> np.ndarray:
    """Decodes an image, and a JPEG to a size as small as is no smaller than asked for, 0 for its own."""
    if _is_jpeg(data):
        try:
            return simplejpeg.decode_jpeg(data, min_height=min_height, min_width=min_width)
        except ValueError:
            # It is stricter than OpenCV, which forgives stray bytes but not the lack of any.
            pass
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise ValueError("not a complete image in a known format") from error
    if image is None:
        raise ValueError("not a complete image in a known format")
    return image


def _is_jpeg(data: bytes) -> bool:
    return data[:2] == b"\xff\xd8"


def _jpeg_shape(data: bytes) -> tuple[int, int] | None:
    """Height and width in a JPEG's header, or None for other formats and for headers out of order."""
    try:
        return simplejpeg.decode_jpeg_header(data)[:2] if _is_jpeg(data) else None
    except ValueError:
        return None


def _scale(box: Box, shape: tuple[int, ...], decoded: tuple[int, ...]) -> Box:
    """The box of an image of `shape` in the same image decoded at another size."""
    vertical, horizontal = decoded[0] / shape[0], decoded[1] / shape[1]
    top, bottom = (round(edge * vertical) for edge in (box.top, box.top + box.height))
    left, right = (round(edge * horizontal) for edge in (box.left, box.left + box.width))
    return Box(top, left, max(1, bottom - top), max(1, right - left))


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    method = cv2.INTER_AREA if min(image.shape[:2]) >= size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
