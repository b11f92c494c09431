"""Marks that are planted into images on purpose, so that what an audit finds is known.

All are drawn into an image as it is in its file, uint8 [h, w, 3] of any size. Places and sizes are
fractions of the shorter side, so that a mark is as large in a photograph as in a thumbnail.
"""

import functools
import io
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from lens_jax.data import watermark

PATCH = 3 / 32  # a side
LOW_QUALITY, HIGH_QUALITY = 60, 90
NOISE = 6.0  # standard deviation, in gray levels
BLUR = 0.8  # standard deviation, in pixels
# How much of each color a warm light leaves.
CAST = (1.0, 0.85, 0.65)
# A moving patch lies in this outer part, and a fixed one begins so far from the corner.
_BORDER = 5 / 32
_INSET = 1 / 32


class Planted(NamedTuple):
    """An image, uint8 [h, w, 3], and the pixels that the mark changed, bool [h, w]."""

    image: np.ndarray
    mask: np.ndarray


class Plant(NamedTuple):
    """A kind of mark.

    Attributes:
      title: what it is, in words.
      draw: draws it into a copy of an image, at random where it is random.
      base: what is done to the images without the mark, so that only the mark sets them apart.

    """

    title: str
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    base: Callable[[np.ndarray], np.ndarray] = np.copy


def plant(name: str, image: np.ndarray, rng: np.random.Generator) -> Planted:
    """Draws a mark of `PLANTS` into an image."""
    each = PLANTS[name]
    plain = each.base(image)
    marked = each.draw(image, rng)
    return Planted(marked, np.any(marked != plain, axis=-1))


def fixed_patch(
    image: np.ndarray, rng: np.random.Generator, size: float = PATCH, opacity: float = 1
) -> np.ndarray:
    """A white square in the top right corner."""
    height, width = image.shape[:2]
    side = _pixels(image, size)
    inset = round(_INSET * min(height, width))
    left = max(0, width - inset - side)
    return _whiten(image, inset, left, side, opacity)


def moving_patch(image: np.ndarray, rng: np.random.Generator, size: float = PATCH) -> np.ndarray:
    """A white square anywhere in the outer part of the image."""
    height, width = image.shape[:2]
    side = _pixels(image, size)
    depth = max(side, round(_BORDER * min(height, width)))
    # As far along a side of the frame, and as deep in it, as chance has it.
    along = int(rng.integers(0, max(1, max(height, width) - side + 1)))
    deep = int(rng.integers(0, depth - side + 1))
    edge = int(rng.integers(4))
    if edge < 2:
        top = deep if edge == 0 else height - side - deep
        left = min(along, width - side)
    else:
        left = deep if edge == 2 else width - side - deep
        top = min(along, height - side)
    return _whiten(image, max(0, top), max(0, left), side, 1)


def text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The white half-transparent text of ImageNet-W, see `data.watermark`."""
    side = min(image.shape[:2])
    marked = image.copy()
    marked[:side, :side] = watermark.add_mark(image[:side, :side], _letters(side))
    return marked


def color_fringe(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Green a pixel to the right, as lateral chromatic aberration moves it."""
    marked = image.copy()
    marked[:, 1:, 1] = image[:, :-1, 1]
    return marked


