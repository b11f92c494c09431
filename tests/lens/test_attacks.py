from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.lens.attacks import ATTACKS, attack, fgsm, pgd, random_signs
from lens_jax.lens.objectives import make_objective

EPSILON = 0.1


def random_images(seed: int = 0, limit: float = 1.0) -> jax.Array:
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(-limit, limit, (4, 6, 6, 3)))


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


@pytest.fixture
def linear(x64) -> tuple:
    """The gradient of `full` on the cross-entropy of a linear model, its weights and labels."""
    rng = np.random.default_rng(1)
    weights, labels = rng.normal(size=(108, 5)), rng.integers(0, 5, 4)
    objective = make_objective("full", has_logits=True)

    def adversarial(images: jax.Array) -> jax.Array:
        logits = images.reshape(4, -1) @ weights
        logarithms = jax.nn.log_softmax(logits)
        loss = -jnp.mean(logarithms[jnp.arange(4), labels])
        return objective(loss, logits)

    return jax.grad(adversarial), weights, labels


def uphill_by_hand(images: jax.Array, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """In which direction each pixel raises the cross-entropy of softmax(x W): (p - onehot) W^T."""
    signs = np.zeros(images.shape)
    for i, image in enumerate(np.asarray(images)):
        errors = softmax(image.ravel() @ weights)
        errors[labels[i]] -= 1
        signs[i] = np.sign(weights @ errors).reshape(image.shape)
    return signs


def test_fgsm_moves_every_pixel_by_epsilon_up_the_gradient_of_the_pretext_loss(linear):
    gradient, weights, labels = linear
    images = random_images(limit=0.8)
    expected = np.asarray(images) + EPSILON * uphill_by_hand(images, weights, labels)
    np.testing.assert_allclose(fgsm(gradient, images, EPSILON), expected, rtol=0, atol=1e-15)


def test_fgsm_stays_among_the_colors_there_are(linear):
    gradient, weights, labels = linear
    images = random_images()
    moved = np.asarray(images) + EPSILON * uphill_by_hand(images, weights, labels)
    assert (abs(moved) > 1).any()
    found = fgsm(gradient, images, EPSILON)
    np.testing.assert_allclose(found, np.clip(moved, -1, 1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_where_the_gradient_is_constant_pgd_ends_on_the_corner_whatever_its_start(x64, steps: int):
    images = random_images()
    gradient = random_images(seed=1)
    expected = np.clip(images - EPSILON * np.sign(gradient), -1, 1)
    for seed in range(3):
        found = pgd(jax.random.key(seed), lambda x: gradient, images, EPSILON, steps)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def test_pgd_is_descent_by_signs_cut_back_to_the_ball(x64):
    images, key = random_images(), jax.random.key(3)
    target = np.asarray(random_images(seed=5))
    found = pgd(key, lambda x: x - target, images, EPSILON, 4)

    noise = jax.random.uniform(key, images.shape, images.dtype, -1, 1)
    x = np.clip(images + EPSILON * noise, -1, 1)
    x, originals = np.array(x), np.asarray(images)
    for _ in range(4):
        for place in np.ndindex(x.shape):
            uphill = np.sign(x[place] - target[place])
            moved = x[place] - 2.5 * EPSILON / 4 * uphill
            low = max(originals[place] - EPSILON, -1)
            high = min(originals[place] + EPSILON, 1)
            x[place] = min(max(moved, low), high)
    np.testing.assert_allclose(found, x, rtol=0, atol=1e-15)


def test_without_a_gradient_pgd_stays_at_its_random_start_in_the_ball(x64):
    images = random_images(limit=0.8)
    one = pgd(jax.random.key(0), jnp.zeros_like, images, EPSILON, 5) - images
    other = pgd(jax.random.key(1), jnp.zeros_like, images, EPSILON, 5) - images
    assert abs(one).max() <= EPSILON
    assert (one != other).all()
    np.testing.assert_allclose(jnp.mean(abs(one)), EPSILON / 2, rtol=0.15)


def test_random_signs_move_every_pixel_by_epsilon_up_or_down_alike(x64):
    images = jnp.zeros((8, 16, 16, 3))
    signs = np.asarray(random_signs(jax.random.key(0), images, EPSILON)) / EPSILON
    np.testing.assert_allclose(abs(signs), 1, rtol=1e-12)

    # Four standard deviations of the mean of that many signs.
    most = 4 / np.sqrt(16 * 16 * 3)
    assert abs(signs.mean(axis=(1, 2, 3))).max() < most
    correlations = np.corrcoef(signs.reshape(8, -1)) - np.eye(8)
    assert abs(correlations).max() < most

    other = np.asarray(random_signs(jax.random.key(1), images, EPSILON)) / EPSILON
    assert 0.4 < (signs != other).mean() < 0.6


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_stays_in_the_ball_and_among_the_colors_there_are(x64, kind: str):
    images = random_images()
    found = attack(kind, jax.random.key(0), jnp.cos, images, EPSILON, 5)
    assert 0 < abs(found - images).max() <= EPSILON + 1e-15
    assert abs(found).max() <= 1


class Tiny(nn.Module):
    """A convolution and a linear layer."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        x = nn.tanh(nn.Conv(8, (3, 3))(images))
        return nn.Dense(5)(x.reshape(len(x), -1))


def test_aimed_attacks_raise_the_loss_of_a_network_and_the_iterated_one_the_most():
    images, labels = random_images(limit=0.8).astype(jnp.float32), jnp.array([0, 1, 2, 3])
    model, key = Tiny(), jax.random.key(2)
    variables = model.init(key, images)

    def loss(images: jax.Array) -> jax.Array:
        logarithms = jax.nn.log_softmax(model.apply(variables, images))
        return -jnp.mean(logarithms[jnp.arange(4), labels])

    gradient = jax.grad(lambda x: -loss(x))
    raised = {}
    for kind in ATTACKS:
        perturbed = attack(kind, key, gradient, images, EPSILON, 20)
        raised[kind] = loss(perturbed) - loss(images)
    assert raised["pgd"] >= raised["fgsm"] > 5 * abs(raised["random"])


def test_attacks_can_be_jitted_and_keep_float32():
    images = random_images().astype(jnp.float32)
    for kind in ATTACKS:
        run = jax.jit(partial(attack, kind, gradient=jnp.cos, epsilon=EPSILON, steps=3))
        found = run(jax.random.key(0), images=images)
        assert found.dtype == jnp.float32
        expected = attack(kind, jax.random.key(0), jnp.cos, images, EPSILON, 3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
