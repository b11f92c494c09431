"""Shortcuts drawn into images on purpose, so that what a lens removes is known.

They are drawn before the pretext views are made: an arrow that turns with its image tells the
rotation, one drawn after the turn would always point up and tell nothing. Both are described for
CIFAR-10 by Minderer et al. (2020); place and size of the arrow follow Ahmadian & Lindsten (2023).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError, check_choice

ARROW_GRAY = 127 / 127.5 - 1
ARROW_SIDE = 12


class Shortcut(NamedTuple):
    """Images [N, h, w, 3] and the bool mask [N, h, w] of the pixels that the shortcut changed."""

    images: jax.Array
    mask: jax.Array


def inject(name: str, images: jax.Array) -> Shortcut:
    """Draws shortcut `name` ("none", "arrow" or "chromatic") into images in [-1, 1], [N, h, w, 3]."""
    check_choice("shortcut", name, tuple(SHORTCUTS))
    images = jnp.asarray(images)
    drawn = SHORTCUTS[name](images)
    return Shortcut(drawn, jnp.any(drawn != images, axis=-1))


def arrow(images: jax.Array) -> jax.Array:
    """A gray (127) arrow pointing up near the top left corner: a 7-px stem with a 3- and 5-px head."""
    if min(images.shape[1:3]) < ARROW_SIDE:
        height, width = images.shape[1:3]
        raise UserError(f"the arrow needs images of at least {ARROW_SIDE} px, not {height}x{width}")
    return jnp.where(_arrow_mask(*images.shape[1:3])[..., None], ARROW_GRAY, images)


def chromatic(images: jax.Array) -> jax.Array:
    """Lateral chromatic aberration: green lies 1 px right of red and blue; the left edge is repeated."""
    green = images[..., 1]
    moved = jnp.concatenate([green[:, :, :1], green[:, :, :-1]], axis=2)
    return images.at[..., 1].set(moved)


def _arrow_mask(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[5:12, 5] = True
    mask[6, 4:7] = True
    mask[7, 3:8] = True
    return mask


SHORTCUTS = {"none": lambda images: images, "arrow": arrow, "chromatic": chromatic}
