"""The training step of a config, traced and compiled ahead of time for all devices."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.sharding import Mesh

from lens_jax.devices import mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.tasks.base import Batch
from lens_jax.train import finite, optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, init_state
from lens_jax.train.step import Metrics, make_step
from lens_jax.train.system import make_system

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


def make_functions(
    config: "ConfigDict", num_classes: int, clock: Clock
) -> tuple[Callable[[], TrainState], Callable[[TrainState, Batch], tuple[TrainState, Metrics]]]:
    """The pure functions that make the first state and take a step.

    The step's metrics also tell whether its state is finite, see `finite.watched`. Raises
    `UserError` for what cannot be.
    """
    system = make_system(config, num_classes)
    both = optimizers.extractor_optimizer(config, clock), optimizers.lens_optimizer(config)
    return partial(init_state, config, system, *both), finite.watched(
        make_step(config, system, *both)
    )


def trace(
    config: "ConfigDict", num_classes: int, clock: Clock, devices: Mesh
) -> tuple[Callable[[], TrainState], jax.stages.Traced]:
    """Both functions on all devices: the step as a computation, whose state is donated. Nothing is
    computed.

    Raises `UserError` for what cannot be.
    """
    init, step = make_functions(config, num_classes, clock)
    like = jax.eval_shape(init)
    sharding = mesh.state_sharding(devices, like)
    state = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), like, sharding
    )
    jitted = jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(sharding, mesh.replicated(devices)),
        compiler_options=compiler_options(),
    )
    batch = mesh.put_batch(devices, black_batch(config))
    return jax.jit(init, out_shardings=sharding), jitted.trace(state, batch)


def compile_step(step: jax.stages.Traced) -> tuple[jax.stages.Compiled, float]:
    """The compiled step, which nothing can make compile again, and the seconds that it took."""
    began = time.monotonic()
    return step.lower().compile(), time.monotonic() - began


def black_batch(config: "ConfigDict") -> dict[str, np.ndarray]:
    """The part of a batch of black images that a process gives."""
    local, size = config.data.batch_size // jax.process_count(), config.data.image_size
    return {"image": np.zeros((local, size, size, 3), np.uint8), "label": np.zeros(local, np.int32)}
