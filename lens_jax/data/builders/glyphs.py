"""Glyphs: letters that look different in all four orientations, drawn on soft color gradients.

Every image is a pure function of (seed, split, index), so any of them can be made again, and all
factors that decide it are known.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import letters, png
from lens_jax.data.builders.letters import FONTS, LETTERS
from lens_jax.data.builders.sizes import size_configs

SPLITS = {"train": 10_000, "test": 2_000}
SIZES = (32, 48, 64, 96, 128)
SEED = 0

SCALE_RANGE = (0.45, 0.85)
TILT_RANGE = (-15.0, 15.0)
NOISE_RANGE = (4.0 / 255.0, 8.0 / 255.0)
# The least difference in luma, in [0, 1], between the letter and any point of the background.
MIN_CONTRAST = 0.25
# The least distance between the letter and the image's border, as a fraction of the image's side.
MARGIN = 0.02

_LUMA = np.array([0.299, 0.587, 0.114])

# RGB in [0, 1].
Color = tuple[float, float, float]
# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Factors:
    """Everything that decides an image except its size in pixels and the noise's draw.

    Attributes:
      label: index into `LETTERS`.
      font: index into `FONTS`.
      x: center of the letter from the left, as a fraction of the side, in (0, 1).
      y: center of the letter from the top, as a fraction of the side, in (0, 1).
      scale: longer side of the letter's bounding box, as a fraction of the image's side, in
        `SCALE_RANGE`.
      tilt: rotation of the letter in degrees, counter-clockwise, in `TILT_RANGE`.
      letter_color: color of the letter.
      background_colors: colors at the start and at the end of the gradient.
      gradient_angle: direction of the gradient in degrees, in [0, 360): 0 is rightwards, 90 is
        downwards.
      noise_std: standard deviation of the noise of pixels in [0, 1], in `NOISE_RANGE`.

    """

    label: int
    font: int
    x: float
    y: float
    scale: float
    tilt: float
    letter_color: Color
    background_colors: tuple[Color, Color]
    gradient_angle: float
    noise_std: float


def make(split: str, index: int, size: int = 32, seed: int = SEED) -> tuple[np.ndarray, Factors]:
    """Makes example `index` of `split`: its image, uint8 [size, size, 3], and its factors.

    The factors of an example are the same at every size; the labels are balanced.

    Raises:
      ValueError: `split` is not one of `SPLITS`.

    """
    split_number = list(SPLITS).index(split)
    label = index % len(LETTERS)
    rng = np.random.default_rng((seed, split_number, index))
    factors = sample_factors(rng, label)
    image = render(rng, factors, size)
    return image, factors


def sample_factors(
    rng: np.random.Generator,
    label: int,
    fonts: Sequence[int] = range(len(FONTS)),
    scales: tuple[float, float] = SCALE_RANGE,
) -> Factors:
    """Draws all factors of an image of the letter `label`, an index into `LETTERS`.

    The font is one of `fonts`, and the scale is between two `scales`.
    """
    # Examples are made again from their seed: the draws have to stay in this order.
    font = fonts[int(rng.integers(len(fonts)))]
    scale = rng.uniform(*scales)
    tilt = rng.uniform(*TILT_RANGE)

    # The letter's sides as fractions of the image's, which leave it room to move.
    drawn = letters.draw(label, font, tilt)
    height, width = drawn.shape
    longer = max(width, height)
    across = scale * width / longer
    down = scale * height / longer
    x = center(rng.uniform(), across)
    y = center(rng.uniform(), down)

    letter, start, end = sample_colors(rng)
    return Factors(
        label=label,
        font=font,
        x=x,
        y=y,
        scale=scale,
        tilt=tilt,
        letter_color=letter,
        background_colors=(start, end),
        gradient_angle=rng.uniform(0.0, 360.0),
        noise_std=rng.uniform(*NOISE_RANGE),
    )


def render(rng: np.random.Generator, factors: Factors, size: int = 32) -> np.ndarray:
    """The image that `factors` describe, uint8 [size, size, 3]; `rng` only draws the noise."""
    background = gradient(
        factors.background_colors,
        factors.gradient_angle,
        size,
    )
    cover = coverage(factors, size)
    image = paint(background, cover, factors.letter_color)
    # The noise comes last: it lies over the letter too.
    return to_pixels(rng, image, factors.noise_std)


def paint(image: np.ndarray, cover: np.ndarray, color: Color) -> np.ndarray:
    """The image with a color on the fraction of each pixel, [size, size], that it covers."""
    difference = np.array(color) - image
    return image + cover[..., None] * difference


def to_pixels(rng: np.random.Generator, image: np.ndarray, noise_std: float) -> np.ndarray:
    """An image in [0, 1] as uint8, with noise of a standard deviation that `rng` draws."""
    noise = rng.standard_normal(image.shape)
    light = (image + noise_std * noise).clip(0.0, 1.0)
    return np.rint(255.0 * light).astype(np.uint8)


def coverage(factors: Factors, size: int) -> np.ndarray:
    """The fraction of each pixel that the letter covers, float [size, size] in [0, 1]."""
    letter = letters.draw(factors.label, factors.font, factors.tilt)
    return letters.place(letter, factors.x, factors.y, factors.scale, size)


def gradient(colors: Any, angle: float, size: int) -> np.ndarray:
    """A linear gradient between two colors, [2, 3], along `angle` degrees: float [size, size, 3].

    The colors themselves lie at two corners of the image, or at two sides of it.
    """
    start, end = np.asarray(colors)
    # Pixel centers, from the image's center, in (-0.5, 0.5).
    centers = np.arange(size) + 0.5
    ramp = centers / size - 0.5
    radians = math.radians(angle)
    cosine = math.cos(radians)
    sine = math.sin(radians)
    # Projected on the direction, along which the image's extent is |cosine| + |sine|.
    projected = cosine * ramp + sine * ramp[:, None]
    extent = abs(cosine) + abs(sine)
    along = projected / extent + 0.5
    return start + along[..., None] * (end - start)


def contrast(letter: Any, start: Any, end: Any) -> float:
    """The least luma difference between a letter color and the gradient between two others.

    It is negative where the letter's luma lies between the two.
    """
    luma = _LUMA @ letter
    ends = (_LUMA @ start, _LUMA @ end)
    low, high = sorted(ends)
    return max(low - luma, luma - high)


def sample_colors(rng: np.random.Generator) -> list[Color]:
    """Draws the letter's color and the background's two, again until the letter stands out."""
    while True:
        colors = rng.uniform(size=(3, 3))
        if contrast(*colors) >= MIN_CONTRAST:
            return [tuple(color) for color in colors.tolist()]


def center(position: float, extent: float) -> float:
    """The center of something `extent` long in [0, 1] that has a `position` in [0, 1].

    It touches one margin at position 0 and the other at position 1.
    """
    first = MARGIN + extent / 2
    room = 1 - extent - 2 * MARGIN
    return first + position * room


class Glyphs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Ten letters that differ in all four orientations, with every factor beside the image."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = size_configs(SIZES, "Images")

    def _info(self) -> tfds.core.DatasetInfo:
        kinds = tfds.features
        size = self.builder_config.size
        image = kinds.Image(shape=(size, size, 3), encoding_format="png")
        color = kinds.Tensor(shape=(3,), dtype=np.float32)
        two_colors = kinds.Tensor(shape=(2, 3), dtype=np.float32)
        features = {
            "image": image,
            "label": kinds.ClassLabel(names=list(LETTERS)),
            "index": kinds.Scalar(np.int64),
            "font": kinds.ClassLabel(names=list(FONTS)),
            "letter_color": color,
            "background_colors": two_colors,
        }
        for name in ("x", "y", "scale", "tilt", "gradient_angle", "noise_std"):
            features[name] = kinds.Scalar(np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=kinds.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="Apache-2.0; the letters are drawn in fonts that ship with matplotlib.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Examples:
        size = self.builder_config.size
        count = SPLITS[split]
        for index in range(count):
            image, factors = make(split, index, size)
            example = dataclasses.asdict(factors)
            example["image"] = png.encode(image)
            example["index"] = index
            yield index, example
