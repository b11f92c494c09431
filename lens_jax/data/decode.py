"""Encoded images in, 8-bit RGB out: whole, or cropped and resized in the same go.

JPEG is decoded at half its size or less where the crop allows it, which is most of the speed of
reading large photographs. The orientation that a camera may note in its files is ignored, as is
usual with ImageNet.

Files may be broken or made to do harm: whatever is in one, it is decoded or refused with a
ValueError, and what it costs is bounded. Only JPEG and PNG are read, as their headers tell the size
at once.
"""

import itertools
import math
import re
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
# 134 million, 400 MB when decoded: room for the photographs of cameras with 100 million pixels.
MAX_PIXELS = 2**27
# Encoders write 1 to some 20. Each goes over the whole image, but need not be longer than ten
# bytes.
MAX_SCANS = 100
_ATTEMPTS = 10
# To decode at 5/8 to 7/8 of the size takes longer than to decode all of it, and places the crop
# less well.
_LEAST_FACTOR = 2
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_INVALID = "not a complete image in JPEG or PNG format"
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_PNG_CRITICAL = b"IHDR", b"PLTE", b"IDAT", b"IEND"
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_JPEG_SCAN = re.compile(rb"\xff\xda")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD8)])  # markers that no segment follows


class Box(NamedTuple):
    """A rectangle inside an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def decode(data: bytes) -> np.ndarray:
    """Decodes a JPEG or PNG file of any colors and depth; transparency is ignored.

    Returns:
      RGB, uint8 [height, width, 3].

    Raises:
      ValueError: `data` is no such file, or only part of one, or it has more than `MAX_PIXELS`
        pixels or `MAX_SCANS` scans.

    """
    return _decode(data, *_shape(data))


def resize(data: bytes, size: int) -> np.ndarray:
    """Decodes an image and resizes all of it, its aspect given up, to uint8 [size, size, 3].

    Raises:
      ValueError: `data` does not decode.

    """
    return _crop_resize(data, size, lambda height, width: Box(0, 0, height, width))


def central_crop_resize(data: bytes, size: int, fraction: float = CENTRAL_FRACTION) -> np.ndarray:
    """Decodes the central square whose side is `fraction` of the image's shorter side.

    To resize the shorter side to `size / fraction` and to cut out the central `size` pixels is the
    same.

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

    Its area is 8 to 100 % of the image (5 to 100 % in the first Inception), its aspect is between
    3:4 and 4:3. Where ten draws in a row do not fit into the image, the largest central square is
    taken.
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
    shape = _shape(data)
    box = choose(*shape)
    least = (math.ceil(size * full / part) for full, part in zip(shape, box[2:], strict=True))
    image = _decode(data, *least)
    return _resize(_cut(image, _scale(box, shape, image.shape)), size)


def _shape(data: bytes) -> tuple[int, int]:
    """Height and width as the header tells them, so that one too large costs nothing but a ValueError."""
    height, width = _png_shape(data) if data.startswith(_PNG) else _jpeg_shape(data)
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(
            f"an image of {width} x {height} pixels, where 1 to {MAX_PIXELS} are legal"
        )
    return height, width


def _png_shape(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError(_INVALID)
    return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])


def _jpeg_shape(data: bytes) -> tuple[int, int]:
    """Goes from marker to marker as libjpeg does, over stray bytes too, to the one of the frame.

    The header that simplejpeg reads would do, but not for chroma subsampled in ways that it does
    not know.
    """
    at = len(_JPEG) if data.startswith(_JPEG) else len(data)
    while marker := _JPEG_MARKER.search(data, at):
        code, at = marker[1][0], marker.end()
        if code in _JPEG_FRAMES:
            return int.from_bytes(data[at + 3 : at + 5]), int.from_bytes(data[at + 5 : at + 7])
        if code not in _JPEG_BARE:
            at += int.from_bytes(data[at : at + 2])
    raise ValueError(_INVALID)


def _decode(data: bytes, min_height: int, min_width: int) -> np.ndarray:
    """Decodes what `_shape` took, a JPEG at half its size or less where that is as large as asked for."""
    if data.startswith(_PNG):
        return _decode_any(_png_image(data))
    if any(itertools.islice(_JPEG_SCAN.finditer(data), MAX_SCANS, None)):
        raise ValueError(f"a JPEG of more than {MAX_SCANS} scans")
    try:
        return simplejpeg.decode_jpeg(
            data, min_height=min_height, min_width=min_width, min_factor=_LEAST_FACTOR
        )
    except ValueError:
        # It is stricter than OpenCV, which forgives stray bytes but not the lack of any.
        return _decode_any(data)


def _decode_any(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        raise ValueError(_INVALID) from error
    if image is None:
        raise ValueError(_INVALID)
    return image


def _png_image(data: bytes) -> bytes:
    """A PNG without what is not needed for its first image, with each chunk as long as it claims to
    be.

    The decoder makes room for whatever length is claimed, and inflates texts and color profiles
    that nobody asked for: either way, some kB become GB.
    """
    view, at, chunks = memoryview(data), len(_PNG), [b""]
    while chunks[-1][4:8] != b"IEND":
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(view):
            raise ValueError(_INVALID)
        if view[at + 4 : at + 8] in _PNG_CRITICAL:
            chunks.append(view[at:end])
        at = end
    return b"".join([_PNG, *chunks])


def _scale(box: Box, shape: tuple[int, ...], decoded: tuple[int, ...]) -> Box:
    """The box of an image of `shape` in the same image decoded at another size."""
    vertical, horizontal = decoded[0] / shape[0], decoded[1] / shape[1]
    top, bottom = (round(edge * vertical) for edge in (box.top, box.top + box.height))
    left, right = (round(edge * horizontal) for edge in (box.left, box.left + box.width))
    return Box(top, left, max(1, bottom - top), max(1, right - left))


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    return image[box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    least, most = sorted(image.shape[:2])
    if least == most == size:
        return np.ascontiguousarray(image)
    # To interpolate takes a quarter of the time of averaging; below a factor of 2, it passes over
    # no pixel.
    method = cv2.INTER_AREA if least >= size and most >= 2 * size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
