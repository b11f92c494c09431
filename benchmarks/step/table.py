"""The results of `benchmarks.step` as text and as plain values."""

from typing import Any

from ml_collections import ConfigDict

from benchmarks import machine
from benchmarks.step.measure import Measured, Overhead, Results, overheads

HEAD = (
    f"{'step':12}{'images/s':>10}{'min .. max':>20}{'GFLOPs':>12}{'GFLOP/s':>11}"
    f"{'of matmul':>11}{'MiB':>9}{'compiled in':>13}"
)


def describe(config: ConfigDict, results: Results) -> str:
    """The results as text: a line for each step, and for what each costs beside the baseline."""
    matmul, side = results.matmul_flops_per_second, results.matmul_side
    lines = [describe_run(config), HEAD]
    for name, step in results.steps.items():
        lines.append(_row(name, step, matmul))
    for name, overhead in overheads(results.steps).items():
        lines.append(_comparison(name, overhead))
    lines.append(
        f"matmul: {matmul / 1e9:.1f} GFLOP/s, the fastest of the rounds, "
        f"products of {side} x {side}"
    )
    if results.peak_bytes is not None:
        peak = results.peak_bytes / 2**20
        lines.append(f"a device held {peak:.0f} MiB at most, in the whole run")
    return "\n".join(lines)


def describe_run(config: ConfigDict) -> str:
    """What was measured, on what."""
    data = config.data
    return (
        f"{config.task.name} on {data.name}, {data.batch_size} images of {data.image_size} px "
        f"a step, {config.dtype}; {machine.describe_machine()}"
    )


def _row(name: str, step: Measured, matmul: float) -> str:
    speed = step.images_per_second
    extremes = f"{speed.least:.1f} .. {speed.most:.1f}"
    return (
        f"{name:12}{speed.median:10.1f}{extremes:>20}{step.flops / 1e9:12.2f}"
        f"{step.flops_per_second / 1e9:11.1f}{step.flops_per_second / matmul:11.1%}"
        f"{step.memory / 2**20:9.0f}{step.compile_seconds:11.1f} s"
    )


def _comparison(name: str, overhead: Overhead) -> str:
    return (
        f"{name} / baseline: time {overhead.time:.2f}, FLOPs {overhead.flops:.2f}, "
        f"time by FLOPs {overhead.time_by_flops:.2f}"
    )


def plain(config: ConfigDict, results: Results) -> dict[str, Any]:
    """The results as values for JSON, speeds and FLOPs unrounded."""
    steps = {}
    for name, step in results.steps.items():
        steps[name] = step._asdict() | {"images_per_second": step.images_per_second._asdict()}
    return machine.facts() | {
        "config": config.to_dict(),
        "steps": steps,
        "overheads": {name: each._asdict() for name, each in overheads(results.steps).items()},
        "matmul_flops_per_second": results.matmul_flops_per_second,
        "peak_bytes": results.peak_bytes,
    }
