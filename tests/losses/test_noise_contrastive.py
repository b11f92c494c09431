from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.losses.contrastive import Contrast, info_nce
from lens_jax.losses.noise_contrastive import log_mean_exp, nce
from tests.losses import references

CASES = [(2, 3, 0.5), (5, 4, 0.07), (7, 2, 1.0)]  # rows, length of a row, temperature
Arrays = tuple[np.ndarray, ...]


def random_units(count: int, length: int) -> Arrays:
    """Queries, keys, and three times as many negatives."""
    rng = np.random.default_rng(0)
    counts = (count, count, 3 * count)
    return tuple(references.unit_rows(rng.normal(size=(n, length))) for n in counts)


@partial(jax.jit, static_argnums=1)
def compute(rows: Arrays, temperature: float, log_mean: float) -> tuple[Contrast, Arrays]:
    """The loss, and its gradients in all rows."""

    def value(rows: Arrays) -> tuple[jax.Array, Contrast]:
        found = nce(*rows, temperature, log_mean)
        return found.value, found

    gradients, found = jax.grad(value, has_aux=True)(jax.tree.map(jnp.asarray, rows))
    return found, gradients


@pytest.mark.parametrize(("count", "length", "temperature"), CASES)
@pytest.mark.parametrize("log_mean", [0.0, 1.7])
def test_nce_is_its_formula_with_its_gradient(x64, count, length, temperature, log_mean):
    rows = random_units(count, length)
    found, gradients = compute(rows, temperature, log_mean)
    losses, hits = references.nce(*rows, temperature, log_mean)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-12)
    assert found.hits.tolist() == hits

    for place, array in enumerate(rows):

        def value(x: np.ndarray, place: int = place) -> float:
            losses, _ = references.nce(*rows[:place], x, *rows[place + 1 :], temperature, log_mean)
            return np.mean(losses)

        expected = references.gradient(value, array)
        np.testing.assert_allclose(gradients[place], expected, atol=1e-6)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize(("count", "length", "temperature"), CASES)
def test_the_constant_is_the_mean_over_keys_and_negatives(x64, count, length, temperature):
    rows = random_units(count, length)
    found = jax.jit(log_mean_exp, static_argnums=3)(*rows, temperature)
    expected = references.log_mean_exp(*rows, temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_nce_by_hand(x64):
    """All rows are at right angles, and the constant is 1: each of K logits is -log K.

    A key is then taken for one with the probability 1 / (K + 1).
    """
    queries, keys = np.eye(6)[:1], np.eye(6)[1:2]
    negatives = np.eye(6)[2:]
    found, _ = compute((queries, keys, negatives), 0.5, 0.0)
    np.testing.assert_allclose(found.value, np.log(5) + 4 * np.log(5 / 4), rtol=1e-12)
    assert not found.hits.any()


def test_nce_and_its_gradient_stay_finite_at_small_temperatures():
    rows = tuple(np.asarray(array, np.float32) for array in random_units(4, 3))
    log_mean = log_mean_exp(*rows, 0.005)
    found, gradients = compute(rows, 0.005, log_mean)
    assert np.isfinite(found.value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("loss", ["nce", "info_nce", "log_mean_exp"])
def test_an_excluded_negative_does_not_count_for_its_query_alone(x64, loss: str):
    """Each query as if it were alone, with the negatives that it has."""
    queries, keys, negatives = random_units(4, 3)
    excluded = np.random.default_rng(1).uniform(size=(4, 12)) < 0.3
    assert excluded.any()
    separate = []
    for query, key, left_out in zip(queries, keys, excluded, strict=True):
        alone = query[None], key[None], negatives[~left_out]
        if loss == "nce":
            # The reference takes its weight of noise from the number of rows.
            shift = np.log(12 / len(alone[2]))
            separate += references.nce(*alone, 0.3, 0.5 + shift)[0]
        elif loss == "info_nce":
            separate += references.info_nce(*alone, 0.3)[0]
        else:
            mean = np.exp(references.log_mean_exp(*alone, 0.3))
            separate.append(mean * (1 + len(alone[2])))

    rows = (queries, keys, negatives)
    if loss == "nce":
        found, expected = nce(*rows, 0.3, 0.5, excluded).value, np.mean(separate)
    elif loss == "info_nce":
        found, expected = info_nce(*rows, 0.3, excluded).value, np.mean(separate)
    else:
        found = log_mean_exp(*rows, 0.3, excluded)
        expected = np.log(np.sum(separate) / (4 + np.sum(~excluded)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_gradients_of_excluded_negatives_are_zero_and_finite(x64):
    rows = tuple(jnp.asarray(array) for array in random_units(4, 3))
    excluded = np.zeros((4, 12), bool)
    excluded[:, 5] = True
    for loss in (partial(nce, log_mean=0.5), info_nce):

        def value(rows: Arrays, loss=loss) -> jax.Array:
            return loss(*rows, temperature=0.3, excluded=excluded).value

        of_queries, of_keys, of_negatives = jax.grad(value)(rows)
        assert np.isfinite(of_queries).all()
        assert np.isfinite(of_keys).all()
        assert not of_negatives[5].any()
        assert of_negatives[4].any()
