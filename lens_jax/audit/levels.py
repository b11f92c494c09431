"""Images whose colors were changed after they were stored: levels are missing, or there twice.

A factor of a color, a contrast or a gamma that is applied to 8-bit values maps two levels to one or
leaves one out, at the same levels in all images to which it was applied. The histogram of such an
image has teeth. Teeth of one image may be luck; those that many images share are not. So a template
of the teeth is made of one half of the images and asked of the other half.

Nothing of it is left once an image was shrunk, or stored as JPEG at a low quality, since.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lens_jax.audit.state import Result

COLORS = ("red", "green", "blue")
# A tooth counts where the half of the images has it by so many standard errors, and an image where
# it is like the template by so many standard deviations.
_LEAST_TOOTH = 2.5
LEAST_LIKENESS = 3.0
# On photographs and on Fashion-MNIST as they are, up to 0.9 % of the images are flagged.
LEAST_RATE = 0.03
_ERROR = 0.02
_SMOOTH = 9  # levels
# Root mean square of all levels: images of few colors have teeth of their own, and are not asked.
_MOST_TEETH = 1.5


class Teeth(NamedTuple):
    """How like each image's teeth are to those of others, [K, 3], in standard deviations."""

    likeness: np.ndarray

    @property
    def is_flagged(self) -> np.ndarray:
        """Of each image, bool [K]."""
        return (self.likeness > LEAST_LIKENESS).any(axis=1)


def compare_levels(levels: np.ndarray, seed: int) -> Teeth:
    """How like the levels [K, 720] of each image are to the teeth of the half it is not in."""
    rows = levels.reshape(len(levels), 3, -1)
    likeness = np.zeros(rows.shape[:2])
    shuffled = np.random.default_rng([seed, 6]).permutation(len(rows))
    one, other = np.array_split(shuffled, 2)
    for fitted, asked in ((one, other), (other, one)):
        teeth = find_teeth(rows[fitted])
        products = np.einsum("kcl,cl->kc", rows[asked], teeth)
        length = np.sqrt(np.square(teeth).sum(axis=1))
        likeness[asked] = products / np.maximum(length, 1e-9)
    own = np.sqrt(np.square(rows).mean(axis=2))
    return Teeth(np.where(own <= _MOST_TEETH, likeness, 0))


def find_teeth(rows: np.ndarray) -> np.ndarray:
    """The teeth that images [K, 3, levels] share, in standard errors; 0 where there is none."""
    mean = rows.mean(axis=0)
    error = rows.std(axis=0) / np.sqrt(len(rows)) + _ERROR
    # Teeth change from level to level; a slow change is what rare levels do.
    slow = ndimage.uniform_filter1d(mean, _SMOOTH, axis=1)
    teeth = (mean - slow) / error
    return np.where(np.abs(teeth) > _LEAST_TOOTH, teeth, 0)


def find_changed(levels: np.ndarray, seed: int) -> Result:
    """Images whose colors were changed alike.

    Returns:
      "rate": of the images that are flagged; "colors": those whose levels say so; "rows": the
      flagged images, "scores": 1 - 1 / (their likeness / 3 + 1), in [0.5, 1].

    """
    teeth = compare_levels(levels, seed)
    rows = np.flatnonzero(teeth.is_flagged)
    rates = (teeth.likeness > LEAST_LIKENESS).mean(axis=0)
    colors = [name for name, rate in zip(COLORS, rates, strict=True) if rate > LEAST_RATE / 2]
    highest = teeth.likeness[rows].max(axis=1, initial=0)
    scores = 1 - 1 / (highest / LEAST_LIKENESS + 1)
    return {
        "rate": len(rows) / len(levels),
        "colors": colors,
        "rows": rows.tolist(),
        "scores": np.round(scores, 4).tolist(),
    }
