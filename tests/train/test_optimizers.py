import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, learning_rate, lens_optimizer

CLOCK = Clock(
    batch_size=512, epoch_size=5120, total_steps=110
)  # twice the batch that the rate is for


def rates(config, steps: list[int], clock: Clock = CLOCK) -> list[float]:
    schedule = learning_rate(config, clock)
    return [float(schedule(step)) for step in steps]


def test_the_cosine_starts_from_zero_through_the_warm_up_and_ends_at_zero(tiny_config):
    config = tiny_config({"optimizer.learning_rate": 0.1, "optimizer.warmup": "10 steps"})
    found = rates(config, [0, 5, 10, 35, 60, 110])
    expected = [0, 0.1, 0.2, 0.1 * (1 + np.sqrt(0.5)), 0.1, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_without_a_warm_up_the_first_step_has_the_peak(tiny_config):
    config = tiny_config({"optimizer.learning_rate": 0.1})
    np.testing.assert_allclose(rates(config, [0, 55, 110]), [0.2, 0.1, 0], rtol=1e-5, atol=1e-8)


def test_the_step_schedule_drops_to_a_tenth_at_each_of_its_times(tiny_config):
    config = tiny_config(
        {
            "optimizer.schedule": "step",
            "optimizer.warmup": "1 epochs",
            "optimizer.decay_at": ("3 epochs", "50 percent"),
        }
    )
    found = rates(config, [0, 5, 10, 29, 30, 54, 55, 110])
    np.testing.assert_allclose(
        found, [0, 0.1, 0.2, 0.2, 0.02, 0.02, 0.002, 0.002], rtol=1e-5, atol=1e-8
    )


def test_the_constant_schedule_stays_at_the_peak_however_long_the_training(tiny_config):
    config = tiny_config({"optimizer.schedule": "constant", "optimizer.warmup": "10 steps"})
    for total in (20, 1000):
        clock = CLOCK._replace(total_steps=total)
        found = rates(config, [0, 5, 10, 19, 999], clock)
        np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.2, 0.2], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("batch_size", [64, 256, 1024])
def test_the_rate_is_proportional_to_the_batch(tiny_config, batch_size: int):
    config = tiny_config({"optimizer.learning_rate": 0.3})
    found = rates(config, [0], Clock(batch_size, 1024, 100))
    np.testing.assert_allclose(found, [0.3 * batch_size / 256], rtol=1e-6)


def test_weight_decay_pulls_on_kernels_only_and_on_those_of_the_head_by_a_weight_of_its_own(
    tiny_config,
):
    config = tiny_config(
        {
            "optimizer.weight_decay": 0.01,
            "optimizer.head_weight_decay": 0.03,
            "optimizer.learning_rate": 0.5,
        }
    )
    layer = {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0), "scale": jnp.full(3, 2.0)}
    params = {"extractor": {"Conv_0": layer}, "head": {"Dense_0": layer}}
    optimizer = extractor_optimizer(config, Clock(256, 2560, 100))
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    for found, decay in (
        (updates["extractor"]["Conv_0"], 0.01),
        (updates["head"]["Dense_0"], 0.03),
    ):
        np.testing.assert_allclose(found["kernel"], -0.5 * decay * 2, rtol=1e-6)
        np.testing.assert_array_equal(found["bias"], 0)
        np.testing.assert_array_equal(found["scale"], 0)


@pytest.mark.parametrize(("part", "decay"), [("extractor", 0.02), ("head", 0.3)])
def test_the_network_moves_as_sgd_with_momentum_worked_out_by_hand(
    x64, tiny_config, part: str, decay: float
):
    config = tiny_config(
        {
            "optimizer.weight_decay": 0.02,
            "optimizer.head_weight_decay": 0.3,
            "optimizer.momentum": 0.8,
        }
    )
    optimizer = extractor_optimizer(config, Clock(256, 2560, 8))
    rng = np.random.default_rng(0)
    kernel, velocity = rng.normal(size=(3, 2)), np.zeros((3, 2))
    params = {part: {"kernel": jnp.asarray(kernel)}}
    state = optimizer.init(params)
    for step in range(8):
        gradient = rng.normal(size=(3, 2))
        velocity = 0.8 * velocity + gradient + decay * kernel
        kernel = kernel - 0.1 * (1 + np.cos(np.pi * step / 8)) / 2 * velocity
        updates, state = optimizer.update({part: {"kernel": jnp.asarray(gradient)}}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params[part]["kernel"], kernel, rtol=1e-6)


def test_the_lens_moves_as_adam_worked_out_by_hand_at_a_rate_of_its_own(x64, tiny_config):
    config = tiny_config({"lens.learning_rate": 0.01, "data.batch_size": 512})
    optimizer = lens_optimizer(config)
    rng = np.random.default_rng(0)
    kernel, mean, square = rng.normal(size=4), np.zeros(4), np.zeros(4)
    params = {"kernel": jnp.asarray(kernel)}
    state = optimizer.init(params)
    for step in range(1, 6):
        gradient = rng.normal(size=4)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        kernel = kernel - 0.01 * (mean / (1 - 0.9**step)) / (
            np.sqrt(square / (1 - 0.999**step)) + 1e-8
        )
        updates, state = optimizer.update({"kernel": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["kernel"], kernel, rtol=1e-6)


def test_the_lens_moves_at_every_third_step_as_if_there_were_no_others(x64, tiny_config):
    optimizer = lens_optimizer(tiny_config({"lens.update_every": 3}))
    adam = lens_optimizer(tiny_config({"lens.update_every": 1}))
    params = expected = jnp.asarray(np.random.default_rng(0).normal(size=4))
    state, adam_state = optimizer.init(params), adam.init(params)
    for step in range(7):
        gradient = jnp.full(4, 0.5 + step)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        if step % 3 == 0:
            updates, adam_state = adam.update(gradient, adam_state, expected)
            expected = optax.apply_updates(expected, updates)
        np.testing.assert_allclose(params, expected, rtol=1e-12)
