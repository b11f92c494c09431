"""Letters on black, rendered on the spot, in sets that differ in one factor and in the noise.

A set is one letter in one font and color that goes through the range of a factor. Sets of instances
have a letter in other fonts, colors and sizes; from one side, or each from another side. The class
is the letter. Nothing but the letter, the light and the bar before it is to be seen: a background
of its own would tell a set from the others however much the letter changes.
"""

import dataclasses

import numpy as np

from lens_jax.data.builders import glyph_frames, glyph_videos, glyphs, png
from lens_jax.data.builders.glyph_frames import Factors
from lens_jax.data.builders.glyphs import Color
from lens_jax.data.builders.letters import LETTERS
from lens_jax.data.factors.sets import FactorSets
from lens_jax.data.records import Record, Source, fingerprint

# Sets of each factor, and images of each set.
SETS = 100
IMAGES = 12
# Larger ones take long to render, and show no more.
MAX_SIZE = 96
SEED = 0
_VERSION = "1"

FACTORS = (
    "occlusion",
    "viewpoint",
    "illumination_direction",
    "illumination_color",
    "instance",
    "instance_viewpoint",
)
# Which of the factors of a frame goes through a range.
_SWEPT = {
    "occlusion": glyph_videos.SWEPT["occlusion"],
    "viewpoint": glyph_videos.SWEPT["viewpoint"],
    "illumination_direction": glyph_videos.SWEPT["light"],
}
# Letters stay in the middle, and may be larger than where they move; and so bright on black.
_LARGER = 1.4
_MIN_LUMA = 0.4
_BLACK = (0.0, 0.0, 0.0)
_WHITE = (1.0, 1.0, 1.0)

# Light of a glowing body, from reddish to bluish, beside what is white to us, in kelvin.
_COLDEST = 2500.0
_HOTTEST = 12000.0
_DAYLIGHT = 6500.0
# The wavelengths of red, green and blue, and the second radiation constant, in meters and kelvin.
_WAVELENGTHS = np.array([600e-9, 550e-9, 450e-9])
_RADIATION = 0.014388


def open_glyph_factors(size: int) -> dict[str, FactorSets]:
    """The sets of every factor, of images with sides of `size` pixels, at most `MAX_SIZE`."""
    size = min(size, MAX_SIZE)
    sets = np.repeat(np.arange(SETS), IMAGES)
    found = {}
    for factor in FACTORS:
        found[factor] = FactorSets(_open(factor, size), sets)
    return found


def _open(factor: str, size: int) -> Source:
    words = (_VERSION, factor, str(size), str(SETS), str(IMAGES), str(SEED))

    def read(index: int) -> Record:
        number, step = divmod(index, IMAGES)
        image = render(factor, number, step, size)
        return {
            "image": png.encode(image),
            "label": number % len(LETTERS),
            "name": f"{factor} {number}, image {step}",
        }

    return Source(
        tuple(LETTERS),
        SETS * IMAGES,
        read,
        dataset="glyph_factors",
        split=factor,
        fingerprint=fingerprint(words),
    )


def render(factor: str, number: int, step: int, size: int) -> np.ndarray:
    """Image `step` of a set, uint8 [size, size, 3]: the same at every call."""
    factors = describe(factor, number, step)
    light_color = _WHITE
    if factor == "illumination_color":
        light_color = glow(_fraction(step))
    rng = np.random.default_rng((SEED, FACTORS.index(factor), number, step))
    return glyph_frames.render(rng, factors, size, light_color)


def describe(factor: str, number: int, step: int) -> Factors:
    """What is to be seen on image `step` of set `number`, but for the color of the light."""
    low, high = glyph_frames.VIEWPOINT_RANGE
    label = number % len(LETTERS)
    if factor == "instance":
        # Each set of a letter from another side.
        side = (number // len(LETTERS) + 0.5) * len(LETTERS) / SETS
        letter = _sample_letter(_instance(number, step, label))
        return dataclasses.replace(letter, viewpoint=low + (high - low) * side)
    if factor == "instance_viewpoint":
        letter = _sample_letter(_instance(number, step, label))
        return dataclasses.replace(letter, viewpoint=low + (high - low) * _fraction(step))

    letter = _sample_letter(number)
    if factor in _SWEPT:
        name, low, high = _SWEPT[factor]
        letter = dataclasses.replace(letter, **{name: low + (high - low) * _fraction(step)})
    return letter


def glow(fraction: float) -> Color:
    """The color of a glowing body, from the coldest at 0 to the hottest at 1, at most 1.

    By Planck's law at three wavelengths, where daylight is white. In equal steps of 1 / kelvin, by
    which the eye tells colors of light apart.
    """
    inverse = 1 / _COLDEST + (1 / _HOTTEST - 1 / _COLDEST) * fraction
    light = _radiance(1 / inverse) / _radiance(_DAYLIGHT)
    return tuple((light / light.max()).tolist())


def _radiance(kelvin: float) -> np.ndarray:
    """Planck's law but for constant factors, [3]."""
    return 1 / (_WAVELENGTHS**5 * np.expm1(_RADIATION / (_WAVELENGTHS * kelvin)))


def _fraction(step: int) -> float:
    """Where an image is in the range of its set's factor, in (0, 1)."""
    return (step + 0.5) / IMAGES


def _instance(number: int, step: int, label: int) -> int:
    """The number of a letter that no other image shows, and that is that of the set's class."""
    instance = SETS + number * IMAGES + step
    return instance * len(LETTERS) + label


def _sample_letter(index: int) -> Factors:
    """Letter `index` in a font, color and size of its own, on black and from the front."""
    still = glyph_videos.sample_still(index)
    rng = np.random.default_rng((SEED, len(FACTORS), index))
    color = tuple(rng.uniform(size=3).tolist())
    while glyphs.contrast(color, _BLACK, _BLACK) < _MIN_LUMA:
        color = tuple(rng.uniform(size=3).tolist())
    return dataclasses.replace(
        still,
        scale=_LARGER * still.scale,
        letter_color=color,
        background_colors=(_BLACK, _BLACK),
    )
