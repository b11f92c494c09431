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
from lens_jax.models.conv import convolve_folded

BatchNorm = partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)
Conv = partial(nn.Conv, use_bias=False, kernel_init=nn.initializers.he_normal())


class BasicBlock(nn.Module):
    """Two 3x3 convolutions."""

    width: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[N, h, w, C] -> [N, h / stride, w / stride, width]."""
        norm = partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        convolution = partial(Conv, dtype=self.dtype)
        y = nn.relu(norm()(x))
        if self.stride > 1 or x.shape[-1] != self.width:
            x = convolution(self.width, (1, 1), self.stride, name="projection")(y)
        y = convolution(self.width, (3, 3), self.stride)(y)
        return x + convolution(self.width, (3, 3))(nn.relu(norm()(y)))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; the output is four times as wide as the middle."""

    width: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[N, h, w, C] -> [N, h / stride, w / stride, 4 * width]."""
        norm = partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        convolution = partial(Conv, dtype=self.dtype)
        y = nn.relu(norm()(x))
        if self.stride > 1 or x.shape[-1] != 4 * self.width:
            x = convolution(4 * self.width, (1, 1), self.stride, name="projection")(y)
        y = nn.relu(norm()(convolution(self.width, (1, 1))(y)))
        y = nn.relu(norm()(convolution(self.width, (3, 3), self.stride)(y)))
        return x + convolution(4 * self.width, (1, 1))(y)


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
        remat: keep the residual blocks' outputs alone for the backward pass, and compute the rest
          again.

    """

    stage_sizes: Sequence[int]
    block: type[nn.Module]
    width: int = 64
    stem: str = "imagenet"
    last_stride: int = 2
    dtype: Any = jnp.float32
    remat: bool = False

    @property
    def tap_names(self) -> tuple[str, ...]:
        """The names of the taps, in the order of the network."""
        blocks = (f"block{stage + 1}" for stage in range(len(self.stage_sizes)))
        return (*blocks, "pre_logits")

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [N, h, w, 3] in [-1, 1] -> taps block1, block2, ... and pre_logits [N, features]."""
        x = STEMS[self.stem](self.width, self.dtype)(images.astype(self.dtype))
        block = nn.remat(self.block, static_argnums=(2,)) if self.remat else self.block
        taps, names = {}, (f"{self.block.__name__}_{unit}" for unit in itertools.count())
        later = len(self.stage_sizes) - 1
        strides = [1, *[2] * (later - 1), *[self.last_stride] * min(later, 1)]
        for stage, (size, stride) in enumerate(zip(self.stage_sizes, strides, strict=True)):
            for stride_here in [stride, *[1] * (size - 1)]:
                x = block(self.width * 2**stage, stride_here, self.dtype, name=next(names))(
                    x, train
                )
            taps[f"block{stage + 1}"] = x
        x = nn.relu(BatchNorm(use_running_average=not train, dtype=self.dtype)(x))
        return taps | {
            "pre_logits": jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))
        }


class _ImageNetStem(nn.Module):
    width: int
    dtype: Any
    stride: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        root = partial(
            Conv, padding=[(3, 3)] * 2, dtype=self.dtype, conv_general_dilated=convolve_folded
        )
        x = root(self.width, (7, 7), self.stride)(x)
        return max_pool(max_pool(x, axis=1), axis=2)


def max_pool(x: jax.Array, axis: int) -> jax.Array:
    """The maxima of 3 neighbors along an axis, with a stride of 2 and one more place on both
    sides.

    Along two axes it is `nn.max_pool(x, (3, 3), (2, 2), padding=[(1, 1)] * 2)`, but its gradient is
    made of selections alone, where XLA looks for the places of the maxima: on a CPU that takes ten
    times as long. Equal maxima share the gradient.
    """
    before, after = ([(0, 0)] * x.ndim for _ in range(2))
    before[axis], after[axis] = (1, 0), (0, x.shape[axis] % 2)
    pairs = jnp.pad(x, after, constant_values=-jnp.inf).reshape(
        *x.shape[:axis], -1, 2, *x.shape[axis + 1 :]
    )
    even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    earlier = jax.lax.slice_in_dim(jnp.pad(odd, before, constant_values=-jnp.inf), 0, -1, axis=axis)
    return jnp.maximum(jnp.maximum(even, odd), earlier)


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
}


def make_resnet(name: str, *, stem: str, **options: Any) -> ResNet:
    """The architecture `name` of `ARCHITECTURES` with these attributes of `ResNet`.

    Raises `UserError` for an unknown name or stem.
    """
    check_choice("model", name, tuple(ARCHITECTURES))
    check_choice("stem", stem, tuple(STEMS))
    return ARCHITECTURES[name](stem=stem, **options)
