"""Crops of random place, area and aspect, and resizing, on images [B, h, w, C]."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Boxes(NamedTuple):
    """Rectangles inside an image in pixels, each an array of one shape; their edges may split pixels."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def random_resized_crop(
    key: jax.Array,
    images: jax.Array,
    count: int,
    size: int,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> jax.Array:
    """`count` crops of each image, drawn by `random_boxes`: [B, h, w, C] -> [B * count, size, size,
    C].

    The crops of an image lie next to each other. Every image reads its own crops only, so a batch
    that is sharded over devices stays where it is.
    """
    boxes = random_boxes(key, (len(images), count), *images.shape[1:3], area, aspect)
    # An image serves all its crops without being copied.
    crops = jax.vmap(jax.vmap(crop_resize, (None, 0, None)), (0, 0, None))(images, boxes, size)
    return crops.reshape(-1, *crops.shape[2:])


def random_boxes(
    key: jax.Array,
    shape: tuple[int, ...],
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Boxes:
    """Draws boxes, arrays of `shape`, inside an image of `height` x `width` pixels.

    With a share a of the image's area, uniform in `area`, and an aspect (width to height) r,
    log-uniform in `aspect`, a box is sqrt(a h w / r) high and sqrt(a h w r) wide, and anywhere in
    the image. A side that is longer than the image's is cut to it. The usual alternative, to draw
    anew until the box fits, needs a loop; the cut favours large boxes and, on wide or tall images,
    those of the image's own aspect.
    """
    keys = jax.random.split(key, 4)
    pixels = height * width * jax.random.uniform(keys[0], shape, minval=area[0], maxval=area[1])
    low, high = (math.log(bound) for bound in aspect)
    ratio = jnp.exp(jax.random.uniform(keys[1], shape, minval=low, maxval=high))
    tall = jnp.minimum(jnp.sqrt(pixels / ratio), height)
    wide = jnp.minimum(jnp.sqrt(pixels * ratio), width)
    top = (height - tall) * jax.random.uniform(keys[2], shape)
    left = (width - wide) * jax.random.uniform(keys[3], shape)
    return Boxes(top, left, tall, wide)


def crop_resize(image: jax.Array, box: Boxes, size: int) -> jax.Array:
    """The part of an image [h, w, C] in a box of scalars, resized: [size, size, C].

    Linear interpolation, over as many pixels as one of the output covers (antialiasing). Pixels
    right outside of the box, where there are any, take part at its edges.
    """
    scale = size / jnp.stack([box.height, box.width])
    shift = -scale * jnp.stack([box.top, box.left])
    shape = (size, size, image.shape[-1])
    return jax.image.scale_and_translate(image, shape, (0, 1), scale, shift, "linear")


def resize(images: jax.Array, size: int) -> jax.Array:
    """Whole images resized as in `crop_resize`, their aspect given up: -> [B, size, size, C]."""
    return jax.image.resize(images, (len(images), size, size, images.shape[-1]), "linear")
