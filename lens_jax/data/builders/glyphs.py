"""Glyphs: letters that look different in all four orientations, drawn on soft color gradients.

Every image is a pure function of (seed, split, index), so any of them can be made again, and every
factor that went into it is known.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw, ImageFont

from lens_jax.data.builders import png

LETTERS = "AEFGJKPRTY"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmtt10",
)
SPLITS = {"train": 10_000, "test": 2_000}
SIZES = (32, 48, 64, 96, 128)
SEED = 0

SCALE_RANGE = (0.45, 0.85)
TILT_RANGE = (-15.0, 15.0)
NOISE_RANGE = (4.0 / 255.0, 8.0 / 255.0)
# The least difference in luma, of 1, between the letter and any point of the background.
MIN_CONTRAST = 0.25
# The least distance, as a share of the image's side, between the letter and the image's border.
MARGIN = 0.02

_LUMA = np.array([0.299, 0.587, 0.114])
_EM_PIXELS = 192


@dataclasses.dataclass(frozen=True)
class Factors:
    """Everything that decides an image except its size in pixels and the noise's draw.

    Attributes:
      label: index into `LETTERS`.
      font: index into `FONTS`.
      x: center of the letter from the left, as a share of the side, in (0, 1).
      y: center of the letter from the top, as a share of the side, in (0, 1).
      scale: longer side of the letter's bounding box as a share of the image's, in `SCALE_RANGE`.
      tilt: rotation of the letter in degrees, counter-clockwise, in `TILT_RANGE`.
      letter_color: RGB in [0, 1].
      background_colors: RGB in [0, 1] at the start and at the end of the gradient.
      gradient_angle: direction of the gradient in degrees, from rightwards towards downwards, in
        [0, 360).
      noise_std: standard deviation of the pixel noise, of a full range of 1, in `NOISE_RANGE`.

    """

    label: int
    font: int
    x: float
    y: float
    scale: float
    tilt: float
    letter_color: tuple[float, float, float]
    background_colors: tuple[tuple[float, float, float], tuple[float, float, float]]
    gradient_angle: float
    noise_std: float


def make(split: str, index: int, size: int = 32, seed: int = SEED) -> tuple[np.ndarray, Factors]:
    """Makes example `index` of `split`: its image, uint8 [size, size, 3], and its factors.

    The factors of an example are the same at every size; the labels are balanced.

    Raises:
      ValueError: `split` is not one of `SPLITS`.

    """
    rng = np.random.default_rng((seed, list(SPLITS).index(split), index))
    factors = sample_factors(rng, index % len(LETTERS))
    return render(rng, factors, size), factors


def sample_factors(rng: np.random.Generator, label: int) -> Factors:
    """Draws all factors of an image of the letter `label`, an index into `LETTERS`."""
    font = int(rng.integers(len(FONTS)))
    scale = rng.uniform(*SCALE_RANGE)
    tilt = rng.uniform(*TILT_RANGE)
    height, width = _letter(label, font, tilt).shape
    x = _center(rng.uniform(), scale * width / max(width, height))
    y = _center(rng.uniform(), scale * height / max(width, height))
    letter, start, end = _colors(rng)
    angle, noise = rng.uniform(0.0, 360.0), rng.uniform(*NOISE_RANGE)
    return Factors(label, font, x, y, scale, tilt, letter, (start, end), angle, noise)


def render(rng: np.random.Generator, factors: Factors, size: int = 32) -> np.ndarray:
    """Draws the image that `factors` describe, uint8 [size, size, 3]; `rng` draws the noise alone."""
    cover = coverage(factors, size)[..., None]
    background = gradient(factors.background_colors, factors.gradient_angle, size)
    image = background + cover * (np.array(factors.letter_color) - background)
    image += factors.noise_std * rng.standard_normal(image.shape)
    return np.rint(255.0 * image.clip(0.0, 1.0)).astype(np.uint8)


def coverage(factors: Factors, size: int) -> np.ndarray:
    """How much of each pixel the letter covers, float [size, size] in [0, 1]."""
    letter = _letter(factors.label, factors.font, factors.tilt)
    height, width = letter.shape
    side = round(max(height, width) / factors.scale)
    left = round(factors.x * side - width / 2)
    top = round(factors.y * side - height / 2)
    canvas = np.zeros((side, side), np.uint8)
    canvas[top : top + height, left : left + width] = letter
    return np.asarray(Image.fromarray(canvas).resize((size, size), Image.Resampling.BOX)) / 255.0


def gradient(colors: Any, angle: float, size: int) -> np.ndarray:
    """A linear gradient between two colors, [2, 3], along `angle` degrees: float [size, size, 3]."""
    start, end = np.asarray(colors)
    ramp = (np.arange(size) + 0.5) / size - 0.5
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along = (cosine * ramp + sine * ramp[:, None]) / (abs(cosine) + abs(sine)) + 0.5
    return start + along[..., None] * (end - start)


def contrast(letter: Any, start: Any, end: Any) -> float:
    """The least luma difference between a letter color and the gradient between two others.

    It is negative where the letter's luma lies between the two.
    """
    luma, low, high = _LUMA @ letter, *sorted((_LUMA @ start, _LUMA @ end))
    return max(low - luma, luma - high)


def _colors(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Draws the letter's color and the background's two, anew until the letter stands out."""
    while True:
        colors = rng.uniform(size=(3, 3))
        if contrast(*colors) >= MIN_CONTRAST:
            return [tuple(color) for color in colors.tolist()]


