from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lens_jax.data.builders import png

SIDE = 24
Make = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def textures() -> Make:
    """Makes smooth colored random images, uint8 [count, side, side, 3], all different."""

    def make(count: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.normal(size=(count, side // 4, side // 4, 3))
        smooth = coarse.repeat(4, axis=1).repeat(4, axis=2)
        images = 128 + 40 * smooth + rng.normal(scale=6, size=smooth.shape)
        return np.clip(images, 0, 255).astype(np.uint8)

    return make


@pytest.fixture
def write_folder(tmp_path) -> Callable[..., Path]:
    """Writes PNG images into FOLDER/CLASS/NUMBER.png, classes in turn, and returns the folder."""

    def write(images: np.ndarray, classes: tuple[str, ...], folder: str = "images") -> Path:
        root = tmp_path / folder
        order = np.random.default_rng(0).permutation(len(images))
        for index, number in enumerate(order):
            path = root / classes[index % len(classes)] / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png.encode(images[index]))
        return root

    return write
