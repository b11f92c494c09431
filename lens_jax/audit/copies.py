"""Copies of the user's own images, with what the probes see of them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from lens_jax.audit.probes import Sample
from lens_jax.audit.reading import SIDE
from lens_jax.audit.statistics import MAX_SIDE, crop_middle, describe
from lens_jax.data import decode
from lens_jax.errors import UserError
from lens_jax.pages.page import printable

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]
_UPRIGHT = decode.Decoding(upright=True)
# What a file says beside its pixels is the same for all copies.
_WORDS = ("format", "mode", "orientation", "camera", "software", "coding")


class Copy(NamedTuple):
    """The two parts of an image that statistics are taken of.

    Attributes:
      whole: all of it, at most `MAX_SIDE` a side, uint8 [h, w, 3].
      middle: the middle at full resolution; the same array as `whole` of a small image.

    """

    whole: np.ndarray
    middle: np.ndarray


def read_copies(root: str, paths: Sequence[str]) -> list[Copy]:
    """Copies of the images at paths below a folder.

    Raises:
      UserError: a file, which was whole when it was first read, is no image any more.

    """

    def read(path: str) -> Copy:
        try:
            with open(os.path.join(root, path), "rb") as file:
                return make_copy(decode.decode(file.read(), _UPRIGHT))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{printable(path)} changed while it was audited: start again"
            ) from error

    return in_threads(read, paths)


def make_copy(image: np.ndarray) -> Copy:
    """The copy of an image."""
    height, width = image.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return Copy(image, image)
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    whole = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Copy(whole, crop_middle(image))


def plant_all(
    copies: Sequence[Copy], draw: Draw, is_local: bool, rng: np.random.Generator
) -> list[Copy]:
    """Copies with a mark: a local one in the whole image, any other in the middle at least."""
    planted = []
    for copy in copies:
        if copy.whole is copy.middle:
            image = draw(copy.whole, rng)
            planted.append(Copy(image, image))
        elif is_local:
            planted.append(copy._replace(whole=draw(copy.whole, rng)))
        else:
            planted.append(copy._replace(middle=draw(copy.middle, rng)))
    return planted


def look_at(copies: Sequence[Copy]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The small images and the statistics of copies, see `reading.Reading`."""

    def look(copy: Copy) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        small = cv2.resize(copy.whole, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        statistics = describe(copy.middle)
        if copy.whole is not copy.middle:
            statistics["frame"] = describe(copy.whole)["frame"]
        return small, statistics

    seen = in_threads(look, copies)
    statistics = {}
    for name in seen[0][1]:
        rows = [each[name] for _, each in seen]
        statistics[name] = np.array(rows, np.float32)
    return np.array([small for small, _ in seen]), statistics


def sample_of(
    copies: Sequence[Copy], labels: np.ndarray, names: list[str], sizes: list[int]
) -> Sample:
    """What the probes see of copies [K], as if all files were alike but for their `sizes`."""
    count = len(copies)
    columns: dict[str, list] = {"quality": [0] * count}
    for name in ("height", "width"):
        columns[name] = [SIDE] * count
    for name in _WORDS:
        columns[name] = [""] * count
    small, statistics = look_at(copies)
    return Sample(
        paths=[""] * count,
        sizes=sizes,
        columns=columns,
        small=small,
        statistics=statistics,
        labels=labels,
        names=names,
    )


def in_threads(compute: Callable, values: Sequence) -> list:
    """What a function returns of each value, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compute, values))
