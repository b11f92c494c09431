"""A linear classifier that learns beside the network, on features that no gradient reaches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

_ADAM = optax.scale_by_adam()
_LEAST_VARIANCE = 1e-5


class Probe(NamedTuple):
    """The classifier: one logit a class, from the features of an image.

    It learns by Adam at a learning rate of 1 / f, for f features of standard deviation 1: a step
    changes a logit by 1 or less, however many features there are.

    Attributes:
      classes: number of classes; labels below 0 say that an image has none.

    """

    classes: int

    def init(self, size: int) -> dict[str, Any]:
        """What is kept of it in a `TrainState`, for features [N, size].

        Zeros will do: the loss is convex.
        """
        kernel = jnp.zeros((size, self.classes))
        bias = jnp.zeros(self.classes)
        params = {"kernel": kernel, "bias": bias}
        return {"params": params, "opt_state": _ADAM.init(params)}

    def gradient(
        self, params: Any, features: jax.Array, labels: jax.Array
    ) -> tuple[Any, jax.Array]:
        """The gradient of the mean cross-entropy, and the accuracy before the update.

        Both over the images that have a label; zeros where none has. Nothing flows back through the
        features.

        Args:
          params: of the classifier.
          features: [N, f].
          labels: int [N].

        """
        features = jax.lax.stop_gradient(features)
        inputs = standardize(features)

        def loss(params: Any) -> tuple[jax.Array, jax.Array]:
            logits = apply(params, inputs)
            value = cross_entropy(logits, labels)
            return value, accuracy(logits, labels)

        differentiate = jax.grad(loss, has_aux=True)
        return differentiate(params)

    def update(self, state: dict[str, Any], gradient: Any) -> dict[str, Any]:
        """What is kept of it after a step with this gradient."""
        params = state["params"]
        updates, opt_state = _ADAM.update(gradient, state["opt_state"])

        # Wider features add up to larger logits.
        learning_rate = 1 / len(params["kernel"])
        steps = optax.tree_utils.tree_scale(-learning_rate, updates)
        params = optax.apply_updates(params, steps)
        return {"params": params, "opt_state": opt_state}


def make_probe(num_classes: int) -> Probe | None:
    """The probe for data with so many classes; None where there is nothing to tell apart."""
    if num_classes < 2:
        return None
    return Probe(num_classes)


def standardize(features: jax.Array) -> jax.Array:
    """Each column of [N, f] with mean 0 and, unless it is constant, standard deviation 1.

    The statistics are those of these very rows: there is nothing to keep for evaluation.
    """
    mean = jnp.mean(features, axis=0)
    variance = jnp.var(features, axis=0)
    scale = jax.lax.rsqrt(variance + _LEAST_VARIANCE)
    return (features - mean) * scale


def apply(params: Any, inputs: jax.Array) -> jax.Array:
    """The logits [N, classes] of standardized features [N, f]."""
    kernel = params["kernel"]
    bias = params["bias"]
    return inputs @ kernel + bias


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean cross-entropy of logits [N, classes] and int labels [N].

    Rows with a label below 0 do not count; 0 where all are such.
    """
    labeled = labels >= 0
    # Of class 0 where there is none.
    targets = jnp.maximum(labels, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    total = jnp.sum(losses * labeled)
    return total / _count(labeled)


def accuracy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """The fraction of rows whose highest score, of [N, classes], is that of their label.

    Rows with a label below 0 do not count; 0 where all are such.
    """
    best = jnp.argmax(scores, axis=-1)
    hits = jnp.sum(best == labels, dtype=scores.dtype)
    return hits / _count(labels >= 0)


def _count(labeled: jax.Array) -> jax.Array:
    """How many rows count, and 1 where none does."""
    count = jnp.sum(labeled)
    return jnp.maximum(count, 1)
