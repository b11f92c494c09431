"""What a task is: which views of a batch are made, which head reads them, and what it loses.

A method is one file with one frozen dataclass: three methods to write (`views`, `head`, `loss`),
and defaults for the rest. docs/adding_a_method.md walks through one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from lens_jax.errors import UserError
from lens_jax.models.network import Network
from lens_jax.ops.augment import Augmentation, Augmented

Batch = dict[str, jax.Array]


class DataFacts(NamedTuple):
    """What a task may need to know of its data set, and of how images are read and augmented.

    Attributes:
      num_classes: number of classes; 0 without labels.
      size: number of examples; `batch["index"]` lies in [0, size).
      image_size: side of the images, in pixels.
      augmentations: of the first view of an image, and of later ones.

    """

    num_classes: int
    size: int
    image_size: int = 0
    augmentations: tuple[Augmentation, ...] = ()


class Augment(Protocol):
    """Draws an augmentation for each image and applies it."""

    def __call__(self, images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        """Images [N, h, w, 3] in [-1, 1] -> [N, s, s, 3], and what was drawn, [N, P].

        Every `view` has its own settings and its own draws; calls with the same view draw the same.
        `size` is the side of the result; 0 keeps that of the images.
        """


class Views(NamedTuple):
    """Views of the B images of a batch.

    The views of an image lie side by side: some of the images are a slice of each array.

    Attributes:
      inputs: images [V * B, h, w, 3] in [-1, 1], V views of each image of the batch.
      labels: a pytree of what the loss compares the outputs with; leading axes are multiples of B.
      context: a pytree of what the head must know beside the features; likewise.

    """

    inputs: jax.Array
    labels: Any = None
    context: Any = None


class Outputs(NamedTuple):
    """Outputs of the head: pytrees whose leading axes are multiples of B.

    Attributes:
      online: of the network that is trained.
      target: of the target network, through which no gradient flows; None without one.

    """

    online: Any
    target: Any = None


class Target(NamedTuple):
    """A target network: the same network with averaged parameters.

    Attributes:
      views: which views of each image it sees.
      momentum: step -> the weight of the old average in the new one, in [0, 1].

    """

    views: tuple[int, ...]
    momentum: optax.Schedule


class Loss(NamedTuple):
    """What a task makes of the outputs of one step.

    Attributes:
      value: the loss, a scalar.
      metrics: scalars by name.
      memory: what the task remembers for the next step.
      logits: of what each row chooses from, [N, K]: classes, or the embeddings of other images;
        -inf where there is no choice. None for a task that chooses nothing.

    """

    value: jax.Array
    metrics: dict[str, jax.Array]
    memory: Any = ()
    logits: jax.Array | None = None


class Task:
    """A pretext task or a contrastive method; subclasses are frozen dataclasses.

    Attributes:
      has_logits: whether the loss gives logits, which some objectives of the lens need.
      online_views: which views of each image the trained network sees; None: all of them.
      shards_memory: whether the rows of what it remembers are divided over all devices, as is right
        for a memory that grows with the data; else it is sharded as parameters are.
      takes_pairs: whether views can be of two images each, see `views`.
      depends_on_duration: whether a longer training would have been another one from the start.
      validates: whether `validate` gives numbers, for whoever watches a training.

    """

    has_logits: ClassVar[bool] = False
    shards_memory: ClassVar[bool] = False
    takes_pairs: ClassVar[bool] = False
    depends_on_duration: ClassVar[bool] = False
    validates: ClassVar[bool] = False
    online_views: ClassVar[tuple[int, ...] | None] = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any], facts: DataFacts) -> "Task":
        """The task with these options of the config, on data of which `facts` are known."""
        del facts
        return cls(**options)

    # To be written for every task.

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """The views of a batch, a function of the key.

        The batch holds "image" [B, h, w, 3] in [-1, 1], "label" int [B] and "index" int [B]; and
        "partner", like "image", where it is of pairs. In evaluation `augment` is None, and nothing
        is drawn at random.
        """
        raise NotImplementedError

    def head(self, dtype: Any) -> nn.Module:
        """The module (features [N, f], context, train) -> outputs.

        With a target network it also has a method `target` with the same arguments.
        """
        raise NotImplementedError

    def loss(self, outputs: Outputs, labels: Any, memory: Any) -> Loss:
        """The loss of the outputs, and the memory after this step."""
        raise NotImplementedError

    # What has a default.

    def crops(self, images: jax.Array) -> jax.Array:
        """Images [B, h, w, 3] -> [k * B, ...], whose mean features represent each image."""
        return images

    def hits(self, outputs: Outputs, labels: Any) -> jax.Array | None:
        """Which rows are right, bool [N]: what evaluation averages as pretext accuracy.

        None where there is nothing to count.
        """
        return None

    def embeddings(self, outputs: Outputs) -> Sequence[jax.Array]:
        """The embeddings that the loss compares, for whoever watches a training.

        One array [B, f] for each view of an image, the first two of views that should be alike;
        none for a task that compares no embeddings.
        """
        return ()

    def validate(self, outputs: Outputs) -> Mapping[str, jax.Array]:
        """Numbers of each image, [B] by name, of the trained network's outputs for its views.

        Averaged over validation images: with views that are augmented as in training, and with
        each operation of the augmentation by itself.
        """
        return {}

    def target(self, total_steps: int) -> Target | None:
        """The target network in a training of `total_steps`; None: there is none."""
        return None

    def memory(self, key: jax.Array) -> Any:
        """What is remembered before the first step."""
        return ()

    def network(self, extractor: nn.Module, head: nn.Module, **options: Any) -> Network:
        """The network of an extractor and this task's head, with the options of `Network`."""
        return Network(extractor, head, **options)

    def tile(self, views: Any) -> Any:
        """Lays views [N, h, w, ...] out for pictures, [M, H, W, ...], NumPy or JAX arrays."""
        return views


