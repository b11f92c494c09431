"""What a lens makes of whole images, and which answers a network gives to them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.devices.compiler import compiler_options
from lens_jax.eval import frozen
from lens_jax.eval.frozen import Frozen
from lens_jax.ops import color
from lens_jax.tasks.base import Outputs
from lens_jax.train.system import Purpose, make_key

_BATCH_SIZE = 64
# The fractions of the pixels of which the page says how much of the change they hold.
TOP = (0.01, 0.05)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 images in [-1, 1], float32."""
    return np.asarray(color.to_unit(pixels))


def apply_lens(trained: Frozen, pixels: np.ndarray) -> np.ndarray:
    """uint8 images [M, h, w, 3] -> what the lens makes of them, in [-1, 1] but not clipped."""

    @partial(jax.jit, compiler_options=compiler_options())
    def compute(state: Any, images: jax.Array) -> jax.Array:
        return frozen.apply_lens(trained._replace(state=state), color.to_unit(images))

    return _in_batches(partial(compute, trained.state), pixels)


def randomize_lens(trained: Frozen, seed: int) -> Frozen:
    """The same lens before any training, but that its last layer is drawn at random too.

    Ours starts with zeros there, which would change nothing.
    """
    side = trained.config.data.image_size
    blank = jnp.zeros((1, side, side, 3))
    key = make_key(seed, 0, Purpose.LENS)
    params = trained.system.lens_network.init(key, blank)["params"]

    def draw(kernel: jax.Array) -> jax.Array:
        if kernel.ndim < 2 or np.any(kernel):
            return kernel
        scale = np.sqrt(1 / np.prod(kernel.shape[:-1]))
        return scale * jax.random.normal(key, kernel.shape, kernel.dtype)

    return trained._replace(state=trained.state.replace(lens_params=jax.tree.map(draw, params)))


def as_strong(change: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A change of images, scaled to the mean square of another."""
    own = np.mean(np.square(change))
    return change * np.sqrt(np.mean(np.square(other)) / max(own, 1e-20))


def concentration(squared: np.ndarray) -> dict[str, float]:
    """Which fraction of the squared change [M, h, w] lies in few pixels.

    Returns:
      By name, for each of `TOP`: "each_1", the fraction in the most changed 1 % of the pixels of an
      image, the mean over images; "mean_1", the fraction in the most changed pixels of the mean
      over all images. A mark that moves shows in the first one only. Even change gives 0.01.

    """
    each = squared.reshape(len(squared), -1)
    mean = each.mean(axis=0, keepdims=True)
    found = {}
    for fraction in TOP:
        percent = f"{100 * fraction:.0f}"
        found[f"each_{percent}"] = _in_top(each, fraction)
        found[f"mean_{percent}"] = _in_top(mean, fraction)
    return found


def _in_top(rows: np.ndarray, fraction: float) -> float:
    """The mean over rows [R, D] of how much of a row's sum its largest entries hold."""
    count = max(1, round(fraction * rows.shape[1]))
    largest = np.partition(rows, -count, axis=1)[:, -count:]
    return float(np.mean(largest.sum(axis=1) / np.maximum(rows.sum(axis=1), 1e-20)))


def answer(trained: Frozen, images: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Which answers to the task are right, of images [M, h, w, 3] in [-1, 1]; bool [M, views].

    The network is asked as it is, whether they came through the lens or not. None for a task
    without answers that can be right.
    """

    def hits(state: Any, some: jax.Array, some_labels: jax.Array) -> jax.Array | None:
        current = trained._replace(state=state)
        batch = {"image": some, "label": some_labels, "index": jnp.arange(len(some))}
        key = make_key(trained.config.seed, 0, Purpose.VIEWS)
        views = trained.system.task.views(key, batch, None)
        outputs = Outputs(frozen.apply_head(current, views, lensed=True))
        right = trained.system.task.hits(outputs, views.labels)
        return None if right is None else right.reshape(len(some), -1)

    asked = partial(hits, trained.state)
    shapes = jax.eval_shape(asked, images[:1], labels[:1])
    if shapes is None or not trained.has_head:
        return None
    compiled = jax.jit(hits, compiler_options=compiler_options())
    return _in_batches(partial(compiled, trained.state), images, labels)


def _in_batches(compute: Any, *arrays: np.ndarray) -> np.ndarray:
    """The results for all rows of some arrays; the last batch is filled up with its first row."""
    results = []
    for start in range(0, len(arrays[0]), _BATCH_SIZE):
        some = [array[start : start + _BATCH_SIZE] for array in arrays]
        missing = _BATCH_SIZE - len(some[0])
        filled = [np.concatenate([rows, rows[:1].repeat(missing, axis=0)]) for rows in some]
        results.append(np.asarray(compute(*filled))[: len(some[0])])
    return np.concatenate(results)
