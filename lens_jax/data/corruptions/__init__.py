"""The 15 common corruptions of images, in 5 severities.

Hendrycks and Dietterich, 2019, Benchmarking neural network robustness to common corruptions and
perturbations (arXiv 1903.12261). They are written anew here: the packages that have them draw from
NumPy's global state, know images of 224 pixels only, and come with a second OpenCV. All is as in
the authors' code but for the ice of `frost`, which is drawn, and values that are rounded instead of
cut off.
"""

import math

import numpy as np

from lens_jax.data.corruptions import blur, digital, noise, weather
from lens_jax.data.corruptions.levels import LEVELS, Levels

CORRUPTIONS = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
NAMES = tuple(CORRUPTIONS)
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """Corrupts an image.

    Args:
      image: uint8 [side, side, 3].
      name: one of `NAMES`.
      severity: one of `SEVERITIES`.
      seed: decides what is drawn, for all severities alike.

    Returns:
      uint8 [side, side, 3].

    """
    rng = np.random.default_rng((NAMES.index(name), seed))
    parameters = choose_levels(len(image))[name][severity - 1]
    corrupted = CORRUPTIONS[name](image / 255, rng, *parameters)
    return np.rint(255 * corrupted.clip(0, 1)).astype(np.uint8)


def choose_levels(side: int) -> Levels:
    """The parameters that were made for images of the most similar side, by its logarithm."""

    def distance(other: int) -> float:
        return abs(math.log(side / other))

    return LEVELS[min(LEVELS, key=distance)]
