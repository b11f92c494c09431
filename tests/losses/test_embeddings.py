"""How embeddings are spread, in float64 against loops, and by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.losses import embeddings
from lens_jax.losses.neighbors import weighted_neighbors
from tests.losses import references

SHAPES = [(2, 3), (9, 4), (5, 8), (40, 6)]
OF_ROWS = ("standard_deviation", "uniformity", "participation_rank", "rankme")


@pytest.fixture(autouse=True)
def float64(x64) -> None:
    """All is computed in float64."""


def draw(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Rows around a mean of their own, longer in some columns than in others."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, length)) * np.arange(1, length + 1) + rng.normal(size=length)


def compute(name: str, *rows: np.ndarray) -> float:
    return float(getattr(embeddings, name)(*(jnp.asarray(each) for each in rows)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_ROWS)
def test_a_number_is_what_loops_come_to(name: str, shape: tuple[int, int]):
    rows = draw(*shape)
    expected = getattr(references, name)(rows)
    np.testing.assert_allclose(compute(name, rows), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_alignment_is_what_loops_come_to(shape: tuple[int, int]):
    first, second = draw(*shape), draw(*shape, seed=1)
    expected = references.alignment(first, second)
    np.testing.assert_allclose(compute("alignment", first, second), expected, rtol=1e-12)


@pytest.mark.parametrize(("shape", "first"), [((40, 6), 4), ((300, 120), 4), ((9, 3), 1)])
def test_alpha_is_the_slope_that_loops_fit(shape: tuple[int, int], first: int):
    rows = draw(*shape)
    np.testing.assert_allclose(
        compute("alpha_req", rows), references.alpha_req(rows, first), rtol=1e-8
    )


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_is_the_power_by_which_a_spectrum_falls(alpha: float):
    rng = np.random.default_rng(0)
    centered = rng.normal(size=(200, 120))
    basis, _ = np.linalg.qr(centered - centered.mean(axis=0))
    ranks = np.arange(1, 121)
    rows = 7 + basis * ranks ** (-alpha / 2)
    np.testing.assert_allclose(compute("alpha_req", rows), alpha, rtol=1e-6)


def test_rows_that_are_all_alike_have_the_numbers_of_a_collapse():
    rows = np.tile([[3.0, -1.0, 2.0, 0.5, 1.0]], (7, 1))
    expected = {
        "standard_deviation": 0.0,
        "uniformity": 0.0,
        "participation_rank": 1.0,
        "rankme": 1.0,
        "alpha_req": 0.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(compute(name, rows), value, atol=1e-4)
    assert compute("alignment", rows, rows) == 0


def test_rows_in_all_directions_alike_have_the_largest_spread():
    """Plus and minus each axis."""
    rows = np.concatenate([np.eye(4), -np.eye(4)])
    assert compute("standard_deviation", rows) == pytest.approx(1)
    assert compute("participation_rank", rows) == pytest.approx(4)
    assert compute("rankme", rows) == pytest.approx(4, rel=1e-5)
    # Of the 7 others, 6 are at a squared distance of 2 and one at 4.
    expected = math.log((6 * math.exp(-4) + math.exp(-8)) / 7)
    assert compute("uniformity", rows) == pytest.approx(expected)
    assert compute("alignment", rows, -rows) == pytest.approx(4)


def test_two_opposite_points_have_one_direction():
    rows = np.array([[1.0, 2.0], [-1.0, -2.0], [2.0, 4.0], [-3.0, -6.0]])
    assert compute("participation_rank", rows) == pytest.approx(1)
    assert compute("rankme", rows) == pytest.approx(1, rel=1e-4)
    assert compute("standard_deviation", rows) > 0.9


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rank_by_participation_is_never_above_that_by_entropy(shape: tuple[int, int]):
    units = references.unit_rows(draw(*shape))
    participation, entropy = compute("participation_rank", units), compute("rankme", units)
    assert 1 <= participation <= entropy <= min(shape) * (1 + 1e-5)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (3, 5)])
@pytest.mark.parametrize("name", [*OF_ROWS, "alpha_req"])
def test_the_least_that_there_can_be_gives_numbers(name: str, shape: tuple[int, int]):
    for rows in (np.zeros(shape), np.ones(shape), draw(*shape)):
        assert math.isfinite(compute(name, rows))


@pytest.mark.parametrize("neighbors", [1, 3, 100])
def test_neighbors_weigh_what_loops_come_to(neighbors: int):
    bank, queries = draw(11, 4), draw(5, 4, seed=1)
    labels = np.random.default_rng(2).integers(-1, 3, len(bank))
    assert (labels < 0).any()
    options = {"classes": 3, "neighbors": neighbors, "temperature": 0.07}
    expected = references.weighted_neighbors(bank, labels, queries, **options)
    found = weighted_neighbors(*map(jnp.asarray, (bank, labels, queries)), **options)
    # Ours are smaller by the same factor.
    np.testing.assert_allclose(found * math.exp(1 / 0.07), expected, rtol=1e-9, atol=1e-9)


def test_a_near_neighbor_outweighs_two_that_are_farther():
    bank = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    labels = jnp.array([0, 1, 1])
    query = jnp.array([[2.0, 0.1]])
    for temperature, expected in ((0.07, 0), (10.0, 1)):
        weights = weighted_neighbors(
            bank, labels, query, classes=2, neighbors=3, temperature=temperature
        )
        assert jnp.argmax(weights) == expected
