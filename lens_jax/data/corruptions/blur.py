"""Corruptions by blur. Images are light, float [side, side, 3] in [0, 1]."""

import math

import cv2
import numpy as np
from scipy import ndimage

# Angles of a moving camera, in degrees.
ANGLES = (-45.0, 45.0)


def defocus_blur(
    image: np.ndarray, rng: np.random.Generator, radius: float, deviation: float
) -> np.ndarray:
    """Averages over a disk, whose edge is smoothed by a Gaussian."""
    del rng  # nothing is drawn
    return cv2.filter2D(image, -1, disk(radius, deviation))


def disk(radius: float, deviation: float) -> np.ndarray:
    """The kernel of `defocus_blur`, [17, 17] up to a radius of 8, and then as large as the disk."""
    reach = 8 if radius <= 8 else math.ceil(radius)
    width = 3 if radius <= 8 else 5
    offsets = np.arange(-reach, reach + 1)
    distances = np.hypot(offsets[:, None], offsets)
    inside = (distances <= radius).astype(np.float32)
    kernel = inside / inside.sum()
    return cv2.GaussianBlur(kernel, (width, width), sigmaX=deviation)


def glass_blur(
    image: np.ndarray, rng: np.random.Generator, deviation: float, reach: int, times: int
) -> np.ndarray:
    """Lets each pixel show another one near it, between two Gaussian blurs.

    The authors' code means to swap two pixels, but NumPy's views make it copy one to the other, and
    so are the published images.
    """
    side = len(image)
    blurred = _gaussian(image, deviation)
    # From the lower right corner on, so that a pixel may show what another one was given.
    order = np.arange(side - reach, reach, -1)
    rows, columns = np.meshgrid(order, order, indexing="ij")
    shown = list(range(side * side))
    targets = rows * side + columns
    for _ in range(times):
        right, down = rng.integers(-reach, reach, (2, *rows.shape))
        origins = targets + down * side + right
        for target, origin in zip(targets.flat, origins.flat, strict=True):
            shown[target] = shown[origin]

    # Whole levels, as of an image.
    levels = np.floor(255 * blurred)
    pixels = levels.reshape(-1, 3) / 255
    shuffled = pixels[shown].reshape(image.shape)
    return _gaussian(shuffled, deviation)


def _gaussian(image: np.ndarray, deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (deviation, deviation, 0), mode="nearest")


def motion_blur(
    image: np.ndarray, rng: np.random.Generator, radius: int, deviation: float
) -> np.ndarray:
    """Averages along a line in a direction that is drawn from `ANGLES`."""
    angle = rng.uniform(*ANGLES)
    return blur_along(image, radius, deviation, angle)


def blur_along(image: np.ndarray, radius: int, deviation: float, angle: float) -> np.ndarray:
    """Averages along a line to one side, with the weights of half a Gaussian, as ImageMagick does.

    Args:
      image: float [side, side] or [side, side, channels].
      radius: half the length of the line, in pixels.
      deviation: the standard deviation of the Gaussian, in pixels.
      angle: in degrees from the right, clockwise.

    """
    length = 2 * radius + 1
    steps = np.arange(length)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()

    # The kernel is centered on the pixel that looks along the line.
    turn = math.radians(angle)
    down = np.ceil(steps * math.sin(turn) - 0.5).astype(int)
    right = np.ceil(steps * math.cos(turn) - 0.5).astype(int)
    kernel = np.zeros((2 * length - 1, 2 * length - 1))
    np.add.at(kernel, (length - 1 + down, length - 1 + right), weights)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def zoom_blur(image: np.ndarray, rng: np.random.Generator, stop: float, step: float) -> np.ndarray:
    """Averages the image and its enlargements by 1, 1 + `step` and so on, below `stop`."""
    del rng  # nothing is drawn
    factors = np.arange(1, stop, step)
    total = image.copy()
    for factor in factors:
        total += zoom(image, factor)
    return total / (len(factors) + 1)


def zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """Enlarges the center of an image [side, side, ...] by a factor from 1 on to all of it.

    The interpolation is linear, and takes the outermost pixels of the center to those of what is
    enlarged, of which too much by rounding is cut off.
    """
    side = len(image)
    kept = math.ceil(side / factor)
    start = (side - kept) // 2
    center = image[start : start + kept, start : start + kept]

    length = round(kept * factor)
    start = (length - side) // 2
    positions = np.linspace(0, kept - 1, length)[start : start + side]
    tall = _interpolate(center, positions)
    wide = _interpolate(np.swapaxes(tall, 0, 1), positions)
    return np.swapaxes(wide, 0, 1)


def _interpolate(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The rows at positions between whole numbers, linearly."""
    last = len(rows) - 2
    above = np.minimum(positions.astype(int), last)
    below = above + 1

    # How far it is from the row above, broadcast to whole rows.
    parts = positions - above
    column = (-1, *[1] * (rows.ndim - 1))
    weights = parts.reshape(column)
    return (1 - weights) * rows[above] + weights * rows[below]
