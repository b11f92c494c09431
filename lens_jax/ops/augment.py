"""Provisional."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.ops import color, crop


class Augmented(NamedTuple):
    images: jax.Array
    parameters: jax.Array


@dataclasses.dataclass(frozen=True)
class Augmentation:
    area: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    jitter: float = 0.0
    jitter_kind: str = "torchvision"
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    gray: float = 0.0
    gray_kind: str = "luma"
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0

    def draw(self, key, count, height, width):
        class P(NamedTuple):
            flip: Any
            key: Any

            def vector(self):
                return jnp.zeros((len(self.flip), 18))

        return P(jax.random.bernoulli(key, self.flip, (count,)), key)

    def apply(self, images, parameters, size=0):
        if self.area != (1.0, 1.0):
            images = crop.random_resized_crop(
                parameters.key, images, 1, size or images.shape[1], self.area
            )
        if self.flip:
            images = jnp.where(parameters.flip[:, None, None, None], images[:, :, ::-1], images)
        if self.jitter:
            images = color.distort_color(parameters.key, images)
        if self.gray:
            images = color.random_gray(parameters.key, images, self.gray)
        return images


def make_augmentations(settings: Mapping[str, Any]) -> tuple[Augmentation, ...]:
    """The augmentation of the first view and that of later ones, from the config's section.

    `settings["later"]` holds what is different in later views. Raises `UserError` for a setting
    that cannot be.
    """
    first = {key: value for key, value in settings.items() if key != "later"}
    later = first | dict(settings["later"])
    return Augmentation(**first), Augmentation(**later)
