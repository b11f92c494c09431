"""Glyph scenes: several letters of different classes before one background, with their boxes.

Letters overlap, so that some hide parts of others. Every scene is a pure function of (seed, split,
index), as every glyph is.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import glyphs, letters, png
from lens_jax.data.builders.glyphs import Color
from lens_jax.data.builders.letters import FONTS, LETTERS
from lens_jax.data.builders.sizes import size_configs
from lens_jax.data.regions import Region, overlap

SPLITS = {"train": 8_000, "test": 2_000}
SIZES = (96, 64, 128)
SEED = 0

LETTERS_RANGE = (3, 5)
SCALE_RANGE = (0.28, 0.5)
TILT_RANGE = glyphs.TILT_RANGE
# The least fraction of a letter that other letters leave visible.
MIN_VISIBLE = 0.5
# The largest intersection over union of the boxes of two letters.
MAX_OVERLAP = 0.25
# The least distance between the colors of two letters, in RGB of [0, 1].
MIN_DISTANCE = 0.3

# Colors are chosen from so many.
_POOL = 64
# Side of the image that says what is visible, which is the same for all sizes.
_MEASURED_AT = 96

# The classes of the pixels of a scene, from 1 on.
MASK_CLASSES = ("background", *LETTERS)

# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Letter:
    """One letter of a scene.

    Attributes:
      label: index into `LETTERS`.
      font: index into `FONTS`.
      x: center of its box from the left, as a fraction of the side, in (0, 1).
      y: center of its box from the top, likewise.
      scale: longer side of its box, as a fraction of the image's side, in `SCALE_RANGE`.
      tilt: rotation in degrees, counter-clockwise, in `TILT_RANGE`.
      color: its color.
      visible: the fraction of it that no other letter hides, in [`MIN_VISIBLE`, 1].

    """

    label: int
    font: int
    x: float
    y: float
    scale: float
    tilt: float
    color: Color = (0.0, 0.0, 0.0)
    visible: float = 1.0

    @property
    def box(self) -> Region:
        """The box of all of it, the hidden part too, in fractions of the image's sides."""
        height, width = letters.draw(self.label, self.font, self.tilt).shape
        longer = max(height, width)
        down = self.scale * height / longer / 2
        across = self.scale * width / longer / 2
        return Region(
            top=self.y - down,
            left=self.x - across,
            bottom=self.y + down,
            right=self.x + across,
        )


@dataclasses.dataclass(frozen=True)
class Factors:
    """Everything that decides a scene except its size in pixels and the noise's draw.

    Attributes:
      letters: from the one behind all others to the one in front.
      background_colors: colors at the start and at the end of the gradient.
      gradient_angle: direction of the gradient, see `glyphs.Factors`.
      noise_std: standard deviation of the noise of pixels in [0, 1].

    """

    letters: tuple[Letter, ...]
    background_colors: tuple[Color, Color]
    gradient_angle: float
    noise_std: float


def make(
    split: str, index: int, size: int = SIZES[0], seed: int = SEED
) -> tuple[np.ndarray, Factors]:
    """Makes scene `index` of `split`: its image, uint8 [size, size, 3], and its factors.

    The factors of a scene are the same at every size. Raises `ValueError` where `split` is not one
    of `SPLITS`.
    """
    split_number = list(SPLITS).index(split)
    rng = np.random.default_rng((seed, split_number, index))
    factors = sample_factors(rng)
    image = render(rng, factors, size)
    return image, factors


def sample_factors(rng: np.random.Generator) -> Factors:
    """Draws all factors of a scene."""
    # Scenes are made again from their seed: the draws have to stay in this order.
    least, most = LETTERS_RANGE
    count = int(rng.integers(least, most + 1))
    labels = rng.permutation(len(LETTERS))[:count].tolist()
    placed = _place(rng, labels)
    start, end, colors = _palette(rng, count)

    visible = visible_fractions(placed)
    finished = []
    for letter, color, fraction in zip(placed, colors, visible, strict=True):
        finished.append(dataclasses.replace(letter, color=color, visible=fraction))
    return Factors(
        letters=tuple(finished),
        background_colors=(start, end),
        gradient_angle=rng.uniform(0.0, 360.0),
        noise_std=rng.uniform(*glyphs.NOISE_RANGE),
    )


def render(rng: np.random.Generator, factors: Factors, size: int) -> np.ndarray:
    """The scene that `factors` describe, uint8 [size, size, 3]; `rng` only draws the noise."""
    image = glyphs.gradient(factors.background_colors, factors.gradient_angle, size)
    for letter in factors.letters:
        cover = coverage(letter, size)
        image = glyphs.paint(image, cover, letter.color)
    return glyphs.to_pixels(rng, image, factors.noise_std)


def coverage(letter: Letter, size: int) -> np.ndarray:
    """The fraction of each pixel that a letter covers, float [size, size] in [0, 1]."""
    drawn = letters.draw(letter.label, letter.font, letter.tilt)
    return letters.place(drawn, letter.x, letter.y, letter.scale, size)


