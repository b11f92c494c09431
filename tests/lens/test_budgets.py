import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.lens.budgets import RANGE, RATE, bounded, steered
from lens_jax.lens.unet import UNet

EPSILON = 0.05


def random_changes() -> np.ndarray:
    """Changes of very different sizes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 6, 5, 3)) * np.array([1e-2, 1, 1e2, 3])[:, None, None, None]


def test_a_bounded_change_has_a_mean_absolute_value_of_epsilon_in_every_image(x64):
    changes = random_changes()
    found = np.asarray(bounded(jnp.asarray(changes), EPSILON))
    for change, scaled in zip(changes, found, strict=True):
        total = 0.0
        for value in scaled.ravel():
            total += abs(value)
        # What keeps the division finite shows in the smallest change, of 1e-2.
        assert total / scaled.size == pytest.approx(EPSILON, rel=2e-4)
        np.testing.assert_allclose(scaled / change, scaled[0, 0, 0] / change[0, 0, 0], rtol=1e-12)


def test_an_image_of_two_pixels_bounded_by_hand(x64):
    change = jnp.array([3.0, -1.0]).reshape(1, 1, 2, 1)
    found = np.asarray(bounded(change, 0.1)).ravel()
    np.testing.assert_allclose(found, [0.15, -0.05], rtol=1e-6)  # a mean of 2 becomes 0.1


def test_no_change_stays_none_with_a_finite_gradient():
    none = jnp.zeros((2, 4, 4, 3))

    @jax.value_and_grad
    def distance_to_one(change: jax.Array) -> jax.Array:
        return jnp.sum((bounded(change, EPSILON) - 1) ** 2)

    value, gradient = distance_to_one(none)
    np.testing.assert_array_equal(bounded(none, EPSILON), 0)
    assert value == none.size
    assert np.isfinite(gradient).all()
    assert (gradient < 0).all()


def test_the_gradient_of_a_bounded_change_is_that_of_small_differences(x64):
    change = jnp.asarray(random_changes()[1:2])
    weights = np.random.default_rng(1).normal(size=change.shape)

    def weighted(change: jax.Array) -> jax.Array:
        return jnp.sum(weights * bounded(change, EPSILON))

    gradient = jax.grad(weighted)(change)
    for place in [(0, 0, 0, 0), (0, 5, 4, 2), (0, 2, 3, 1)]:
        step = np.zeros(change.shape)
        step[place] = 1e-6
        difference = weighted(change + step) - weighted(change - step)
        assert gradient[place] == pytest.approx(float(difference) / 2e-6, rel=1e-5)


def test_a_lens_with_a_bound_starts_as_the_identity_and_keeps_to_it_while_it_learns():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(-1, 1, (3, 8, 8, 3)), jnp.float32)
    goal = jnp.asarray(rng.uniform(-1, 1, (3, 8, 8, 3)), jnp.float32)
    lens, optimizer = UNet((8, 8), epsilon=EPSILON), optax.adam(1e-2)
    params = jax.jit(lens.init)(jax.random.key(0), images)
    state = optimizer.init(params)
    apply = jax.jit(lens.apply)
    np.testing.assert_array_equal(apply(params, images), images)

    @jax.value_and_grad
    def distance(params: Any) -> jax.Array:
        return jnp.mean((lens.apply(params, images) - goal) ** 2)

    @jax.jit
    def learn(params: Any, state: Any) -> tuple[jax.Array, Any, Any]:
        loss, gradient = distance(params)
        updates, state = optimizer.update(gradient, state)
        return loss, optax.apply_updates(params, updates), state

    losses = []
    for _ in range(20):
        loss, params, state = learn(params, state)
        losses.append(float(loss))
        changes = abs(apply(params, images) - images)
        np.testing.assert_allclose(changes.mean(axis=(1, 2, 3)), EPSILON, rtol=1e-3)
    assert losses[-1] < losses[1] < losses[0]


@pytest.mark.parametrize(
    ("penalty", "reconstruction", "expected"),
    [
        (100.0, 0.01, 100.0),  # on target
        (100.0, 0.015, 100 * math.exp(0.01)),  # half above it
        (100.0, 0.0075, 100 * math.exp(-0.005)),  # a quarter below it
        (100.0, 0.0, 100 * math.exp(-0.02)),
        (100.0, 0.02, 100 * math.exp(0.02)),
        (100.0, 5.0, 100 * math.exp(0.02)),  # no faster, however far above
        (RANGE[1], 5.0, RANGE[1]),
        (RANGE[0], 0.0, RANGE[0]),
        (0.0, 0.0, RANGE[0]),  # a penalty of zero could never grow
    ],
)
def test_a_penalty_steered_by_hand(x64, penalty: float, reconstruction: float, expected: float):
    assert RATE == 0.02
    assert float(steered(jnp.float64(penalty), jnp.float64(reconstruction), 0.01)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("start", [0.01, 1e5])
def test_steered_finds_the_penalty_under_which_a_known_lens_holds_the_target(x64, start: float):
    penalty = jnp.float64(start)
    step = jax.jit(lambda penalty: steered(penalty, 1 / (1 + penalty), 0.01))  # on target at 99
    for _ in range(1000):
        penalty = step(penalty)
    assert float(penalty) == pytest.approx(99, rel=1e-3)
