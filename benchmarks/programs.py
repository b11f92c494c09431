"""The training step of a config, compiled for all devices, and a batch of random pixels for it.

No data is opened, and what reads data is not imported: a machine that is only measured needs jax,
flax, optax, absl and ml_collections.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from benchmarks.variants import changed
from lens_jax.tasks.base import DataFacts
from lens_jax.train import compiling
from lens_jax.train.durations import Clock

# Those of ImageNet. Most tasks do not use the labels, and the number of examples turns epochs into
# steps: the schedule decides learning rates, which cost no time.
FACTS = DataFacts(num_classes=1000, size=1_281_167)


class Program(NamedTuple):
    """A compiled step.

    Attributes:
      init: makes the first state, on the devices.
      step: (state, batch) -> (state, metrics); the state is donated.
      every: steps from one update of the lens to the next; only so many together are always the
        same work.
      flops: of a step, see `count_step_flops`.
      memory: bytes on each device while it runs: state, batch and temporaries.
      compile_seconds: what the compiler took.

    """

    init: Callable[[], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    every: int
    flops: float
    memory: int
    compile_seconds: float


def build(config: ConfigDict, devices: Mesh) -> Program:
    """Compiles the step of a config for all devices."""
    init, lowered = lower(config, devices)
    flops = count_step_flops(config, lowered, devices)
    began = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - began
    return Program(
        init=init,
        step=compiled,
        every=config.lens.update_every,
        flops=flops,
        memory=count_bytes(compiled),
        compile_seconds=seconds,
    )


def lower(config: ConfigDict, devices: Mesh) -> tuple[Callable[[], Any], jax.stages.Lowered]:
    """What makes the first state of a config on all devices, and its step before compilation."""
    traced = compiling.trace(config, FACTS, make_clock(config), devices)
    return traced.init, traced.step.lower()


def count_step_flops(config: ConfigDict, lowered: jax.stages.Lowered, devices: Mesh) -> float:
    """The floating-point operations of a config's step, for the whole batch."""
    if config.train.accumulate > 1:
        # On GPUs and TPUs the parts are a loop, whose body would be counted once.
        _, lowered = lower(changed(config, {"train.accumulate": 1}), devices)
    return count_flops(lowered)


def count_flops(lowered: jax.stages.Lowered) -> float:
    """The floating-point operations of a program before it is compiled, by XLA's cost analysis.

    A multiplication and an addition count as two, a product with padding not at all, and of two
    branches the larger one counts.
    """
    return lowered.cost_analysis()["flops"]


def count_bytes(compiled: jax.stages.Compiled) -> int:
    """The bytes a compiled program needs on each device; what it writes in place counts once."""
    sizes = compiled.memory_analysis()
    held = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return held + sizes.temp_size_in_bytes


def run(program: Program, batch: Mapping[str, jax.Array]) -> Iterator[Any]:
    """At each `next`, takes the steps from one update of the lens to the next; yields the state.

    The state is the next step's to overwrite.
    """
    state = program.init()
    while True:
        for _ in range(program.every):
            state, _ = program.step(state, batch)
        yield jax.block_until_ready(state)


def make_clock(config: ConfigDict) -> Clock:
    """The clock of a config's schedule, on a data set of as many images as ImageNet."""
    clock = Clock(config.data.batch_size, FACTS.size)
    return clock._replace(total_steps=clock.steps(config.train.duration))


def make_batch(config: ConfigDict) -> dict[str, np.ndarray]:
    """A batch of random pixels: what is in them does not change the time.

    "image" is uint8 [N, h, h, 3], "label" and "index" (the number of the example) are int32 [N].
    """
    rng = np.random.default_rng(config.seed)
    count, side = config.data.batch_size, config.data.image_size
    return {
        "image": rng.integers(0, 256, (count, side, side, 3), np.uint8),
        "label": rng.integers(0, FACTS.num_classes, count, np.int32),
        "index": np.arange(count, dtype=np.int32),
    }
