"""One frame of a glyph video: a turned letter, a bar before it, and light from one side."""

import dataclasses
import math

import cv2
import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import glyphs, letters
from lens_jax.data.builders.glyphs import Color

SCALE_RANGE = (0.35, 0.55)
TILT_RANGE = (-25.0, 25.0)
VIEWPOINT_RANGE = (-60.0, 60.0)
# The bar's distance from the letter's center, as a fraction of the letter's longer side.
BAR_RANGE = (-0.8, 0.8)
BAR_WIDTH = 0.25
# How much light is missing on the side away from it.
SHADE = 0.6
# How much larger than from the front the camera may see a turned letter, at most.
NEARER = 1.2

# The camera's distance from the letter, in sides of the image.
_CAMERA = 2.0
_WHITE = (1.0, 1.0, 1.0)
# Images are drawn at so many times their size, and averaged.
_OVERSAMPLED = 3
# Side of the image that says where the letter is and what of it is hidden.
MEASURED_AT = 96


@dataclasses.dataclass(frozen=True)
class Factors:
    """Everything that decides a frame except its size in pixels and the noise's draw.

    Those up to the noise stay the same in all of a video.

    Attributes:
      label: index into `LETTERS`.
      font: index into `FONTS`.
      scale: longer side of the letter as a fraction of the image's side, seen from the front.
      letter_color: color of the letter.
      bar_color: color of the bar.
      bar_angle: direction in which the bar passes, in degrees, in [0, 180).
      background_colors: colors at the start and at the end of the gradient.
      gradient_angle: direction of the gradient, see `glyphs.Factors`.
      noise_std: standard deviation of the noise of pixels in [0, 1].
      x: center of the letter from the left, as a fraction of the side, in (0, 1).
      y: center of the letter from the top, likewise.
      tilt: rotation in the image in degrees, counter-clockwise, in `TILT_RANGE`.
      viewpoint: from which side the camera sees it: rotation about its upright axis in degrees, in
        `VIEWPOINT_RANGE`; from the front at 0.
      light: the direction that the light comes from, in degrees: 0 is from the right, 90 from
        below.
      bar: where the bar is, in `BAR_RANGE`; 0 is over the letter's center.

    """

    label: int
    font: int
    scale: float
    letter_color: Color
    bar_color: Color
    bar_angle: float
    background_colors: tuple[Color, Color]
    gradient_angle: float
    noise_std: float
    x: float = 0.5
    y: float = 0.5
    tilt: float = 0.0
    viewpoint: float = 0.0
    light: float = 0.0
    bar: float = BAR_RANGE[0]


def render(
    rng: np.random.Generator, factors: Factors, size: int, light_color: Color = _WHITE
) -> np.ndarray:
    """The frame that `factors` describe, uint8 [size, size, 3]; `rng` only draws the noise."""
    image = glyphs.gradient(factors.background_colors, factors.gradient_angle, size)
    # The letter before the background, and the bar before both.
    letter = letter_coverage(factors, size)
    bar = bar_coverage(factors, size)
    image = glyphs.paint(image, letter, factors.letter_color)
    image = glyphs.paint(image, bar, factors.bar_color)

    lit = image * brightness(factors.light, size)[..., None] * light_color
    return glyphs.to_pixels(rng, lit, factors.noise_std)


def letter_coverage(factors: Factors, size: int) -> np.ndarray:
    """The fraction of each pixel that the letter covers, float [size, size] in [0, 1]."""
    drawn = letters.draw(factors.label, factors.font, 0.0)
    height, width = drawn.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)

    # The corners around the letter's center, in sides of the image.
    middle = np.array([width, height]) / 2
    pixel = factors.scale / max(height, width)
    plane = (corners - middle) * pixel

    # Where the camera sees them, in pixels of a larger image.
    center = np.array([factors.x, factors.y])
    seen = center + project(plane, factors.tilt, factors.viewpoint)
    larger = _OVERSAMPLED * size
    pixels = np.float32(seen * larger)
    transform = cv2.getPerspectiveTransform(corners, pixels)
    warped = cv2.warpPerspective(drawn, transform, (larger, larger), flags=cv2.INTER_AREA)
    return _average(warped / 255.0, size)


def project(points: np.ndarray, tilt: float, viewpoint: float) -> np.ndarray:
    """Points [n, 2] of the letter's plane, x rightwards and y downwards -> where they are seen."""
    # Rotated in the plane.
    x, y = points.T
    angle = math.radians(tilt)
    right = math.cos(angle) * x + math.sin(angle) * y
    down = math.cos(angle) * y - math.sin(angle) * x

    # Turned about the upright axis, one side comes nearer and the other goes away.
    angle = math.radians(viewpoint)
    across = math.cos(angle) * right
    away = math.sin(angle) * right
    shrunk = _CAMERA / (_CAMERA + away)
    return np.stack([across * shrunk, down * shrunk], axis=1)


def bar_coverage(factors: Factors, size: int) -> np.ndarray:
    """The fraction of each pixel that the bar covers, float [size, size] in [0, 1]."""
    larger = _OVERSAMPLED * size
    centers = np.arange(larger) + 0.5
    ramp = centers / larger
    # Distances from the letter's center along the direction of the bar.
    along = math.radians(factors.bar_angle)
    right = math.cos(along) * (ramp - factors.x)
    down = math.sin(along) * (ramp - factors.y)
    distance = (right + down[:, None]) / factors.scale
    inside = np.abs(distance - factors.bar) <= BAR_WIDTH / 2
    return _average(inside.astype(float), size)


def brightness(light: float, size: int) -> np.ndarray:
    """How bright each pixel is under a light from a direction in degrees, [size, size].

    It falls from 1 at the side of the light to 1 - `SHADE` at the other.
    """
    ramp = glyphs.gradient([[1 - SHADE], [1.0]], light, size)
    return ramp[..., 0]


def measure(factors: Factors) -> tuple[tfds.features.BBox, float]:
    """The box of all of the letter, in fractions of the sides, and what fraction the bar hides."""
    letter = letter_coverage(factors, MEASURED_AT)
    bar = bar_coverage(factors, MEASURED_AT)
    rows = np.flatnonzero(letter.any(axis=1))
    columns = np.flatnonzero(letter.any(axis=0))
    edges = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    fractions = edges / MEASURED_AT
    box = tfds.features.BBox(*fractions.tolist())
    hidden = np.sum(letter * bar) / np.sum(letter)
    return box, float(hidden)


def _average(image: np.ndarray, size: int) -> np.ndarray:
    """The means of blocks of pixels, [size, size]."""
    means = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    # OpenCV's weights do not add up to 1 exactly.
    return means.clip(0.0, 1.0)
