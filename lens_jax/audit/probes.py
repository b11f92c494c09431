"""The blind probes: what each one sees of an image, and what its success can mean."""

import math
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from lens_jax.audit.reading import SIDE

# What a probe's success can mean, by what the probe sees.
BESIDE = "beside the picture"
TRACE = "traces in the picture"
LOOKS = "looks of the picture"
MEANINGS = (BESIDE, TRACE, LOOKS)

_THUMBNAIL = 8
_CELLS = 16  # a side of the grid from which border and surroundings are taken
_LEVELS = 4  # of each color in the histogram
_MOST_FREQUENT = 12
_NAME_FEATURES = 256
_MOST_DIGITS = 15


class Sample(NamedTuple):
    """The images that probes look at, K of them.

    Attributes:
      paths: their paths.
      sizes: bytes of their files.
      columns: see `reading.Reading`, a list of K entries each.
      small: uint8 [K, SIDE, SIDE, 3].
      statistics: by name, [K, number of them].
      labels: integers [K] from 0 on.
      names: what the labels stand for.

    """

    paths: list[str]
    sizes: list[int]
    columns: dict[str, list]
    small: np.ndarray
    statistics: dict[str, np.ndarray]
    labels: np.ndarray
    names: list[str]


class Probe(NamedTuple):
    """What a small program sees of an image that has to name its label.

    Attributes:
      title: what it sees, in words.
      meaning: `BESIDE`, `TRACE` or `LOOKS`.
      features: returns the features [K, d] of a sample.

    """

    title: str
    meaning: str
    features: Callable[[Sample], np.ndarray]


def file_name(sample: Sample) -> np.ndarray:
    """Pieces of up to three letters of the name without folders, its length, its number."""
    names = []
    for path in sample.paths:
        stem, _ = os.path.splitext(os.path.basename(path))
        names.append(stem.encode(errors="replace").decode())
    pieces = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=_NAME_FEATURES, norm=None
    )
    counts = pieces.transform(names).toarray()
    lengths = [len(name) for name in names]
    return np.column_stack([counts, lengths, [_number(name) for name in names]])


def metadata(sample: Sample) -> np.ndarray:
    """Sides and aspect, format, mode, orientation, camera and software."""
    height = _logarithm(sample.columns["height"])
    width = _logarithm(sample.columns["width"])
    blocks = [np.column_stack([height, width, height - width])]
    for name in ("format", "mode", "orientation", "camera", "software"):
        blocks.append(_one_hot(sample.columns[name]))
    return np.hstack(blocks)


def jpeg_quality(sample: Sample) -> np.ndarray:
    """The quality by the quantization tables, and how the JPEG is coded."""
    quality = np.array(sample.columns["quality"], float)
    return np.column_stack([quality, _one_hot(sample.columns["coding"])])


def file_size(sample: Sample) -> np.ndarray:
    """Bytes of the file, and bytes a pixel."""
    sizes = _logarithm(sample.sizes)
    pixels = _logarithm(sample.columns["height"]) + _logarithm(sample.columns["width"])
    return np.column_stack([sizes, sizes - pixels])


def jpeg_grid(sample: Sample) -> np.ndarray:
    """Steps at each phase of the JPEG grid, and what rounding did to its blocks."""
    return np.hstack([sample.statistics["grid"], sample.statistics["blocks"]])


def border(sample: Sample) -> np.ndarray:
    """The outermost sixteenth of the small image, and the outermost lines of the full one."""
    grid = _shrink(sample.small, _CELLS)
    outermost = _outside(grid, margin=1)
    return np.hstack([outermost, sample.statistics["frame"]])


def center_removed(sample: Sample) -> np.ndarray:
    """All but the middle half of the sides."""
    grid = _shrink(sample.small, _CELLS)
    return _outside(grid, margin=_CELLS // 4)


def thumbnail(sample: Sample) -> np.ndarray:
    """The image at 8 x 8 pixels."""
    return _shrink(sample.small, _THUMBNAIL).reshape(len(sample.small), -1)


def color_histogram(sample: Sample) -> np.ndarray:
    """How many pixels have each of 4 x 4 x 4 colors, as square roots, and the mean color."""
    levels = sample.small // (256 // _LEVELS)
    red, green, blue = np.moveaxis(levels, -1, 0)
    bins = (red * _LEVELS + green) * _LEVELS + blue
    counts = []
    for row in bins.reshape(len(bins), -1):
        counts.append(np.bincount(row, minlength=_LEVELS**3))
    mean = sample.small.mean(axis=(1, 2))
    return np.hstack([np.sqrt(counts), mean])


def _statistics(name: str) -> Callable[[Sample], np.ndarray]:
    return lambda sample: sample.statistics[name]


PROBES: dict[str, Probe] = {
    "file_name": Probe("file name", BESIDE, file_name),
    "metadata": Probe("size, format, camera", BESIDE, metadata),
    "jpeg_quality": Probe("JPEG quality and coding", BESIDE, jpeg_quality),
    "file_size": Probe("bytes of the file", TRACE, file_size),
    "jpeg_grid": Probe("JPEG grid in the pixels", TRACE, jpeg_grid),
    "noise": Probe("noise", TRACE, _statistics("noise")),
    "sharpness": Probe("sharpness", TRACE, _statistics("sharpness")),
    "color_fringe": Probe("color fringes", TRACE, _statistics("fringe")),
    "border": Probe("border alone", TRACE, border),
    "center_removed": Probe("center removed", LOOKS, center_removed),
    "light": Probe("brightness and contrast", LOOKS, _statistics("light")),
    "color_histogram": Probe("colors, wherever they are", LOOKS, color_histogram),
    "thumbnail": Probe("8 x 8 pixels", LOOKS, thumbnail),
}


def _shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Images averaged to `side` pixels a side, [K, side, side, 3]."""
    factor = SIDE // side
    cells = images.reshape(len(images), side, factor, side, factor, 3)
    return cells.mean(axis=(2, 4), dtype=np.float32)


def _outside(grid: np.ndarray, margin: int) -> np.ndarray:
    """The cells of [K, side, side, 3] that are less than `margin` from a side, [K, number]."""
    outside = np.ones(grid.shape[1:3], bool)
    outside[margin:-margin, margin:-margin] = False
    return grid[:, outside].reshape(len(grid), -1)


def _logarithm(values: list[int]) -> np.ndarray:
    return np.log(np.array(values, float))


def _number(name: str) -> float:
    """The logarithm of the last number in a name; 0 without one."""
    numbers = re.findall("[0-9]+", name)
    if not numbers:
        return 0.0
    # Of very long ones, the first digits are enough, and no number is too large.
    return math.log1p(int(numbers[-1][:_MOST_DIGITS]))


def _one_hot(values: list) -> np.ndarray:
    """A column for each of the most frequent values, [K, at most `_MOST_FREQUENT`]."""
    frequent = Counter(values).most_common(_MOST_FREQUENT)
    columns = [[value == other for value in values] for other, _ in frequent]
    return np.array(columns, float).T
