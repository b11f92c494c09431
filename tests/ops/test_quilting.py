import jax
import numpy as np
import pytest

from lens_jax.ops import quilting


def lay_blocks(image: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """A quilt by loops over blocks, candidates and pixels."""
    size = len(image)
    _, block, overlap = quilting.measures(size)
    in_a_row = quilting.blocks_in_a_row(size)
    side = in_a_row * (block - overlap) + overlap
    canvas = np.zeros((side, side, 3))
    for number, candidates in enumerate(corners):
        row, column = divmod(number, in_a_row)
        top, left = row * (block - overlap), column * (block - overlap)
        weights = np.ones((block, block))
        for y in range(block):
            for x in range(block):
                if row > 0 and y < overlap:
                    weights[y, x] = min(weights[y, x], (y + 1) / (overlap + 1))
                if column > 0 and x < overlap:
                    weights[y, x] = min(weights[y, x], (x + 1) / (overlap + 1))

        below = canvas[top : top + block, left : left + block]
        blocks, errors = [], []
        for y, x in candidates:
            blocks.append(image[y : y + block, x : x + block])
            errors.append(np.sum((blocks[-1] - below)[weights < 1] ** 2))
        best = blocks[int(np.argmin(errors))]
        below += weights[..., None] * (best - below)
    return canvas[:size, :size]


@pytest.mark.parametrize("size", [15, 32])
def test_quilts_are_those_of_loops(x64, size: int):
    images = np.random.default_rng(0).uniform(-1, 1, (3, size, size, 3))
    corners = jax.device_get(quilting.draw(jax.random.key(0), 3, size))
    found = jax.jit(quilting.quilt)(images, corners)
    for one, image, of_image in zip(found, images, corners, strict=True):
        np.testing.assert_allclose(one, lay_blocks(image, of_image), atol=1e-12)


@pytest.mark.parametrize("size", [14, 16, 32, 64, 96, 224, 225])
def test_the_blocks_cover_the_image_and_no_row_of_them_is_in_vain(size: int):
    patch, block, overlap = quilting.measures(size)
    in_a_row = quilting.blocks_in_a_row(size)
    stride = block - overlap
    assert 0 < overlap < block <= patch <= size
    assert (in_a_row - 1) * stride + overlap < size <= in_a_row * stride + overlap


def test_the_measures_at_224_px_are_those_of_the_textures():
    assert quilting.measures(224) == (96, 32, 8)


def test_candidates_are_cut_from_the_center_and_from_one_other_place():
    size = 64
    patch, block, _ = quilting.measures(size)
    corners = jax.device_get(quilting.draw(jax.random.key(0), 20, size)).reshape(20, -1, 2)
    assert corners.min() >= 0
    assert corners.max() + block <= size
    center = (size - patch) // 2
    for of_image in corners:
        offset = of_image - center
        is_central = ((offset >= 0) & (offset <= patch - block)).all(axis=1)
        elsewhere = of_image[~is_central]
        # At least half are central, and the others lie in one square.
        assert is_central.mean() > 0.4
        if len(elsewhere):
            assert (np.ptp(elsewhere, axis=0) <= patch - block).all()


def test_an_image_of_one_color_is_its_own_quilt():
    colors = np.random.default_rng(0).uniform(-1, 1, (4, 1, 1, 3)).astype(np.float32)
    images = np.broadcast_to(colors, (4, 28, 28, 3))
    quilts = quilting.quilt(images, quilting.draw(jax.random.key(0), 4, 28))
    np.testing.assert_allclose(quilts, images, atol=1e-6)


def test_blocks_that_are_chosen_go_on_with_stripes_better_than_any():
    """Stripes of six columns meet their own continuation more often than by chance."""
    size = 64
    column = np.arange(size) % 6 / 3 - 1
    image = np.broadcast_to(column[:, None], (1, size, size, 3)).astype(np.float32)
    corners = quilting.draw(jax.random.key(0), 1, size)
    chosen = quilting.quilt(image, corners)
    by_chance = quilting.quilt(image, np.repeat(corners[:, :, :1], 16, axis=2))

    def distance_to_stripes(quilt: jax.Array) -> float:
        return float(np.mean((quilt[:, :, 6:] - quilt[:, :, :-6]) ** 2))

    assert distance_to_stripes(chosen) < 0.5 * distance_to_stripes(by_chance)
