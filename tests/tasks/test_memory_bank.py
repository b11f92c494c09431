import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.tasks.memory_bank import ROWS_MULTIPLE, average_rows, empty_bank, random_bank
from tests.losses.references import unit_rows

average = jax.jit(average_rows)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_a_row_becomes_its_average_with_the_embedding_at_length_one(x64, momentum: float):
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.normal(size=(7, 3)))
    embeddings = unit_rows(rng.normal(size=(4, 3)))
    index = np.array([5, 0, 6, 2])

    expected = rows.copy()
    for row, embedding in zip(index, embeddings, strict=True):
        average_row = momentum * rows[row] + (1 - momentum) * embedding
        expected[row] = average_row / np.sqrt(np.sum(average_row**2))
    found = average(rows, index, embeddings, momentum)
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_of_an_image_that_occurs_twice_the_mean_embedding_enters(x64):
    rng = np.random.default_rng(0)
    rows = unit_rows(rng.normal(size=(5, 3)))
    embeddings = unit_rows(rng.normal(size=(3, 3)))
    found = average(rows, np.array([1, 4, 1]), embeddings, 0.5)

    for row, mean in ((1, (embeddings[0] + embeddings[2]) / 2), (4, embeddings[1])):
        expected = unit_rows((rows[row] + mean)[None])[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-14)
    np.testing.assert_array_equal(np.asarray(found)[[0, 2, 3]], rows[[0, 2, 3]])


def test_no_gradient_flows_through_the_memory():
    rows, embeddings = np.eye(3, dtype=np.float32), np.ones((2, 3), np.float32)

    def value(embeddings: jax.Array) -> jax.Array:
        return jnp.sum(average_rows(jnp.asarray(rows), np.array([0, 2]), embeddings, 0.5) ** 3)

    assert not jax.grad(value)(embeddings).any()


@pytest.mark.parametrize(("images", "rows"), [(2, 1), (ROWS_MULTIPLE, 1), (1_281_167, 1252)])
def test_there_is_a_row_for_every_image_and_they_divide_evenly(images: int, rows: int):
    bank = jax.eval_shape(lambda key: random_bank(key, images, 8), jax.random.key(0))
    assert bank.rows.shape == (rows * 1024, 8)
    assert bank.rows.shape[0] >= images


def test_a_bank_starts_as_different_rows_of_length_one():
    make = jax.jit(lambda seed: random_bank(jax.random.key(seed), 20, 8))
    bank, again, other = make(0), make(0), make(1)
    lengths = jnp.linalg.norm(bank.rows, axis=1)
    np.testing.assert_allclose(lengths, np.ones(len(lengths)), rtol=1e-5)
    np.testing.assert_array_equal(bank.rows, again.rows)
    assert np.abs(bank.rows - other.rows).max() > 0.1
    assert len(np.unique(np.asarray(bank.rows)[:, 0])) > 1000
    assert not bank.measured


def test_a_row_of_zeros_becomes_the_first_embedding(x64):
    bank = empty_bank(20, 3)
    embeddings = unit_rows(np.random.default_rng(0).normal(size=(2, 3)))
    found = average(bank.rows, np.array([4, 1]), embeddings, 0.5)
    np.testing.assert_allclose(found[np.array([4, 1])], embeddings, atol=1e-14)
    assert not found[np.array([0, 2, 3])].any()
