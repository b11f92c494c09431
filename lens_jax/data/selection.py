"""What an example of a data set is: an image, a box in it, or a pair from one video.

Pure arithmetic on indices: which record, and which part of it, each example shows.
"""

from typing import NamedTuple

import numpy as np

from lens_jax.errors import UserError, check_choice

BOXES = ("none", "each", "largest")
PAIRS = ("none", "frames", "regions", "both")

# In place of a box's number: the largest box, and all of the image.
LARGEST = -1
WHOLE_IMAGE = -2


class Selection(NamedTuple):
    """What is an example.

    Attributes:
      boxes: "none", the image; "each", every box; or "largest", the largest box of each image.
      pairs: "none"; or two "frames", the "regions" of one object in two frames, or "both".
      distance: the frames of a pair are i and i + distance.

    """

    boxes: str = "none"
    pairs: str = "none"
    distance: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether every record is an example."""
        return self.boxes == self.pairs == "none"

    @property
    def by_box(self) -> bool:
        """Whether some examples are boxes."""
        return self.boxes != "none" or self.pairs in ("regions", "both")

    def check(self, orient: str) -> None:
        """Raises `UserError` for an unknown choice, or for two that exclude each other.

        `orient` is the config's key of that name, which says whether images are turned.
        """
        check_choice("data.boxes", self.boxes, BOXES)
        check_choice("data.pairs", self.pairs, PAIRS)
        if self.boxes != "none" and self.pairs != "none":
            raise UserError(
                f"data.boxes={self.boxes} and data.pairs={self.pairs} exclude each other: pairs of "
                "boxes are data.pairs=regions"
            )
        if self.by_box and orient == "always":
            raise UserError(
                "data.orient=always turns images, and their boxes lie in them as they are stored: "
                "use auto or never"
            )


EACH_RECORD = Selection()


class Shown(NamedTuple):
    """Of each of n examples the record, int [n], and in it the number of the box, int [n].

    The number is `LARGEST` or `WHOLE_IMAGE` where it is not one box of several.
    """

    records: np.ndarray
    boxes: np.ndarray


def whole_images(counts: np.ndarray) -> Shown:
    """Every image that has a box, all of it; `counts`, int [N], are the boxes of each record."""
    return _same_box(np.flatnonzero(counts), WHOLE_IMAGE)


def largest_boxes(counts: np.ndarray) -> Shown:
    """The largest box of every image that has one."""
    return _same_box(np.flatnonzero(counts), LARGEST)


def each_box(counts: np.ndarray) -> Shown:
    """All boxes of all images, those of an image after one another."""
    records = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    boxes = np.arange(len(records)) - before[records]
    return Shown(records, boxes)


def frame_pairs(
    records: np.ndarray, videos: np.ndarray, frames: np.ndarray, distance: int
) -> tuple[Shown, Shown]:
    """All pairs of frames i and i + distance of one video, as whole images.

    Args:
      records: int [n], those of the N records that may be shown.
      videos: int [N], which video each record is of.
      frames: int [N], which frame of it, from 0 upwards.
      distance: above 0.

    Returns:
      The frames i, in the order of the records, and their partners.

    """
    first, second = match(videos[records, None], frames[records], distance)
    return _same_box(records[first], WHOLE_IMAGE), _same_box(records[second], WHOLE_IMAGE)


def region_pairs(
    counts: np.ndarray,
    videos: np.ndarray,
    frames: np.ndarray,
    tracks: np.ndarray,
    distance: int,
) -> tuple[Shown, Shown]:
    """All pairs of boxes of one track, in the frames i and i + distance of one video.

    Args:
      counts: int [N], the number of boxes of each record.
      videos: int [N], which video each record is of.
      frames: int [N], which frame of it.
      tracks: int [sum of counts], which object of its video each box follows.
      distance: above 0.

    """
    shown = each_box(counts)
    keys = np.stack([videos[shown.records], tracks], axis=1)
    first, second = match(keys, frames[shown.records], distance)
    return _take(shown, first), _take(shown, second)


def match(keys: np.ndarray, frames: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """The items i, in order, for which an item j has the same key, and frame[j] = frame[i] + d.

    Args:
      keys: int [n, k].
      frames: int [n], at least 0; an item has a frame of its own among those of its key.
      distance: d, above 0.

    Returns:
      i and j, int [m] each.

    """
    if not len(frames):
        return frames, frames
    _, groups = np.unique(keys, axis=0, return_inverse=True)
    # One number for a key and a frame, and room above the last frame of each key.
    stride = frames.max() + distance + 1
    codes = groups.reshape(-1) * stride + frames
    order = np.argsort(codes)
    ascending = codes[order]

    wanted = codes + distance
    places = np.searchsorted(ascending, wanted)
    places = np.minimum(places, len(codes) - 1)
    is_there = ascending[places] == wanted
    return np.flatnonzero(is_there), order[places[is_there]]


def join(parts: list[Shown]) -> Shown:
    """The examples of several parts after one another."""
    records = np.concatenate([part.records for part in parts])
    boxes = np.concatenate([part.boxes for part in parts])
    return Shown(records, boxes)


def _same_box(records: np.ndarray, box: int) -> Shown:
    return Shown(records, np.full(len(records), box))


def _take(shown: Shown, places: np.ndarray) -> Shown:
    return Shown(shown.records[places], shown.boxes[places])
