"""What an encoded image says of itself: the size of a JPEG or PNG file, before it is decoded.

Files may be broken or hostile. Every number in them is checked before it is relied upon.
"""

import re

# 134 million, 400 MB when decoded: room for the photographs of cameras with 100 million pixels.
MAX_PIXELS = 2**27
INVALID = "not a complete image in JPEG or PNG format"

# The first bytes of the files.
JPEG = b"\xff\xd8"
PNG = b"\x89PNG\r\n\x1a\n"
# The chunks of a PNG that its first image needs.
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
# Markers of a frame, whose segment holds the size; C4, C8 and CC are other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers that no segment follows.
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD8)])


def read_shape(data: bytes) -> tuple[int, int]:
    """Height and width from the header: an image that is too large is refused before decoding.

    Raises:
      ValueError: `data` is no JPEG or PNG file, or its image has more than `MAX_PIXELS` pixels.

    """
    read = _png_shape if data.startswith(PNG) else _jpeg_shape
    height, width = read(data)
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(
            f"an image of {width} x {height} pixels, where 1 to {MAX_PIXELS} are legal"
        )
    return height, width


def _png_shape(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError(INVALID)
    width = _integer(data, 16, 4)
    height = _integer(data, 20, 4)
    return height, width


def _jpeg_shape(data: bytes) -> tuple[int, int]:
    """Goes from marker to marker to that of the frame, over stray bytes too, as libjpeg does.

    The header that simplejpeg reads would do, but not for chroma subsampled in ways that it does
    not know.
    """
    if not data.startswith(JPEG):
        raise ValueError(INVALID)
    position = len(JPEG)
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
    raise ValueError(INVALID)


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
