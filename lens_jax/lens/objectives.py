"""What the lens is trained for: the adversarial objectives.

Each maps (loss, logits, targets) of the *lensed* images to the scalar L_adv that the lens
minimizes; L_lens = L_adv + lambda * mean over pixels of (x - L(x))^2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lens_jax.errors import UserError, check_choice

OBJECTIVES = ("full", "least_likely", "confusion", "reconstruction")


def make_objective(
    name: str, has_classes: bool
) -> Callable[[jax.Array, jax.Array | None], jax.Array]:
    """The objective `name` as a function (pretext loss on lensed images, their logits) -> L_adv.

    - full: -L_pretext (Minderer et al., 2020).
    - least_likely: cross-entropy towards the class that the extractor now finds least likely
      (Minderer et al., 2020), the choice of the class under stop_gradient.
    - confusion: cross-entropy towards the uniform distribution (ours); its optimum is an image
      that says nothing about the label.
    - reconstruction: 0, a lens without an adversary, to compare with. Ours starts as the identity,
      where its loss has no slope.

    Raises `UserError` for an unknown name, or when the task has no classes and `name` needs them.
    """
    check_choice("objective", name, OBJECTIVES)
    if name in ("least_likely", "confusion") and not has_classes:
        raise UserError(
            f"objective {name!r} needs a task with classes: choose full, or another task"
        )
    return {
        "full": _full,
        "least_likely": _least_likely,
        "confusion": _confusion,
        "reconstruction": _reconstruction,
    }[name]


def _full(pretext_loss: jax.Array, logits: jax.Array | None) -> jax.Array:
    del logits
    return -pretext_loss


def _least_likely(pretext_loss: jax.Array, logits: jax.Array) -> jax.Array:
    del pretext_loss
    target = jnp.argmin(jax.lax.stop_gradient(logits), axis=-1)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, target))


def _confusion(pretext_loss: jax.Array, logits: jax.Array) -> jax.Array:
    del pretext_loss
    return -jnp.mean(jax.nn.log_softmax(logits))


def _reconstruction(pretext_loss: jax.Array, logits: jax.Array | None) -> jax.Array:
    del logits
    return jnp.zeros_like(pretext_loss)
