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


def lars_config(tiny_config, changes: dict | None = None):
    settings = {
        "optimizer.name": "lars",
        "optimizer.learning_rate": 2.0,
        "optimizer.weight_decay": 0.02,
        "optimizer.head_weight_decay": 0.3,
        "optimizer.momentum": 0.8,
        "optimizer.trust_coefficient": 0.05,
    }
    return tiny_config(settings | (changes or {}))


def network_parameters(rng: np.random.Generator) -> dict:
    """Parameters as those of our networks: [h, w, in, out] and [in, out] kernels, and vectors."""
    return {
        "extractor": {
            "Conv_0": {"kernel": rng.normal(size=(2, 2, 3, 2))},
            "BatchNorm_0": {"scale": rng.normal(size=2), "bias": rng.normal(size=2)},
        },
        "head": {"Dense_0": {"kernel": rng.normal(size=(2, 3)), "bias": rng.normal(size=3)}},
    }


def norm_of(numbers: np.ndarray) -> float:
    total = 0.0
    for number in numbers.ravel():
        total += number**2
    return total**0.5


@pytest.mark.parametrize("bias_factor", [1.0, 0.25])
def test_lars_scales_each_kernel_by_its_trust_ratio_and_leaves_vectors_out(
    x64, tiny_config, bias_factor: float
):
    config = lars_config(tiny_config, {"optimizer.bias_factor": bias_factor})
    optimizer = extractor_optimizer(config, Clock(256, 2560, 6))
    rng = np.random.default_rng(0)
    params = network_parameters(rng)
    expected = dict(jax.tree_util.tree_leaves_with_path(params))
    velocities = {path: np.zeros_like(leaf) for path, leaf in expected.items()}
    state = optimizer.init(params)
    for step in range(6):
        gradients = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        rate = 2.0 * (1 + np.cos(np.pi * step / 6)) / 2
        for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
            weights = expected[path]
            if "kernel" in str(path):
                decay = 0.02 if "extractor" in str(path) else 0.3
                gradient = gradient + decay * weights
                scale = rate * 0.05 * norm_of(weights) / norm_of(gradient)
            else:
                scale = rate * bias_factor
            velocities[path] = 0.8 * velocities[path] + scale * gradient
            expected[path] = weights - velocities[path]
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params):
            np.testing.assert_allclose(leaf, expected[path], rtol=1e-6, err_msg=str(path))


def test_a_kernel_of_zeros_moves_by_the_plain_gradient(x64, tiny_config):
    config = lars_config(tiny_config, {"optimizer.learning_rate": 0.5})
    optimizer = extractor_optimizer(config, Clock(256, 2560, 100))
    params = {"extractor": {"kernel": jnp.zeros((2, 2))}}
    gradients = {"extractor": {"kernel": jnp.full((2, 2), 3.0)}}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    np.testing.assert_allclose(updates["extractor"]["kernel"], -1.5, rtol=1e-9)


def test_biases_have_a_learning_rate_of_their_own(tiny_config):
    config = tiny_config({"optimizer.bias_factor": 0.024, "optimizer.learning_rate": 0.2})
    params = network_parameters(np.random.default_rng(0))
    optimizer = extractor_optimizer(config, Clock(256, 2560, 100))
    ones = jax.tree.map(jnp.ones_like, params)
    decay = {"optimizer.weight_decay": 0.0, "optimizer.head_weight_decay": 0.0}
    plain = extractor_optimizer(tiny_config(decay | {"optimizer.learning_rate": 0.2}), CLOCK)
    updates, _ = optimizer.update(ones, optimizer.init(params), params)
    # 0.2 x 0.024: that of Barlow Twins for 256 images.
    np.testing.assert_allclose(updates["head"]["Dense_0"]["bias"], -0.0048, rtol=1e-6)
    np.testing.assert_allclose(updates["extractor"]["BatchNorm_0"]["scale"], -0.0048, rtol=1e-6)
    updates, _ = plain.update(ones, plain.init(params), params)
    np.testing.assert_allclose(updates["head"]["Dense_0"]["bias"], -0.4, rtol=1e-6)


def test_with_lars_a_factor_of_the_loss_is_one_of_the_biases_learning_rate(x64, tiny_config):
    """So Barlow Twins' loss is multiplied by 0.024, or its biases' rate is, but not both."""
    no_decay = {"optimizer.weight_decay": 0.0, "optimizer.head_weight_decay": 0.0}
    rng = np.random.default_rng(0)
    params = network_parameters(rng)
    gradients = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
    small = jax.tree.map(lambda gradient: 0.024 * gradient, gradients)

    def move(gradients, bias_factor: float):
        config = lars_config(tiny_config, no_decay | {"optimizer.bias_factor": bias_factor})
        optimizer = extractor_optimizer(config, Clock(256, 2560, 6))
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        return updates

    scaled, plain = move(small, 1.0), move(gradients, 0.024)
    for one, other in zip(jax.tree.leaves(scaled), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(
    ("rate", "batch", "peak"),
    [
        (0.3, 4096, 4.8),  # SimCLR, ImageNet: also 0.075 sqrt(batch)
        (0.2, 4096, 3.2),  # BYOL, 1000 epochs
        (0.2, 2048, 1.6),  # Barlow Twins
        (0.03, 256, 0.03),  # MoCo v2
    ],
)
def test_published_rates_are_for_256_images(tiny_config, rate: float, batch: int, peak: float):
    config = tiny_config({"optimizer.learning_rate": rate, "optimizer.warmup": "10 epochs"})
    clock = Clock(batch, 1_281_167, 100_000)
    warmup = clock.steps("10 epochs")
    np.testing.assert_allclose(rates(config, [0, warmup], clock), [0, peak], rtol=1e-5)
