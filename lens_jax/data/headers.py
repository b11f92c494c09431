"""What an encoded image says of itself before it is decoded: its format, size and orientation.

Files may be broken or hostile. Every number in them is checked before it is relied upon.
"""

import io
import re
import struct
from typing import NamedTuple

from PIL import BmpImagePlugin, GifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

from lens_jax.data import orientation

# 134 million, 400 MB when decoded: room for the photographs of cameras with 100 million pixels.
MAX_PIXELS = 2**27
INVALID = "not a complete image in JPEG, PNG, WebP, BMP, TIFF or GIF format"

# The first bytes of the files.
JPEG = b"\xff\xd8"
PNG = b"\x89PNG\r\n\x1a\n"
_WEBP = re.compile(rb"RIFF.{4}WEBP", re.DOTALL)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GIF = (b"GIF87a", b"GIF89a")
_BMP = b"BM"

# The chunks of a PNG that its first image needs.
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
# Markers of a frame, whose segment holds the size; C4, C8 and CC are other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that no segment follows.
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD8)])
# The segment of EXIF, among other things.
_JPEG_APP1 = 0xE1

# The readers of Pillow that are let near a file. Asked for by class, as `Image.open` would try
# others too.
_PILLOW = {
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}
_TILE_WIDTH = 322
_TILE_LENGTH = 323


class Header(NamedTuple):
    """Sides of the stored image in pixels, and how EXIF wants it turned, 1 to 8."""

    height: int
    width: int
    orientation: int = orientation.UPRIGHT


def find_format(data: bytes) -> str:
    """The format that the first bytes announce.

    Returns:
      "JPEG", "PNG", "WEBP", "BMP", "TIFF" or "GIF".

    Raises:
      ValueError: it is another one, or none.

    """
    if data.startswith(JPEG):
        return "JPEG"
    if data.startswith(PNG):
        return "PNG"
    if _WEBP.match(data):
        return "WEBP"
    if data.startswith(_TIFF):
        return "TIFF"
    if data.startswith(_GIF):
        return "GIF"
    if data.startswith(_BMP):
        return "BMP"
    raise ValueError(INVALID)


def read_header(data: bytes) -> Header:
    """Reads size and orientation: an image that is too large is refused before decoding.

    A TIFF file's orientation is part of its format and is always applied, so that its header is
    that of the upright image.

    Raises:
      ValueError: `data` has no known format, or its image has more than `MAX_PIXELS` pixels.

    """
    kind = find_format(data)
    if kind == "JPEG":
        header = _read_jpeg(data)
    elif kind == "PNG":
        header = _read_png(data)
    elif kind == "WEBP":
        header = _read_webp(data)
    else:
        image = open_with_pillow(data, kind)
        header = Header(image.height, image.width)
    _check_size(header.height, header.width)
    return header


def open_with_pillow(data: bytes, kind: str) -> Image.Image:
    """Opens a file of `kind` "WEBP", "BMP", "TIFF" or "GIF" without decoding it.

    A WebP's header must have been read before, as Pillow makes room for its pixels here.

    Raises:
      ValueError: the file is broken, or its tiles have more than `MAX_PIXELS` pixels.

    """
    try:
        image = _PILLOW[kind](io.BytesIO(data))
    except Exception as error:
        # Of a broken file, Pillow raises errors of a dozen kinds.
        raise ValueError(INVALID) from error
    if kind == "TIFF":
        width = image.tag_v2.get(_TILE_WIDTH, 1)
        length = image.tag_v2.get(_TILE_LENGTH, 1)
        if type(width) is not int or type(length) is not int:
            raise ValueError(INVALID)
        _check_size(length, width)
    return image


def _check_size(height: int, width: int) -> None:
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(
            f"an image of {width} x {height} pixels, where 1 to {MAX_PIXELS} are legal"
        )


def _read_png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise ValueError(INVALID)
    width = _integer(data, 16, 4)
    height = _integer(data, 20, 4)

    # The chunk of EXIF is rare, and may lie behind the pixels: looked for only if it can be there.
    exif = b""
    if b"eXIf" in data:
        exif = _find_png_chunk(data, b"eXIf")
    return Header(height, width, orientation.read(exif))


def _find_png_chunk(data: bytes, wanted: bytes) -> bytes:
    """The content of the first chunk of a kind; nothing where there is none."""
    position = len(PNG)
    while position < len(data):
        start = position + 8
        end = start + _integer(data, position, 4)
        if data[position + 4 : start] == wanted:
            return data[start:end]
        position = end + 4
    return b""


def _read_jpeg(data: bytes) -> Header:
    """Goes from marker to marker to that of the frame, over stray bytes too, as libjpeg does.

    The header that simplejpeg reads would do, but not for chroma subsampled in ways that it does
    not know.
    """
    exif = b""
    position = len(JPEG)
    while marker := _JPEG_MARKER.search(data, position):
        code = marker[1][0]
        position = marker.end()
        if code in _JPEG_FRAMES:
            # A frame begins with its length (2 bytes), depth (1), height (2) and width (2).
            height = _integer(data, position + 3, 2)
            width = _integer(data, position + 5, 2)
            return Header(height, width, orientation.read(exif))
        if code in _JPEG_BARE:
            continue

        # Other segments begin with their length, and are passed over.
        length = _integer(data, position, 2)
        content = position + 2
        if code == _JPEG_APP1 and not exif and data.startswith(orientation.PREFIX, content):
            exif = data[content : position + length]
        position += length
    raise ValueError(INVALID)


def _read_webp(data: bytes) -> Header:
    """Reads the first chunk, which is of one of three kinds; only one of them may have EXIF."""
    kind = data[12:16]
    if kind == b"VP8X":
        # After flags, width and height less one, in 3 bytes each.
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        return Header(height, width, orientation.read(_find_webp_chunk(data, b"EXIF")))

    if len(data) < 30:
        raise ValueError(INVALID)
    if kind == b"VP8L":
        # After a signature, width and height less one, in 14 bits each.
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header(1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF))
    if kind == b"VP8 ":
        # After a frame's tag and start code; the two upper bits are a scale.
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(height & 0x3FFF, width & 0x3FFF)
    raise ValueError(INVALID)


def _find_webp_chunk(data: bytes, wanted: bytes) -> bytes:
    """The content of the first chunk of a kind; nothing where there is none."""
    position = 12
    while position < len(data):
        start = position + 8
        length = int.from_bytes(data[position + 4 : start], "little")
        end = start + length
        if data[position : position + 4] == wanted:
            return data[start:end]
        # Chunks of odd length are padded.
        position = end + length % 2
    return b""


def first_png_image(data: bytes) -> bytes:
    """A PNG reduced to what its first image needs, whose chunks are as long as they claim to be.

    The decoder allocates whatever length is claimed, and inflates texts and color profiles that
    nobody asked for: either way, some kB become GB.

    Raises:
      ValueError: a chunk claims to be longer than the file.

    """
    view = memoryview(data)
    position = len(PNG)
    kept = [PNG]
    kind = b""
    while kind != b"IEND":
        # A chunk is the length of its content (4 bytes), its kind (4), content and checksum (4).
        length = _integer(view, position, 4)
        end = position + 12 + length
        if end > len(view):
            raise ValueError(INVALID)
        kind = view[position + 4 : position + 8]
        if kind in _PNG_CRITICAL:
            chunk = view[position:end]
            kept.append(chunk)
        position = end
    return b"".join(kept)


def _integer(data: bytes | memoryview, start: int, size: int) -> int:
    """A big-endian integer of `size` bytes, or of fewer at the end of the data."""
    end = start + size
    return int.from_bytes(data[start:end])
