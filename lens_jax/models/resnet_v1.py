"""Post-activation residual networks as torchvision has them, for weights that others trained.

He et al., 2015 (arXiv 1512.03385), in what is called version 1.5: the stride of a bottleneck sits
in its 3x3 convolution. Layers have the names that torchvision and timm give them, see
`models.torchvision`. Convolutions are padded alike on both sides, where "SAME" would pad behind
alone at a stride of 2.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.batch_norm import BatchNorm
from lens_jax.models.conv import Conv, convolve_folded, max_pool

# Of ImageNet's red, green and blue in [0, 1], as torchvision's and timm's weights expect it.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Root(NamedTuple):
    """The first convolution, and whether a max-pool 3x3 of stride 2 follows."""

    side: int
    stride: int
    padding: int
    pools: bool


# By the names of `models.resnet.STEMS`; torchvision has the first one.
ROOTS = {
    "imagenet": Root(7, 2, 3, True),
    "imagenet_dense": Root(7, 1, 3, True),
    "cifar": Root(3, 1, 1, False),
    "patch": Root(4, 4, 0, False),
}


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with BatchNorm; the output is four times as wide."""

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

        y = conv(self.width, (1, 1), name="conv1")(x)
        y = norm(name="bn1")(y)
        y = nn.relu(y)
        y = conv(self.width, (3, 3), self.stride, padding=1, name="conv2")(y)
        y = norm(name="bn2")(y)
        y = nn.relu(y)
        y = conv(width_out, (1, 1), name="conv3")(y)
        last_scale = nn.initializers.zeros if self.zero_last else nn.initializers.ones
        y = norm(scale_init=last_scale, name="bn3")(y)

        # The shortcut is the input, projected where the shape changes.
        width_in = x.shape[-1]
        if self.stride > 1 or width_in != width_out:
            x = conv(width_out, (1, 1), self.stride, name="downsample_0")(x)
            x = norm(name="downsample_1")(x)
        return nn.relu(x + y)


class ResNetV1(nn.Module):
    """A residual network of bottlenecks without its classifier.

    Attributes:
        stage_sizes: residual blocks in each stage; stages after the first halve the image.
        width: channels of the first stage before the expansion, doubled at each stage.
        stem: one of `ROOTS`; BatchNorm and ReLU come behind the convolution.
        last_stride: stride of the last stage, 1 for tasks on small patches.
        dtype: of the computation; parameters and statistics stay float32.
        remat: keep only the residual blocks' outputs for the backward pass, and compute the rest
            again.
        zero_init_residual: start the scale of each residual branch's last BatchNorm as zero, so
            that a block starts as its shortcut (Goyal et al., 2017, arXiv 1706.02677).
        batch_norm_group: number of inputs that share BatchNorm's statistics; 0 is all of them.

    """

    stage_sizes: Sequence[int]
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
        of the last one.
        """
        make_block = Bottleneck
        if self.remat:
            make_block = nn.remat(Bottleneck, static_argnums=(2,))
        make_block = partial(
            make_block,
            dtype=self.dtype,
            zero_last=self.zero_init_residual,
            group=self.batch_norm_group,
        )

        x = imagenet_normalized(images)
        x = self._root(x.astype(self.dtype), train)

        taps = []
        for stage, size in enumerate(self.stage_sizes):
            width = self.width * 2**stage
            for index in range(size):
                # The first block of a stage changes the resolution.
                stride = self._stride(stage) if index == 0 else 1
                block = make_block(width, stride, name=f"layer{stage + 1}_{index}")
                x = block(x, train)
            taps.append(x)

        at_least_float32 = jnp.promote_types(self.dtype, jnp.float32)
        pre_logits = jnp.mean(x, axis=(1, 2), dtype=at_least_float32)
        taps.append(pre_logits)
        return dict(zip(self.tap_names, taps, strict=True))

    def _root(self, x: jax.Array, train: bool) -> jax.Array:
        root = ROOTS[self.stem]
        conv = Conv(
            self.width,
            (root.side, root.side),
            root.stride,
            padding=root.padding,
            dtype=self.dtype,
            conv_general_dilated=convolve_folded,
            name="conv1",
        )
        norm = BatchNorm(
            use_running_average=not train,
            dtype=self.dtype,
            group=self.batch_norm_group,
            name="bn1",
        )
        x = nn.relu(norm(conv(x)))
        if not root.pools:
            return x
        x = max_pool(x, axis=1)
        return max_pool(x, axis=2)

    def _stride(self, stage: int) -> int:
        if stage == 0:
            return 1
        is_last = stage == len(self.stage_sizes) - 1
        return self.last_stride if is_last else 2


def imagenet_normalized(images: jax.Array) -> jax.Array:
    """Images in [-1, 1], [N, h, w, 3] -> (colors in [0, 1] - mean) / standard deviation."""
    mean = jnp.asarray(IMAGENET_MEAN, images.dtype)
    deviation = jnp.asarray(IMAGENET_STD, images.dtype)
    colors = (images + 1) / 2
    return (colors - mean) / deviation
