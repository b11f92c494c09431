"""Images that are there twice: the same bytes, the same pixels, or nearly the same look.

Near duplicates are found by comparing the small copies themselves, every one with every other. For
the number of images that are kept, that takes a second; a perceptual hash would only approximate it
and merge what is merely alike.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lens_jax.audit.reading import SIDE, Reading

# Two images look the same where their 16 x 16 pixels correlate by so much, and their 64 x 64 differ
# by so few gray levels, as root mean square.
LEAST_CORRELATION = 0.995
MOST_DIFFERENCE = 6.0
_CELLS = 16
# An image of less contrast, in gray levels, is as like to any other flat one.
_FLAT = 2.0
_ROWS = 1000  # compared at a time: bounds the memory


class Pair(NamedTuple):
    """An image and one before it that looks the same.

    Attributes:
      file: the index of the image.
      like: the index of the earlier one.
      kind: "same bytes", "same pixels" or "near duplicate".
      score: the correlation of the two, 1 of exact duplicates.

    """

    file: int
    like: int
    kind: str
    score: float


def find_duplicates(reading: Reading) -> list[Pair]:
    """Every image that is like an earlier one, with the earliest one, or the most alike.

    Exact duplicates are found among all files, near ones among those that are kept.
    """
    columns = reading.columns
    pairs = _find_equal(columns["bytes_digest"], "same bytes")
    repeated = {pair.file for pair in pairs}
    for pair in _find_equal(columns["pixels_digest"], "same pixels"):
        if pair.file not in repeated:
            pairs.append(pair)
            repeated.add(pair.file)

    is_first = np.array([index not in repeated for index in reading.kept], bool)
    firsts = reading.kept[is_first]
    for file, like, score in find_similar(reading.small[is_first]):
        pairs.append(Pair(int(firsts[file]), int(firsts[like]), "near duplicate", score))
    return sorted(pairs)


def find_similar(images: np.ndarray) -> list[tuple[int, int, float]]:
    """Each image of [K, SIDE, SIDE, 3] that looks like an earlier one: both indices, correlation.

    Of several, it is the one that correlates most.
    """
    factor = SIDE // _CELLS
    shape = (len(images), _CELLS, factor, _CELLS, factor, 3)
    cells = images.reshape(shape).mean(axis=(2, 4), dtype=np.float32)
    cells = cells.reshape(len(images), 3 * _CELLS**2)
    centered = cells - cells.mean(axis=1, keepdims=True)
    contrast = centered.std(axis=1, keepdims=True)
    rows = np.where(contrast > _FLAT, centered / np.maximum(contrast, _FLAT), 0)
    rows /= np.sqrt(rows.shape[1])

    found = []
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        correlations = some @ rows.T
        # Only earlier images: each pair counts once.
        correlations = np.tril(correlations, start - 1)
        likes = correlations.argmax(axis=1)
        for offset, like in enumerate(likes):
            file = start + offset
            score = float(correlations[offset, like])
            alike = score >= LEAST_CORRELATION
            if alike and _difference(images[file], images[like]) <= MOST_DIFFERENCE:
                found.append((file, int(like), min(1.0, score)))
    return found


def first_of_each(count: int, pairs: list[Pair]) -> np.ndarray:
    """Whether each of `count` images is the first of its group of duplicates, bool [count]."""
    files = [pair.file for pair in pairs]
    likes = [pair.like for pair in pairs]
    links = coo_array((np.ones(len(pairs)), (files, likes)), shape=(count, count))
    _, groups = connected_components(links, directed=False)
    is_first = np.zeros(count, bool)
    _, firsts = np.unique(groups, return_index=True)
    is_first[firsts] = True
    return is_first


def _find_equal(digests: list[str], kind: str) -> list[Pair]:
    groups = defaultdict(list)
    for index, digest in enumerate(digests):
        if digest:
            groups[digest].append(index)
    pairs = []
    for first, *others in groups.values():
        pairs += [Pair(other, first, kind, 1.0) for other in others]
    return pairs


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """The root mean square difference, in gray levels."""
    return float(np.sqrt(np.mean(np.square(one.astype(float) - other))))
