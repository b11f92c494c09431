import jax
import numpy as np
import pytest

from lens_jax.ops import patchwork
from lens_jax.ops.patchwork import Draws


def random_images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def lay_patches(image: np.ndarray, side: int, corners: np.ndarray) -> np.ndarray:
    """A patchwork as the authors' code makes one: a grid that is too large, cut at the end."""
    cells = len(image) // side + 1
    grid = np.zeros((cells * side, cells * side, 3), image.dtype)
    for row in range(cells):
        for column in range(cells):
            if row * side >= len(image) or column * side >= len(image):
                continue  # all of it would be cut away
            y, x = corners[row, column]
            top, left = row * side, column * side
            grid[top : top + side, left : left + side] = image[y : y + side, x : x + side]
    return grid[: len(image), : len(image)]


@pytest.mark.parametrize(("size", "sides"), [(10, (2, 7)), (12, (3, 3)), (7, (1, 7)), (9, (4, 9))])
def test_patchworks_are_those_of_loops_over_the_cells(size: int, sides: tuple[int, int]):
    images = random_images(6, size)
    draws = jax.device_get(patchwork.draw(jax.random.key(0), 6, size, sides))
    found = jax.jit(patchwork.make_patchworks)(images, draws)
    for one, image, side, corners in zip(found, images, draws.side, draws.corners, strict=True):
        np.testing.assert_array_equal(one, lay_patches(image, int(side), corners))


def test_a_patchwork_of_one_patch_is_the_image():
    images = random_images(2, 8)
    draws = patchwork.draw(jax.random.key(0), 2, 8, (8, 8))
    np.testing.assert_array_equal(patchwork.make_patchworks(images, draws), images)


def test_by_hand():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    corners = np.array([[[[0, 0], [0, 1]], [[2, 2], [1, 0]]]])
    found = patchwork.make_patchworks(image, Draws(np.array([2]), corners))
    expected = [[0, 1, 1, 2], [4, 5, 5, 6], [10, 11, 4, 5], [14, 15, 8, 9]]
    np.testing.assert_array_equal(found[0, ..., 0], expected)


def test_sides_and_corners_are_uniform_over_all_that_is_legal():
    count, size, (least, largest) = 4000, 12, (3, 6)
    draws = jax.device_get(patchwork.draw(jax.random.key(0), count, size, (least, largest)))
    assert draws.corners.shape == (count, 4, 4, 2)
    sides, frequencies = np.unique(draws.side, return_counts=True)
    assert sides.tolist() == [3, 4, 5, 6]
    # Five standard deviations of 4000 draws at one in four.
    assert np.abs(frequencies - 1000).max() < 5 * np.sqrt(4000 * 3 / 16)

    for side in sides:
        corners = draws.corners[draws.side == side].reshape(-1)
        places, frequencies = np.unique(corners, return_counts=True)
        assert places.tolist() == list(range(size - side + 1))
        expected = len(corners) / len(places)
        assert np.abs(frequencies - expected).max() < 6 * np.sqrt(expected)


def test_every_image_and_every_key_draws_its_own():
    one = patchwork.draw(jax.random.key(0), 50, 20, (2, 9))
    other = patchwork.draw(jax.random.key(1), 50, 20, (2, 9))
    assert len(np.unique(one.corners.reshape(50, -1), axis=0)) == 50
    assert (one.side != other.side).any()
    assert (one.corners != other.corners).mean() > 0.5
