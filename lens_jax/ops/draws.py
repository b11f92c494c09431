"""What an augmentation draws: a few numbers for each image, each from a key of its own."""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.ops.crop import Boxes

# The numbers of an image that `Parameters.vector` holds, by their names, and how many they are.
NAMES = (
    *("top", "left", "height", "width", "flip"),
    *("jitter", "operation 1", "operation 2", "operation 3", "operation 4"),
    *("brightness", "contrast", "saturation", "hue", "gray"),
    *("blur", "sigma", "solarize"),
)
PARAMETERS = len(NAMES)


class Draw(enum.IntEnum):
    """What a key draws: fold_in(key, draw). A new one at the end changes none of the others."""

    CROP = 0
    FLIP = 1
    JITTER = 2
    ORDER = 3
    BRIGHTNESS = 4
    CONTRAST = 5
    SATURATION = 6
    HUE = 7
    GRAY = 8
    BLUR = 9
    SIGMA = 10
    SOLARIZE = 11


class Parameters(NamedTuple):
    """What was drawn for N images. What is not applied has the value that changes nothing.

    Attributes:
      crop: boxes in pixels of the source image, float [N] each.
      flip: bool [N], whether the image is mirrored.
      jitter: bool [N], whether the colors are changed.
      order: int [N, 4], the color operations in their order: 0 brightness, 1 contrast,
        2 saturation, 3 hue.
      brightness: [N], a factor; of slim's jitter a shift.
      contrast: [N], a factor.
      saturation: [N], a factor.
      hue: [N], a shift in turns.
      gray: bool [N].
      blur: bool [N].
      sigma: [N], the blur's standard deviation in pixels.
      solarize: bool [N].

    """

    crop: Boxes
    flip: jax.Array
    jitter: jax.Array
    order: jax.Array
    brightness: jax.Array
    contrast: jax.Array
    saturation: jax.Array
    hue: jax.Array
    gray: jax.Array
    blur: jax.Array
    sigma: jax.Array
    solarize: jax.Array

    def vector(self) -> jax.Array:
        """One row an image, float32 [N, 18], in the order of EquiMod (arXiv 2211.01244).

        0 to 4 top, left, height and width of the crop, and the flip; 5 the jitter, 6 to 9 its
        order, 10 to 13 brightness, contrast, saturation and hue; 14 gray; 15 and 16 the blur and
        its standard deviation; 17 solarize.
        """
        columns = [
            *self.crop,
            self.flip,
            self.jitter,
            *self.order.T,
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
            self.gray,
            self.blur,
            self.sigma,
            self.solarize,
        ]
        columns = [column.astype(jnp.float32) for column in columns]
        return jnp.stack(columns, axis=-1)


def happens(
    key: jax.Array,
    draw: Draw,
    count: int,
    probability: float,
) -> jax.Array:
    """Whether it happens to each of `count` images, bool [count]."""
    key = jax.random.fold_in(key, draw)
    return jax.random.bernoulli(key, probability, (count,))


def uniform(
    key: jax.Array,
    draw: Draw,
    count: int,
    bounds: tuple[float, float],
) -> jax.Array:
    """Uniform numbers between two bounds, float32 [count]."""
    key = jax.random.fold_in(key, draw)
    low, high = bounds
    return jax.random.uniform(key, (count,), jnp.float32, minval=low, maxval=high)
