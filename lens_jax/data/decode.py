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

# Records are decoded in many threads already, and OpenCV's own would only get in their way.
cv2.setNumThreads(0)
# Images that do not decode raise an exception; OpenCV need not log them too.
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
# Decoding at 5/8 to 7/8 of the size takes longer than at full size, and the crop is less exact.
_LEAST_FACTOR = 2
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_INVALID = "not a complete image in JPEG or PNG format"

# The first bytes of the files.
_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
# The chunks of a PNG that its first image needs.
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_JPEG_SCAN = re.compile(rb"\xff\xda")
# Markers of a frame, whose segment holds the size; C4, C8 and CC are other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that no segment follows.
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD8)])


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
      ValueError: `data` is no such file, or only part of one, or it has more than `MAX_PIXELS`
        pixels or `MAX_SCANS` scans.

    """
    height, width = _shape(data)
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
    side = max(1, round(fraction * min(height, width)))
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
        area = height * width * rng.uniform(*AREA_RANGE)
        # Uniform in the logarithm, so that upright and wide crops are equally likely.
        aspect = math.exp(rng.uniform(*np.log(ASPECT_RANGE)))
        crop_height = round(math.sqrt(area / aspect))
        crop_width = round(math.sqrt(area * aspect))
        if 0 < crop_height <= height and 0 < crop_width <= width:
            top = int(rng.integers(height - crop_height + 1))
            left = int(rng.integers(width - crop_width + 1))
            return Box(top, left, crop_height, crop_width)
    return central_box(height, width, 1.0)


def _crop_resize(data: bytes, size: int, choose: Callable[[int, int], Box]) -> np.ndarray:
    height, width = _shape(data)
    box = choose(height, width)
    # The least size of the whole image at which the crop still has `size` pixels a side.
    min_height = math.ceil(size * height / box.height)
    min_width = math.ceil(size * width / box.width)
    image = _decode(data, min_height, min_width)
    box = _scale(box, (height, width), image.shape)
    return _resize(image[box.top : box.bottom, box.left : box.right], size)


def _shape(data: bytes) -> tuple[int, int]:
    """Height and width from the header: an image that is too large is refused before decoding."""
    read = _png_shape if data.startswith(_PNG) else _jpeg_shape
    height, width = read(data)
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(
            f"an image of {width} x {height} pixels, where 1 to {MAX_PIXELS} are legal"
        )
    return height, width


def _png_shape(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError(_INVALID)
    width = _integer(data, 16, 4)
    height = _integer(data, 20, 4)
    return height, width


def _jpeg_shape(data: bytes) -> tuple[int, int]:
    """Goes from marker to marker to that of the frame, over stray bytes too, as libjpeg does.

    The header that simplejpeg reads would do, but not for chroma subsampled in ways that it does
    not know.
    """
    if not data.startswith(_JPEG):
        raise ValueError(_INVALID)
    position = len(_JPEG)
    while marker := _JPEG_MARKER.search(data, position):
        code = marker[1][0]
        position = marker.end()
        if code in _JPEG_FRAMES:
            # A frame begins with its length (2 bytes), depth (1), height (2) and width (2).
            height = _integer(data, position + 3, 2)
            width = _integer(data, position + 5, 2)
            return height, width
        if code not in _JPEG_BARE:
            # Other segments begin with their length, and are passed over.
            position += _integer(data, position, 2)
    raise ValueError(_INVALID)


def _integer(data: bytes | memoryview, start: int, size: int) -> int:
    """A big-endian integer of `size` bytes, or of fewer at the end of the data."""
    return int.from_bytes(data[start : start + size])


def _decode(data: bytes, min_height: int, min_width: int) -> np.ndarray:
    """Decodes a file that `_shape` accepted; a JPEG at half its size or less, if large enough."""
    if data.startswith(_PNG):
        return _decode_any(_png_image(data))
    too_many = itertools.islice(_JPEG_SCAN.finditer(data), MAX_SCANS, None)
    if any(too_many):
        raise ValueError(f"a JPEG of more than {MAX_SCANS} scans")
    try:
        return simplejpeg.decode_jpeg(
            data, min_height=min_height, min_width=min_width, min_factor=_LEAST_FACTOR
        )
    except ValueError:
        # It is stricter than OpenCV, which forgives stray bytes but not missing ones.
        return _decode_any(data)


def _decode_any(data: bytes) -> np.ndarray:
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, _FLAGS)
    except cv2.error as error:
        raise ValueError(_INVALID) from error
    if image is None:
        raise ValueError(_INVALID)
    return image


def _png_image(data: bytes) -> bytes:
    """A PNG reduced to what its first image needs, whose chunks are as long as they claim to be.

    The decoder allocates whatever length is claimed, and inflates texts and color profiles that
    nobody asked for: either way, some kB become GB.
    """
    view = memoryview(data)
    position = len(_PNG)
    kept = [_PNG]
    kind = b""
    while kind != b"IEND":
        # A chunk is the length of its content (4 bytes), its kind (4), content and checksum (4).
        end = position + 12 + _integer(view, position, 4)
        if end > len(view):
            raise ValueError(_INVALID)
        kind = view[position + 4 : position + 8]
        if kind in _PNG_CRITICAL:
            kept.append(view[position:end])
        position = end
    return b"".join(kept)


def _scale(box: Box, shape: tuple[int, int], decoded: tuple[int, ...]) -> Box:
    """The box of an image of `shape` in the same image decoded at another size."""
    vertical = decoded[0] / shape[0]
    horizontal = decoded[1] / shape[1]
    # The edges are rounded, not the sides: a box at the border stays inside.
    top = round(box.top * vertical)
    bottom = round(box.bottom * vertical)
    left = round(box.left * horizontal)
    right = round(box.right * horizontal)
    return Box(top, left, height=max(1, bottom - top), width=max(1, right - left))


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    least, most = sorted(image.shape[:2])
    if least == most == size:
        return np.ascontiguousarray(image)
    # Interpolation takes a quarter of the time of averaging, and below a factor of 2 it skips no
    # pixel.
    averages = least >= size and most >= 2 * size
    method = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)
