"""Measures the step of `benchmarks.step` beside the same nets and the same update, written in
PyTorch.

    pip install torch
    python -m benchmarks.peer_torch
    python -m benchmarks.peer_torch --recipe=imagenet --images=256 --compile

Both train in one process on one device, in turn, on the same batch and in the same precision:
without a lens, and with one that every image is seen through beside the image as it is. Flips and
colors are left out of both, so that what is compared is rotation, lens, extractor, head, losses
and the two updates.

The update in PyTorch is the usual alternating one. The extractor takes a step on [lensed; raw],
where no gradient is kept for the lens; then the lens takes a step on a second pass, of the lensed
images alone, for which the extractor's parameters need no gradients. The JAX step makes one pass
over [lensed; raw] for both. In the extractor the two are the same work, where n is that of a pass
of the batch forward, as well as of its gradient to parameters, and of that to activations:

    JAX      [lensed; raw] forward 2n, to both 4n, to activations 2n
    PyTorch  [lensed; raw] forward 2n, to both 4n; lensed forward n, to activations n

The nets have the same layers and parameters. Where a 3x3 convolution of stride 2 meets an even
side, PyTorch pads all sides alike, and "SAME" only those to the right and below: a shift of one
pixel, which costs no operation. On odd sides the nets are equal.

Bfloat16 is `torch.autocast`, with head, losses and the lens's last layer in float32 as in JAX.
Float32 products may use TF32 on GPUs that have it, as JAX's do by default. On a GPU both sides hold
memory at once; JAX takes XLA_PYTHON_CLIENT_MEM_FRACTION of it, 0.45 by default.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import recipe, step, timing
from benchmarks.timing import Speed
from lens_jax.devices import mesh
from lens_jax.errors import UserError

try:
    import torch
    import torch.nn.functional as F
    from torch import nn

    from benchmarks.torch_nets import Extractor, Lens
except ModuleNotFoundError:
    sys.exit(
        "error: the peer is written in PyTorch, which is not installed: run `pip install torch`"
    )

STEPS = {"baseline": recipe.BASELINE, "lens": recipe.LENS}
PLAIN = {"augment.flip": False, "augment.color": False}


class Nets(NamedTuple):
    """The nets in training mode, and their optimizers; without a lens, the last two are None."""

    extractor: nn.Module
    extractor_optimizer: torch.optim.Optimizer
    lens: nn.Module | None
    lens_optimizer: torch.optim.Optimizer | None


def make_nets(config: recipe.Config, device: str, memory_format: torch.memory_format) -> Nets:
    """The nets of a config, and SGD with momentum and Adam; SGD's learning rate is the one at its peak."""
    extractor = Extractor(config.model).to(device, memory_format=memory_format)
    sgd = torch.optim.SGD(
        _decayed(extractor, config.optimizer),
        lr=config.optimizer.learning_rate * config.data.batch_size / 256,
        momentum=config.optimizer.momentum,
    )
    if config.lens.kind == "none":
        return Nets(extractor, sgd, None, None)
    lens = Lens(config.lens).to(device, memory_format=memory_format)
    return Nets(
        extractor, sgd, lens, torch.optim.Adam(lens.parameters(), lr=config.lens.learning_rate)
    )


