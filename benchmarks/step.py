"""Measures a training step with and without the lens: images/s, FLOPs, memory, and what the lens
costs.

    python -m benchmarks.step
    python -m benchmarks.step --recipe=imagenet --images=256 --json=step.json
    python -m benchmarks.step --recipe=imagenet --images=8 --image_size=64 --set model.width=32
    --steps=5

Three steps are timed in turn, on a batch that already lies on the devices: the baseline (no lens),
the lens step (every image is seen through the lens and as it is) and the cheap lens step (every
image is seen once, half of them through the lens). What they reach is set beside what large
products of matrices reach in between, on the same devices in the same precision.

FLOPs are those of the traced program (`jax.stages.Lowered.cost_analysis`): every multiplication and
every addition for a whole batch, over all devices. The compiled program would be the wrong one to
ask. On a GPU its convolutions and products are calls of libraries, which count as 0; on several
devices it is one device's part. On one CPU the two agree within 3 %, which is what fusions compute
twice. Where `lens.update_every` is above 1, the FLOPs are those of a step that does update the
lens, and the time is the mean over as many steps. `remat` adds what is computed twice;
`train.accumulate` changes the time alone.

It needs jax, flax, optax and numpy, and no data.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from benchmarks import recipe, timing
from benchmarks.timing import Speed
from lens_jax.devices import mesh
from lens_jax.errors import UserError
from lens_jax.train import compiling

STEPS = {"baseline": recipe.BASELINE, "lens": recipe.LENS, "cheap lens": recipe.CHEAP_LENS}
CEILING = "matmul"
PROFILED = 3


class Program(NamedTuple):
    """A compiled step.

    Attributes:
      init: makes the first state, on the devices.
      step: (state, batch) -> (state, metrics); the state is donated.
      every: the steps between two updates of the lens; only so many together are always the same
        work.
      flops: of a step, see `count_flops`.
      memory: bytes on each device while it runs: state, batch and temporaries.
      compile_seconds: what the compiler took.

    """

    init: Callable[[], Any]
    step: Callable[[Any, Any], tuple[Any, Any]]
    every: int
    flops: float
    memory: int
    compile_seconds: float


class Measured(NamedTuple):
    """What a step came to: images/s, FLOPs, FLOP/s, bytes on each device, and seconds to compile."""

    images_per_second: Speed
    flops: float
    flops_per_second: float
    memory: int
    compile_seconds: float


class Overhead(NamedTuple):
    """A step beside the baseline: its time, its FLOPs, and the first by the second, each as a ratio."""

    time: float
    flops: float
    time_by_flops: float


def build(config: recipe.Config, name: str, devices: Mesh) -> Program:
    """Compiles the step of a config, of the recipe `name`, for all devices."""
    lowered, init = lower(config, name, devices)
    once = recipe.changed(config, {"train.accumulate": 1})
    # The body of a loop would be counted once, however often it runs.
    flops = count_flops(lowered if once == config else lower(once, name, devices)[0])
    began = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - began
    return Program(init, compiled, config.lens.update_every, flops, count_bytes(compiled), seconds)


def lower(
    config: recipe.Config, name: str, devices: Mesh
) -> tuple[jax.stages.Lowered, Callable[[], Any]]:
    """The step of a config before it is compiled, for all devices, and what makes its first state there."""
    init, traced = compiling.trace(config, recipe.CLASSES, recipe.make_clock(config, name), devices)
    return traced.lower(), init


def count_flops(lowered: jax.stages.Lowered) -> float:
    """The floating-point operations of a program before it is compiled, by XLA's cost analysis.

    A multiplication and an addition count as two, a product with padding not at all, and of two
    branches the larger one counts.
    """
    return lowered.cost_analysis()["flops"]


def count_bytes(compiled: jax.stages.Compiled) -> int:
    """The bytes that a compiled program needs on each device; what it writes in place counts once."""
    sizes = compiled.memory_analysis()
    arguments, results = sizes.argument_size_in_bytes, sizes.output_size_in_bytes
    return arguments + results - sizes.alias_size_in_bytes + sizes.temp_size_in_bytes


def run(program: Program, batch: Mapping[str, jax.Array]) -> Iterator[Any]:
    """Takes a step, or as many as lie between two updates of the lens, at each `next`; gives the
    new state.

    The state is the next step's to overwrite.
    """
    state = program.init()
    while True:
        for _ in range(program.every):
            state, _ = program.step(state, batch)
        yield jax.block_until_ready(state)


def multiply(devices: Mesh, dtype: str, side: int, products: int) -> Iterator[None]:
    """Multiplies matrices of `side` x `side` at each `next`: a chain of products on each of the devices."""
    rows, factor = matrices(devices, dtype, side)
    chain = jax.jit(multiplied, static_argnums=2)
    while True:
        jax.block_until_ready(chain(rows, factor, products))
        yield


def matrices(devices: Mesh, dtype: str, side: int) -> tuple[jax.Array, jax.Array]:
    """As many random rows on each of the devices, and a matrix by which they keep their size on
    average.

    Every device has rows of its own, so that none waits for another: [devices * side, side], [side,
    side].
    """
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(devices.local_devices) * side, side)).astype(np.float32)
    factor = jnp.asarray(rng.normal(scale=side**-0.5, size=(side, side)), dtype)
    placed = mesh.put_batch(devices, {"rows": rows})["rows"]
    return placed.astype(dtype), jax.device_put(factor, mesh.replicated(devices))


def multiplied(rows: jax.Array, factor: jax.Array, products: int) -> jax.Array:
    """`rows @ factor @ factor ...`, from left to right, `products` times."""
    for _ in range(products):
        rows = rows @ factor
    return rows


def matmul_size() -> tuple[int, int]:
    """Side of the matrices and products in a chain: tenths of a second on a CPU, hundredths on a GPU."""
    return (1024, 8) if jax.default_backend() == "cpu" else (8192, 16)


def measure(
    programs: Mapping[str, Program], batch: Any, ceiling: Iterator[None], rounds: int
) -> dict:
    """Seconds in each round of a step of each program, and of one turn of `ceiling`."""
    runs = {name: run(program, batch) for name, program in programs.items()}
    seconds = timing.interleave(runs | {CEILING: ceiling}, rounds)
    return {
        name: [each / programs[name].every for each in times] if name in programs else times
        for name, times in seconds.items()
    }


def summarize(program: Program, images: int, seconds: list[float]) -> Measured:
    """What a program of so many images a step came to in these seconds a step."""
    speed = timing.speed(images, seconds)
    rate = program.flops * speed.median / images
    return Measured(speed, program.flops, rate, program.memory, program.compile_seconds)


def compare(step: Measured, baseline: Measured) -> Overhead:
    """The overhead of a step over the baseline, in medians."""
    by_time = baseline.images_per_second.median / step.images_per_second.median
    by_flops = step.flops / baseline.flops
    return Overhead(by_time, by_flops, by_time / by_flops)


def describe(steps: Mapping[str, Measured], ceiling: float) -> str:
    """A line for each step, and one for what each costs beside the baseline."""
    head = f"{'step':12}{'images/s':>10}{'min .. max':>20}{'GFLOPs':>12}{'GFLOP/s':>11}"
    lines = [f"{head}{'of matmul':>11}{'MiB':>9}{'compiled in':>13}"]
    for name, each in steps.items():
        speed, share = each.images_per_second, each.flops_per_second / ceiling
        extremes = f"{speed.least:.1f} .. {speed.most:.1f}"
        lines.append(
            f"{name:12}{speed.median:10.1f}{extremes:>20}{each.flops / 1e9:12.2f}"
            f"{each.flops_per_second / 1e9:11.1f}{share:11.1%}{each.memory / 2**20:9.0f}"
            f"{each.compile_seconds:11.1f} s"
        )
    for name, cost in _overheads(steps).items():
        lines.append(
            f"{name} / baseline: time {cost.time:.2f}, FLOPs {cost.flops:.2f}, "
            f"time by FLOPs {cost.time_by_flops:.2f}"
        )
    return "\n".join(lines)


def _overheads(steps: Mapping[str, Measured]) -> dict[str, Overhead]:
    return {
        name: compare(each, steps["baseline"]) for name, each in steps.items() if name != "baseline"
    }


def describe_machine() -> str:
    """The devices, and what computes on them."""
    kind = jax.devices()[0].device_kind
    return f"{jax.device_count()} x {kind} ({jax.default_backend()}), jax {jax.__version__}"


def peak_bytes() -> int | None:
    """The most bytes that the first device has held since the process began; None where it keeps no count."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def check_file(path: str | None) -> None:
    """Raises `UserError` for a file whose folder is not there: before the work, rather than after it."""
    if path and not Path(path).parent.is_dir():
        raise UserError(
            f"--json {path!r} lies in no folder: create {str(Path(path).parent)!r} first"
        )


