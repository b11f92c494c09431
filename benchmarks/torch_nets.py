"""The nets of lens_jax, layer by layer in PyTorch: the residual networks and the lens."""

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import recipe
from lens_jax.lens.unet import GROUP_SIZE
from lens_jax.models.resnet import BottleneckBlock, make_resnet


class Block(nn.Module):
    """A pre-activation residual unit: norm, ReLU and convolution, as often as there are kernels.

    The shortcut is projected after the first norm and ReLU, where stride or width change.
    """

    def __init__(
        self, before: int, widths: Sequence[int], kernels: Sequence[int], strides: Sequence[int]
    ):
        super().__init__()
        channels = [before, *widths]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in channels[:-1])
        self.convs = nn.ModuleList(map(conv, channels, widths, kernels, strides))
        stride = max(strides)
        self.projection = (
            conv(before, widths[-1], 1, stride) if stride > 1 or before != widths[-1] else None
        )

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
        net = make_resnet(
            model.name, stem=model.stem, width=model.width, last_stride=model.last_stride
        )
        self.stem = STEMS[model.stem](model.width)
        wide, later, width, blocks = (
            net.block is BottleneckBlock,
            len(net.stage_sizes) - 1,
            model.width,
            [],
        )
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
        for up, join, units, skip in zip(
            self.up, self.join, self.up_units, skips[::-1], strict=True
        ):
            x = units(join(torch.cat([F.pixel_shuffle(up(x), 2), skip], 1)))
        x = F.relu(self.norm(x))
        with torch.autocast(x.device.type, enabled=False):
            change = self.last(x.to(self.last.weight.dtype))
        return images + F.pixel_shuffle(change, self.patch)


def _units(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Unit(width) for _ in range(blocks)))
