import os
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax.data.builders import png
from lens_jax.data.records import Source
from lens_jax.recipes import base_config

# Compiling takes most of the time of these tests, and their networks are tiny.
jax.config.update("jax_disable_most_optimizations", True)
# XLA's former way to make kernels takes a third of the time. A flag that it does not know ends it.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

TINY = {
    "data.image_size": 16,
    "data.batch_size": 4,
    "data.threads": 2,
    "model.width": 4,
    "train.monitors": False,
    "lens.widths": (8, 8),
}
COLORS = np.array([[230, 30, 30], [30, 220, 40], [40, 40, 225]], np.uint8)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that are marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips the slow tests unless they are asked for."""
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: runs with --slow"))


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., ConfigDict]:
    """Makes a config of tiny networks on 16-px images; overrides have dotted names."""

    def make(overrides: dict | None = None, task: dict | None = None) -> ConfigDict:
        config = base_config("digits")
        config.task = ConfigDict(task or {"name": "rotation", "all_rotations": True})
        config.update_from_flattened_dict(TINY | (overrides or {}))
        return config.lock()

    return make


@pytest.fixture
def x64() -> Iterator[None]:
    """Computes in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def colorful() -> Callable[..., Source]:
    """Makes a source of noisy red, green and blue images; those in `broken` do not decode."""

    def make(size: int, seed: int = 0, broken: tuple[int, ...] = (), side: int = 16) -> Source:
        rng = np.random.default_rng(seed)
        noise = rng.integers(-25, 26, (size, side, side, 3))
        images = [png.encode((COLORS[i % 3] + noise[i]).astype(np.uint8)) for i in range(size)]
        images = [b"no image" if i in broken else data for i, data in enumerate(images)]
        names = ("red", "green", "blue")
        return Source(
            names, size, lambda i: {"image": images[i], "label": i % 3, "name": f"image {i}"}
        )

    return make
