"""Patchworks: an image's texture without its shape, put together from patches of the image itself.

The patch-based negatives of Ge et al., 2021, arXiv 2110.14189 (`NonSemanticAug` of the authors'
code). What is drawn comes first and is then applied, as in an augmentation.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draws(NamedTuple):
    """What was drawn for N images.

    Attributes:
      side: int [N], side of the patches of each image in pixels.
      corners: int [N, n, n, 2], where the patch of each cell of the grid is cut, as (y, x). An
        image with large patches uses the first rows and columns only.

    """

    side: jax.Array
    corners: jax.Array


def draw(key: jax.Array, count: int, size: int, sides: tuple[int, int]) -> Draws:
    """Draws the patches for `count` images of `size` x `size` px.

    The side is uniform among the whole numbers from the least to the largest of `sides`, one for
    each image; the corners are uniform among all places where such a patch lies in the image, each
    on its own, so that patches repeat and overlap. The authors leave the last row and column out.
    """
    side_key, corner_key = jax.random.split(key)
    least, largest = sides
    side = jax.random.randint(side_key, (count,), least, largest + 1)

    # A grid for the smallest patches, of which larger ones need less.
    cells = math.ceil(size / least)
    shape = (count, cells, cells, 2)
    places = size - side + 1
    corners = jax.random.randint(corner_key, shape, 0, places[:, None, None, None])
    return Draws(side, corners)


def make_patchworks(images: jax.Array, draws: Draws) -> jax.Array:
    """Lays the drawn patches side by side and cuts what is too much: [N, s, s, C], as the images.

    Every pixel is looked up once, whatever the sides.
    """
    pixels = jnp.arange(images.shape[1])
    # The cell of each row of pixels, or of each column, and the place within it: [N, s] each.
    cells, within = jnp.divmod(pixels, draws.side[:, None])

    def look_up(
        image: jax.Array,
        corners: jax.Array,
        cells: jax.Array,
        within: jax.Array,
    ) -> jax.Array:
        corner = corners[cells[:, None], cells]
        tops = corner[..., 0]
        lefts = corner[..., 1]
        rows = tops + within[:, None]
        columns = lefts + within
        return image[rows, columns]

    look_up_all = jax.vmap(look_up)
    return look_up_all(images, draws.corners, cells, within)
