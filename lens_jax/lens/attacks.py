"""What the lens is compared with: perturbations of a given size, found anew for every batch.

All keep every pixel within `epsilon` of the image's, and within [-1, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

ATTACKS = ("random", "fgsm", "pgd")

# Images [N, h, w, 3] -> the gradient of L_adv with respect to them.
Gradient = Callable[[jax.Array], jax.Array]


def attack(
    kind: str,
    key: jax.Array,
    gradient: Gradient,
    images: jax.Array,
    epsilon: float,
    steps: int,
) -> jax.Array:
    """Perturbs images [N, h, w, 3] in [-1, 1] by the attack `kind`, one of `ATTACKS`.

    `steps` are those of "pgd".
    """
    if kind == "random":
        return random_signs(key, images, epsilon)
    if kind == "fgsm":
        return fgsm(gradient, images, epsilon)
    return pgd(key, gradient, images, epsilon, steps)


def random_signs(key: jax.Array, images: jax.Array, epsilon: float) -> jax.Array:
    """X + epsilon * s with independent random signs s: the size of an attack without its aim."""
    signs = jax.random.rademacher(key, images.shape, images.dtype)
    perturbed = images + epsilon * signs
    return jnp.clip(perturbed, -1, 1)


def fgsm(gradient: Gradient, images: jax.Array, epsilon: float) -> jax.Array:
    """X - epsilon * sign(gradient of L_adv) (Goodfellow et al., 2015, arXiv 1412.6572)."""
    signs = jnp.sign(gradient(images))
    perturbed = images - epsilon * signs
    return jnp.clip(perturbed, -1, 1)


def pgd(
    key: jax.Array,
    gradient: Gradient,
    images: jax.Array,
    epsilon: float,
    steps: int,
) -> jax.Array:
    """Projected gradient descent on L_adv from a random start (Madry et al., 2018, 1706.06083).

    Each of the `steps` moves every pixel by 2.5 * epsilon / steps along the gradient's sign: the
    bound can be reached from any start.
    """
    low = jnp.maximum(images - epsilon, -1)
    high = jnp.minimum(images + epsilon, 1)
    step_size = 2.5 * epsilon / steps

    noise = jax.random.uniform(key, images.shape, images.dtype, -1, 1)
    x = images + epsilon * noise
    x = jnp.clip(x, low, high)
    # Not a fori_loop: in one, XLA's convolutions on a CPU are four times slower.
    for _ in range(steps):
        signs = jnp.sign(gradient(x))
        x = x - step_size * signs
        x = jnp.clip(x, low, high)
    return x
