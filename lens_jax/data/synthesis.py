"""Texture synthesis by image quilting (Efros and Freeman, 2001, SIGGRAPH).

A texture is laid row by row from square blocks of its examples, which overlap. Each block is drawn
from those that fit what lies below nearly best, and is cut along the seam that shows least. No
statistics are modeled: every pixel is one of an example's.
"""

import itertools
import math
from collections.abc import Sequence

import cv2
import numpy as np

# Of the block's side, as in the paper.
OVERLAP = 1 / 6
# Blocks whose error is at most this much above the least one are drawn from; likewise.
TOLERANCE = 0.1


def synthesize(
    examples: Sequence[np.ndarray], size: int, block: int, rng: np.random.Generator
) -> np.ndarray:
    """A texture of `size` x `size` px that is like all of its examples.

    Args:
      examples: uint8 [h, w, 3], in which a block fits.
      size: side of the texture in pixels.
      block: side of the blocks in pixels, at least 2; about that of what repeats in the texture.
      rng: draws among the blocks.

    Returns:
      RGB, uint8 [size, size, 3].

    """
    overlap = max(1, round(OVERLAP * block))
    stride = block - overlap
    in_a_row = math.ceil((size - overlap) / stride)
    side = in_a_row * stride + overlap
    canvas = np.zeros((side, side, 3), np.float32)
    examples = [example.astype(np.float32) for example in examples]

    for row, column in itertools.product(range(in_a_row), repeat=2):
        top = row * stride
        left = column * stride
        bottom = top + block
        right = left + block
        # A view of the canvas, which is laid already where earlier blocks reach into it.
        below = canvas[top:bottom, left:right]
        is_laid = np.zeros((block, block), bool)
        if row > 0:
            is_laid[:overlap] = True
        if column > 0:
            is_laid[:, :overlap] = True

        # A block that fits, of which the part beyond the seams is laid.
        chosen = _choose_block(examples, below, is_laid, rng)
        squares = (chosen - below) ** 2
        differences = squares.sum(axis=-1)
        is_new = np.ones((block, block), bool)
        if row > 0:
            across = differences[:overlap].T
            is_new &= beyond_seam(across, block).T
        if column > 0:
            down = differences[:, :overlap]
            is_new &= beyond_seam(down, block)
        below[is_new] = chosen[is_new]

    texture = canvas[:size, :size]
    return texture.astype(np.uint8)


def _choose_block(
    examples: Sequence[np.ndarray],
    below: np.ndarray,
    is_laid: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """A block of the examples, drawn from those that nearly fit best where `is_laid`."""
    block = len(below)
    errors = [block_errors(example, below, is_laid) for example in examples]
    least = min(each.min() for each in errors)
    limit = (1 + TOLERANCE) * least

    # Of all examples, the corners of the blocks that fit.
    fits = []
    for number, each in enumerate(errors):
        for top, left in np.argwhere(each <= limit):
            fits.append((number, top, left))
    number, top, left = fits[rng.integers(len(fits))]
    bottom = top + block
    right = left + block
    return examples[number][top:bottom, left:right]


def block_errors(example: np.ndarray, below: np.ndarray, is_laid: np.ndarray) -> np.ndarray:
    """How each block of an example differs from what is laid: squares summed up.

    Args:
      example: float32 [h, w, 3].
      below: float32 [b, b, 3].
      is_laid: bool [b, b], which of its pixels count.

    Returns:
      By the corner of the block, float32 [h - b + 1, w - b + 1].

    """
    mask = np.repeat(is_laid[..., None], 3, axis=-1).astype(np.float32)
    errors = cv2.matchTemplate(example, below, cv2.TM_SQDIFF, mask=mask)
    # Made by Fourier transforms, it is off by rounding: exact fits are to be found alike.
    return np.round(errors.clip(0))


def beyond_seam(differences: np.ndarray, width: int) -> np.ndarray:
    """Which pixels lie on or to the right of the seam that shows least, bool [n, width].

    The seam has a pixel in each row, at most one column from those above and below, and the least
    sum of `differences`, [n, overlap], along it.
    """
    costs = differences.astype(np.float64)
    for row in range(1, len(costs)):
        costs[row] += _least_of_neighbors(costs[row - 1])

    # Backwards from the cheapest end.
    column = int(np.argmin(costs[-1]))
    seam = [column]
    for above in costs[-2::-1]:
        first = max(0, column - 1)
        near = above[first : column + 2]
        column = first + int(np.argmin(near))
        seam.append(column)
    seam.reverse()

    columns = np.arange(width)
    return columns >= np.array(seam)[:, None]


def _least_of_neighbors(costs: np.ndarray) -> np.ndarray:
    """The least of each number and the ones beside it."""
    padded = np.pad(costs, 1, constant_values=np.inf)
    before = padded[:-2]
    after = padded[2:]
    beside = np.minimum(before, after)
    return np.minimum(beside, costs)
