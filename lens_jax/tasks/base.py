"""What a task is: a few pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

Batch = dict[str, jax.Array]
Augment = Callable[[jax.Array], jax.Array]


class Views(NamedTuple):
    """What the extractor is asked about the B images of a batch.

    Every array's leading axis is a multiple of B, with all that belongs to an image side by side,
    so that a share of the images is a slice of each.

    Attributes:
      inputs: images [N, h, w, 3] in [-1, 1] for the extractor.
      targets: a pytree of what the loss compares the head's outputs with.
      arrangement: a pytree of what the head must know beside the features, None for most tasks.

    """

    inputs: jax.Array
    targets: Any
    arrangement: Any = None


class Loss(NamedTuple):
    """A scalar loss, scalar metrics by name, and what the task remembers for the next step."""

    value: jax.Array
    metrics: dict[str, jax.Array]
    memory: Any


class Task(Protocol):
    """A pretext task (or the supervised reference), a frozen dataclass."""

    @property
    def has_classes(self) -> bool:
        """Whether `logits` gives class logits; the objectives that need classes ask."""

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """Images [B, h, w, 3] in [-1, 1] under "image", labels [B] under "label" -> what is asked.

        `augment` flips and colors any number of images at random. It is None in evaluation, where
        nothing is drawn at random.
        """

    def crops(self, images: jax.Array) -> jax.Array:
        """Images [B, h, w, 3] -> [k * B, ...], the inputs whose mean features represent each image."""

    def head(self, dtype: Any) -> nn.Module:
        """The module (features [N, f], arrangement, train) -> outputs."""

    def loss(self, outputs: jax.Array, targets: Any, memory: Any) -> Loss:
        """Outputs of the head and targets -> loss."""

    def logits(self, outputs: jax.Array) -> jax.Array | None:
        """Outputs of the head -> class logits [N, classes], or None for a task without classes."""


def classification_loss(logits: jax.Array, labels: jax.Array, memory: Any) -> Loss:
    """Mean softmax cross-entropy, with accuracy: logits [N, classes], int labels [N]."""
    value = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
    accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == labels, dtype=value.dtype)
    return Loss(value, {"accuracy": accuracy}, memory)
