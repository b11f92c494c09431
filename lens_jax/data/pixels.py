"""Encoded images in, all of their pixels out, by the library that reads each format best.

simplejpeg reads JPEG, OpenCV PNG and all that has 16 bits, and Pillow WebP, BMP, TIFF and GIF.
"""

import itertools
import re

import cv2
import numpy as np
import simplejpeg
from absl import logging

from lens_jax.data import headers

# Records are decoded in many threads already, and OpenCV's own would only get in their way.
cv2.setNumThreads(0)
# Images that do not decode raise an exception; OpenCV need not log them too.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Encoders write 1 to some 20. Each goes over the whole image, but need not be longer than ten
# bytes.
MAX_SCANS = 100
# Decoding at 5/8 to 7/8 of the size takes longer than at full size, and the crop is less exact.
_LEAST_FACTOR = 2
# Blue, green, red: asked for RGB, OpenCV 5.0 returns noise for a TIFF of 16 bits.
_FLAGS = cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
# Images of 16 bits that stay below this fraction of the range hold fewer bits, or are very dark.
_DARK = 1 / 8
_TIFF_BITS = 258
# What Pillow calls the ways in which colors are stored, as far as it turns them into RGB.
_PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_JPEG_SCAN = re.compile(rb"\xff\xda")


def read(data: bytes, min_height: int, min_width: int, depth: int) -> np.ndarray:
    """Decodes a file whose header was read; a JPEG at half its size or less, if large enough.

    Args:
      data: the file.
      min_height: the least height of the image that is returned, where its own is larger.
      min_width: the least width.
      depth: number of bits, 8 to 16, that the values of 16-bit files really use.

    Returns:
      RGB, uint8 [height, width, 3].

    Raises:
      ValueError: the file is damaged, or of a kind that is not read.

    """
    kind = headers.find_format(data)
    if kind == "PNG":
        first = headers.first_png_image(data)
        return _decode_with_opencv(first, depth)
    if kind == "JPEG":
        return _decode_jpeg(data, min_height, min_width)
    return _decode_with_pillow(data, kind, depth)


def _decode_jpeg(data: bytes, min_height: int, min_width: int) -> np.ndarray:
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
        return _decode_with_opencv(data, depth=8)


def _decode_with_pillow(data: bytes, kind: str, depth: int) -> np.ndarray:
    image = headers.open_with_pillow(data, kind)
    if kind == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS, ())
        if isinstance(bits, tuple) and 16 in bits:
            # Of three channels, Pillow keeps the upper 8 bits only.
            return _decode_with_opencv(data, depth)
    if image.mode not in _PILLOW_MODES:
        raise ValueError(f"a {kind} file whose pixels are of the kind {image.mode}")
    try:
        return np.asarray(image.convert("RGB"))
    except Exception as error:
        # Of a broken file, Pillow raises errors of a dozen kinds.
        raise ValueError(headers.INVALID) from error


def _decode_with_opencv(data: bytes, depth: int) -> np.ndarray:
    encoded = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(encoded, _FLAGS)
    except cv2.error as error:
        raise ValueError(headers.INVALID) from error
    if image is None:
        raise ValueError(headers.INVALID)
    shallow = _to_8_bits(image, depth)
    return cv2.cvtColor(shallow, cv2.COLOR_BGR2RGB)


def _to_8_bits(image: np.ndarray, depth: int) -> np.ndarray:
    """Keeps the upper 8 of the `depth` bits of a 16-bit image; brighter values become white."""
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise ValueError(f"an image of {image.dtype}, where 8 and 16 bits are legal")

    brightest = int(image.max())
    if brightest < _DARK * 2**depth:
        logging.log_first_n(
            logging.WARNING,
            "a 16-bit image is nearly black: its largest value, %d, is below 1/8 of the range of "
            "data.depth=%d bits; set data.depth to the bits that are used, such as 12",
            1,
            brightest,
            depth,
        )
    upper = image >> (depth - 8)
    return np.minimum(upper, 255).astype(np.uint8)
