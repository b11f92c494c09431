"""Shortcuts drawn into images on purpose, so that what a lens removes is known.

They are drawn before the pretext views are made: an arrow that turns with its image gives the
rotation away, one drawn after the turn would always point up and give nothing away. Both are
described for CIFAR-10 by Minderer et al. (2020, arXiv 2002.08822); position and size of the arrow
follow Ahmadian & Lindsten (2023).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError, check_choice

# Byte 127 in [-1, 1].
ARROW_GRAY = 127 / 127.5 - 1
ARROW_SIDE = 12


class Shortcut(NamedTuple):
    """Images [N, h, w, 3] and the bool mask [N, h, w] of the pixels that the shortcut changed."""

    images: jax.Array
    mask: jax.Array


def inject(name: str, images: jax.Array) -> Shortcut:
    """Draws a shortcut into images.

    Args:
      name: "none", "arrow" or "chromatic".
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


def _arrow_mask(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:12, 5] = True  # the stem
    mask[6, 4:7] = True
    mask[7, 3:8] = True  # the widest part of the head
    return mask


SHORTCUTS = {"none": none, "arrow": arrow, "chromatic": chromatic}
