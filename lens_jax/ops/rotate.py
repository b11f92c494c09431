"""Rotations by quarter turns, counterclockwise, on square images."""

import jax
import jax.numpy as jnp


def all_quarter_turns(images: jax.Array) -> jax.Array:
    """Every image in its four rotations: [B, h, h, C] -> [4B, h, h, C].

    The four rotations of an image lie next to each other (0, 1, 2, 3 quarter turns), so a batch
    that is sharded over devices stays where it is.
    """
    turned = _turns(images)
    shape = images.shape[1:]
    return turned.reshape(-1, *shape)


def quarter_turns(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Rotates image i of [B, h, h, C] by `turns[i]` quarter turns, int [B] in 0 to 3."""
    # Choosing among all four is cheaper on a batch than a turn of its own for each image.
    turned = _turns(images)
    chosen = turns[:, None, None, None, None]
    chosen = jnp.take_along_axis(turned, chosen, axis=1)
    return chosen[:, 0]


def _turns(images: jax.Array) -> jax.Array:
    """[B, h, h, C] -> [B, 4, h, h, C]."""
    turned = []
    for turns in range(4):
        image = jnp.rot90(images, turns, axes=(1, 2))
        turned.append(image)
    return jnp.stack(turned, axis=1)
