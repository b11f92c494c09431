import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.lens.objectives import OBJECTIVES, make_objective


def log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.sum(np.exp(shifted)))


def random_logits() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=3, size=(9, 5))


def test_full_is_the_negative_loss_whatever_the_logits(x64):
    objective = make_objective("full", has_logits=True)
    assert objective(jnp.float64(1.75), random_logits()) == -1.75


def test_least_likely_is_the_cross_entropy_towards_the_smallest_logit(x64):
    logits = random_logits()
    expected = 0.0
    for row in logits:
        least = list(row).index(min(row))
        expected -= log_softmax(row)[least] / len(logits)
    found = make_objective("least_likely", has_logits=True)(jnp.float64(0), jnp.asarray(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_confusion_is_the_cross_entropy_towards_the_uniform_distribution(x64):
    logits = random_logits()
    expected = 0.0
    for row in logits:
        for logarithm in log_softmax(row):
            expected -= logarithm / 5 / len(logits)
    found = make_objective("confusion", has_logits=True)(jnp.float64(0), jnp.asarray(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_confusion_is_least_when_the_logits_say_nothing(x64, classes: int):
    objective = make_objective("confusion", has_logits=True)
    uniform = jnp.full((3, classes), 0.7)
    value_and_gradient = jax.value_and_grad(lambda logits: objective(jnp.float64(0), logits))
    least, gradient = value_and_gradient(uniform)
    np.testing.assert_allclose(least, np.log(classes), rtol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = uniform + 0.1 * rng.normal(size=uniform.shape)
        assert objective(jnp.float64(0), moved) > least


def test_the_gradient_of_least_likely_takes_its_target_as_given(x64):
    logits = random_logits()
    objective = make_objective("least_likely", has_logits=True)
    gradient = jax.grad(lambda x: objective(jnp.float64(0), x))(jnp.asarray(logits))
    expected = np.zeros_like(logits)
    for i, row in enumerate(logits):
        # That of a cross-entropy: probabilities minus the target.
        expected[i] = np.exp(log_softmax(row))
        expected[i, np.argmin(row)] -= 1
        expected[i] /= len(logits)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_do_not_depend_on_the_order_of_images_and_classes(x64, name: str):
    logits, objective = random_logits(), make_objective(name, has_logits=True)
    shuffled = logits[::-1][:, [2, 0, 4, 1, 3]]
    np.testing.assert_allclose(
        objective(jnp.float64(2), jnp.asarray(shuffled)),
        objective(jnp.float64(2), jnp.asarray(logits)),
        rtol=1e-12,
    )


CHOICES = np.where(np.eye(9, 5, k=1, dtype=bool), -np.inf, random_logits())


def test_what_is_no_choice_does_not_count(x64):
    nearest_chance, least_likely = 0.0, 0.0
    for row in CHOICES:
        chosen = log_softmax(row[np.isfinite(row)])
        nearest_chance -= np.mean(chosen) / len(CHOICES)
        least_likely -= np.min(chosen) / len(CHOICES)
    logits = jnp.asarray(CHOICES)
    confusion = make_objective("confusion", has_logits=True)
    np.testing.assert_allclose(confusion(0.0, logits), nearest_chance, rtol=1e-12)
    least = make_objective("least_likely", has_logits=True)
    np.testing.assert_allclose(least(0.0, logits), least_likely, rtol=1e-12)


@pytest.mark.parametrize("name", ["least_likely", "confusion"])
def test_what_is_no_choice_has_no_gradient_and_a_nan_is_not_hidden(x64, name: str):
    objective = make_objective(name, has_logits=True)
    gradient = jax.grad(lambda logits: objective(0.0, logits))(jnp.asarray(CHOICES))
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[np.isneginf(CHOICES)] == 0)
    assert np.isnan(objective(0.0, jnp.asarray(CHOICES).at[0, 0].set(jnp.nan)))


def test_full_needs_no_logits():
    assert make_objective("full", has_logits=False)(jnp.float32(2), None) == -2


@pytest.mark.parametrize("name", ["least_likely", "confusion"])
def test_objectives_over_classes_are_refused_where_there_are_none(name: str):
    with pytest.raises(UserError, match=f"'{name}' needs a task that chooses.*: choose full"):
        make_objective(name, has_logits=False)


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"'hinge'.*full, least_likely, confusion"):
        make_objective("hinge", has_logits=True)
