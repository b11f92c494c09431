"""What is written in an image file beside its pixels: format, mode, camera, JPEG quality."""

import functools
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from lens_jax.data import headers, orientation

_MAKE = 0x010F
_MODEL = 0x0110
_SOFTWARE = 0x0131
# Of what a file says of its camera, so much is kept.
_WORDS = 60
_NO_QUALITY = 0


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
      format: "JPEG", "PNG", "WEBP", "BMP", "TIFF" or "GIF".
      mode: how colors are stored, in Pillow's words, such as "RGB" or "L".
      height: of the upright image, in pixels.
      width: likewise.
      orientation: how EXIF wants it turned, 1 to 8.
      camera: maker and model by EXIF; "" without.
      software: the program that wrote it, by EXIF; "" without.
      quality: of a JPEG, 1 to 100, see `estimate_quality`; 0 of other formats.
      coding: of a JPEG, whether it is progressive, and how chroma is sampled; "" of others.

    """

    format: str
    mode: str
    height: int
    width: int
    orientation: int
    camera: str
    software: str
    quality: int
    coding: str


def read_header(data: bytes) -> Header:
    """Reads what a file says of itself; raises `ValueError` where it is no image."""
    kind = headers.find_format(data)
    height, width, turned = headers.read_header(data)
    if orientation.swaps_sides(turned):
        height, width = width, height
    image = _open(data, kind)
    camera, software = _read_exif(image)
    quality = _NO_QUALITY
    coding = ""
    if kind == "JPEG":
        quality = estimate_quality(image.quantization)
        coding = _describe_coding(image)
    return Header(kind, image.mode, height, width, turned, camera, software, quality, coding)


def estimate_quality(tables: dict[int, list[int]]) -> int:
    """The quality at which libjpeg's table of luminance is nearest to a JPEG's, 1 to 100.

    Nearest is by the mean absolute difference of the 64 numbers. Other encoders have tables of
    their own, for which it is the quality of about the same loss. 0 where there is no table.
    """
    if 0 not in tables or len(tables[0]) != 64:
        return _NO_QUALITY
    differences = np.abs(_libjpeg_tables() - np.array(tables[0]))
    return 1 + int(np.argmin(differences.mean(axis=1)))


@functools.cache
def _libjpeg_tables() -> np.ndarray:
    """The tables of luminance at quality 1 to 100, [100, 64]: those of images written here."""
    gray = Image.new("L", (8, 8))
    tables = []
    for quality in range(1, 101):
        file = io.BytesIO()
        gray.save(file, format="JPEG", quality=quality)
        file.seek(0)
        written = JpegImagePlugin.JpegImageFile(file)
        tables.append(written.quantization[0])
    return np.array(tables)


def _open(data: bytes, kind: str) -> Image.Image:
    """Opens a file with Pillow without decoding it."""
    try:
        if kind == "JPEG":
            return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        if kind == "PNG":
            # Without its texts, which could be inflated to much more than the file.
            first = headers.first_png_image(data)
            return PngImagePlugin.PngImageFile(io.BytesIO(first))
    except Exception as error:
        # Of a broken file, Pillow raises errors of a dozen kinds.
        raise ValueError(headers.INVALID) from error
    return headers.open_with_pillow(data, kind)


def _read_exif(image: Image.Image) -> tuple[str, str]:
    """The camera and the software; a damaged block of EXIF has none."""
    try:
        exif = image.getexif()
        make = _word(exif.get(_MAKE))
        model = _word(exif.get(_MODEL))
        software = _word(exif.get(_SOFTWARE))
    except Exception:
        return "", ""
    # Many models begin with the name of their maker.
    camera = model if model.startswith(make) else f"{make} {model}".strip()
    return camera[:_WORDS], software


def _word(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return text.strip(" \0")[:_WORDS]


def _describe_coding(image: JpegImagePlugin.JpegImageFile) -> str:
    """Such as "baseline 2x2,1x1,1x1": the sampling factors of each channel."""
    order = "progressive" if image.info.get("progressive") else "baseline"
    factors = [f"{layer[1]}x{layer[2]}" for layer in image.layer]
    return f"{order} {','.join(factors)}"
