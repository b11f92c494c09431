"""The training step of a config, traced and compiled ahead of time for all devices."""

import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from lens_jax.train import finite, mesh, optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import make_step
from lens_jax.train.system import make_system


def use_cache(workdir: str) -> str:
    """Keeps compiled programs for the next start, and gives the folder they are kept in.

    That is `workdir`/compilation_cache, unless JAX was told of another by JAX_COMPILATION_CACHE_DIR.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = epath.Path(workdir).absolute() / "compilation_cache"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    return jax.config.jax_compilation_cache_dir


def trace(
    config: ConfigDict, num_classes: int, clock: Clock, devices: Mesh
) -> tuple[Callable[[], TrainState], jax.stages.Traced]:
    """The function that makes the first state, and the step on all devices, whose state is donated.

    The step's metrics also tell whether its state is finite, see `finite.watched`. Nothing is computed;
    raises `UserError` for what cannot be.
    """
    system = make_system(config, num_classes)
    both = optimizers.extractor_optimizer(config, clock), optimizers.lens_optimizer(config)
    init = partial(init_state, config, system, *both)
    like = jax.eval_shape(init)
    sharding = mesh.state_sharding(devices, like)
    state = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), like, sharding)
    step = finite.watched(make_step(config, system, *both))
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(sharding, mesh.replicated(devices)))
    batch = mesh.put_batch(devices, black_batch(config))
    return jax.jit(init, out_shardings=sharding), jitted.trace(state, batch)


def compile_step(step: jax.stages.Traced) -> tuple[jax.stages.Compiled, float]:
    """The compiled step, which nothing can make compile again, and the seconds that it took."""
    began = time.monotonic()
    return step.lower().compile(), time.monotonic() - began


def black_batch(config: ConfigDict) -> dict[str, np.ndarray]:
    """The part of a batch of black images that a process gives."""
    local, size = config.data.batch_size // jax.process_count(), config.data.image_size
    return {"image": np.zeros((local, size, size, 3), np.uint8), "label": np.zeros(local, np.int32)}
