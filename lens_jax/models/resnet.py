"""Pre-activation residual networks (He et al., 2016, arXiv 1603.05027) with named taps.

The definition follows revisiting-self-supervised: the stride sits in the 3x3 convolution, the
shortcut is projected after BatchNorm and ReLU, the root has no BatchNorm, the last ReLU is kept.
"""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import check_choice
from lens_jax.models.batch_norm import BatchNorm
from lens_jax.models.conv import KERNEL_INIT, Conv, convolve_folded, max_pool
from lens_jax.models.resnet_v1 import ResNetV1


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    width: int
    stride: int
    dtype: Any
    zero_last: bool = False
    group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[N, h, w, C] -> [N, h / stride, w / stride, width]."""
        conv = partial(Conv, self.width, dtype=self.dtype)
        norm = partial(BatchNorm, use_running_average=not train, dtype=self.dtype, group=self.group)

        y = norm()(x)
        y = nn.relu(y)
        # The shortcut is the input, projected where the shape changes.
        width_in = x.shape[-1]
        if self.stride > 1 or width_in != self.width:
            x = conv((1, 1), self.stride, name="projection")(y)

        y = conv((3, 3), self.stride)(y)
        y = norm()(y)
        y = nn.relu(y)
        y = conv((3, 3), kernel_init=_last_kernel(self.zero_last))(y)
        return x + y


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; the output is four times as wide as the middle."""

    width: int
    stride: int
    dtype: Any
    zero_last: bool = False
    group: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[N, h, w, C] -> [N, h / stride, w / stride, 4 * width]."""
        conv = partial(Conv, dtype=self.dtype)
        norm = partial(BatchNorm, use_running_average=not train, dtype=self.dtype, group=self.group)
        width_out = 4 * self.width

        y = norm()(x)
        y = nn.relu(y)
        # The shortcut is the input, projected where the shape changes.
        width_in = x.shape[-1]
        if self.stride > 1 or width_in != width_out:
            x = conv(width_out, (1, 1), self.stride, name="projection")(y)

        y = conv(self.width, (1, 1))(y)
        y = norm()(y)
        y = nn.relu(y)
        y = conv(self.width, (3, 3), self.stride)(y)
        y = norm()(y)
        y = nn.relu(y)
        y = conv(width_out, (1, 1), kernel_init=_last_kernel(self.zero_last))(y)
        return x + y


def _last_kernel(is_zero: bool) -> nn.initializers.Initializer:
    """How the last kernel of a residual branch starts."""
    return nn.initializers.zeros if is_zero else KERNEL_INIT


class ResNet(nn.Module):
    """A residual network without its classifier.

    Attributes:
        stage_sizes: residual blocks in each stage; stages after the first halve the image.
        block: the kind of residual block.
        width: channels of the first stage (before a bottleneck's expansion), doubled at each stage.
        stem: "imagenet" (7x7 stride 2, max-pool 3x3 stride 2), "imagenet_dense" (the same with a
            7x7 of stride 1, for 64-px patches), "cifar" (3x3 stride 1) or "patch" (4x4 stride 4,
            cheap on a CPU).
        last_stride: stride of the last stage, 1 for tasks on small patches.
        dtype: of the computation; parameters and statistics stay float32.
        remat: keep only the residual blocks' outputs for the backward pass, and compute the rest
            again.
        zero_init_residual: start the last convolution of every residual branch as zero, so that a
            block starts as its shortcut. Goyal et al. (2017, arXiv 1706.02677) zero the scale of
            the branch's last BatchNorm; here a ReLU comes behind that one, and would never let a
            gradient through.
        batch_norm_group: number of inputs that share BatchNorm's statistics; 0 is all of them.

    """

    stage_sizes: Sequence[int]
    block: type[nn.Module]
    width: int = 64
    stem: str = "imagenet"
    last_stride: int = 2
    dtype: Any = jnp.float32
    remat: bool = False
    zero_init_residual: bool = False
    batch_norm_group: int = 0

    @property
    def tap_names(self) -> tuple[str, ...]:
        """The names of the taps in the order of the layers: block1, block2, ..., pre_logits."""
        stages = range(1, len(self.stage_sizes) + 1)
        return (*(f"block{stage}" for stage in stages), "pre_logits")

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [N, h, w, 3] in [-1, 1] -> taps by name.

        A stage's tap is its output [N, h', w', C]; pre_logits, [N, f], is the mean over all places
        after the last BatchNorm and ReLU.
        """
        make_block = self.block
        if self.remat:
            make_block = nn.remat(self.block, static_argnums=(2,))
        make_block = partial(
            make_block,
            dtype=self.dtype,
            zero_last=self.zero_init_residual,
            group=self.batch_norm_group,
        )
        # With names of their own, as `nn.remat` would change the names of the parameters.
        block_names = (f"{self.block.__name__}_{index}" for index in itertools.count())

        make_stem = STEMS[self.stem]
        stem = make_stem(self.width, self.dtype)
        x = images.astype(self.dtype)
        x = stem(x)

        taps = []
        for stage, size in enumerate(self.stage_sizes):
            width = self.width * 2**stage
            for index in range(size):
                # The first block of a stage changes the resolution.
                stride = self._stride(stage) if index == 0 else 1
                block = make_block(width, stride, name=next(block_names))
                x = block(x, train)
            taps.append(x)

        # The blocks end before their activation, so the last one's is here.
        norm = BatchNorm(
            use_running_average=not train, dtype=self.dtype, group=self.batch_norm_group
        )
        x = norm(x)
        x = nn.relu(x)
        at_least_float32 = jnp.promote_types(self.dtype, jnp.float32)
        pre_logits = jnp.mean(x, axis=(1, 2), dtype=at_least_float32)
        taps.append(pre_logits)
        return dict(zip(self.tap_names, taps, strict=True))

    def _stride(self, stage: int) -> int:
        if stage == 0:
            return 1
        is_last = stage == len(self.stage_sizes) - 1
        return self.last_stride if is_last else 2


class _ImageNetStem(nn.Module):
    width: int
    dtype: Any
    stride: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        root = Conv(
            self.width,
            (7, 7),
            self.stride,
            padding=[(3, 3), (3, 3)],
            dtype=self.dtype,
            conv_general_dilated=convolve_folded,
        )
        x = root(x)
        x = max_pool(x, axis=1)
        return max_pool(x, axis=2)


def _cifar_stem(width: int, dtype: Any) -> nn.Module:
    return Conv(width, (3, 3), dtype=dtype)


def _patch_stem(width: int, dtype: Any) -> nn.Module:
    return Conv(width, (4, 4), 4, dtype=dtype)


STEMS = {
    "imagenet": _ImageNetStem,
    "imagenet_dense": partial(_ImageNetStem, stride=1),
    "cifar": _cifar_stem,
    "patch": _patch_stem,
}
ARCHITECTURES = {
    "resnet50": partial(ResNet, (3, 4, 6, 3), BottleneckBlock),
    "resnet18": partial(ResNet, (2, 2, 2, 2), BasicBlock),
    "small": partial(ResNet, (2, 2), BasicBlock),
    "resnet50_v1": partial(ResNetV1, (3, 4, 6, 3)),
}


def make_resnet(name: str, *, stem: str, **options: Any) -> ResNet | ResNetV1:
    """The architecture `name` of `ARCHITECTURES` with these attributes, see `ResNet`.

    Raises `UserError` for an unknown name or stem.
    """
    check_choice("model", name, tuple(ARCHITECTURES))
    check_choice("stem", stem, tuple(STEMS))
    return ARCHITECTURES[name](stem=stem, **options)