def _center(position: float, extent: float) -> float:
    """Places something `extent` long in [0, 1]: its center, for a `position` in [0, 1]."""
    return MARGIN + extent / 2 + position * (1 - extent - 2 * MARGIN)


def _letter(label: int, font: int, tilt: float) -> np.ndarray:
    """The letter tilted and cropped to its ink, uint8 [height, width], larger than any image needs."""
    tilted = _upright(label, font).rotate(tilt, Image.Resampling.BILINEAR, expand=True)
    return np.asarray(tilted.crop(tilted.getbbox()))


@functools.cache
def _upright(label: int, font: int) -> Image.Image:
    image = Image.new("L", (2 * _EM_PIXELS, 2 * _EM_PIXELS))
    ImageDraw.Draw(image).text((_EM_PIXELS // 2, _EM_PIXELS // 2), LETTERS[label], 255, _font(font))
    return image.crop(image.getbbox())


@functools.cache
def _font(font: int) -> ImageFont.FreeTypeFont:
    # Imported here as only the making of images needs it, and it is slow to import.
    import matplotlib

    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", f"{FONTS[font]}.ttf")
    return ImageFont.truetype(str(path), _EM_PIXELS)


@dataclasses.dataclass(eq=False)
class GlyphsConfig(tfds.core.BuilderConfig):
    """One size of the data set.

    Attributes:
      size: side of the images in pixels.

    """

    size: int = SIZES[0]


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Ten letters, told apart in all four orientations, with every factor stored beside the image."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        GlyphsConfig(name=str(size), description=f"Images of {size}x{size} pixels.", size=size)
        for size in SIZES
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        scalars = ("x", "y", "scale", "tilt", "gradient_angle", "noise_std")
        features = {
            "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(LETTERS)),
            "index": tfds.features.Scalar(np.int64),
            "font": tfds.features.ClassLabel(names=list(FONTS)),
            "letter_color": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            "background_colors": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
        } | {name: tfds.features.Scalar(np.float32) for name in scalars}
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="Apache-2.0; the letters are drawn in fonts that ship with matplotlib.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(SPLITS[split]):
            image, factors = make(split, index, self.builder_config.size)
            yield index, {"image": png.encode(image), "index": index} | dataclasses.asdict(factors)
