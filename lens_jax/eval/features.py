"""Frozen features: the extractor's taps of raw and lensed images, pooled and joined."""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.data.records import Source
from lens_jax.errors import UserError, check_choice
from lens_jax.eval.frozen import Frozen, apply_extractor, apply_lens
from lens_jax.eval.passes import run_pass
from lens_jax.ops import color, shortcuts
from lens_jax.tasks.base import Batch
from lens_jax.train.state import TrainState

REPRESENTATIONS = ("raw", "lensed", "mean", "concat")
MAX_FEATURES = 9000

Taps = dict[str, jax.Array]
Features = Callable[[TrainState, jax.Array], Taps]
# A tap [N, ...] -> its features [N, ...], float32.
Pool = Callable[[jax.Array], jax.Array]
# The name of a tap and a shape -> a float32 array to fill.
Allocate = Callable[[str, tuple[int, int]], np.ndarray]


class Rows(NamedTuple):
    """What is known of n images.

    Attributes:
      taps: their features by tap, float32 [n, d].
      labels: their classes, int [n].
      colors: their mean colors, [n, 3] in [-1, 1].
      positions: where they are in their source, int [n], ascending.

    """

    taps: dict[str, np.ndarray]
    labels: np.ndarray
    colors: np.ndarray
    positions: np.ndarray


def check_representation(frozen: Frozen, representation: str) -> None:
    """Raises `UserError` for another representation than "raw" without a lens."""
    check_choice("representation", representation, REPRESENTATIONS)
    if representation != "raw" and not frozen.system.lens.trains:
        raise UserError(
            f"representation {representation!r} needs a lens, and this run has none: choose raw"
        )


def make_maps(frozen: Frozen, representation: str, tap: str) -> Features:
    """Makes the function (state, uint8 images [N, h, w, 3]) -> the tap as it is, [N, h', w', c].

    Raises `UserError` as `make_features`, and for a task whose images are represented by several
    crops, which no map of an image can be made of.
    """
    size = frozen.config.data.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    crops = jax.eval_shape(frozen.system.task.crops, image)
    if len(crops) != 1:
        raise UserError(
            f"task {frozen.config.task.name!r} represents an image by several crops, which have no "
            "common map: give a run of another task"
        )
    return make_features(frozen, representation, (tap,), pool=_as_float32)


def make_features(
    frozen: Frozen,
    representation: str,
    taps: tuple[str, ...],
    shortcut: str = "none",
    pool: Pool | None = None,
) -> Features:
    """Makes the function (state, uint8 images [N, h, w, 3]) -> features [N, d] by tap.

    Args:
      frozen: the networks; the function takes states like that of `frozen`.
      representation: F(x) ("raw"), F(L(x)) ("lensed"), their "mean", or their "concat".
      taps: the names of the taps.
      shortcut: is injected into the images first, one of `ops.shortcuts.SHORTCUTS`.
      pool: what makes features of a tap; `adaptive_max_pool` by default.

    Raises:
      UserError: another representation than "raw" without a lens.

    """
    check_representation(frozen, representation)
    pool = pool or adaptive_max_pool

    def features(state: TrainState, images: jax.Array) -> Taps:
        current = frozen._replace(state=state)
        unit = color.to_unit(images)
        images = shortcuts.inject(shortcut, unit).images
        if representation == "raw":
            return _pooled_taps(current, images, taps, pool, lensed=False)
        if representation == "lensed":
            return _pooled_taps(current, images, taps, pool, lensed=True)

        # The other two join both.
        raw = _pooled_taps(current, images, taps, pool, lensed=False)
        lensed = _pooled_taps(current, images, taps, pool, lensed=True)
        join = _mean if representation == "mean" else _concatenate
        return jax.tree.map(join, raw, lensed)

    return features


def _mean(raw: jax.Array, lensed: jax.Array) -> jax.Array:
    return (raw + lensed) / 2


