"""Measures the step of `benchmarks.step` beside the same nets and the same update, written in PyTorch.

    pip install torch
    python -m benchmarks.peer_torch
    python -m benchmarks.peer_torch --recipe=imagenet --images=256 --compile

Both train in one process on one device, in turn, on the same batch and in the same precision: without a lens,
and with one that every image is seen through beside the image as it is. Flips and colours are left out of
both, so that what is compared is rotation, lens, extractor, head, losses and the two updates.

The update in PyTorch is the usual alternating one. The extractor takes a step on [lensed; raw], where no
gradient is kept for the lens; then the lens takes a step on a second pass, of the lensed images alone, for
which the extractor's parameters need no gradients. The JAX step makes one pass over [lensed; raw] for both.
In the extractor the two are the same work, where n is that of a pass of the batch forward, as well as of its
gradient to parameters, and of that to activations:

    JAX      [lensed; raw] forward 2n, to both 4n, to activations 2n
    PyTorch  [lensed; raw] forward 2n, to both 4n; lensed forward n, to activations n

The nets have the same layers and parameters. Where a 3x3 convolution of stride 2 meets an even side, PyTorch
pads all sides alike, and "SAME" only those to the right and below: a shift of one pixel, which costs no
operation. On odd sides the nets are equal.

Bfloat16 is `torch.autocast`, with head, losses and the lens's last layer in float32 as in JAX. Float32
products may use TF32 on GPUs that have it, as JAX's do by default. On a GPU both sides hold memory at once;
JAX takes XLA_PYTHON_CLIENT_MEM_FRACTION of it, 0.45 by default.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import recipe, step, timing
from benchmarks.timing import Speed
from lens_jax.errors import UserError
from lens_jax.lens.unet import GROUP_SIZE
from lens_jax.models.resnet import BottleneckBlock, make_resnet
from lens_jax.train import mesh

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ModuleNotFoundError:
    sys.exit("error: the peer is written in PyTorch, which is not installed: run `pip install torch`")

STEPS = {"baseline": recipe.BASELINE, "lens": recipe.LENS}
PLAIN = {"augment.flip": False, "augment.colour": False}


class Block(nn.Module):
    """A pre-activation residual unit: norm, ReLU and convolution, as often as there are kernels.

    The shortcut is projected after the first norm and ReLU, where stride or width change.
    """

    def __init__(self, before: int, widths: Sequence[int], kernels: Sequence[int], strides: Sequence[int]):
        super().__init__()
        channels = [before, *widths]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in channels[:-1])
        self.convs = nn.ModuleList(map(conv, channels, widths, kernels, strides))
        stride = max(strides)
        self.projection = conv(before, widths[-1], 1, stride) if stride > 1 or before != widths[-1] else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] -> [N, C', h / stride, w / stride]."""
        y = F.relu(self.norms[0](x))
        shortcut = x if self.projection is None else self.projection(y)
        y = self.convs[0](y)
        for norm, convolve in zip(self.norms[1:], self.convs[1:], strict=True):
            y = convolve(F.relu(norm(y)))
        return shortcut + y


def conv(before: int, width: int, kernel: int, stride: int) -> nn.Conv2d:
    """A convolution without bias, padded to keep the size but for the stride."""
    return nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)


