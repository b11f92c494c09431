"""Quilting on the device: an approximation of texture synthesis, made anew at every step.

After image quilting (Efros and Freeman, 2001), with three things simpler: a block is the best of a
few drawn at random where theirs is chosen among all, the overlaps are faded into each other where
theirs are cut along the least visible seam, and the block's size follows from the image's. The
synthesis that `lens_jax.prepare --dataset=textures` runs beforehand has none of these.
"""

import jax
import jax.numpy as jnp

# Of the image's side: 96 and 32 of 224 px, as in the textures that are made beforehand.
PATCH = 3 / 7
BLOCK = 1 / 7
# Of the block's side.
OVERLAP = 1 / 4
# The blocks of which the best is taken.
CANDIDATES = 16


def measures(size: int) -> tuple[int, int, int]:
    """Sides of a patch and a block and width of the overlaps, in pixels of images of `size` px."""
    block = max(2, round(BLOCK * size))
    patch = max(block, round(PATCH * size))
    overlap = max(1, round(OVERLAP * block))
    return patch, block, overlap


def blocks_in_a_row(size: int) -> int:
    """How many blocks it takes to cover `size` px."""
    _, block, overlap = measures(size)
    return -(-(size - overlap) // (block - overlap))


def draw(key: jax.Array, count: int, size: int) -> jax.Array:
    """Draws the blocks to choose from, for `count` images of `size` x `size` px.

    All are cut from two patches of the image: the central one, and one at a random place.

    Returns:
      The corners (y, x) of the candidates of each block, row by row, int [count, n * n,
      `CANDIDATES`, 2], with n = `blocks_in_a_row(size)`.

    """
    patch, block, _ = measures(size)
    patch_key, which_key, corner_key = jax.random.split(key, 3)
    blocks = blocks_in_a_row(size) ** 2
    shape = (count, blocks, CANDIDATES, 2)

    # The two patches of each image.
    room = size - patch
    center = room // 2
    elsewhere = jax.random.randint(patch_key, (count, 1, 1, 2), 0, room + 1)

    # The candidates, each in one of them.
    is_central = jax.random.bernoulli(which_key, 0.5, shape[:-1])
    corner = jnp.where(is_central[..., None], center, elsewhere)
    within = jax.random.randint(corner_key, shape, 0, patch - block + 1)
    return corner + within


def quilt(images: jax.Array, corners: jax.Array) -> jax.Array:
    """Quilts of the drawn blocks, [N, s, s, C] as the images.

    Row by row, each block is the candidate that differs least from what it overlaps with, by the
    sum of squares.
    """
    return jax.vmap(_quilt_one)(images, corners)


def _quilt_one(image: jax.Array, corners: jax.Array) -> jax.Array:
    """[s, s, C] and int [n * n, K, 2] -> [s, s, C]."""
    size, _, channels = image.shape
    _, block, overlap = measures(size)
    stride = block - overlap
    in_a_row = blocks_in_a_row(size)
    cut_all = jax.vmap(_cut, in_axes=(None, 0, None))

    def lay(canvas: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        number, candidate_corners = step
        place = jnp.stack(jnp.divmod(number, in_a_row))
        corner = stride * place
        below = _cut(canvas, corner, block)
        candidates = cut_all(image, candidate_corners, block)

        # The best candidate, by the pixels that overlap.
        weights = _weights(place, block, overlap)
        weight = weights[..., None].astype(image.dtype)
        differences = candidates - below
        counted = jnp.where(weight < 1, differences, 0)
        errors = jnp.sum(counted**2, axis=(1, 2, 3))
        best = jnp.argmin(errors)

        # It fades in over what lies below.
        blended = below + weight * differences[best]
        y, x = corner
        canvas = jax.lax.dynamic_update_slice(canvas, blended, (y, x, jnp.zeros_like(x)))
        return canvas, None

    side = in_a_row * stride + overlap
    canvas = jnp.zeros((side, side, channels), image.dtype)
    numbers = jnp.arange(in_a_row**2)
    canvas, _ = jax.lax.scan(lay, canvas, (numbers, corners))
    return canvas[:size, :size]


def _cut(image: jax.Array, corner: jax.Array, block: int) -> jax.Array:
    """The block at a corner (y, x): [h, w, C] -> [block, block, C]."""
    y, x = corner
    channels = image.shape[-1]
    start = (y, x, jnp.zeros_like(x))
    return jax.lax.dynamic_slice(image, start, (block, block, channels))


def _weights(place: jax.Array, block: int, overlap: int) -> jax.Array:
    """How much the pixels of a block count at its place (row, column) in the quilt, [b, b].

    They rise to 1 over the width of the overlap; where there is no neighbor, they all are 1.
    """
    steps = jnp.arange(1, block + 1)
    rising = steps / (overlap + 1)
    fade_in = jnp.minimum(rising, 1)

    row, column = place
    down = jnp.where(row > 0, fade_in, 1)
    right = jnp.where(column > 0, fade_in, 1)
    return jnp.minimum(down[:, None], right)
