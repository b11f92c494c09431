"""Crops of random position, area and aspect, and resizing, on images [B, h, w, C]."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Boxes(NamedTuple):
    """Rectangles inside an image, arrays of one shape, in pixels; edges may lie inside a pixel."""

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
    """`count` crops of each image, drawn by `random_boxes`.

    The crops of an image lie next to each other. Every image reads its own crops only, so a batch
    that is sharded over devices stays where it is.

    Args:
      key: what the boxes are drawn from.
      images: [B, h, w, C].
      count: crops of each image.
      size: side of the crops, in pixels.
      area: least and largest fraction of the image's area.
      aspect: least and largest ratio of width to height.

    Returns:
      Crops [B * count, size, size, C].

    """
    batch, height, width, channels = images.shape
    shape = (batch, count)
    boxes = random_boxes(key, shape, height, width, area, aspect)

    # An image serves all its crops without being copied.
    crops_of_one = jax.vmap(crop_resize, (None, 0, None))
    crops_of_all = jax.vmap(crops_of_one, (0, 0, None))
    crops = crops_of_all(images, boxes, size)
    return crops.reshape(batch * count, size, size, channels)


def random_boxes(
    key: jax.Array,
    shape: tuple[int, ...],
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Boxes:
    """Draws boxes, arrays of `shape`, inside an image of `height` x `width` pixels.

    With a fraction a of the image's area, uniform in `area`, and an aspect (width to height) r,
    log-uniform in `aspect`, a box is sqrt(a h w / r) high and sqrt(a h w r) wide, and anywhere in
    the image. A side that is longer than the image's is cut to it. The usual alternative, to draw
    again until the box fits, needs a loop; the cut favors large boxes and, on wide or tall images,
    those of the image's own aspect.
    """
    area_key, aspect_key, top_key, left_key = jax.random.split(key, 4)

    # Area and aspect decide the size, as far as it fits.
    least, most = area
    fraction = jax.random.uniform(area_key, shape, minval=least, maxval=most)
    pixels = height * width * fraction

    low = math.log(aspect[0])
    high = math.log(aspect[1])
    log_ratio = jax.random.uniform(aspect_key, shape, minval=low, maxval=high)
    ratio = jnp.exp(log_ratio)

    box_height = jnp.sqrt(pixels / ratio)
    box_width = jnp.sqrt(pixels * ratio)
    box_height = jnp.minimum(box_height, height)
    box_width = jnp.minimum(box_width, width)

    # The position is uniform in the room that is left.
    down = jax.random.uniform(top_key, shape)
    right = jax.random.uniform(left_key, shape)
    top = (height - box_height) * down
    left = (width - box_width) * right
    return Boxes(top, left, box_height, box_width)


def crop_resize(image: jax.Array, box: Boxes, size: int) -> jax.Array:
    """The part of an image [h, w, C] in a box of scalars, resized: [size, size, C].

    Linear interpolation, over as many pixels as one of the output covers (antialiasing). Pixels
    right outside of the box, where there are any, take part at its edges.
    """
    # A pixel p of the image lands at scale * p + shift.
    sides = jnp.stack([box.height, box.width])
    corner = jnp.stack([box.top, box.left])
    scale = size / sides
    shift = -scale * corner

    channels = image.shape[-1]
    return jax.image.scale_and_translate(
        image,
        shape=(size, size, channels),
        spatial_dims=(0, 1),
        scale=scale,
        translation=shift,
        method="linear",
    )


def resize(images: jax.Array, size: int) -> jax.Array:
    """Entire images resized as in `crop_resize`, without keeping the aspect: [B, size, size, C]."""
    batch, _, _, channels = images.shape
    shape = (batch, size, size, channels)
    return jax.image.resize(images, shape, "linear")