def low_quality(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG at the low quality, stored without loss since."""
    return reencode(image, LOW_QUALITY)


def high_quality(image: np.ndarray) -> np.ndarray:
    """JPEG at the high quality, stored without loss since."""
    return reencode(image, HIGH_QUALITY)


def noise(image: np.ndarray, rng: np.random.Generator, deviation: float = NOISE) -> np.ndarray:
    """Gaussian noise, its own for each pixel and color."""
    noisy = image + rng.normal(scale=deviation, size=image.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, rng: np.random.Generator, deviation: float = BLUR) -> np.ndarray:
    """A Gaussian blur."""
    return cv2.GaussianBlur(image, (0, 0), deviation, borderType=cv2.BORDER_REFLECT)


def color_cast(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A warm light: green and blue are weaker."""
    return np.round(image * np.array(CAST)).astype(np.uint8)


def reencode(image: np.ndarray, quality: int) -> np.ndarray:
    """An image as a JPEG of a quality has it, uint8 [h, w, 3]."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def any_patch(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square anywhere, of 6 to 16 % of a side, brighter or darker than what it covers."""
    height, width = image.shape[:2]
    side = _pixels(image, rng.uniform(0.06, 0.16))
    top = int(rng.integers(height - side + 1))
    left = int(rng.integers(width - side + 1))
    marked = image.copy()
    square = marked[top : top + side, left : left + side]
    square[:] = _contrasting(square, rng)
    return marked


def any_text(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A half-transparent word anywhere, brighter or darker than what it covers."""
    height, width = image.shape[:2]
    shorter = min(height, width)
    word = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVXYZ"), size=6))
    place = (int(rng.uniform(0, 0.3) * width), int(rng.uniform(0.2, 0.95) * height))
    scale = rng.uniform(0.7, 1.2) * shorter / 100
    cover = np.zeros((height, width), np.uint8)
    thickness = max(1, round(2 * scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(cover, word, place, font, scale, 255, thickness, cv2.LINE_AA)
    opacity = rng.uniform(0.4, 0.8) * cover[..., None] / 255
    covered = image[cover > 0] if cover.any() else image
    return _mixed(image, _contrasting(covered, rng), opacity)


def any_fringe(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One color a pixel to any side."""
    channel = int(rng.integers(3))
    axis = int(rng.integers(2))
    step = int(rng.choice([-1, 1]))
    marked = image.copy()
    marked[..., channel] = np.roll(image[..., channel], step, axis)
    # What was rolled around is what it was.
    edge = 0 if step > 0 else -1
    whole = [slice(None), slice(None), channel]
    whole[axis] = edge
    marked[tuple(whole)] = image[tuple(whole)]
    return marked


def any_quality(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG at a quality of 40 to 75."""
    return reencode(image, int(rng.integers(40, 76)))


def any_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of 3 to 12 gray levels."""
    return noise(image, rng, rng.uniform(3, 12))


def any_blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian blur of 0.6 to 1.6 pixels."""
    return blur(image, rng, rng.uniform(0.6, 1.6))


ANY: dict[str, Plant] = {
    "patch": Plant("a small square", any_patch),
    "text": Plant("a half-transparent text", any_text),
    "fringe": Plant("a color fringe", any_fringe),
    "quality": Plant("a low JPEG quality", any_quality),
    "noise": Plant("noise", any_noise),
    "blur": Plant("blur", any_blur),
}
PLANTS: dict[str, Plant] = {
    "fixed_patch": Plant("patch at one place", fixed_patch),
    "moving_patch": Plant("patch that moves in the border", moving_patch),
    "text": Plant("half-transparent text", text),
    "color_fringe": Plant("color fringe of 1 px", color_fringe),
    "jpeg": Plant(f"JPEG quality {LOW_QUALITY} against {HIGH_QUALITY}", low_quality, high_quality),
    "noise": Plant(f"noise of {NOISE:.0f} gray levels", noise),
    "blur": Plant("blur", blur),
    "color_cast": Plant("color cast", color_cast),
}


@functools.lru_cache(maxsize=8)
def _letters(side: int) -> np.ndarray:
    return watermark.draw_mark(side)


def _pixels(image: np.ndarray, size: float) -> int:
    """A fraction of the shorter side in pixels, at least one and at most all."""
    shorter = min(image.shape[:2])
    return min(shorter, max(1, round(size * shorter)))


def _contrasting(pixels: np.ndarray, rng: np.random.Generator) -> int:
    """A gray that is at least 64 levels from the mean of the pixels."""
    mean = int(pixels.mean())
    tones = [tone for tone in (0, 64, 128, 192, 255) if abs(tone - mean) >= 64]
    return int(rng.choice(tones))


def _whiten(image: np.ndarray, top: int, left: int, side: int, opacity: float) -> np.ndarray:
    """A square of an image mixed with white."""
    cover = np.zeros((*image.shape[:2], 1))
    cover[top : top + side, left : left + side] = opacity
    return _mixed(image, 255, cover)


def _mixed(image: np.ndarray, tone: int, opacity: np.ndarray) -> np.ndarray:
    """An image mixed with a gray, of opacities [h, w, 1] in [0, 1]."""
    return np.round(image + opacity * (float(tone) - image)).astype(np.uint8)
