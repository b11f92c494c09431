"""Frozen features: the extractor's taps of raw and lensed images, pooled, joined and read off a data set."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.data.source import Source
from lens_jax.errors import UserError
from lens_jax.eval.frozen import Frozen, apply_extractor, apply_lens
from lens_jax.eval.passes import linear_size, run_pass
from lens_jax.ops import color
from lens_jax.tasks.base import Batch
from lens_jax.train.state import TrainState

REPRESENTATIONS = ("raw", "lensed", "mean", "concat")
MAX_FEATURES = 9000

Taps = dict[str, jax.Array]
Features = Callable[[TrainState, jax.Array], Taps]


def tap_names(frozen: Frozen) -> tuple[str, ...]:
    """The names of the extractor's taps, in its order."""
    size = linear_size(frozen.config.data)
    shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    names: list[str] = []
    # Collected while tracing, as the dictionary itself would come back sorted.
    jax.eval_shape(lambda x: names.extend(apply_extractor(frozen, x, lensed=False)), shape)
    return tuple(names)


def make_features(frozen: Frozen, representation: str, taps: tuple[str, ...]) -> Features:
    """The function (state, uint8 images [N, h, w, 3]) -> features [N, d] by tap, for states as of
    `frozen`.

    `representation` is F(x) ("raw"), F(L(x)) ("lensed"), their "mean", or their "concat" (the
    default of the field's use of a lens); without a lens all but "raw" are refused with a
    `UserError`.
    """
    if frozen.system.lens is None and representation != "raw":
        raise UserError(
            f"representation {representation!r} needs a lens, and this run has none: choose raw"
        )

    def features(state: TrainState, images: jax.Array) -> Taps:
        given, images = frozen._replace(state=state), color.to_unit(images)
        raw = _pooled(given, images, taps, lensed=False) if representation != "lensed" else None
        lensed = _pooled(given, images, taps, lensed=True) if representation != "raw" else None
        return {
            tap: _join(representation, raw and raw[tap], lensed and lensed[tap]) for tap in taps
        }

    return features


def adaptive_max_pool(x: jax.Array) -> jax.Array:
    """[N, h, w, c] -> [N, d] with d near or below 9,000: the "max" mode of
    revisiting-self-supervised.

    Window and stride are ceil(sqrt(h * w * c / 9000)), without padding; smaller taps, and [N, d],
    are only flattened.
    """
    side = math.ceil(math.sqrt(math.prod(x.shape[1:]) / MAX_FEATURES))
    if x.ndim == 4 and side > 1:
        x = nn.max_pool(x, (side, side), (side, side))
    return x.reshape(len(x), -1).astype(jnp.float32)


def extract(
    frozen: Frozen, source: Source, features: Features
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features by tap, [n, d], and labels [n], of one pass of central crops over `source`.

    Only images that do not decode are missing.
    """

    def read(state: TrainState, batch: Batch) -> tuple[Taps, Batch]:
        return features(state, batch["image"]), {key: batch[key] for key in ("label", "mask")}

    rows: list[tuple[dict[str, np.ndarray], np.ndarray]] = []
    for taps, batch in run_pass(frozen.config.data, source, read, frozen.state, linear=True):
        valid = {tap: values[batch["mask"]] for tap, values in taps.items()}
        rows.append((valid, batch["label"][batch["mask"]]))
    joined = {tap: np.concatenate([taps[tap] for taps, _ in rows]) for tap in rows[0][0]}
    return joined, np.concatenate([labels for _, labels in rows])


def _pooled(frozen: Frozen, images: jax.Array, taps: tuple[str, ...], *, lensed: bool) -> Taps:
    """Pooled taps of the task's crops, averaged over those of an image."""
    on_images = lensed and frozen.config.lens.acts_on == "images"
    inputs = frozen.system.task.crops(apply_lens(frozen, images) if on_images else images)
    inputs = apply_lens(frozen, inputs) if lensed and not on_images else inputs
    found = apply_extractor(frozen, inputs, lensed=lensed)
    pooled = {tap: adaptive_max_pool(found[tap]) for tap in taps}
    return {
        tap: jnp.mean(x.reshape(len(images), -1, x.shape[-1]), axis=1) for tap, x in pooled.items()
    }


def _join(representation: str, raw: jax.Array | None, lensed: jax.Array | None) -> jax.Array:
    if representation == "concat":
        return jnp.concatenate([raw, lensed], axis=-1)
    if representation == "mean":
        return (raw + lensed) / 2
    return raw if representation == "raw" else lensed
