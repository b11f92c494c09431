"""The training step of a config, traced and compiled ahead of time for all devices."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from lens_jax.devices import memory, mesh
from lens_jax.devices.compiler import compiler_options
from lens_jax.tasks.base import DataFacts, Task
from lens_jax.train import finite, optimizers
from lens_jax.train.durations import Clock
from lens_jax.train.state import TrainState, blank_batch, init_state
from lens_jax.train.step import Step, make_step
from lens_jax.train.system import build_task, make_system

if TYPE_CHECKING:  # the step runs on machines that have no ml_collections
    from ml_collections import ConfigDict


class Traced(NamedTuple):
    """A training on all devices, before it is compiled.

    Attributes:
      init: makes the first state.
      step: (state, batch) -> (state, metrics); the state is donated.
      state: the shapes, types and sharding of the state's arrays.

    """

    init: Callable[[], TrainState]
    step: jax.stages.Traced
    state: TrainState


def make_functions(
    config: "ConfigDict", facts: DataFacts, clock: Clock
) -> tuple[Callable[[], TrainState], Step]:
    """The pure functions that make the first state and take a step.

    The step's metrics also hold whether its state is finite, see `finite.watched`. Raises
    `UserError` for what cannot be.
    """
    system = make_system(config, facts, clock.total_steps)
    optimizer = optimizers.extractor_optimizer(config, clock)
    lens_optimizer = optimizers.lens_optimizer(config)
    init = partial(init_state, config, system, optimizer, lens_optimizer)
    step = make_step(config, system, optimizer, lens_optimizer)
    return init, finite.watched(step)


def trace(config: "ConfigDict", facts: DataFacts, clock: Clock, devices: Mesh) -> Traced:
    """Traces the step for all devices; nothing is computed.

    Raises `UserError` for what cannot be, and for a state that would not fit on a device.
    """
    init, step = make_functions(config, facts, clock)
    shapes = jax.eval_shape(init)
    task = build_task(config, facts)
    sharding = state_sharding(task, devices, shapes)
    state = mesh.with_sharding(shapes, sharding)
    memory.check_fits(f"what task {config.task.name!r} remembers", state.memory)
    memory.check_fits("the state of networks and optimizers", state)
    batch = mesh.put_batch(devices, black_batch(config))

    jitted = jax.jit(
        step,
        donate_argnums=0,
        out_shardings=(sharding, mesh.replicated(devices)),
        compiler_options=compiler_options(),
    )
    init = jax.jit(init, out_shardings=sharding)
    return Traced(init, jitted.trace(state, batch), state)


def state_sharding(task: Task, devices: Mesh, state: TrainState) -> TrainState:
    """The sharding of each array of a state; of what the task remembers, as the task says."""
    sharding = mesh.state_sharding(devices, state)
    if task.shards_memory:
        sharding = sharding.replace(memory=mesh.row_sharding(devices, state.memory))
    return sharding


def compile_step(step: jax.stages.Traced) -> tuple[jax.stages.Compiled, float]:
    """The compiled step, which nothing can make compile again, and the seconds that it took.

    Raises `UserError` for one that would not fit on a device.
    """
    began = time.monotonic()
    compiled = step.lower().compile()
    seconds = time.monotonic() - began
    memory.check_step_fits(compiled)
    return compiled, seconds


def black_batch(config: "ConfigDict") -> dict[str, np.ndarray]:
    """The rows of a batch of black images that are this process's."""
    count = config.data.batch_size // jax.process_count()
    return blank_batch(config, count)