def check_rounds(rounds: int) -> None:
    """Raises `UserError` for no rounds at all."""
    if rounds < 1:
        raise UserError(f"--steps is {rounds}: give 1 or more")


def bench(options: argparse.Namespace) -> None:
    """Compiles, measures and prints as the flags say; raises `UserError` for what cannot be."""
    check_rounds(options.steps)
    check_file(options.json)
    config = recipe.make_config(
        options.recipe, recipe.read_flags(options) | read_changes(options.set)
    )
    devices, images = mesh.make_mesh(config.mesh.fsdp), config.data.batch_size
    configs = {name: recipe.changed(config, changes) for name, changes in STEPS.items()}
    programs = {name: build(each, options.recipe, devices) for name, each in configs.items()}
    batch = mesh.put_batch(devices, recipe.make_batch(config))
    if options.profile:
        profile(programs["lens"], batch, options.profile)
    side, products = matmul_size()
    ceiling = multiply(devices, config.dtype, side, products)
    seconds = measure(programs, batch, ceiling, options.steps)
    steps = {name: summarize(each, images, seconds[name]) for name, each in programs.items()}
    most = timing.speed(2 * products * side**3 * devices.size, seconds[CEILING]).most
    size = config.data.image_size
    print(
        f"{options.recipe}, {images} images of {size} px a step, {config.dtype}; {describe_machine()}"
    )
    print(describe(steps, most))
    print(
        f"matmul: {most / 1e9:.1f} GFLOP/s, the fastest of the rounds, products of {side} x {side}"
    )
    peak = peak_bytes()
    if peak is not None:
        print(f"a device held {peak / 2**20:.0f} MiB at most, in the whole run")
    if options.json:
        write(options.json, config, steps, {"matmul_flops_per_second": most, "peak_bytes": peak})


