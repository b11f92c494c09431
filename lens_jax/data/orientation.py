"""The orientation that a camera notes in EXIF: how the stored pixels have to be turned.

It is a number from 1 to 8, of which 1 means upright; see section 4.6.5.1 of CIPA DC-008.
"""

import numpy as np

UPRIGHT = 1
# How a block of EXIF begins in a JPEG, and sometimes in other files.
PREFIX = b"Exif\0\0"

_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12
_BYTE_ORDERS = {b"II*\0": "little", b"MM\0*": "big"}
# Steps along the rows and the columns, which mirror where they are negative: of orientations 1 to
# 4, and after rows and columns are exchanged also of 5 to 8.
_STEPS = ((1, 1), (1, -1), (-1, -1), (-1, 1))


def read(exif: bytes) -> int:
    """The orientation in a block of EXIF, with or without `PREFIX`; 1 where there is none.

    A damaged block has none: the image is worth more than what is written about it.
    """
    block = exif.removeprefix(PREFIX)
    order = _BYTE_ORDERS.get(block[:4])
    if order is None:
        return UPRIGHT

    def integer(start: int, size: int) -> int:
        return int.from_bytes(block[start : start + size], order)

    # The first directory: the number of its entries (2 bytes), then tag (2), type (2), count (4)
    # and value (4) of each.
    directory = integer(4, 4)
    first = directory + 2
    end = first + _ENTRY_BYTES * integer(directory, 2)
    for entry in range(first, min(end, len(block)), _ENTRY_BYTES):
        is_orientation = integer(entry, 2) == _TAG and integer(entry + 2, 2) == _SHORT
        if is_orientation:
            value = integer(entry + 8, 2)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Whether the upright image is as high as the stored one is wide."""
    return orientation > 4


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright view of a stored image [height, width, 3]; no pixel is copied."""
    if swaps_sides(orientation):
        image = image.swapaxes(0, 1)
    rows, columns = _STEPS[(orientation - 1) % 4]
    return image[::rows, ::columns]