def _concatenate(raw: jax.Array, lensed: jax.Array) -> jax.Array:
    return jnp.concatenate([raw, lensed], axis=-1)


def _pooled_taps(
    frozen: Frozen, images: jax.Array, taps: tuple[str, ...], pool: Pool, *, lensed: bool
) -> Taps:
    """Images [N, h, w, 3] in [-1, 1] -> each tap pooled, averaged over the task's crops."""
    crops = _crops(frozen, images, lensed=lensed)
    # BatchNorm may have statistics of their own for lensed inputs.
    outputs = apply_extractor(frozen, crops, lensed=lensed)
    pooled = {}
    for tap in taps:
        features = pool(outputs[tap])
        # The crops of an image lie next to each other.
        shape = features.shape[1:]
        by_image = features.reshape(images.shape[0], -1, *shape)
        pooled[tap] = jnp.mean(by_image, axis=1)
    return pooled


def _crops(frozen: Frozen, images: jax.Array, *, lensed: bool) -> jax.Array:
    """The crops that represent images, through the lens if `lensed`."""
    task = frozen.system.task
    if not lensed:
        return task.crops(images)
    # The lens comes before the cropping or after it, as in training.
    if frozen.system.lens.acts_on == "images":
        lensed_images = apply_lens(frozen, images)
        return task.crops(lensed_images)
    crops = task.crops(images)
    return apply_lens(frozen, crops)


def _as_float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


def adaptive_max_pool(x: jax.Array) -> jax.Array:
    """Pools a tap [N, h, w, c] to features [N, d], with d near or below 9,000.

    The "max" mode of revisiting-self-supervised: window and stride are
    ceil(sqrt(h * w * c / 9000)), without padding. Smaller taps, and [N, d], are only flattened.
    """
    size = math.prod(x.shape[1:])
    side = math.ceil(math.sqrt(size / MAX_FEATURES))
    if x.ndim == 4 and side > 1:
        window = (side, side)
        x = nn.max_pool(x, window, strides=window)
    flat = x.reshape(x.shape[0], -1)
    return flat.astype(jnp.float32)


def extract(
    frozen: Frozen,
    source: Source,
    features: Features,
    allocate: Allocate | None = None,
) -> Rows:
    """The rows of one pass of central crops over `source`; images that do not decode are missing.

    Args:
      frozen: the network.
      source: the images.
      features: as of `make_features`.
      allocate: makes the array of a tap, from its name and its shape [n, d], which need not be in
        memory; it is by default. There is a row for each image, of which the last stay free where
        images do not decode.

    """

    def compute(state: TrainState, batch: Batch) -> tuple[Taps, Batch]:
        taps = features(state, batch["image"])
        images = color.to_unit(batch["image"])
        known = {
            "label": batch["label"],
            "mask": batch["mask"],
            "color": jnp.mean(images, axis=(1, 2)),
        }
        return taps, known

    data = frozen.config.data
    allocate = allocate or _in_memory
    arrays: dict[str, np.ndarray] = {}
    labels = []
    colors = []
    masks = []
    filled = 0
    for taps, batch in run_pass(data, source, compute, frozen.state, linear=True):
        # False for images that do not decode, and for what fills up the last batch.
        mask = batch["mask"]
        masks.append(mask)
        labels.append(batch["label"][mask])
        colors.append(batch["color"][mask])

        # The first batch tells how long the features are.
        end = filled + len(labels[-1])
        for tap, values in taps.items():
            if tap not in arrays:
                arrays[tap] = allocate(tap, (len(source), values.shape[1]))
            arrays[tap][filled:end] = values[mask]
        filled = end

    (positions,) = np.nonzero(np.concatenate(masks))
    return Rows(
        taps={tap: array[:filled] for tap, array in arrays.items()},
        labels=np.concatenate(labels),
        colors=np.concatenate(colors),
        positions=positions,
    )


def _in_memory(tap: str, shape: tuple[int, int]) -> np.ndarray:
    del tap
    return np.empty(shape, np.float32)