def read_changes(words: list[str]) -> dict[str, Any]:
    """The changes of all `--set`; raises `UserError` for what the three steps differ in."""
    changes = dict(recipe.parse_change(each) for each in words)
    for name in changes:
        if name in recipe.LENS:
            raise UserError(f"--set {name} is what the steps differ in: set another key")
    return changes


def profile(program: Program, batch: Any, folder: str) -> None:
    """Writes a trace of a few steps, in the format of `jax.profiler`, after one that warms up."""
    steps = run(program, batch)
    next(steps)
    with jax.profiler.trace(folder):
        for _ in range(PROFILED):
            next(steps)
    print(f"a trace of {PROFILED} steps with the lens is in {folder}")


def write(
    path: str, config: recipe.Config, steps: Mapping[str, Measured], more: Mapping[str, Any]
) -> None:
    """Writes what was measured as JSON, speeds and FLOPs unrounded."""
    values = {
        "machine": describe_machine(),
        "python": platform.python_version(),
        "config": config,
        "steps": {name: _plain(each) for name, each in steps.items()},
        "overheads": {name: each._asdict() for name, each in _overheads(steps).items()},
        **more,
    }
    Path(path).write_text(json.dumps(values, indent=2) + "\n")


def _plain(step: Measured) -> dict[str, Any]:
    return step._asdict() | {"images_per_second": step.images_per_second._asdict()}


def main() -> None:
    """Measures as the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    recipe.add_flags(parser)
    parser.add_argument(
        "--steps", type=int, default=10, help="rounds, in each of which every step is timed"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="changes the config"
    )
    parser.add_argument("--json", metavar="PATH", help="where the numbers are written to")
    parser.add_argument(
        "--profile", metavar="FOLDER", help="where a trace of the lens step is written to"
    )
    try:
        bench(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