def _decayed(extractor: Extractor, optimizer: recipe.Config) -> list[dict[str, Any]]:
    """The parameters by their weight decay: kernels of the body, of the head, and the rest without any."""
    head, kernels = extractor.head.weight, [p for p in extractor.parameters() if p.ndim > 1]
    return [
        {"params": [p for p in kernels if p is not head], "weight_decay": optimizer.weight_decay},
        {"params": [head], "weight_decay": optimizer.head_weight_decay},
        {"params": [p for p in extractor.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]


def views(images: torch.Tensor, all_rotations: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images [B, 3, h, h] -> inputs in [-1, 1], turned counter-clockwise, and labels 0..3.

    All four rotations of each image lie side by side, [4B, 3, h, h], or it is one at random, [B, 3,
    h, h].
    """
    images = images.float() / 127.5 - 1
    turned = torch.stack([torch.rot90(images, turns, (2, 3)) for turns in range(4)], 1)
    if all_rotations:
        return turned.flatten(0, 1), torch.arange(4, device=images.device).repeat(len(images))
    turns = torch.randint(4, (len(images),), device=images.device)
    return turned[torch.arange(len(images), device=images.device), turns], turns


def extractor_step(nets: Nets, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A step of the extractor; gives the mean cross-entropy."""
    loss = F.cross_entropy(nets.extractor(inputs), targets)
    nets.extractor_optimizer.zero_grad()
    loss.backward()
    nets.extractor_optimizer.step()
    return loss.detach()


def lens_step(
    nets: Nets, lens: recipe.Config, raw: torch.Tensor, lensed: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """A step of the lens that made `lensed` of `raw`; gives L_adv + lambda * mean of (raw - lensed)^2."""
    nets.extractor.requires_grad_(False)
    adversarial = OBJECTIVES[lens.objective](nets.extractor(lensed), targets)
    loss = adversarial + lens.lambda_ * F.mse_loss(lensed, raw)
    nets.lens_optimizer.zero_grad()
    loss.backward()
    nets.lens_optimizer.step()
    nets.extractor.requires_grad_(True)
    return loss.detach()


OBJECTIVES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "full": lambda logits, targets: -F.cross_entropy(logits, targets),
    "least_likely": lambda logits, targets: F.cross_entropy(logits, logits.detach().argmin(1)),
    "confusion": lambda logits, targets: -F.log_softmax(logits, 1).mean(),
}


def update(nets: Nets, config: recipe.Config, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    """The alternating update on some views, of the extractor alone where there is no lens."""
    if nets.lens is None:
        extractor_step(nets, inputs, targets)
        return
    lensed = nets.lens(inputs)
    extractor_step(nets, torch.cat([lensed.detach(), inputs]), targets.repeat(2))
    lens_step(nets, config.lens, inputs, lensed, targets)


def run(nets: Nets, config: recipe.Config, images: torch.Tensor) -> Iterator[None]:
    """Takes a step on uint8 images [B, 3, h, h] at each `next`, and waits for its end."""
    half = config.dtype == "bfloat16"
    layout = layout_of(images)
    while True:
        with (
            torch.autocast(images.device.type, torch.bfloat16) if half else contextlib.nullcontext()
        ):
            inputs, targets = views(images, config.task.all_rotations)
            update(nets, config, inputs.contiguous(memory_format=layout), targets)
        if images.is_cuda:
            torch.cuda.synchronize()
        yield


def layout_of(images: torch.Tensor) -> torch.memory_format:
    """The memory format of images that have more than one channel and pixel."""
    last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def parameters(module: nn.Module) -> int:
    """The number of a net's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def check_parameters(nets: Nets, state: Any) -> str:
    """Says how many parameters extractor and lens have; raises `ValueError` unless both sides' nets agree."""
    ours = [
        sum(leaf.size for leaf in jax.tree.leaves(tree))
        for tree in (state.params, state.lens_params)
    ]
    theirs = [parameters(nets.extractor), parameters(nets.lens) if nets.lens else 0]
    if ours != theirs:
        raise ValueError(f"the nets have {ours} parameters in JAX and {theirs} in PyTorch")
    return f"{ours[0]:,} parameters in extractor and head, {ours[1]:,} in the lens, on both sides"


def prepare_torch() -> str:
    """Takes as many threads as JAX does, and products in TF32 where JAX does; gives the device to use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(cores)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    ours, theirs = jax.default_backend(), "cuda" if torch.cuda.is_available() else "cpu"
    if (ours == "gpu") != (theirs == "cuda") or jax.device_count() > 1:
        raise UserError(
            f"JAX has {jax.device_count()} {ours} device(s) and PyTorch computes on {theirs}: give both the "
            "same one, with JAX_PLATFORMS=cpu or CUDA_VISIBLE_DEVICES=0"
        )
    return theirs


def bench(options: argparse.Namespace) -> None:
    """Measures and prints as the flags say; raises `UserError` for what cannot be."""
    step.check_rounds(options.steps)
    step.check_file(options.json)
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    config = recipe.make_config(options.recipe, recipe.read_flags(options) | PLAIN)
    device, batch = prepare_torch(), recipe.make_batch(config)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    images = (
        torch.from_numpy(batch["image"])
        .to(device)
        .permute(0, 3, 1, 2)
        .contiguous(memory_format=layout)
    )
    runs = {}
    for name, changes in STEPS.items():
        each = recipe.changed(config, changes)
        runs[f"{name}, JAX"], state = run_jax(each, options.recipe, batch)
        nets = make_nets(each, device, layout)
        print(f"{name}: {check_parameters(nets, state)}")
        runs[f"{name}, PyTorch"] = run(compiled(nets) if options.compile else nets, each, images)
    seconds = timing.interleave(runs, options.steps)
    speeds = {name: timing.speed(len(images), times) for name, times in seconds.items()}
    print(describe_run(options, config))
    print(describe(speeds))
    if options.json:
        write(options, config, speeds)


def run_jax(
    config: recipe.Config, name: str, batch: dict[str, np.ndarray]
) -> tuple[Iterator[Any], Any]:
    """The steps in JAX as `run` gives those in PyTorch, and the shapes of the state."""
    devices = mesh.make_mesh()
    program = step.build(config, name, devices)
    return step.run(program, mesh.put_batch(devices, batch)), jax.eval_shape(program.init)


def compiled(nets: Nets) -> Nets:
    """The nets, to be compiled by `torch.compile` when they first run."""
    lens = None if nets.lens is None else torch.compile(nets.lens)
    return nets._replace(extractor=torch.compile(nets.extractor), lens=lens)


def describe_run(options: argparse.Namespace, config: recipe.Config) -> str:
    """What was compared, on what."""
    compiled = "torch.compile" if options.compile else "eager"
    layout = "channels last" if options.channels_last else "channels first"
    return (
        f"{options.recipe}, {config.data.batch_size} images of {config.data.image_size} px a step, "
        f"{config.dtype}; {step.describe_machine()}; PyTorch {torch.__version__}, {compiled}, {layout}, "
        f"{torch.get_num_threads()} threads"
    )


def describe(speeds: dict[str, Speed]) -> str:
    """A line for each run, and the ratio of the two sides for each step."""
    lines = [f"{'step':20}{'images/s':>10}{'min .. max':>20}"]
    for name, speed in speeds.items():
        extremes = f"{speed.least:.1f} .. {speed.most:.1f}"
        lines.append(f"{name:20}{speed.median:10.1f}{extremes:>20}")
    lines += [f"{name}: JAX / PyTorch {ratio:.2f}" for name, ratio in ratios(speeds).items()]
    return "\n".join(lines)


def ratios(speeds: dict[str, Speed]) -> dict[str, float]:
    """The images/s of the JAX step by those of the PyTorch step, in medians."""
    return {
        name: speeds[f"{name}, JAX"].median / speeds[f"{name}, PyTorch"].median for name in STEPS
    }


def write(options: argparse.Namespace, config: recipe.Config, speeds: dict[str, Speed]) -> None:
    """Writes what was measured as JSON, unrounded."""
    values = {
        "machine": step.describe_machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compile": options.compile,
        "channels_last": options.channels_last,
        "config": config,
        "images_per_second": {name: speed._asdict() for name, speed in speeds.items()},
        "jax_by_torch": ratios(speeds),
    }
    Path(options.json).write_text(json.dumps(values, indent=2) + "\n")


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
        "--compile", action="store_true", help="compile the nets with torch.compile"
    )
    parser.add_argument(
        "--channels_last",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the channels of a pixel side by side in PyTorch; the faster layout, on CPUs too",
    )
    parser.add_argument("--json", metavar="PATH", help="where the numbers are written to")
    try:
        bench(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
