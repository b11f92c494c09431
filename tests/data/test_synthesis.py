import itertools

import numpy as np
import pytest

from lens_jax.data import synthesis


def noise(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def colors(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("size", [20, 41, 64])
def test_stripes_go_on_with_their_own_period(size: int):
    """Six columns of six brightnesses, over and over: there is always a block that fits exactly."""
    row = np.tile(np.arange(0, 256, 50, dtype=np.uint8), 5)
    example = np.broadcast_to(row[:, None], (30, 30, 3))
    rng = np.random.default_rng(0)
    texture = synthesis.synthesize([example], size, block=12, rng=rng)
    assert texture.shape == (size, size, 3)
    np.testing.assert_array_equal(texture, np.broadcast_to(texture[:1], texture.shape))
    np.testing.assert_array_equal(texture[:, 6:], texture[:, :-6])
    assert colors(texture) == colors(example)


def test_a_checkerboard_goes_on_in_both_directions():
    y, x = np.indices((32, 32))
    board = 255 * ((y // 4 + x // 4) % 2).astype(np.uint8)
    example = np.repeat(board[..., None], 3, axis=2)
    # The overlap of four shows where in a field it is, and so where the next one begins.
    rng = np.random.default_rng(1)
    texture = synthesis.synthesize([example], 60, block=24, rng=rng)
    np.testing.assert_array_equal(texture[8:], texture[:-8])
    np.testing.assert_array_equal(texture[:, 8:], texture[:, :-8])
    np.testing.assert_array_equal(texture[4:], 255 - texture[:-4])


def test_a_texture_of_noise_has_its_mean_and_spread_and_no_pixel_of_its_own():
    examples = [noise(40, seed) // 2 + 50 for seed in (0, 1)]
    texture = synthesis.synthesize(examples, 100, block=12, rng=np.random.default_rng(0))
    assert colors(texture) <= colors(examples[0]) | colors(examples[1])
    expected = np.concatenate(examples).astype(float)
    # Uniform noise of 128 values: its standard deviation is 37.
    np.testing.assert_allclose(texture.mean((0, 1)), expected.mean((0, 1)), atol=3)
    np.testing.assert_allclose(texture.std((0, 1)), expected.std((0, 1)), atol=3)
    # Neighbors are as little alike as in the examples.
    values = texture[..., 0] - texture[..., 0].mean()
    assert abs(np.mean(values[:, 1:] * values[:, :-1])) < 0.1 * values.var()


def test_both_examples_are_used_and_the_generator_decides():
    dark, light = noise(20) // 8, 200 + noise(20, 1) // 8
    means = []
    for seed in range(12):
        texture = synthesis.synthesize([dark, light], 20, 12, np.random.default_rng(seed))
        again = synthesis.synthesize([dark, light], 20, 12, np.random.default_rng(seed))
        np.testing.assert_array_equal(texture, again)
        means.append(texture[:8, :8].mean())
    assert min(means) < 50
    assert max(means) > 180


@pytest.mark.parametrize("laid", ["nothing", "left", "both"])
def test_the_error_of_a_block_is_the_sum_of_squares_where_something_is_laid(laid: str):
    example, below = noise(14).astype(np.float32), noise(6, 1).astype(np.float32)
    is_laid = np.zeros((6, 6), bool)
    if laid != "nothing":
        is_laid[:, :2] = True
    if laid == "both":
        is_laid[:2] = True
    found = synthesis.block_errors(example, below, is_laid)
    assert found.shape == (9, 9)
    for y, x in itertools.product(range(9), repeat=2):
        block = example[y : y + 6, x : x + 6]
        expected = np.sum((block - below)[is_laid] ** 2)
        assert abs(found[y, x] - expected) <= 1 + 1e-5 * expected


def all_seams(rows: int, columns: int) -> list[tuple[int, ...]]:
    seams = []
    for seam in itertools.product(range(columns), repeat=rows):
        if all(abs(a - b) <= 1 for a, b in itertools.pairwise(seam)):
            seams.append(seam)
    return seams


@pytest.mark.parametrize("seed", range(5))
def test_no_other_seam_shows_less(seed: int):
    differences = np.random.default_rng(seed).uniform(size=(6, 4))
    beyond = synthesis.beyond_seam(differences, width=7)
    assert beyond.shape == (6, 7)
    found = np.argmax(beyond, axis=1)
    for row, column in zip(beyond, found, strict=True):
        assert row.tolist() == [x >= column for x in range(7)]

    costs = {}
    for seam in all_seams(6, 4):
        costs[seam] = sum(differences[row, column] for row, column in enumerate(seam))
    assert tuple(found) == min(costs, key=costs.get)
