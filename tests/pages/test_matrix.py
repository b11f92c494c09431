import io

import numpy as np
from PIL import Image

from lens_jax.pages.matrix import draw_matrix


def brightness(value: float) -> float:
    """The mean of the pixels of two cells, under names that would be a formula or left out."""
    png = draw_matrix(np.full((1, 2), value), ["$row$"], ["_first", "$"])
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return float(np.mean(np.asarray(image.convert("L"))))


def test_larger_values_are_brighter_and_values_outside_are_as_bright_as_the_ends():
    dark, middle, bright = map(brightness, (0.0, 0.5, 1.0))
    assert dark < middle < bright
    assert abs(brightness(-0.01) - dark) < 1
