from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.losses.contrastive import Contrast, info_nce, negative_cosine, normalize, nt_xent
from tests.losses import references

Arrays = tuple[np.ndarray, ...]

CASES = [(2, 3, 0.5), (5, 4, 0.07), (7, 2, 1.0)]  # rows, length of a row, temperature


def random_rows(*counts: int, length: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(count, length)) for count in counts]


def rows_at(*degrees: float) -> np.ndarray:
    """Rows of length 1 in the plane."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


@partial(jax.jit, static_argnums=0)
def compute(
    loss: Callable[..., Contrast], arrays: Arrays, temperature: float
) -> tuple[Contrast, tuple[jax.Array, ...]]:
    """A loss of arrays, and its gradients in all of them."""

    def value(arrays: Arrays) -> tuple[jax.Array, Contrast]:
        contrast = loss(*arrays, temperature)
        return contrast.value, contrast

    arrays = jax.tree.map(jnp.asarray, arrays)
    gradients, contrast = jax.grad(value, has_aux=True)(arrays)
    return contrast, gradients


def assert_is(loss: Callable, reference: Callable, arrays: Arrays, temperature: float) -> None:
    """Compares value, hits and gradients in all arrays with those of a reference."""
    losses, hits = reference(*arrays, temperature)
    found, gradients = compute(loss, arrays, temperature)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    assert found.hits.tolist() == hits

    for place, array in enumerate(arrays):

        def value(x: np.ndarray, place: int = place) -> float:
            losses, _ = reference(*arrays[:place], x, *arrays[place + 1 :], temperature)
            return np.mean(losses)

        expected = references.gradient(value, array)
        np.testing.assert_allclose(gradients[place], expected, atol=1e-7)
        assert np.abs(expected).max() > 1e-3


def assert_finite(gradients: tuple[jax.Array, ...]) -> None:
    for gradient in gradients:
        assert np.isfinite(gradient).all()


def test_normalized_rows_have_length_one_and_their_direction(x64):
    rows = np.random.default_rng(0).normal(size=(2, 3, 4))
    lengths = np.array([1e-5, 1, 1e9])[:, None]
    found = jax.jit(normalize)(rows * lengths)
    for index in np.ndindex(2, 3):
        expected = rows[index] / np.sqrt(np.sum(rows[index] ** 2))
        np.testing.assert_allclose(found[index], expected, rtol=1e-12)


def test_the_gradient_of_a_normalized_row_is_that_of_its_formula(x64):
    rows, weights = random_rows(3, 3, length=4)

    def value(x: np.ndarray) -> float:
        return np.sum(weights * references.unit_rows(x))

    found = jax.jit(jax.grad(lambda x: jnp.sum(weights * normalize(x))))(rows)
    np.testing.assert_allclose(found, references.gradient(value, rows), atol=1e-8)


def test_a_row_of_zeros_stays_zero_with_a_finite_gradient():
    rows, pull = jax.vjp(jax.jit(normalize), np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(rows, np.zeros((2, 3)))
    assert_finite(pull(np.ones((2, 3), np.float32)))


@pytest.mark.parametrize(("pairs", "length", "temperature"), CASES)
def test_nt_xent_is_its_formula_with_its_gradient(x64, pairs, length, temperature):
    first, second = random_rows(pairs, pairs, length=length)
    assert_is(nt_xent, references.nt_xent, (first, second), temperature)


@pytest.mark.parametrize(("pairs", "length", "temperature"), CASES)
def test_nt_xent_is_that_of_optax(x64, pairs, length, temperature):
    """Optax takes the rows in any order; rows with the same label are a pair."""
    first, second = random_rows(pairs, pairs, length=length)
    labels = np.tile(np.arange(pairs), 2)

    @jax.jit
    @jax.value_and_grad
    def peer(rows: jax.Array) -> jax.Array:
        return optax.losses.ntxent(rows, labels, temperature)

    expected, expected_gradient = peer(np.concatenate([first, second]))
    found, gradients = compute(nt_xent, (first, second), temperature)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(gradients), expected_gradient, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_by_hand(x64, temperature: float):
    """Each row equals its partner and is at right angles to the two rows of the other pair."""
    rows = rows_at(0, 90)
    found, _ = compute(nt_xent, (3 * rows, rows / 5), temperature)
    expected = np.log(1 + 2 * np.exp(-1 / temperature))
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)
    assert found.hits.all()


def test_nt_xent_hits_by_hand(x64):
    """The pairs are (0, 10) and (90, 200) degrees; 10 is nearer to 90 than 200 is."""
    found, _ = compute(nt_xent, (rows_at(0, 90), rows_at(10, 200)), 0.5)
    assert found.hits.tolist() == [True, False, True, True]


def test_a_pair_alone_has_nothing_to_be_told_from(x64):
    found, _ = compute(nt_xent, (rows_at(0), rows_at(100)), 0.5)
    np.testing.assert_allclose(found.value, 0, atol=1e-15)
    assert found.hits.all()


def test_nt_xent_depends_on_neither_order_nor_lengths_nor_which_view_comes_first(x64):
    first, second = random_rows(5, 5, length=4)
    rng = np.random.default_rng(1)
    order = rng.permutation(5)
    lengths = rng.uniform(0.1, 10, (2, 5, 1))
    plain, _ = compute(nt_xent, (first, second), 0.3)
    hits = np.asarray(plain.hits).reshape(2, 5)

    ordered, _ = compute(nt_xent, (first[order], second[order]), 0.3)
    scaled, _ = compute(nt_xent, (lengths[0] * first, lengths[1] * second), 0.3)
    swapped, _ = compute(nt_xent, (second, first), 0.3)
    for found in (ordered, scaled, swapped):
        np.testing.assert_allclose(found.value, plain.value, rtol=1e-12)
    assert 0 < hits.sum() < hits.size
    np.testing.assert_array_equal(ordered.hits, hits[:, order].ravel())
    np.testing.assert_array_equal(scaled.hits, hits.ravel())
    np.testing.assert_array_equal(swapped.hits, hits[::-1].ravel())


@pytest.mark.parametrize(("count", "length", "temperature"), CASES)
def test_info_nce_is_its_formula_with_its_gradient(x64, count, length, temperature):
    rows = random_rows(count, count, 2 * count, length=length)
    units = tuple(references.unit_rows(array) for array in rows)
    assert_is(info_nce, references.info_nce, units, temperature)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_info_nce_by_hand(x64, temperature: float):
    """The key equals its query; the negatives are at 90 and at 180 degrees."""
    found, _ = compute(info_nce, (rows_at(0), rows_at(0), rows_at(90, 180)), temperature)
    expected = np.log(1 + np.exp(-1 / temperature) + np.exp(-2 / temperature))
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


def test_info_nce_hits_by_hand(x64):
    """The keys are 10, 60 and 20 degrees off, the nearest negatives 70, 30 and 110."""
    rows = rows_at(0, 100, 180), rows_at(10, 40, 200), rows_at(70, 290)
    found, _ = compute(info_nce, rows, 0.2)
    assert found.hits.tolist() == [True, False, True]


def test_info_nce_depends_on_the_order_of_neither_queries_nor_negatives(x64):
    rows = random_rows(5, 5, 10, length=4)
    queries, keys, negatives = (references.unit_rows(array) for array in rows)
    order = np.random.default_rng(1).permutation(5)
    plain, _ = compute(info_nce, (queries, keys, negatives), 0.2)
    found, _ = compute(info_nce, (queries[order], keys[order], negatives[::-1]), 0.2)
    np.testing.assert_allclose(found.value, plain.value, rtol=1e-12)
    np.testing.assert_array_equal(found.hits, np.asarray(plain.hits)[order])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_query_that_is_like_nothing_does_not_hit(x64, value: float):
    """As where a network collapses to zeros, or diverges."""
    queries = np.full((3, 2), value)
    found, _ = compute(info_nce, (queries, rows_at(10, 40, 200), rows_at(70, 290)), 0.2)
    assert not found.hits.any()


@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("value", [0.0, 1e-20, 1.0, 1e15])
def test_equal_rows_and_rows_of_zeros_are_as_good_as_chance(value: float, temperature: float):
    """In float32, with finite gradients; no partner can be told from the others."""
    rows = np.full((4, 3), value, np.float32)
    contrast, gradients = compute(nt_xent, (rows, rows), temperature)
    np.testing.assert_allclose(contrast.value, np.log(7), rtol=1e-4)
    assert_finite(gradients)

    units = np.full((4, 3), min(value, np.sqrt(1 / 3)), np.float32)
    contrast, gradients = compute(info_nce, (units, units, units), temperature)
    np.testing.assert_allclose(contrast.value, np.log(5), rtol=1e-4)
    assert_finite(gradients)


def test_low_temperatures_are_finite_and_exact_enough_in_float32():
    rows = random_rows(4, 4, 4, length=3)
    units = tuple(references.unit_rows(array) for array in rows)
    for loss, reference, arrays in (
        (nt_xent, references.nt_xent, units[:2]),
        (info_nce, references.info_nce, units),
    ):
        losses, _ = reference(*arrays, 0.01)
        floats = tuple(array.astype(np.float32) for array in arrays)
        found, gradients = compute(loss, floats, 0.01)
        np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-5)
        assert_finite(gradients)


def test_negative_cosine_is_its_formula_with_its_gradient(x64):
    predictions, targets, weights = random_rows(5, 5, 5, length=4)
    weights = weights[:, 0]
    found, pull = jax.vjp(jax.jit(negative_cosine), predictions, targets)
    np.testing.assert_allclose(found, references.negative_cosine(predictions, targets), rtol=1e-12)

    def value(x: np.ndarray) -> float:
        return np.dot(weights, references.negative_cosine(x, targets))

    gradient, _ = pull(jnp.asarray(weights))
    np.testing.assert_allclose(gradient, references.gradient(value, predictions), atol=1e-7)


def test_negative_cosine_is_the_squared_distance_of_normalized_rows(x64):
    predictions, targets = random_rows(5, 5, length=4)
    found = jax.jit(negative_cosine)(predictions, targets)
    ends = references.unit_rows(predictions), references.unit_rows(targets)
    for distance, prediction, target in zip(found, *ends, strict=True):
        expected = references.squared_distance(prediction, target)
        np.testing.assert_allclose(distance, expected, rtol=1e-12)


def test_negative_cosine_by_hand(x64):
    """At 0, 60, 90 and 180 degrees, whatever the lengths."""
    predictions = 7 * rows_at(10, 10, 10, 10)
    targets = rows_at(10, 70, 100, 190) / 3
    found = jax.jit(negative_cosine)(predictions, targets)
    np.testing.assert_allclose(found, [0, 1, 2, 4], atol=1e-12)


@pytest.mark.parametrize(("prediction", "target"), [(0, 1), (1, 0), (0, 0)])
def test_negative_cosine_of_zeros_is_that_of_right_angles(prediction: float, target: float):
    rows = [np.full((2, 3), value, np.float32) for value in (prediction, target)]
    found, pull = jax.vjp(jax.jit(negative_cosine), *rows)
    np.testing.assert_array_equal(found, [2, 2])
    assert_finite(pull(np.ones(2, np.float32)))
