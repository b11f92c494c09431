import contextlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lens_jax import config as configs
from lens_jax.eval.frozen import Frozen
from lens_jax.tasks.base import DataFacts
from lens_jax.train.durations import Clock
from lens_jax.train.optimizers import extractor_optimizer, lens_optimizer
from lens_jax.train.state import init_state
from lens_jax.train.system import make_system
from lens_jax.workdir import checkpoints

CLASSES = ("red", "green", "blue")
JIGSAW = {
    "name": "jigsaw",
    "cell": 5,
    "patch": 4,
    "jitter": True,
    "embedding": 6,
    "hidden": 8,
    "dropout": 0.5,
    "permutations": 10,
    "drawn": 3,
}


@pytest.fixture
def make_frozen(tiny_config) -> Callable[..., Frozen]:
    """Makes networks with drawn parameters and statistics; the lens is far from the identity."""

    def make(
        overrides: dict | None = None, task: dict | None = None, step: int = 1, total: int = 1
    ) -> Frozen:
        config: ConfigDict = tiny_config({"data.max_skipped": 0.5} | (overrides or {}), task)
        system = make_system(config, DataFacts(len(CLASSES), 1000), total)
        both = extractor_optimizer(config, Clock(4, 1000, 1000)), lens_optimizer(config)
        shapes = jax.eval_shape(lambda: init_state(config, system, *both))
        rng = np.random.default_rng(step)

        def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
            # Kernels keep the variance of their inputs.
            scale = 0.3
            if len(leaf.shape) == 4:
                scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            drawn = rng.normal(scale=scale, size=leaf.shape)
            # Variances and scales of BatchNorm are positive.
            if getattr(path[-1], "key", "") in ("var", "scale"):
                drawn = 1 + abs(drawn)
            return jnp.asarray(drawn, leaf.dtype)

        state = jax.tree_util.tree_map_with_path(draw, shapes)
        state = state.replace(step=jnp.int32(step))
        run = {
            "config": configs.to_json(config),
            "class_names": list(CLASSES),
            "total_steps": total,
            "examples": 1000,
            "position": {},
            "seconds": 1.5,
        }
        return Frozen(step, config, run, system, state)

    return make


@pytest.fixture
def make_jigsaw(make_frozen) -> Callable[..., Frozen]:
    """Makes networks for nine patches of 4 px, with a lens on each patch or on the image."""

    def make(overrides: dict | None = None) -> Frozen:
        return make_frozen({"lens.patch": 1, "model.stem": "cifar"} | (overrides or {}), JIGSAW)

    return make


@pytest.fixture
def train_to(make_frozen, tmp_path) -> Callable[..., None]:
    """Writes the checkpoints that a training of four steps leaves at some of them."""

    def write(*steps: int) -> None:
        with contextlib.closing(checkpoints.open_checkpoints(str(tmp_path))) as manager:
            for step in steps:
                frozen = make_frozen({"lens.widths": (8,)}, step=step, total=4)
                checkpoints.save(manager, step, frozen.state, frozen.run)

    return write
