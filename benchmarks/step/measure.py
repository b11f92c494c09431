"""Compiles the three steps of a config, times them in turn, and compares them."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from benchmarks import machine, programs, timing, variants
from benchmarks.programs import Program
from benchmarks.step import ceiling
from benchmarks.timing import Speed
from lens_jax.devices import mesh

STEPS = {
    "baseline": variants.BASELINE,
    "lens": variants.LENS,
    "cheap lens": variants.CHEAP_LENS,
}
PROFILED = 3
_MATMUL = "matmul"


class Measured(NamedTuple):
    """A step's images/s, FLOPs, FLOP/s, bytes on each device, and seconds to compile."""

    images_per_second: Speed
    flops: float
    flops_per_second: float
    memory: int
    compile_seconds: float


class Overhead(NamedTuple):
    """The ratios of a step to the baseline: of time, of FLOPs, and the first by the second."""

    time: float
    flops: float
    time_by_flops: float


class Results(NamedTuple):
    """What was measured.

    Attributes:
      steps: by the keys of `STEPS`.
      matmul_side: of the matrices that were multiplied.
      matmul_flops_per_second: of their products, in the fastest of the rounds.
      peak_bytes: the most that a device held in the whole run; None where it keeps no count.

    """

    steps: dict[str, Measured]
    matmul_side: int
    matmul_flops_per_second: float
    peak_bytes: int | None


def measure(config: ConfigDict, rounds: int, profile_folder: str | None = None) -> Results:
    """Times the three steps of a config, and products of matrices, in turn.

    A trace of the lens step is written to `profile_folder`, if there is one, before the rounds.
    Raises `UserError` for a config of which no step can be built.
    """
    devices = mesh.make_mesh(config.mesh.fsdp)
    compiled = {
        name: programs.build(variants.changed(config, changes), devices)
        for name, changes in STEPS.items()
    }
    batch = mesh.put_batch(devices, programs.make_batch(config))
    if profile_folder:
        profile(compiled["lens"], batch, profile_folder)

    # Everything that is compared is timed in the same rounds.
    side, products = ceiling.matmul_size()
    runs = {name: programs.run(program, batch) for name, program in compiled.items()}
    runs[_MATMUL] = ceiling.multiply(devices, config.dtype, side, products)
    seconds = timing.interleave(runs, rounds)

    steps = {
        name: summarize(program, config.data.batch_size, seconds[name])
        for name, program in compiled.items()
    }
    matmul = timing.speed(ceiling.count_flops(devices, side, products), seconds[_MATMUL])
    return Results(steps, side, matmul.most, machine.peak_bytes())


def profile(program: Program, batch: Mapping[str, jax.Array], folder: str) -> None:
    """Writes a trace of `PROFILED` steps, in the format of `jax.profiler`, after a warm-up."""
    steps = programs.run(program, batch)
    next(steps)
    with jax.profiler.trace(folder):
        for _ in range(PROFILED):
            next(steps)


def summarize(program: Program, images: int, seconds: list[float]) -> Measured:
    """The results of a program with `images` a step, from the seconds of each round."""
    speed = timing.speed(program.every * images, seconds)
    rate = program.flops * speed.median / images
    return Measured(speed, program.flops, rate, program.memory, program.compile_seconds)


def overheads(steps: Mapping[str, Measured]) -> dict[str, Overhead]:
    """What each step costs relative to the baseline."""
    return {
        name: compare(step, steps["baseline"]) for name, step in steps.items() if name != "baseline"
    }


def compare(step: Measured, baseline: Measured) -> Overhead:
    """The overhead of a step over the baseline, in medians."""
    time = baseline.images_per_second.median / step.images_per_second.median
    flops = step.flops / baseline.flops
    return Overhead(time, flops, time / flops)
