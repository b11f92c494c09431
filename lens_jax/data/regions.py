"""Parts of images: by fractions of their sides as they are stored, and in pixels."""

from typing import NamedTuple


class Region(NamedTuple):
    """A part of an image: where its edges are, as fractions of the height and the width in [0, 1].

    The order is that of TFDS' `BBoxFeature`.
    """

    top: float
    left: float
    bottom: float
    right: float

    @property
    def area(self) -> float:
        """Its area as a fraction of the image's."""
        return (self.bottom - self.top) * (self.right - self.left)


WHOLE = Region(0.0, 0.0, 1.0, 1.0)


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


def find_box(region: Region, height: int, width: int) -> Box:
    """The pixels of a region of an image, its edges rounded: at least one of each side."""
    top, bottom = _round_edges(region.top, region.bottom, height)
    left, right = _round_edges(region.left, region.right, width)
    return Box(top, left, bottom - top, right - left)


def _round_edges(start: float, end: float, length: int) -> tuple[int, int]:
    last_pixel = length - 1
    first = min(round(start * length), last_pixel)
    behind = round(end * length)
    return first, max(first + 1, behind)


def overlap(one: Region, other: Region) -> float:
    """The intersection of two regions of an image over their union, in [0, 1]."""
    # What they share, which may be less than nothing.
    top = max(one.top, other.top)
    left = max(one.left, other.left)
    bottom = min(one.bottom, other.bottom)
    right = min(one.right, other.right)
    if bottom <= top or right <= left:
        return 0.0
    shared = Region(top, left, bottom, right).area
    return shared / (one.area + other.area - shared)