def mask(factors: Factors, size: int) -> np.ndarray:
    """The class of each pixel of a scene, uint8 [size, size]: 1 + its index in `MASK_CLASSES`.

    A letter has the convex hull of its strokes, which are thinner than the cells of feature maps;
    where hulls overlap, that of the letter in front.
    """
    classes = np.ones((size, size), np.uint8)
    for letter in factors.letters:
        is_covered = coverage(letter, size) >= 0.5
        rows, columns = np.nonzero(is_covered)
        points = np.stack([columns, rows], axis=1)
        hull = cv2.convexHull(points.astype(np.int32))

        name = LETTERS[letter.label]
        cv2.fillConvexPoly(classes, hull, 1 + MASK_CLASSES.index(name))
    return classes


def visible_fractions(placed: list[Letter]) -> list[float]:
    """The fraction of each letter that those in front of it leave visible, in [0, 1]."""
    uncovered = np.ones((_MEASURED_AT, _MEASURED_AT))
    fractions = []
    # From the front to the back.
    for letter in reversed(placed):
        cover = coverage(letter, _MEASURED_AT)
        seen = np.sum(cover * uncovered)
        fractions.append(float(seen / np.sum(cover)))
        uncovered *= 1 - cover
    return fractions[::-1]


def _place(rng: np.random.Generator, labels: list[int]) -> list[Letter]:
    """Letters without colors, moved again until none hides too much of another."""
    drawn = [_letter(rng, label) for label in labels]
    while True:
        placed = [_move(rng, letter) for letter in drawn]
        boxes = [letter.box for letter in placed]
        largest = 0.0
        for index, box in enumerate(boxes):
            for other in boxes[:index]:
                largest = max(largest, overlap(box, other))
        if largest <= MAX_OVERLAP and min(visible_fractions(placed)) >= MIN_VISIBLE:
            return placed


def _letter(rng: np.random.Generator, label: int) -> Letter:
    """A letter in the middle, without a color."""
    return Letter(
        label=label,
        font=int(rng.integers(len(FONTS))),
        x=0.5,
        y=0.5,
        scale=rng.uniform(*SCALE_RANGE),
        tilt=rng.uniform(*TILT_RANGE),
    )


def _move(rng: np.random.Generator, letter: Letter) -> Letter:
    """The letter anywhere in the image."""
    box = letter.box
    x = glyphs.center(rng.uniform(), box.right - box.left)
    y = glyphs.center(rng.uniform(), box.bottom - box.top)
    return dataclasses.replace(letter, x=x, y=y)


def _palette(rng: np.random.Generator, count: int) -> tuple[Color, Color, list[Color]]:
    """The background's two colors, and those of the letters, which stand out from all others."""
    while True:
        start, end, *others = rng.uniform(size=(_POOL, 3)).tolist()
        chosen: list[Color] = []
        for color in others:
            nearest = min((math.dist(color, one) for one in chosen), default=MIN_DISTANCE)
            stands_out = glyphs.contrast(color, start, end) >= glyphs.MIN_CONTRAST
            if stands_out and nearest >= MIN_DISTANCE:
                chosen.append(tuple(color))
        if len(chosen) >= count:
            return tuple(start), tuple(end), chosen[:count]


class GlyphScenes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Scenes of three to five letters of different classes, with the box of each letter."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = size_configs(SIZES, "Images")

    def _info(self) -> tfds.core.DatasetInfo:
        kinds = tfds.features
        size = self.builder_config.size
        color = kinds.Tensor(shape=(3,), dtype=np.float32)
        letter = {
            "bbox": kinds.BBoxFeature(),
            "label": kinds.ClassLabel(names=list(LETTERS)),
            "font": kinds.ClassLabel(names=list(FONTS)),
            "color": color,
        }
        for name in ("scale", "tilt", "visible"):
            letter[name] = kinds.Scalar(np.float32)
        features = {
            "image": kinds.Image(shape=(size, size, 3), encoding_format="png"),
            "objects": kinds.Sequence(letter),
            "index": kinds.Scalar(np.int64),
            "background_colors": kinds.Tensor(shape=(2, 3), dtype=np.float32),
            "gradient_angle": kinds.Scalar(np.float32),
            "noise_std": kinds.Scalar(np.float32),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=kinds.FeaturesDict(features),
            license="Apache-2.0; the letters are drawn in fonts that ship with matplotlib.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Examples:
        size = self.builder_config.size
        for index in range(SPLITS[split]):
            image, factors = make(split, index, size)
            yield index, example(image, factors, index)


def example(image: np.ndarray, factors: Factors, index: int) -> dict[str, Any]:
    """A scene as it is stored; its letters are the objects, the one in front comes last."""
    objects = []
    for letter in factors.letters:
        stored = dataclasses.asdict(letter)
        # The box says where it is.
        del stored["x"], stored["y"]
        box = tfds.features.BBox(*letter.box)
        objects.append(stored | {"bbox": box})
    return {
        "image": png.encode(image),
        "objects": objects,
        "index": index,
        "background_colors": factors.background_colors,
        "gradient_angle": factors.gradient_angle,
        "noise_std": factors.noise_std,
    }
