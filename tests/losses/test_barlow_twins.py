from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.losses.barlow_twins import (
    Redundancy,
    barlow_twins,
    cross_correlation,
    standardize,
)
from tests.losses import references

CASES = [(2, 3), (6, 4), (5, 1)]  # rows, length of a row
WEIGHTS = (0.3, 0.5)  # lambda and the scale


def random_pair(rows: int, length: int) -> np.ndarray:
    """Two views that are partly alike, of columns of different means and sizes."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(rows, length))
    views = common + rng.normal(size=(2, rows, length))
    return views * rng.uniform(0.5, 3, length) + rng.normal(size=length)


@jax.jit
def compute(pair: np.ndarray) -> tuple[Redundancy, jax.Array]:
    """The loss of a pair of views, and its gradient in both of them."""

    def value(pair: jax.Array) -> tuple[jax.Array, Redundancy]:
        found = barlow_twins(*pair, *WEIGHTS)
        return found.value, found

    gradient, found = jax.grad(value, has_aux=True)(jnp.asarray(pair))
    return found, gradient


@pytest.mark.parametrize(("rows", "length"), CASES)
def test_the_loss_is_its_formula_with_its_gradient(x64, rows: int, length: int):
    pair = random_pair(rows, length)
    found, gradient = compute(pair)
    np.testing.assert_allclose(found.value, references.barlow_twins(*pair, *WEIGHTS), rtol=1e-12)

    expected = references.gradient(lambda x: references.barlow_twins(*x, *WEIGHTS), pair)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize(("rows", "length"), CASES)
def test_the_correlations_are_those_of_each_pair_of_columns(x64, rows: int, length: int):
    pair = random_pair(rows, length)
    found = jax.jit(cross_correlation)(*pair)
    expected = references.cross_correlation(*pair)
    np.testing.assert_allclose(found, expected, atol=1e-13)

    measured, _ = compute(pair)
    np.testing.assert_allclose(measured.invariance, np.mean(np.diag(expected)), atol=1e-13)
    others = expected[~np.eye(length, dtype=bool)]
    root = np.sqrt(np.mean(others**2)) if len(others) else 0.0
    np.testing.assert_allclose(measured.redundancy, root, atol=1e-13)


def test_standardized_columns_have_mean_0_and_variance_1(x64):
    rows = random_pair(50, 3)[0]
    found = jax.jit(standardize)(rows)
    np.testing.assert_allclose(np.mean(found, axis=0), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(np.var(found, axis=0), np.ones(3), rtol=1e-4)


def test_views_that_are_alike_in_numbers_that_are_not_lose_nothing_but_by_the_epsilon(x64):
    """All signs of three numbers: the columns are at right angles, each of variance 1."""
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T.astype(float)
    found, gradient = compute(np.stack([corners, corners]))
    np.testing.assert_allclose(found.invariance, 1 / (1 + 1e-5), rtol=1e-12)
    assert found.value < 1e-9
    assert np.abs(gradient).max() < 1e-4


def test_by_hand_a_number_that_is_its_own_opposite_costs_four_and_a_copy_costs_lambda_each(x64):
    """Column 0 is mirrored in the other view; columns 1 and 2 are the same."""
    column, other = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    first = np.stack([column, other, other], axis=1)
    second = np.stack([-column, other, other], axis=1)
    found, _ = compute(np.stack([first, second]))
    lambda_, scale = WEIGHTS
    np.testing.assert_allclose(found.value, scale * (4 + 2 * lambda_), rtol=1e-4)


def test_numbers_that_never_change_have_finite_gradients():
    found, gradient = compute(np.ones((2, 4, 3), np.float32))
    assert found.value == pytest.approx(WEIGHTS[1] * 3)
    assert np.isfinite(gradient).all()


def test_more_pairs_of_numbers_than_an_int32_counts_are_no_mistake():
    rows = jax.ShapeDtypeStruct((4, 50_000), jnp.float32)
    loss = partial(barlow_twins, off_diagonal=0.3, scale=0.5)
    assert jax.eval_shape(loss, rows, rows).redundancy.shape == ()


def test_the_loss_depends_on_neither_the_order_of_rows_nor_the_scale_of_a_column(x64):
    pair = random_pair(6, 4)
    order = np.random.default_rng(1).permutation(6)
    loss = jax.jit(partial(barlow_twins, off_diagonal=0.3, scale=0.5))
    plain = loss(*pair).value
    np.testing.assert_allclose(loss(*pair[:, order]).value, plain, rtol=1e-12)
    scaled = 1e3 * pair + 5
    np.testing.assert_allclose(loss(*scaled).value, plain, rtol=1e-4)
    assert abs(loss(pair[0], pair[1][order]).value - plain) > 1e-2
