"""Mean and standard deviation of what augmentations draw, and parameters standardized by them."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.ops.augment import Augmentation

# How many images are drawn for. Means are off by 0.4 % of a standard deviation.
DRAWS = 2**16


class Moments(NamedTuple):
    """Those of the P of the 18 parameters, see `Parameters.vector`, that are not always the same.

    Plain numbers, so that they can be part of what is compiled.

    Attributes:
      columns: which parameters they are, in rising order.
      mean: of each.
      deviation: the standard deviation of each, above 0.

    """

    columns: tuple[int, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def measure_moments(augmentations: Sequence[Augmentation], side: int) -> Moments:
    """The moments over views that are drawn by each of the augmentations alike.

    Measured by `DRAWS` draws of each, always the same ones, for square images of `side` pixels.
    """
    parts = []
    for augmentation in augmentations:
        vectors = _draw_vectors(augmentation, side)
        parts.append(np.asarray(vectors, np.float64))
    rows = np.concatenate(parts)

    # What never changes tells nothing, and has no deviation to be divided by.
    least, most = rows.min(axis=0), rows.max(axis=0)
    (columns,) = np.nonzero(most > least)
    varied = rows[:, columns]
    mean, deviation = varied.mean(axis=0), varied.std(axis=0)
    return Moments(tuple(columns.tolist()), tuple(mean.tolist()), tuple(deviation.tolist()))


@partial(jax.jit, static_argnums=(0, 1))
def _draw_vectors(augmentation: Augmentation, side: int) -> jax.Array:
    drawn = augmentation.draw(jax.random.key(0), DRAWS, side, side)
    return drawn.vector()


def standardize(vectors: jax.Array, moments: Moments) -> jax.Array:
    """Parameters [N, 18] -> those of `moments` with mean 0 and standard deviation 1, [N, P]."""
    columns = jnp.array(moments.columns)
    mean = jnp.array(moments.mean, vectors.dtype)
    deviation = jnp.array(moments.deviation, vectors.dtype)
    return (vectors[:, columns] - mean) / deviation
