"""Times one view of a batch, by our augmentation and by torchvision's, and compares them."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import torch
import torchvision
from ml_collections import ConfigDict

from benchmarks import machine, programs, timing
from benchmarks.augment import peer
from benchmarks.peer_torch.compare import prepare_torch
from benchmarks.timing import Speed
from lens_jax.devices.compiler import compiler_options
from lens_jax.ops import color
from lens_jax.ops.augment import Augmentation, make_augmentations

OURS = "lens_jax"
ONE_DRAW = "torchvision, one draw"
EACH_IMAGE = "torchvision, each image"


def measure(config: ConfigDict, rounds: int) -> dict[str, Speed]:
    """Images/s of the three ways, in turn on the same batch.

    Raises `UserError` where torchvision lacks a setting, and where JAX and PyTorch compute on
    different devices.
    """
    device = prepare_torch()
    augmentation, _ = make_augmentations(config.augment)
    size = view_size(config)
    transforms = peer.make_transforms(config.augment, size)
    pixels = programs.make_batch(config)["image"]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device)

    runs = {
        OURS: run_ours(augmentation, pixels, size),
        ONE_DRAW: peer.run(transforms, images, each=False),
        EACH_IMAGE: peer.run(transforms, images, each=True),
    }
    seconds = timing.interleave(runs, rounds)
    return {name: timing.speed(len(pixels), times) for name, times in seconds.items()}


def view_size(config: ConfigDict) -> int:
    """The side of a view in pixels."""
    return config.task.get("size", 0) or config.data.image_size


def run_ours(augmentation: Augmentation, pixels: np.ndarray, size: int) -> Iterator[jax.Array]:
    """At each `next`, the views [N, s, s, 3] of uint8 images [N, h, w, 3], drawn anew."""
    images = jax.device_put(pixels)
    count, height, width, _ = pixels.shape

    def augment(key: jax.Array, images: jax.Array) -> jax.Array:
        drawn = augmentation.draw(key, count, height, width)
        return augmentation.apply(color.to_unit(images), drawn, size)

    jitted = jax.jit(augment, compiler_options=compiler_options())
    number = 0
    while True:
        yield jax.block_until_ready(jitted(jax.random.key(number), images))
        number += 1


def describe_run(config: ConfigDict) -> str:
    """What was compared, on what."""
    data = config.data
    return (
        f"the first view of {config.task.name} on {data.name}, {data.batch_size} images of "
        f"{data.image_size} px to {view_size(config)} px; {machine.describe_machine()}; PyTorch "
        f"{torch.__version__}, torchvision {torchvision.__version__}, "
        f"{torch.get_num_threads()} threads"
    )


def describe(speeds: Mapping[str, Speed]) -> str:
    """A line for each way, and how much faster ours is than it."""
    lines = [f"{'way':26}{'images/s':>10}{'min .. max':>20}{'ours by it':>12}"]
    for name, ratio in ratios(speeds).items():
        speed = speeds[name]
        extremes = f"{speed.least:.0f} .. {speed.most:.0f}"
        lines.append(f"{name:26}{speed.median:10.0f}{extremes:>20}{ratio:12.2f}")
    return "\n".join(lines)


def ratios(speeds: Mapping[str, Speed]) -> dict[str, float]:
    """The images/s of ours by those of each way, in medians."""
    found = {}
    for name, speed in speeds.items():
        found[name] = speeds[OURS].median / speed.median
    return found


def plain(config: ConfigDict, speeds: Mapping[str, Speed]) -> dict[str, Any]:
    """The results as values for JSON, unrounded."""
    return machine.facts() | {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "config": config.to_dict(),
        "images_per_second": {name: speed._asdict() for name, speed in speeds.items()},
        "ours_by": ratios(speeds),
    }
