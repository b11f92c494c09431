"""Glyph videos: a letter that moves and turns, under a light that moves, behind a bar that passes.

Every factor follows a smooth path of its own and is stored with each frame, as is the letter's true
box. Every video is a pure function of (seed, split, index), as every glyph is.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import glyph_frames, glyphs, letters, png
from lens_jax.data.builders.glyph_frames import Factors, measure, render
from lens_jax.data.builders.letters import FONTS, LETTERS
from lens_jax.data.builders.sizes import size_configs

# Numbers of videos.
SPLITS = {"train": 500, "test": 100}
FRAMES = 24
FRAMES_PER_SECOND = 10
SIZES = (64, 48, 96)
SEED = 0

# What `sweep` goes through: which of the factors, from where to where.
SWEPT = {
    "viewpoint": ("viewpoint", *glyph_frames.VIEWPOINT_RANGE),
    "light": ("light", 0.0, 360.0),
    "occlusion": ("bar", -0.5, 0.5),
}
# A bar that is outside of any image.
_AWAY = 100.0
# How many turns of its path a factor takes in a video.
CYCLES_RANGE = (0.4, 1.0)

# Keys and examples of a split.
Examples = Iterator[tuple[str, dict[str, Any]]]


class Path:
    """A sine between two values, of a random phase, length and direction."""

    def __init__(self, rng: np.random.Generator, low: float, high: float):
        """Draws a path between `low` and `high`."""
        self._middle = (low + high) / 2
        self._amplitude = (high - low) / 2
        self._cycles = rng.uniform(*CYCLES_RANGE)
        self._phase = rng.uniform()

    def at(self, time: float) -> float:
        """The value at a time in [0, 1]."""
        turns = self._cycles * time + self._phase
        return self._middle + self._amplitude * math.sin(2 * math.pi * turns)


def make(
    split: str, index: int, size: int = SIZES[0], seed: int = SEED
) -> tuple[np.ndarray, list[Factors]]:
    """Makes video `index` of `split`: its frames, uint8 [FRAMES, size, size, 3], and their factors.

    The factors are the same at every size. Raises `ValueError` where `split` is not one of
    `SPLITS`.
    """
    split_number = list(SPLITS).index(split)
    rng = np.random.default_rng((seed, split_number, index))
    factors = sample_factors(rng, label=index % len(LETTERS))
    frames = [render(rng, each, size) for each in factors]
    return np.stack(frames), factors


def sample_factors(rng: np.random.Generator, label: int) -> list[Factors]:
    """Draws the factors of all frames of a video of the letter `label`."""
    # Videos are made again from their seed: the draws have to stay in this order.
    first = _sample_video(rng, label)

    # The letter stays inside, however it turns.
    height, width = letters.draw(label, first.font, 0.0).shape
    radius = glyph_frames.NEARER * first.scale * math.hypot(height, width) / max(height, width) / 2
    x = Path(rng, radius, 1 - radius)
    y = Path(rng, radius, 1 - radius)
    tilt = Path(rng, *glyph_frames.TILT_RANGE)
    viewpoint = Path(rng, *glyph_frames.VIEWPOINT_RANGE)
    start = rng.uniform(0.0, 360.0)
    light = Path(rng, start - 180.0, start + 180.0)
    bar = Path(rng, *glyph_frames.BAR_RANGE)

    factors = []
    for frame in range(FRAMES):
        time = frame / FRAMES
        moved = dataclasses.replace(
            first,
            x=x.at(time),
            y=y.at(time),
            tilt=tilt.at(time),
            viewpoint=viewpoint.at(time),
            light=light.at(time),
            bar=bar.at(time),
        )
        factors.append(moved)
    return factors


def sweep(factor: str, index: int, count: int, size: int, seed: int = SEED) -> np.ndarray:
    """Images of one letter that differ in one factor alone, and in the noise.

    What is not swept is as in `sample_still`.

    Args:
      factor: a key of `SWEPT`, whose range the images go through in equal steps.
      index: which letter; each has a font and colors of its own, that no video has.
      count: number of images.
      size: side of the images in pixels.
      seed: of the videos.

    Returns:
      Images, uint8 [count, size, size, 3].

    """
    still = sample_still(index, seed)
    rng = np.random.default_rng((seed, len(SPLITS), index, 1))
    name, low, high = SWEPT[factor]
    images = []
    for step in range(count):
        value = low + (high - low) * (step + 0.5) / count
        factors = dataclasses.replace(still, **{name: value})
        images.append(render(rng, factors, size))
    return np.stack(images)


def sample_still(index: int, seed: int = SEED) -> Factors:
    """What is not swept of letter `index`: in the middle, from the front, lit from the right."""
    # Another stream of numbers than that of any video.
    rng = np.random.default_rng((seed, len(SPLITS), index))
    video = _sample_video(rng, label=index % len(LETTERS))
    return dataclasses.replace(video, bar=_AWAY)


def _sample_video(rng: np.random.Generator, label: int) -> Factors:
    """Draws what stays the same in a video."""
    font = int(rng.integers(len(FONTS)))
    scale = rng.uniform(*glyph_frames.SCALE_RANGE)
    letter, start, end = glyphs.sample_colors(rng)
    return Factors(
        label=label,
        font=font,
        scale=scale,
        letter_color=letter,
        bar_color=tuple(rng.uniform(size=3).tolist()),
        bar_angle=rng.uniform(0.0, 180.0),
        background_colors=(start, end),
        gradient_angle=rng.uniform(0.0, 360.0),
        noise_std=rng.uniform(*glyphs.NOISE_RANGE),
    )


class GlyphVideos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Frames of videos of letters, with the letter's box and every factor beside each."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = size_configs(SIZES, "Frames")

    def _info(self) -> tfds.core.DatasetInfo:
        kinds = tfds.features
        size = self.builder_config.size
        color = kinds.Tensor(shape=(3,), dtype=np.float32)
        features = {
            "image": kinds.Image(shape=(size, size, 3), encoding_format="png"),
            "label": kinds.ClassLabel(names=list(LETTERS)),
            "video": kinds.Text(),
            "frame": kinds.Scalar(np.int64),
            "seconds": kinds.Scalar(np.float32),
            "bbox": kinds.BBoxFeature(),
            "occlusion": kinds.Scalar(np.float32),
            "font": kinds.ClassLabel(names=list(FONTS)),
            "letter_color": color,
            "bar_color": color,
            "background_colors": kinds.Tensor(shape=(2, 3), dtype=np.float32),
        }
        for field in dataclasses.fields(Factors):
            features.setdefault(field.name, kinds.Scalar(np.float32))
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
        for index in range(SPLITS[split]):
            images, factors = make(split, index, self.builder_config.size)
            for frame, image in enumerate(images):
                video = f"{split}-{index:04}"
                yield f"{video}/{frame}", example(image, factors[frame], video, frame)


def example(image: np.ndarray, factors: Factors, video: str, frame: int) -> dict[str, Any]:
    """A frame as it is stored."""
    box, occlusion = measure(factors)
    return dataclasses.asdict(factors) | {
        "image": png.encode(image),
        "video": video,
        "frame": frame,
        "seconds": frame / FRAMES_PER_SECOND,
        "bbox": box,
        "occlusion": occlusion,
    }
