"""What the lens is trained for: the adversarial objectives.

Each maps the pretext loss on the *lensed* inputs and their logits to the scalar L_adv that the lens
minimizes; L_lens = L_adv + lambda * mean over pixels of (x - L(x))^2. Logits are over what each row
chooses from, [N, K]: the classes, or the embeddings among which a contrastive method finds that of
the same image. They are -inf where there is no choice.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lens_jax.errors import UserError, check_choice

Objective = Callable[[jax.Array, jax.Array | None], jax.Array]


def make_objective(name: str, has_logits: bool) -> Objective:
    """The objective `name` as a function (pretext loss on lensed inputs, their logits) -> L_adv.

    Raises `UserError` for an unknown name, or when the task has no logits and `name` needs them.
    """
    check_choice("objective", name, tuple(OBJECTIVES))
    if name in NEED_LOGITS and not has_logits:
        raise UserError(
            f"objective {name!r} needs a task that chooses among classes or other images, which "
            "this one does not: choose full, or another task"
        )
    return OBJECTIVES[name]


def full(pretext_loss: jax.Array, logits: jax.Array | None) -> jax.Array:
    """-L_pretext (Minderer et al., 2020, arXiv 2002.08822)."""
    del logits
    return -pretext_loss


def least_likely(pretext_loss: jax.Array, logits: jax.Array) -> jax.Array:
    """Cross-entropy towards the class that the extractor now finds least likely (ibid.).

    No gradient flows through the choice of the class. Among other images, it is the least similar.
    """
    del pretext_loss
    candidates = ~jnp.isneginf(logits)
    of_candidates = jnp.where(candidates, logits, jnp.inf)
    labels = jnp.argmin(jax.lax.stop_gradient(of_candidates), axis=-1)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def confusion(pretext_loss: jax.Array, logits: jax.Array) -> jax.Array:
    """Cross-entropy towards the uniform distribution over the K classes, -1/K sum of log p_k.

    Its optimum is an input that tells nothing about the label. The loss is the confusion loss of
    domain adaptation (Tzeng et al., 2015, arXiv 1510.02192), where it makes domains alike. Among
    other images, all are to be as similar as the one of the same image, and no further off, where
    `full` goes on to drive the two apart.
    """
    del pretext_loss
    candidates = ~jnp.isneginf(logits)
    log_probabilities = jax.nn.log_softmax(logits)
    of_rows = jnp.mean(log_probabilities, axis=-1, where=candidates)
    return -jnp.mean(of_rows)


def reconstruction(pretext_loss: jax.Array, logits: jax.Array | None) -> jax.Array:
    """0: a lens without an adversary, to compare with.

    Ours starts as the identity, where the gradient of what remains is 0.
    """
    del logits
    return jnp.zeros_like(pretext_loss)


OBJECTIVES: dict[str, Objective] = {
    "full": full,
    "least_likely": least_likely,
    "confusion": confusion,
    "reconstruction": reconstruction,
}
NEED_LOGITS = ("least_likely", "confusion")
