"""The nets of lens_jax, layer by layer in PyTorch: residual networks, heads, and the lens."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import nn

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
        self.projection = None
        if max(strides) > 1 or before != widths[-1]:
            self.projection = conv(before, widths[-1], 1, max(strides))

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
    """The residual network of `lens_jax.models.resnet` and the head of rotation or SimCLR."""

    def __init__(self, model: ConfigDict, task: ConfigDict):
        super().__init__()
        net = make_resnet(
            model.name, stem=model.stem, width=model.width, last_stride=model.last_stride
        )
        bottleneck = net.block is BottleneckBlock
        self.stem = make_stem(model.stem, model.width)
        blocks, channels = [], model.width
        for stage, size in enumerate(net.stage_sizes):
            width = model.width * 2**stage
            # The first unit of every stage but the first one halves the side.
            stride = 1 if stage == 0 else 2
            if 0 < stage == len(net.stage_sizes) - 1:
                stride = model.last_stride
            for unit in range(size):
                block = make_block(bottleneck, channels, width, stride if unit == 0 else 1)
                blocks.append(block)
                channels = 4 * width if bottleneck else width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = make_head(task, channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, h, w] in [-1, 1] -> outputs [N, f], in at least float32."""
        x = self.blocks(self.stem(images))
        x = F.relu(self.norm(x))
        features = torch.mean(x, (2, 3), dtype=self.norm.weight.dtype)
        return self.head(features)


def make_head(task: ConfigDict, channels: int) -> nn.Module:
    """A linear layer to the four rotations, or the projector of SimCLR."""
    if task.name == "rotation":
        return LastLinear(channels, 4)
    return Projector(channels, task.hidden, task.embedding)


class LastLinear(nn.Linear):
    """A linear layer that computes in the precision of its parameters."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, f] -> [N, outputs]."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.weight.dtype))


class Projector(nn.Module):
    """Linear, BatchNorm, ReLU and linear, as `lens_jax.models.heads.MLP` with one hidden layer."""

    def __init__(self, channels: int, hidden: int, embedding: int):
        super().__init__()
        self.first = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.last = LastLinear(hidden, embedding)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, f] -> embeddings [N, d]."""
        x = F.relu(self.norm(self.first(features)))
        return self.last(x)


def make_block(bottleneck: bool, before: int, width: int, stride: int) -> Block:
    """A unit of two 3x3 convolutions, or of one between two of 1x1."""
    if bottleneck:
        return Block(before, (width, width, 4 * width), (1, 3, 1), (1, stride, 1))
    return Block(before, (width, width), (3, 3), (stride, 1))


def make_stem(name: str, width: int) -> nn.Sequential:
    """The first layers, by the names of `lens_jax.models.resnet.STEMS`."""
    stems = {
        "imagenet": [conv(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)],
        "imagenet_dense": [conv(3, width, 7, 1), nn.MaxPool2d(3, 2, 1)],
        "cifar": [conv(3, width, 3, 1)],
        "patch": [nn.Conv2d(3, width, 4, 4, bias=False)],
    }
    return nn.Sequential(*stems[name])


class Unit(nn.Module):
    """A residual unit of the lens: GroupNorm, ReLU and a 3x3 convolution, twice."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList([group_norm(width), group_norm(width)])
        self.convs = nn.ModuleList([conv_3x3(width, width), conv_3x3(width, width)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] -> the same shape."""
        y = x
        for norm, convolve in zip(self.norms, self.convs, strict=True):
            y = convolve(F.relu(norm(y)))
        return x + y


def group_norm(width: int) -> nn.GroupNorm:
    """GroupNorm as Flax's, with its epsilon."""
    return nn.GroupNorm(width // GROUP_SIZE, width, eps=1e-6)


def conv_3x3(before: int, width: int) -> nn.Conv2d:
    """A 3x3 convolution of the lens, with bias."""
    return nn.Conv2d(before, width, 3, padding=1)


class Lens(nn.Module):
    """The residual U-Net of `lens_jax.lens.unet`, which starts as the identity.

    Its budget is "penalty".
    """

    def __init__(self, lens: ConfigDict):
        super().__init__()
        self.patch = lens.patch
        widths, pixels = list(lens.widths), 3 * lens.patch**2
        self.first = conv_3x3(pixels, widths[0])
        self.down, self.up, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.down_units = nn.ModuleList([make_units(widths[0], lens.blocks)])
        self.up_units = nn.ModuleList()
        for fine, coarse in itertools.pairwise(widths):
            self.down.append(nn.Conv2d(fine, coarse, 2, 2))
            self.down_units.append(make_units(coarse, lens.blocks))
        # The way up mirrors the way down, and each of its stages joins the features left there.
        for coarse, fine in itertools.pairwise(reversed(widths)):
            self.up.append(nn.Conv2d(coarse, 4 * fine, 1))
            self.join.append(nn.Conv2d(2 * fine, fine, 1))
            self.up_units.append(make_units(fine, lens.blocks))
        self.norm = group_norm(widths[0])
        self.last = conv_3x3(widths[0], pixels)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images [N, 3, h, w] in [-1, 1] -> lensed images of the same shape, not clipped."""
        x = self.first(F.pixel_unshuffle(images, self.patch))
        x = self.down_units[0](x)
        skips = []
        for down, units in zip(self.down, self.down_units[1:], strict=True):
            skips.append(x)
            x = units(down(x))
        # Back up, the coarsest features first.
        for up, join, units in zip(self.up, self.join, self.up_units, strict=True):
            x = F.pixel_shuffle(up(x), 2)
            x = join(torch.cat([x, skips.pop()], 1))
            x = units(x)
        x = F.relu(self.norm(x))
        # The change of the pixels is not rounded to bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            change = self.last(x.to(self.last.weight.dtype))
        return images + F.pixel_shuffle(change, self.patch)


def make_units(width: int, blocks: int) -> nn.Sequential:
    """The residual units at one resolution of the lens."""
    return nn.Sequential(*[Unit(width) for _ in range(blocks)])
