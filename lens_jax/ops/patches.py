"""Nine patches of an image, one from each cell of a 3x3 grid.

The gaps between the patches, and their random positions, are there so that no edge continues from
one patch into the next (Doersch et al., 2015, arXiv 1505.05192). revisiting-self-supervised resizes
ImageNet's images to 292 px and takes crops of 255 px, cells of 85 px and patches of 64 px. All
functions are differentiable in the images.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.errors import UserError

# Cells in a row, cells in all, and the one in the middle.
GRID = 3
PLACES = GRID**2
CENTER = PLACES // 2


def random_patches(key: jax.Array, images: jax.Array, cell: int, patch: int) -> jax.Array:
    """A random patch of `patch` px in each cell of `cell` px of a random crop.

    The crop of 3 * cell px is drawn once an image; each of its cells draws its patch's offset, 0 to
    cell - patch px down and to the right.

    Args:
      key: what crops and offsets are drawn from.
      images: [B, h, w, C].
      cell: side of a cell, in pixels.
      patch: side of a patch, in pixels.

    Returns:
      Patches [9B, patch, patch, C]. An image's nine lie side by side, row by row: `CENTER` is in
      the middle.

    Raises:
      UserError: the patch does not fit into its cell, or the cells do not fit into the images.

    """
    batch = len(images)
    room_of_crop = jnp.asarray(_room(images, cell, patch))
    room_of_patch = cell - patch

    # One crop an image, and one offset a patch.
    crop_key, offset_key = jax.random.split(key)
    crops = jax.random.randint(crop_key, (batch, 1, 2), 0, room_of_crop + 1)
    offsets = jax.random.randint(offset_key, (batch, PLACES, 2), 0, room_of_patch + 1)
    corners = crops + _cells(cell) + offsets
    return _cut(images, corners, patch)


def central_patches(images: jax.Array, cell: int, patch: int) -> jax.Array:
    """The patch in the middle of each cell of the central crop: `random_patches` without chance.

    With cells as large as the patches, these are the nine adjacent parts of the central square.
    """
    crop = _room(images, cell, patch) // 2
    offset = (cell - patch) // 2
    corners = crop + _cells(cell) + offset
    # The same in all images.
    corners = jnp.broadcast_to(corners, (images.shape[0], PLACES, 2))
    return _cut(images, corners, patch)


def join(patches: jax.Array) -> jax.Array:
    """Lays nine patches of each image out as one, row by row: [9B, p, p, ...] -> [B, 3p, 3p, ...].

    Of NumPy or JAX arrays.
    """
    side, *rest = patches.shape[2:]
    grid = patches.reshape(-1, GRID, GRID, side, side, *rest)
    rows = grid.swapaxes(2, 3)
    return rows.reshape(-1, GRID * side, GRID * side, *rest)


def split(images: jax.Array) -> jax.Array:
    """The inverse of `join`: [B, 3p, 3p, C] -> nine patches of each image, [9B, p, p, C]."""
    side = images.shape[1] // GRID
    channels = images.shape[-1]
    rows = images.reshape(-1, GRID, side, GRID, side, channels)
    grid = rows.swapaxes(2, 3)
    return grid.reshape(-1, side, side, channels)


def check_patch(cell: int, patch: int) -> None:
    """Raises `UserError` unless a patch of `patch` px fits into a cell of `cell` px."""
    if not 1 <= patch <= cell:
        raise UserError(
            f"a patch of {patch} px does not fit into a cell of {cell} px: use 1 to {cell} px"
        )


def _room(images: jax.Array, cell: int, patch: int) -> np.ndarray:
    """By how many pixels the images [B, h, w, C] are higher and wider than the crop, int [2]."""
    check_patch(cell, patch)
    height, width = images.shape[1:3]
    side = GRID * cell
    if min(height, width) < side:
        raise UserError(
            f"images of {height}x{width} px are too small for 3x3 patches in cells of {cell} px: "
            f"use images of {side} px or more, or smaller patches and cells"
        )
    return np.array([height, width]) - side


def _cells(cell: int) -> np.ndarray:
    """The corners of the cells in the crop, row by row, as (y, x): int [9, 2]."""
    places = np.arange(PLACES)
    rows, columns = np.divmod(places, GRID)
    corners = np.stack([rows, columns], axis=-1)
    return cell * corners


def _cut(images: jax.Array, corners: jax.Array, patch: int) -> jax.Array:
    """Patches at the corners (y, x): [B, h, w, C], int [B, 9, 2] -> [9B, patch, patch, C]."""
    channels = images.shape[-1]
    shape = (patch, patch, channels)

    def cut_one(image: jax.Array, corner: jax.Array) -> jax.Array:
        y, x = corner
        return jax.lax.dynamic_slice(image, (y, x, 0), shape)

    # An image serves all its patches without being copied.
    cut_nine = jax.vmap(cut_one, in_axes=(None, 0))
    cut_all = jax.vmap(cut_nine)
    patches = cut_all(images, corners)
    return patches.reshape(-1, *shape)