class Classification(Task):
    """A task whose head gives one logit a class, and whose labels are class indices."""

    has_logits = True

    def hits(self, outputs: Outputs, labels: jax.Array) -> jax.Array:
        """Whether the largest logit is that of the label."""
        return jnp.argmax(outputs.online, axis=-1) == labels

    def loss(self, outputs: Outputs, labels: jax.Array, memory: Any) -> Loss:
        """Mean softmax cross-entropy, with accuracy: logits [N, classes], int labels [N]."""
        logits = outputs.online
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        value = jnp.mean(losses)
        accuracy = jnp.mean(self.hits(outputs, labels), dtype=value.dtype)
        return Loss(value, {"accuracy": accuracy}, memory, logits)


def check_option(name: str, value: Any, fine: bool, legal: str) -> None:
    """Raises `UserError` for the option `task.name` unless its value is `fine`."""
    if not fine:
        raise UserError(f"task.{name} is {value!r}: it must be {legal}")


def check_least(task: Task, least: float, *names: str) -> None:
    """Raises `UserError` for the first of the options of a task that is below `least`."""
    for name in names:
        value = getattr(task, name)
        check_option(name, value, value >= least, f"at least {least}")


def check_positive(task: Task, *names: str) -> None:
    """Raises `UserError` for the first of the options of a task that is not finite and above 0."""
    for name in names:
        value = getattr(task, name)
        check_option(name, value, 0 < value < math.inf, "greater than 0 and finite")


def check_weights(task: Task, *names: str) -> None:
    """Raises `UserError` for the first of the options of a task that is not in [0, 1]."""
    for name in names:
        value = getattr(task, name)
        check_option(name, value, 0 <= value <= 1, "between 0 and 1")


def check_area(task: Task, name: str) -> None:
    """Raises `UserError` unless an option of a task is two fractions of an image, in order."""
    pair = tuple(getattr(task, name))
    ordered = len(pair) == 2 and 0 < pair[0] <= pair[1] <= 1
    legal = "two fractions of the image in (0, 1], the smaller one first"
    check_option(name, pair, ordered, legal)


def check_side(size: int) -> None:
    """Raises `UserError` for an option `size` below 0, which stands for the side of the images."""
    check_option("size", size, size >= 0, "a number of pixels, or 0 for the images'")


def check_images(task: str, count: int) -> None:
    """Raises `UserError` for a task whose loss or statistics need several images, and got one."""
    if count < 2:
        raise UserError(
            f"task {task!r} learns from several images at a time, and got {count}: use at least 2 "
            "in each part of a batch, by a larger data.batch_size, lens.lensed_fraction or "
            "lens.raw_fraction, or a smaller train.accumulate"
        )


def split_views(rows: jax.Array, count: int) -> Sequence[jax.Array]:
    """[count * B, ...] -> `count` arrays [B, ...], one for each view of an image."""
    shape = rows.shape[1:]
    by_image = rows.reshape(-1, count, *shape)
    views = []
    for view in range(count):
        views.append(by_image[:, view])
    return views


def join_views(*views: jax.Array) -> jax.Array:
    """The inverse of `split_views`: the views of an image come to lie side by side."""
    by_image = jnp.stack(views, axis=1)
    shape = by_image.shape[2:]
    return by_image.reshape(-1, *shape)
