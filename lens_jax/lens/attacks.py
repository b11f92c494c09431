"""What the lens is compared with: perturbations of a given size, found anew for every batch.

All keep every pixel within `epsilon` of the image's, and within [-1, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

ATTACKS = ("random", "fgsm", "pgd")
Slope = Callable[[jax.Array], jax.Array]


def attack(
    kind: str, key: jax.Array, slope: Slope, images: jax.Array, epsilon: float, steps: int
) -> jax.Array:
    """Images [N, h, w, 3] in [-1, 1] perturbed by the attack `kind`, one of `ATTACKS`; `steps` are PGD's."""
    if kind == "random":
        return random_signs(key, images, epsilon)
    return (
        fgsm(slope, images, epsilon) if kind == "fgsm" else pgd(key, slope, images, epsilon, steps)
    )


def random_signs(key: jax.Array, images: jax.Array, epsilon: float) -> jax.Array:
    """X + epsilon * s with independent random signs s: the size of an attack without its aim."""
    signs = jax.random.rademacher(key, images.shape, images.dtype)
    return jnp.clip(images + epsilon * signs, -1, 1)


def fgsm(slope: Slope, images: jax.Array, epsilon: float) -> jax.Array:
    """X - epsilon * sign(slope(x)), where `slope` is the gradient of L_adv (Goodfellow et al., 2015)."""
    return jnp.clip(images - epsilon * jnp.sign(slope(images)), -1, 1)


def pgd(key: jax.Array, slope: Slope, images: jax.Array, epsilon: float, steps: int) -> jax.Array:
    """Projected descent on L_adv by signs, from a random start (Madry et al., 2018, arXiv
    1706.06083).

    Each of the `steps` is of size 2.5 * epsilon / steps, so that the bound can be reached from any
    start.
    """
    low, high = jnp.maximum(images - epsilon, -1), jnp.minimum(images + epsilon, 1)

    x = jnp.clip(
        images + epsilon * jax.random.uniform(key, images.shape, images.dtype, -1, 1), low, high
    )
    # Not a fori_loop: in one, XLA's convolutions on a CPU are four times slower.
    for _ in range(steps):
        x = jnp.clip(x - 2.5 * epsilon / steps * jnp.sign(slope(x)), low, high)
    return x
