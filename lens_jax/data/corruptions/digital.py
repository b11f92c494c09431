"""Corruptions by processing. Images are light, float [side, side, 3] in [0, 1]."""

import io

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage


def contrast(image: np.ndarray, rng: np.random.Generator, factor: float) -> np.ndarray:
    """Multiplies the distance from each channel's mean by a factor."""
    del rng  # nothing is drawn
    means = image.mean(axis=(0, 1))
    return means + factor * (image - means)


def elastic_transform(
    image: np.ndarray, rng: np.random.Generator, strength: float, smoothness: float, shear: float
) -> np.ndarray:
    """Stretches an image: by an affine map, and then every pixel by another smooth shift.

    Args:
      image: the image.
      rng: draws the shifts.
      strength: factor of the pixels' shifts, which are uniform in [-1, 1] before they are smoothed.
      smoothness: standard deviation of the Gaussian that smooths them, in pixels.
      shear: the most that each of three points moves for the affine map, in pixels.

    """
    side = len(image)
    center = side // 2
    reach = side // 3
    corners = np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
    points = center + reach * corners
    moves = rng.uniform(-shear, shear, points.shape).astype(np.float32)
    matrix = cv2.getAffineTransform(points, points + moves)
    sheared = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)

    shifts = []
    for _ in ("right", "down"):
        uniform = rng.uniform(-1, 1, (side, side))
        smooth = ndimage.gaussian_filter(uniform, smoothness, mode="reflect", truncate=3)
        shifts.append(strength * smooth)

    # Where each pixel is taken from, channel by channel.
    right, down = shifts
    rows, columns = np.indices((side, side))
    origins = np.stack([rows + down, columns + right])
    channels = []
    for channel in np.moveaxis(sheared, -1, 0):
        shifted = ndimage.map_coordinates(channel, origins, order=1, mode="reflect")
        channels.append(shifted)
    return np.stack(channels, axis=-1)


def pixelate(image: np.ndarray, rng: np.random.Generator, fraction: float) -> np.ndarray:
    """Averages over boxes, so that a fraction of the pixels a side is left, and enlarges them."""
    del rng  # nothing is drawn
    side = len(image)
    small = int(side * fraction)
    picture = _to_pillow(image).resize((small, small), Image.Resampling.BOX)
    picture = picture.resize((side, side), Image.Resampling.BOX)
    return np.asarray(picture) / 255


def jpeg_compression(image: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    """Compresses by JPEG of a quality, 1 to 100."""
    del rng  # nothing is drawn
    buffer = io.BytesIO()
    _to_pillow(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as picture:
        return np.asarray(picture) / 255


def _to_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * image).astype(np.uint8))
