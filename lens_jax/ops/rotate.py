"""Rotations by quarter turns, counter-clockwise, on square images."""

import jax
import jax.numpy as jnp


def all_quarter_turns(images: jax.Array) -> jax.Array:
    """Every image in its four rotations: [B, h, h, C] -> [4B, h, h, C].

    The four rotations of an image lie next to each other (0, 1, 2, 3 quarter turns), so a batch
    that is sharded over devices stays where it is.
    """
    turned = jnp.stack([jnp.rot90(images, turns, axes=(1, 2)) for turns in range(4)], axis=1)
    return turned.reshape(-1, *images.shape[1:])


def quarter_turns(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Rotates image i by `turns[i]` quarter turns: [B, h, h, C], int [B] in 0..3 -> [B, h, h, C]."""
    turned = all_quarter_turns(images).reshape(-1, 4, *images.shape[1:])
    return jnp.take_along_axis(turned, turns[:, None, None, None, None], axis=1)[:, 0]
