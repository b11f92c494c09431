"""Times the steps in JAX and in PyTorch in turn, and compares them."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from ml_collections import ConfigDict
from torch import nn

from benchmarks import machine, programs, timing, variants
from benchmarks.peer_torch import update
from benchmarks.peer_torch.update import OBJECTIVES, Nets
from benchmarks.timing import Speed
from lens_jax import config as configs
from lens_jax.devices import mesh
from lens_jax.errors import UserError

STEPS = {"baseline": variants.BASELINE, "lens": variants.LENS}
PLAIN = {
    "augment.area": (1.0, 1.0),
    "augment.flip": 0.0,
    "augment.jitter": 0.0,
    "augment.gray": 0.0,
    "augment.blur": 0.0,
    "augment.solarize": 0.0,
}
# What the side in PyTorch is written for.
SUPPORTED = {
    "task.name": ("rotation", "simclr"),
    "shortcut": ("none",),
    "remat": (False,),
    "model.standardize": (False,),
    "model.batch_norm_group": (0,),
    "optimizer.name": ("sgd",),
    "optimizer.bias_factor": (1.0,),
    "lens.acts_on": ("views",),
    "lens.objective": tuple(OBJECTIVES),
    "lens.budget": ("penalty",),
    "lens.update_every": (1,),
    "lens.batch_norm": ("joint",),
    "train.accumulate": (1,),
}
# And of SimCLR, whose embeddings are no logits.
SUPPORTED_SIMCLR = {
    "task.size": (0,),
    "task.last_norm": (False,),
    "lens.objective": ("full",),
}


class Setting(NamedTuple):
    """How many rounds are timed, and what PyTorch is told to do with the nets."""

    rounds: int
    compile: bool
    channels_last: bool


def measure(config: ConfigDict, setting: Setting) -> dict[str, Speed]:
    """Images/s of "baseline, JAX", "baseline, PyTorch", "lens, JAX" and "lens, PyTorch".

    Prints that both sides have as many parameters. Raises `UserError` for a config that the side in
    PyTorch is not written for, and where the two sides compute on different devices.
    """
    check_supported(config)
    device = prepare_torch()
    batch = programs.make_batch(config)
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    images = torch.from_numpy(batch["image"]).to(device).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=layout)

    # Both sides of both steps, to be timed in the same rounds.
    runs: dict[str, Iterator[Any]] = {}
    for name, changes in STEPS.items():
        config_of_step = variants.changed(config, PLAIN | changes)
        runs[f"{name}, JAX"], state = run_jax(config_of_step, batch)
        nets = update.make_nets(config_of_step, device, layout)
        print(f"{name}: {check_parameters(nets, state)}")
        if setting.compile:
            nets = compiled(nets)
        runs[f"{name}, PyTorch"] = update.run(nets, config_of_step, images)
    seconds = timing.interleave(runs, setting.rounds)
    return {name: timing.speed(len(images), times) for name, times in seconds.items()}


def check_supported(config: ConfigDict) -> None:
    """Raises `UserError` for a config that the side in PyTorch is not written for."""
    supported = SUPPORTED
    if config.task.name == "simclr":
        supported = SUPPORTED | SUPPORTED_SIMCLR
    for key, legal in supported.items():
        value = configs.get(config, key)
        if value not in legal:
            words = ", ".join(map(str, legal))
            raise UserError(f"{key} is {value!r}: the peer in PyTorch has {words} only")


def prepare_torch() -> str:
    """Gives PyTorch the threads that JAX has, and TF32 products; returns the device to use.

    Raises `UserError` where JAX computes on another device, or on several.
    """
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    backend, count = jax.default_backend(), jax.device_count()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if (backend == "gpu") != (device == "cuda") or count > 1:
        raise UserError(
            f"JAX has {count} {backend} device(s) and PyTorch computes on {device}: "
            "give both the same one, with JAX_PLATFORMS=cpu or CUDA_VISIBLE_DEVICES=0"
        )
    return device


def run_jax(config: ConfigDict, batch: dict[str, np.ndarray]) -> tuple[Iterator[Any], Any]:
    """The steps in JAX, as `update.run` takes those in PyTorch, and the shapes of the state."""
    devices = mesh.make_mesh()
    program = programs.build(config, devices)
    steps = programs.run(program, mesh.put_batch(devices, batch))
    return steps, jax.eval_shape(program.init)


def check_parameters(nets: Nets, state: Any) -> str:
    """How many parameters extractor and lens have; raises `ValueError` unless both sides agree."""
    ours = [_count_leaves(state.params), _count_leaves(state.lens_params)]
    theirs = [_count_parameters(nets.extractor), _count_parameters(nets.lens)]
    if ours != theirs:
        raise ValueError(f"the nets have {ours} parameters in JAX and {theirs} in PyTorch")
    return f"{ours[0]:,} parameters in extractor and head, {ours[1]:,} in the lens, on both sides"


def _count_leaves(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _count_parameters(net: nn.Module | None) -> int:
    if net is None:
        return 0
    return sum(parameter.numel() for parameter in net.parameters())


def compiled(nets: Nets) -> Nets:
    """The nets, to be compiled by `torch.compile` when they first run."""
    lens = None if nets.lens is None else torch.compile(nets.lens)
    return nets._replace(extractor=torch.compile(nets.extractor), lens=lens)


def describe_run(config: ConfigDict, setting: Setting) -> str:
    """What was compared, on what."""
    data = config.data
    mode = "torch.compile" if setting.compile else "eager"
    layout = "channels last" if setting.channels_last else "channels first"
    return (
        f"{config.task.name} on {data.name}, {data.batch_size} images of {data.image_size} px "
        f"a step, {config.dtype}; {machine.describe_machine()}; PyTorch {torch.__version__}, "
        f"{mode}, {layout}, {torch.get_num_threads()} threads"
    )


def describe(speeds: Mapping[str, Speed]) -> str:
    """A line for each run, and the ratio of the two sides for each step."""
    lines = [f"{'step':20}{'images/s':>10}{'min .. max':>20}"]
    for name, speed in speeds.items():
        extremes = f"{speed.least:.1f} .. {speed.most:.1f}"
        lines.append(f"{name:20}{speed.median:10.1f}{extremes:>20}")
    for name, ratio in ratios(speeds).items():
        lines.append(f"{name}: JAX / PyTorch {ratio:.2f}")
    return "\n".join(lines)


def ratios(speeds: Mapping[str, Speed]) -> dict[str, float]:
    """The images/s of each step in JAX by those in PyTorch, in medians."""
    found = {}
    for name in STEPS:
        jax_speed, torch_speed = speeds[f"{name}, JAX"], speeds[f"{name}, PyTorch"]
        found[name] = jax_speed.median / torch_speed.median
    return found


def plain(config: ConfigDict, setting: Setting, speeds: Mapping[str, Speed]) -> dict[str, Any]:
    """The results as values for JSON, unrounded."""
    return machine.facts() | {
        "torch": torch.__version__,
        "compile": setting.compile,
        "channels_last": setting.channels_last,
        "config": variants.changed(config, PLAIN).to_dict(),
        "images_per_second": {name: speed._asdict() for name, speed in speeds.items()},
        "jax_by_torch": ratios(speeds),
    }
