"""Shortcuts drawn into images on purpose, so that what a lens removes is known.

They are drawn before the pretext views are made: an arrow that turns with its image gives the
rotation away, one drawn after the turn would always point up and give nothing away. Both are
described for CIFAR-10 by Minderer et al. (2020, arXiv 2002.08822); position and size of the arrow
follow Ahmadian & Lindsten (2023). The radial one is ours: it tells where in an image a patch was.
So is the tint, which tells whether two views are of one image, as the random bits do that Chen et
al. (2021, arXiv 2011.02803) add to both: contrastive methods ask for no more.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError, check_choice

# Byte 127 in [-1, 1].
ARROW_GRAY = 127 / 127.5 - 1
ARROW_SIDE = 12
# Of green over the other colors: 1 px at the middle of the sides of images of 32 px, 2 px of 64.
RADIAL_MAGNIFICATION = 17 / 16
# The strongest tint gives one color 2.3 times the light of another.
LEAST_TINT, MOST_TINT = 0.1, 0.4


class Shortcut(NamedTuple):
    """Images [N, h, w, 3] and the bool mask [N, h, w] of the pixels that the shortcut changed."""

    images: jax.Array
    mask: jax.Array


def inject(name: str, images: jax.Array) -> Shortcut:
    """Draws a shortcut into images.

    Args:
      name: a key of `SHORTCUTS`.
      images: [N, h, w, 3] in [-1, 1].

    Raises:
      UserError: the name is unknown, or the images are too small for the shortcut.

    """
    check_choice("shortcut", name, tuple(SHORTCUTS))
    images = jnp.asarray(images)
    drawn = SHORTCUTS[name](images)
    changed = drawn != images
    mask = jnp.any(changed, axis=-1)
    return Shortcut(drawn, mask)


def none(images: jax.Array) -> jax.Array:
    """The images as they are."""
    return images


def arrow(images: jax.Array) -> jax.Array:
    """Draws a gray (127) arrow near the top left corner, which points up.

    It is a stem of 7 px with a head of 3 and 5 px.

    Raises:
      UserError: the images are too small for it.

    """
    height, width = images.shape[1:3]
    if min(height, width) < ARROW_SIDE:
        raise UserError(f"the arrow needs images of at least {ARROW_SIDE} px, not {height}x{width}")
    mask = _arrow_mask(height, width)
    mask = mask[..., None]
    return jnp.where(mask, ARROW_GRAY, images)


def chromatic(images: jax.Array) -> jax.Array:
    """Lateral chromatic aberration: moves green 1 px to the right and repeats the left edge."""
    green = images[..., 1]
    left_edge = green[:, :, :1]
    rest = green[:, :, :-1]
    moved = jnp.concatenate([left_edge, rest], axis=2)
    return images.at[..., 1].set(moved)


def chromatic_radial(images: jax.Array) -> jax.Array:
    """Lateral chromatic aberration of a real lens: magnifies green about the image's center.

    Red and green do not meet at edges then, and the direction of the fringe points away from the
    center (Doersch et al., 2015, arXiv 1505.05192, saw networks find a patch's place by it). Green
    is interpolated linearly between its pixels.
    """
    green = images[..., 1]
    tall = _magnify(green, axis=1)
    large = _magnify(tall, axis=2)
    return images.at[..., 1].set(large)


def tint(images: jax.Array) -> jax.Array:
    """Gives each image a light of its own hue and strength: the same in all views of an image.

    Red, green and blue, as parts of white, are multiplied by (1 + s cos(h - 2 pi c / 3)) / (1 + s)
    for c = 0, 1, 2, with the hue h in [0, 2 pi) and the strength s in [0.1, 0.4]. Both are drawn by
    a hash of the image's bytes, so that an image has the same ones whenever it is read.
    """
    first = _hash(images)
    hue = 2 * jnp.pi * _fraction(first)
    strength = LEAST_TINT + (MOST_TINT - LEAST_TINT) * _fraction(_scramble(first))

    # [N, 3], one third of a turn from color to color.
    angles = hue[:, None] - 2 * jnp.pi * jnp.arange(3) / 3
    waves = 1 + strength[:, None] * jnp.cos(angles)
    gains = waves / (1 + strength[:, None])

    light = (images + 1) / 2
    tinted = light * gains[:, None, None]
    return (2 * tinted - 1).astype(images.dtype)


def _hash(images: jax.Array) -> jax.Array:
    """A pseudo-random number for each image [N, h, w, 3] in [-1, 1], uint32 [N]."""
    levels = jnp.round((images + 1) * 127.5)
    values = levels.astype(jnp.uint32).reshape(len(images), -1)

    # An odd factor for each place, so that a byte counts differently elsewhere.
    places = jnp.arange(values.shape[1], dtype=jnp.uint32)
    factors = 2 * _scramble(places) + 1

    # The sum wraps around.
    sums = jnp.sum(values * factors, axis=1, dtype=jnp.uint32)
    return _scramble(sums)


def _scramble(bits: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3: each bit of uint32 [N] changes half of the others."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def _fraction(bits: jax.Array) -> jax.Array:
    """uint32 as numbers in [0, 1), of which float32 holds the upper 24 bits."""
    return (bits >> 8).astype(jnp.float32) / 2**24


def _magnify(values: jax.Array, axis: int) -> jax.Array:
    """Stretches [N, h, w] along an axis about its center, and cuts off what leaves the image."""
    size = values.shape[axis]
    center = (size - 1) / 2
    # Where the value of each pixel comes from: never outside.
    origins = center + (np.arange(size) - center) / RADIAL_MAGNIFICATION
    before = np.floor(origins).astype(np.int32)
    after = np.minimum(before + 1, size - 1)
    weights = (origins - before).astype(np.float32)
    along_axis = weights[:, None] if axis == 1 else weights

    first = jnp.take(values, before, axis)
    second = jnp.take(values, after, axis)
    # In this form, equal values stay exactly what they are.
    return first + along_axis * (second - first)


def _arrow_mask(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:12, 5] = True  # the stem
    mask[6, 4:7] = True
    mask[7, 3:8] = True  # the widest part of the head
    return mask


SHORTCUTS = {
    "none": none,
    "arrow": arrow,
    "chromatic": chromatic,
    "chromatic_radial": chromatic_radial,
    "tint": tint,
}
