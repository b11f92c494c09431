"""Linear classifiers on frozen features: logistic regression, or heads trained by SGD."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lens_jax.data.batches import Batches, Skipped, train_batches
from lens_jax.data.decode import read_decoding
from lens_jax.data.records import Source
from lens_jax.devices import distributed, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.eval import logistic
from lens_jax.eval.features import Features, Rows, Taps
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.passes import linear_size, replicate, round_up_to_devices, run_pass
from lens_jax.ops.augment import Augmentation
from lens_jax.tasks.base import Batch
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, make_key

INVERSE_L2 = 0.1
# One of so many training examples is held out to choose among several strengths.
HELD_OUT = 10
SGD_BATCH_SIZE = 512

Heads = dict[str, dict[str, jax.Array]]


class Scores(NamedTuple):
    """How a classifier does on test images.

    Attributes:
      accuracy: the fraction of all images that are right.
      by_class: that of the images of each class, [classes]; NaN for a class without images.

    """

    accuracy: float
    by_class: np.ndarray


def logistic_regression(
    train: Rows,
    test: Rows,
    classes: int,
    strengths: tuple[float, ...] = (INVERSE_L2,),
) -> dict[str, Scores]:
    """Test scores by tap of multinomial logistic regression, see `logistic.fit`.

    Args:
      train: labeled features.
      test: features with labels in [0, classes).
      classes: number of classes.
      strengths: inverse L2 strengths C, at least one. The one by which the most of a tenth of the
        training examples are right, after learning from the others, is taken to learn from all; of
        equals the first. One alone is taken as it is: 0.1 is our choice, the paper's is not known.

    """
    is_class = test.labels[:, None] == np.arange(classes)
    images = is_class.sum(axis=0)
    scores = {}
    for tap, features in train.taps.items():
        strength = strengths[0]
        if len(strengths) > 1:
            strength = _choose_strength(features, train.labels, strengths)
        classifier = logistic.fit(features, train.labels, strength)
        predictions = logistic.predict(classifier, test.taps[tap])
        is_right = predictions == test.labels
        hits = np.sum(is_right[:, None] & is_class, axis=0)
        scores[tap] = _score(is_right.sum(), len(is_right), hits, images)
    return scores


def class_accuracies(scores: Scores, class_names: tuple[str, ...]) -> dict[str, float]:
    """The accuracy of each class that has images, by "class_accuracy/" and its name."""
    named = {}
    for name, accuracy in zip(class_names, scores.by_class.tolist(), strict=True):
        if not math.isnan(accuracy):
            named[f"class_accuracy/{name}"] = accuracy
    return named


def _choose_strength(
    features: np.ndarray, labels: np.ndarray, strengths: tuple[float, ...]
) -> float:
    """The strength that is best on every tenth example."""
    is_held_out = np.arange(len(labels)) % HELD_OUT == HELD_OUT - 1
    learned, known = features[~is_held_out], labels[~is_held_out]
    held_out, answers = features[is_held_out], labels[is_held_out]

    accuracies = []
    for strength in strengths:
        classifier = logistic.fit(learned, known, strength)
        predictions = logistic.predict(classifier, held_out)
        accuracies.append(np.mean(predictions == answers))
    return strengths[int(np.argmax(accuracies))]


def _score(hits: int, images: int, class_hits: np.ndarray, class_images: np.ndarray) -> Scores:
    with np.errstate(invalid="ignore"):
        by_class = class_hits / class_images
    return Scores(float(hits / images), by_class)


def sgd_heads(
    frozen: Frozen, train: Source, test: Source, features: Features, *, epochs: int
) -> dict[str, Scores]:
    """Test scores by tap of the linear heads of `train_heads`, on one pass of central crops."""
    heads = train_heads(frozen, train, features, epochs=epochs)
    return _score_heads(frozen, test, features, heads)


def train_heads(frozen: Frozen, train: Source, features: Features, *, epochs: int) -> Heads:
    """Trains one linear head a tap, all together, by SGD on augmented crops.

    The setting of revisiting-self-supervised: momentum 0.9, learning rate 0.1 x batch / 256, times
    0.1 after 3/7 and 5/7 of the epochs (30 and 50 of 70), no weight decay, the sum of the heads'
    mean cross-entropies. Crops and flips are those that the run's config trains with, unless it
    sets `data.linear_crop`. A batch is 512 examples, or all where they are fewer, raised to what
    the devices can share evenly.

    Returns:
      By tap, "kernel" [d, classes] and "bias" [classes].

    """
    data = frozen.config.data
    devices = mesh.make_mesh()
    batch_size = round_up_to_devices(min(SGD_BATCH_SIZE, len(train)))
    examples = epochs * len(train)
    steps = max(1, examples // batch_size)
    optimizer = _make_optimizer(batch_size, steps)

    # The shapes of the features decide those of the heads.
    side = linear_size(data)
    images = jax.ShapeDtypeStruct((batch_size, side, side, 3), jnp.uint8)
    shapes = jax.eval_shape(features, frozen.state, images)
    heads = _zero_heads(shapes, train.num_classes)
    opt_state = optimizer.init(heads)

    # Everything but the batches lies on all devices.
    heads, opt_state, state = replicate((heads, opt_state, frozen.state))
    update = jax.jit(
        _make_update(frozen, features, optimizer),
        out_shardings=mesh.replicated(devices),
        compiler_options=compiler_options(),
    )

    # Images that do not decode are replaced by others, and too many of them are an error.
    skipped = Skipped(train)
    batches = _open_augmented(frozen, train, skipped, batch_size)
    for step in range(steps):
        batch = mesh.put_batch(devices, next(batches))
        heads, opt_state = update(heads, opt_state, state, step, batch)
    distributed.check_skipped(skipped, data.max_skipped)
    return heads


def _make_optimizer(batch_size: int, steps: int) -> optax.GradientTransformation:
    learning_rate = 0.1 * batch_size / 256
    first_drop = round(steps * 3 / 7)
    second_drop = round(steps * 5 / 7)
    drops = {first_drop: 0.1, second_drop: 0.1}
    schedule = optax.piecewise_constant_schedule(learning_rate, drops)
    return optax.sgd(schedule, momentum=0.9)


def _open_augmented(frozen: Frozen, train: Source, skipped: Skipped, batch_size: int) -> Batches:
    data = frozen.config.data
    return train_batches(
        train,
        skipped,
        batch_size=batch_size,
        image_size=linear_size(data),
        crop=data.linear_crop or data.crop,
        seed=frozen.config.seed,
        shard=jax.process_index(),
        shards=jax.process_count(),
        threads=data.threads,
        decoding=read_decoding(data),
    )


def _zero_heads(shapes: Taps, classes: int) -> Heads:
    # The loss is convex, so that any start will do.
    heads = {}
    for tap, features in shapes.items():
        size = features.shape[1]
        kernel = jnp.zeros((size, classes))
        bias = jnp.zeros(classes)
        heads[tap] = {"kernel": kernel, "bias": bias}
    return heads


def _logits(heads: Heads, taps: Taps) -> Taps:
    logits = {}
    for tap, head in heads.items():
        logits[tap] = taps[tap] @ head["kernel"] + head["bias"]
    return logits


def _make_update(
    frozen: Frozen, features: Features, optimizer: optax.GradientTransformation
) -> Callable[..., tuple[Heads, optax.OptState]]:
    """Makes the step of SGD: (heads, opt_state, state, step, batch) -> heads, opt_state."""
    # Of the run's augmentation, only what keeps the colors.
    mirror = Augmentation(flip=frozen.config.augment.flip)

    def loss(heads: Heads, taps: Taps, labels: jax.Array) -> jax.Array:
        total = 0.0
        for logits in _logits(heads, taps).values():
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            total += losses.mean()
        return total

    def update(
        heads: Heads, opt_state: optax.OptState, state: TrainState, step: jax.Array, batch: Batch
    ) -> tuple[Heads, optax.OptState]:
        images = batch["image"]
        key = make_key(frozen.config.seed, step, Purpose.AUGMENT)
        drawn = mirror.draw(key, len(images), *images.shape[1:3])
        images = mirror.apply(images, drawn)

        # The extractor is frozen: there is no gradient beyond its features.
        taps = features(state, images)
        gradient = jax.grad(loss)(heads, taps, batch["label"])
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(heads, updates), opt_state

    return update


def _score_heads(
    frozen: Frozen, test: Source, features: Features, heads: Heads
) -> dict[str, Scores]:
    def count(variables: tuple[TrainState, Heads], batch: Batch) -> tuple[Taps, jax.Array]:
        state, heads = variables
        labels = batch["label"]
        mask = batch["mask"]
        taps = features(state, batch["image"])
        hits = {}
        for tap, logits in _logits(heads, taps).items():
            predictions = jnp.argmax(logits, axis=-1)
            hits[tap] = count_rows(labels, mask & (predictions == labels))
        return hits, count_rows(labels, mask)

    def count_rows(labels: jax.Array, counted: jax.Array) -> jax.Array:
        """How many rows count, by class and then in all: int [classes + 1]."""
        classes = jnp.arange(test.num_classes)
        is_class = labels[:, None] == classes
        by_class = jnp.sum(is_class & counted[:, None], axis=0)
        in_all = jnp.sum(counted)
        return jnp.append(by_class, in_all)

    # Summed up over the batches; of the last one, only what the mask counts.
    data = frozen.config.data
    variables = frozen.state, heads
    total_hits = dict.fromkeys(heads, 0)
    total = 0
    for hits, images in run_pass(data, test, count, variables, linear=True):
        total += images.astype(np.int64)
        for tap in heads:
            total_hits[tap] += hits[tap].astype(np.int64)

    scores = {}
    for tap, hits in total_hits.items():
        scores[tap] = _score(hits[-1], total[-1], hits[:-1], total[:-1])
    return scores
