"""Linear classifiers on frozen features: multinomial logistic regression, or heads trained by SGD."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging

from lens_jax.data.batches import Batches, Skipped, train_batches
from lens_jax.data.source import Source
from lens_jax.devices import distributed, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.eval.features import Features, Taps, extract
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.passes import divisible, linear_size, put_whole, run_pass
from lens_jax.ops import color
from lens_jax.tasks.base import Batch
from lens_jax.train.state import TrainState
from lens_jax.train.system import Purpose, make_key

INVERSE_L2 = 0.1
LBFGS_ITERATIONS = 1000
SGD_BATCH_SIZE = 512

Heads = dict[str, dict[str, jax.Array]]


def logistic_regression(
    frozen: Frozen, train: Source, test: Source, features: Features
) -> dict[str, float]:
    """Test accuracy by tap of scikit-learn's multinomial logistic regression (L-BFGS).

    One pass of central crops; features are standardized by the training examples' mean and
    deviation, and the L2 strength is fixed (C = 0.1, our choice: the paper's is not known).
    """
    rows, labels = extract(frozen, train, features)
    test_rows, test_labels = extract(frozen, test, features)
    return {tap: _logistic_accuracy(rows[tap], labels, test_rows[tap], test_labels) for tap in rows}


def _logistic_accuracy(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=INVERSE_L2, max_iter=LBFGS_ITERATIONS)
    fitted = make_pipeline(StandardScaler(), model).fit(train, labels)
    if model.n_iter_.max() >= LBFGS_ITERATIONS:
        logging.warning("L-BFGS stopped after %d iterations without converging", LBFGS_ITERATIONS)
    return float(fitted.score(test, test_labels))


def sgd_heads(
    frozen: Frozen, train: Source, test: Source, features: Features, *, epochs: int
) -> dict[str, float]:
    """Test accuracy by tap of the linear heads of `train_heads`, on one pass of central crops."""
    return _head_accuracy(
        frozen, test, features, train_heads(frozen, train, features, epochs=epochs)
    )


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
    batch_size = divisible(min(SGD_BATCH_SIZE, len(train)))
    steps = max(1, epochs * len(train) // batch_size)
    drops = {round(steps * share): 0.1 for share in (3 / 7, 5 / 7)}
    optimizer = optax.sgd(
        optax.piecewise_constant_schedule(0.1 * batch_size / 256, drops), momentum=0.9
    )
    skipped, data, devices = Skipped(train), frozen.config.data, mesh.make_mesh()
    images = jax.ShapeDtypeStruct((batch_size, *[linear_size(data)] * 2, 3), jnp.uint8)
    heads = _zero_heads(jax.eval_shape(features, frozen.state, images), train.num_classes)
    heads, opt_state, state = put_whole((heads, optimizer.init(heads), frozen.state))
    update = jax.jit(
        _make_update(frozen, features, optimizer),
        out_shardings=mesh.replicated(devices),
        compiler_options=compiler_options(),
    )
    batches = _open_augmented(frozen, train, skipped, batch_size)
    for step in range(steps):
        heads, opt_state = update(
            heads, opt_state, state, step, mesh.put_batch(devices, next(batches))
        )
    distributed.check_skipped(skipped, data.max_skipped)
    return heads


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
    )


def _zero_heads(shapes: Taps, classes: int) -> Heads:
    return {
        tap: {"kernel": jnp.zeros((x.shape[1], classes)), "bias": jnp.zeros(classes)}
        for tap, x in shapes.items()
    }


def _logits(heads: Heads, taps: Taps) -> Taps:
    return {tap: taps[tap] @ head["kernel"] + head["bias"] for tap, head in heads.items()}


def _make_update(
    frozen: Frozen, features: Features, optimizer: optax.GradientTransformation
) -> Callable:
    def update(
        heads: Any, opt_state: Any, state: TrainState, step: jax.Array, batch: Batch
    ) -> tuple[Any, Any]:
        images = batch["image"]
        if frozen.config.augment.flip:
            images = color.random_flip(make_key(frozen.config.seed, step, Purpose.FLIP), images)
        taps = features(state, images)

        def loss(heads: Any) -> jax.Array:
            each = jax.tree.map(
                lambda x: optax.softmax_cross_entropy_with_integer_labels(x, batch["label"]).mean(),
                _logits(heads, taps),
            )
            return sum(each.values())

        updates, new_state = optimizer.update(jax.grad(loss)(heads), opt_state)
        return optax.apply_updates(heads, updates), new_state

    return update


def _head_accuracy(
    frozen: Frozen, test: Source, features: Features, heads: Heads
) -> dict[str, float]:
    def count(given: tuple[TrainState, Heads], batch: Batch) -> dict[str, jax.Array]:
        state, heads = given
        found = {
            tap: jnp.argmax(logits, axis=-1) == batch["label"]
            for tap, logits in _logits(heads, features(state, batch["image"])).items()
        }
        return {tap: jnp.sum(hit & batch["mask"]) for tap, hit in found.items()} | {
            "": jnp.sum(batch["mask"])
        }

    counts = list(run_pass(frozen.config.data, test, count, (frozen.state, heads), linear=True))
    totals = {tap: sum(int(row[tap]) for row in counts) for tap in counts[0]}
    return {tap: totals[tap] / totals[""] for tap in heads}
