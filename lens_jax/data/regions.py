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
    first = min(round(start * length), length - 1)
    return first, max(first + 1, round(end * length))


def overlap(one: Region, other: Region) -> float:
    """The intersection of two regions of an image over their union, in [0, 1]."""
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    width = min(one.right, other.right) - max(one.left, other.left)
    shared = max(0.0, height) * max(0.0, width)
    return shared / (_area(one) + _area(other) - shared)


def _area(region: Region) -> float:
    return (region.bottom - region.top) * (region.right - region.left)
