"""How an encoded image becomes a square: by a random crop, by the central one, or as a whole."""

from collections.abc import Callable

import numpy as np

from lens_jax.data import decode
from lens_jax.data.decode import Decoding
from lens_jax.data.regions import Region
from lens_jax.errors import check_choice

# (encoded image, its part, side in pixels, random numbers, how values become pixels) -> uint8
# [side, side, 3]; raises ValueError for what does not decode.
Crop = Callable[[bytes, Region, int, np.random.Generator | None, Decoding], np.ndarray]


def _random(
    data: bytes, region: Region, size: int, rng: np.random.Generator | None, decoding: Decoding
) -> np.ndarray:
    return decode.random_crop_resize(data, size, rng, decoding, region)


def _central(
    data: bytes, region: Region, size: int, rng: np.random.Generator | None, decoding: Decoding
) -> np.ndarray:
    return decode.central_crop_resize(data, size, decoding=decoding, region=region)


def _none(
    data: bytes, region: Region, size: int, rng: np.random.Generator | None, decoding: Decoding
) -> np.ndarray:
    return decode.resize(data, size, decoding, region)


CROPS: dict[str, Crop] = {
    "random": _random,
    "central": _central,
    "none": _none,
}
EVAL_CROPS = ("central", "none")


def choose_crop(name: str, legal: tuple[str, ...]) -> Crop:
    """The crop of that name; raises `UserError` unless it is one of the `legal` ones."""
    check_choice("crop", name, legal)
    return CROPS[name]