class Extractor(nn.Module):
    """The residual network of `lens_jax.models.resnet` and a linear head to the four rotations."""

    def __init__(self, model: recipe.Config):
        super().__init__()
        net = make_resnet(model.name, stem=model.stem, width=model.width, last_stride=model.last_stride)
        self.stem = STEMS[model.stem](model.width)
        wide, later, width, blocks = net.block is BottleneckBlock, len(net.stage_sizes) - 1, model.width, []
        strides = [1, *[2] * (later - 1), *[model.last_stride] * min(later, 1)]
        for stage, (size, stride) in enumerate(zip(net.stage_sizes, strides, strict=True)):
            for here in [stride, *[1] * (size - 1)]:
                blocks.append(_block(wide, width, model.width * 2**stage, here))
                width = model.width * 2**stage * (4 if wide else 1)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, h, w] in [-1, 1] -> logits [N, 4], in at least float32."""
        x = F.relu(self.norm(self.blocks(self.stem(images))))
        with torch.autocast(x.device.type, enabled=False):
            return self.head(torch.mean(x, (2, 3), dtype=self.head.weight.dtype))


def _block(wide: bool, before: int, width: int, stride: int) -> Block:
    if wide:
        return Block(before, (width, width, 4 * width), (1, 3, 1), (1, stride, 1))
    return Block(before, (width, width), (3, 3), (stride, 1))


def _imagenet_stem(width: int, stride: int = 2) -> nn.Module:
    return nn.Sequential(conv(3, width, 7, stride), nn.MaxPool2d(3, 2, 1))


STEMS: dict[str, Callable[[int], nn.Module]] = {
    "imagenet": _imagenet_stem,
    "imagenet_dense": lambda width: _imagenet_stem(width, stride=1),
    "cifar": lambda width: nn.Sequential(conv(3, width, 3, 1)),
    "patch": lambda width: nn.Sequential(nn.Conv2d(3, width, 4, 4, bias=False)),
}


class Unit(nn.Module):
    """A residual unit of the lens: GroupNorm, ReLU and a 3x3 convolution, twice."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(group_norm(width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] -> the same shape."""
        y = self.convs[0](F.relu(self.norms[0](x)))
        return x + self.convs[1](F.relu(self.norms[1](y)))


def group_norm(width: int) -> nn.GroupNorm:
    """GroupNorm as Flax's, with its epsilon."""
    return nn.GroupNorm(width // GROUP_SIZE, width, eps=1e-6)


class Lens(nn.Module):
    """The residual U-Net of `lens_jax.lens.unet`, which starts as the identity; its budget is "penalty"."""

    def __init__(self, lens: recipe.Config):
        super().__init__()
        widths, self.patch, pixels = list(lens.widths), lens.patch, 3 * lens.patch**2
        coarser = list(itertools.pairwise(widths))
        self.first = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in coarser)
        self.down_units = nn.ModuleList(_units(width, lens.blocks) for width in widths)
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in coarser[::-1])
        self.join = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine, _ in coarser[::-1])
        self.up_units = nn.ModuleList(_units(fine, lens.blocks) for fine, _ in coarser[::-1])
        self.norm = group_norm(widths[0])
        self.last = nn.Conv2d(widths[0], pixels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, h, w] in [-1, 1] -> lensed images of the same shape, not clipped."""
        x = self.down_units[0](self.first(F.pixel_unshuffle(images, self.patch)))
        skips = []
        for down, units in zip(self.down, self.down_units[1:], strict=True):
            skips.append(x)
            x = units(down(x))
        for up, join, units, skip in zip(self.up, self.join, self.up_units, skips[::-1], strict=True):
            x = units(join(torch.cat([F.pixel_shuffle(up(x), 2), skip], 1)))
        x = F.relu(self.norm(x))
        with torch.autocast(x.device.type, enabled=False):
            change = self.last(x.to(self.last.weight.dtype))
        return images + F.pixel_shuffle(change, self.patch)


def _units(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Unit(width) for _ in range(blocks)))


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
    return Nets(extractor, sgd, lens, torch.optim.Adam(lens.parameters(), lr=config.lens.learning_rate))


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

    All four rotations of each image lie side by side, [4B, 3, h, h], or it is one at random, [B, 3, h, h].
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
        with torch.autocast(images.device.type, torch.bfloat16) if half else contextlib.nullcontext():
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
    ours = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (state.params, state.lens_params)]
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
    images = torch.from_numpy(batch["image"]).to(device).permute(0, 3, 1, 2).contiguous(memory_format=layout)
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


def run_jax(config: recipe.Config, name: str, batch: dict[str, np.ndarray]) -> tuple[Iterator[Any], Any]:
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
    return {name: speeds[f"{name}, JAX"].median / speeds[f"{name}, PyTorch"].median for name in STEPS}


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
    parser.add_argument("--steps", type=int, default=10, help="rounds, in each of which every step is timed")
    parser.add_argument("--compile", action="store_true", help="compile the nets with torch.compile")
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
