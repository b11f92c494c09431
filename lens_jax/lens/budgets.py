"""How much the lens may change: a penalty, a penalty steered to hold a target, or a hard bound."""

import jax
import jax.numpy as jnp

BUDGETS = ("penalty", "target", "bound")

# The most that log(lambda) changes in a step, and where lambda stays.
RATE = 0.02
RANGE = (1e-3, 1e6)
# Keeps the division finite where nothing was changed.
TINY = 1e-6


def bounded(change: jax.Array, epsilon: float) -> jax.Array:
    """Scales the change of each image [N, h, w, C] to a mean absolute value of `epsilon`.

    The bound of viewmaker networks (Tamkin et al., 2021, arXiv 2010.07432), without their tanh,
    which would keep the lens from spending all of its budget on a few pixels. No change stays no
    change.
    """
    size = jnp.abs(change)
    mean = jnp.mean(size, axis=(1, 2, 3), keepdims=True)
    scale = epsilon / (mean + TINY)
    return change * scale


def steered(
    penalty: jax.Array,
    reconstruction: jax.Array,
    target: float,
) -> jax.Array:
    """One step of dual ascent on log(lambda) towards reconstruction = target (ours).

    lambda <- lambda * exp(RATE * clip(reconstruction / target - 1, -1, 1)): it grows while the lens
    changes more than the target, by 2 % a step at most, and shrinks while it changes less.
    """
    excess = reconstruction / target - 1
    excess = jnp.clip(excess, -1, 1)
    penalty = penalty * jnp.exp(RATE * excess)
    return jnp.clip(penalty, *RANGE)
