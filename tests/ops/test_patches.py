import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.patches import central_patches, check_patch, random_patches


def coordinates(count: int, height: int, width: int) -> np.ndarray:
    """Images whose pixels hold where they are: (row, column, image)."""
    shape = (count, height, width)
    image, row, column = np.indices(shape)
    return np.stack([row, column, image], axis=-1).astype(np.float32)


def corners_of(patches: jax.Array, patch: int) -> np.ndarray:
    """The corner (row, column) of every patch, [B, 9, 2], after a look at each of its pixels."""
    cut = np.asarray(patches).reshape(-1, 9, patch, patch, 3).astype(int)
    corners = cut[:, :, 0, 0, :2]
    for b in range(len(cut)):
        for position in range(9):
            top, left = corners[b, position]
            for row, column in np.ndindex(patch, patch):
                expected = [top + row, left + column, b]
                assert cut[b, position, row, column].tolist() == expected
    return corners


CELLS = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]])


def distinct(corners: np.ndarray) -> set[tuple[int, int]]:
    return set(map(tuple, corners.tolist()))


def test_each_patch_lies_in_its_own_cell_and_anywhere_in_it():
    patches = random_patches(jax.random.key(0), coordinates(120, 15, 15), 5, 2)
    assert patches.shape == (9 * 120, 2, 2, 3)
    offsets = corners_of(patches, 2) - 5 * CELLS  # the images are no larger than the crop
    expected = set(itertools.product(range(4), range(4)))
    for position in range(9):
        assert distinct(offsets[:, position]) == expected


def test_offsets_are_even_and_independent():
    patches = random_patches(jax.random.key(1), coordinates(1600, 6, 6), 2, 1)
    offsets = corners_of(patches, 1) - 2 * CELLS
    bits = offsets.reshape(1600, 18)
    assert abs(bits.mean(axis=0) - 0.5).max() < 0.06
    # Between any two of the 18 coordinates of an image, and between neighbors in the batch.
    assert abs(np.corrcoef(bits.T) - np.eye(18)).max() < 0.12
    assert abs(np.corrcoef(bits[:-1].ravel(), bits[1:].ravel())[0, 1]) < 0.03


def test_the_crop_is_one_for_all_cells_and_goes_to_every_edge():
    patches = random_patches(jax.random.key(2), coordinates(200, 8, 10), 2, 2)
    crops = corners_of(patches, 2) - 2 * CELLS
    np.testing.assert_array_equal(crops, np.broadcast_to(crops[:, :1], crops.shape))
    assert distinct(crops[:, 0]) == set(itertools.product(range(3), range(5)))


def test_positions_of_crop_and_patches_add_up():
    patches = random_patches(jax.random.key(3), coordinates(300, 11, 13), 3, 2)
    corners = corners_of(patches, 2) - 3 * CELLS
    assert corners.min(axis=(0, 1)).tolist() == [0, 0]
    assert corners.max(axis=(0, 1)).tolist() == [11 - 9 + 1, 13 - 9 + 1]
    assert (corners.max(axis=1) - corners.min(axis=1)).max() == 1


def test_the_crop_and_the_offsets_are_independent():
    patches = random_patches(jax.random.key(5), coordinates(1600, 7, 7), 2, 1)
    moved = corners_of(patches, 1) - 2 * CELLS
    crops = moved.min(axis=1)  # one offset of the nine is 0, but for every 512th image
    for position in range(9):
        for axis in range(2):
            offsets = moved[:, position, axis] - crops[:, axis]
            correlations = np.corrcoef(crops.T, offsets)[-1, :2]
            assert abs(correlations).max() < 0.12


def test_the_key_decides():
    images = coordinates(3, 12, 12)
    one = random_patches(jax.random.key(0), images, 4, 2)
    again = random_patches(jax.random.key(0), images, 4, 2)
    other = random_patches(jax.random.key(1), images, 4, 2)
    np.testing.assert_array_equal(one, again)
    assert (np.asarray(one) != np.asarray(other)).any()


def test_central_patches_by_hand():
    # A crop of 9 px in 12x14 starts at (1, 2), a patch of 1 px in a cell of 3 px at (1, 1).
    corners = corners_of(central_patches(coordinates(2, 12, 14), 3, 1), 1)
    expected = [[2, 3], [2, 6], [2, 9], [5, 3], [5, 6], [5, 9], [8, 3], [8, 6], [8, 9]]
    assert corners.tolist() == [expected] * 2


def test_the_published_sizes_are_central_in_an_image_of_292_pixels():
    patches = np.asarray(central_patches(coordinates(1, 292, 292), 85, 64))
    assert patches.shape == (9, 64, 64, 3)
    first, step = (292 - 255) // 2 + (85 - 64) // 2, 85
    np.testing.assert_array_equal(patches[:, 0, 0, :2], first + step * CELLS)
    np.testing.assert_array_equal(patches[:, -1, -1, :2], first + 63 + step * CELLS)


def test_cells_as_large_as_patches_tile_the_central_square():
    images = np.random.default_rng(0).normal(size=(2, 14, 13, 3)).astype(np.float32)
    patches = np.asarray(central_patches(images, 4, 4)).reshape(2, 3, 3, 4, 4, 3)
    # Each row of patches comes before its columns: [image, row, y, column, x, channel].
    tiled = patches.transpose(0, 1, 3, 2, 4, 5).reshape(2, 12, 12, 3)
    np.testing.assert_array_equal(tiled, images[:, 1:13, 0:12])


def test_an_image_receives_the_gradient_of_its_patches_where_they_were_cut():
    images, key = jnp.asarray(coordinates(2, 9, 10)), jax.random.key(4)
    weights = np.random.default_rng(0).normal(size=(18, 2, 2, 3)).astype(np.float32)

    def loss(images):
        return jnp.sum(random_patches(key, images, 3, 2) * weights)

    expected = np.zeros(images.shape)
    corners = corners_of(random_patches(key, images, 3, 2), 2).reshape(-1, 2)
    for n, (row, column) in enumerate(corners):
        expected[n // 9, row : row + 2, column : column + 2] += weights[n]
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(images), expected, rtol=1e-6)


def test_patches_that_do_not_fit_are_refused():
    images = coordinates(1, 12, 11)
    random = functools.partial(random_patches, jax.random.key(0))
    for cut in (central_patches, random):
        with pytest.raises(UserError, match=r"patch of 5 px .* cell of 3 px: use 1 to 3 px"):
            cut(images, 3, 5)
        too_small = r"images of 12x11 px .* cells of 4 px: .* 12 px or more"
        with pytest.raises(UserError, match=too_small):
            cut(images, 4, 2)
    with pytest.raises(UserError, match="patch of 0 px"):
        check_patch(3, 0)
    check_patch(3, 3)
