"""Corruptions by noise. Images are light, float [side, side, 3] in [0, 1]."""

import numpy as np


def gaussian_noise(image: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Adds normal noise of a standard deviation, as in poor light."""
    return image + rng.normal(scale=deviation, size=image.shape)


def shot_noise(image: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    """Counts light: where it is 1, `photons` are expected, and the count has a Poisson law."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image: np.ndarray, rng: np.random.Generator, fraction: float) -> np.ndarray:
    """Sets a fraction of the values, channel by channel, to 0 or to 1, both equally likely."""
    drawn = rng.random(image.shape)
    pepper = np.where(drawn < fraction / 2, 0, image)
    is_salt = (drawn >= fraction / 2) & (drawn < fraction)
    return np.where(is_salt, 1, pepper)
