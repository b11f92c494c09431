"""Convolutions and pooling of our networks, in the forms that devices compute fast."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

KERNEL_INIT = nn.initializers.he_normal()
Conv = partial(nn.Conv, use_bias=False, kernel_init=KERNEL_INIT)


def convolve_folded(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **options: Any,
) -> jax.Array:
    """Convolves x [N, h, w, C] with a square kernel [k, k, C, D], as `conv_general_dilated` does.

    It computes a strided convolution as one of stride 1 over blocks of pixels that are folded into
    channels. That is for few channels, which leave most of a matrix unit idle, as at the root of a
    ResNet: MLPerf's ResNets for TPUs do it.

    Args:
      x: images. Where their sides are no multiples of the stride, they are convolved as they are.
      kernel: square and not dilated.
      strides: the same along both axes.
      padding: (before, after), the same along both axes.
      options: passed on to `jax.lax.conv_general_dilated`.

    """
    stride = strides[0]
    height, width = x.shape[1:3]
    if height % stride or width % stride:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)

    # Zeros around the kernel make it one of whole blocks.
    side = kernel.shape[0]
    before, after = padding[0]
    front = -before % stride
    blocks = -(-(front + side) // stride)
    back = blocks * stride - front - side
    kernel = jnp.pad(
        kernel,
        [(front, back), (front, back), (0, 0), (0, 0)],
    )

    # Fold the D kernels as if they were images.
    kernels = kernel.transpose(3, 0, 1, 2)
    kernels = space_to_depth(kernels, stride)
    kernel = kernels.transpose(1, 2, 3, 0)

    # The padding, in blocks, that gives as many outputs as the strided convolution has.
    first = (before + front) // stride
    block_padding = []
    for length in (height, width):
        outputs = (length + before + after - side) // stride + 1
        last = outputs - 1 + blocks - length // stride - first
        block_padding.append((first, last))

    return jax.lax.conv_general_dilated(
        space_to_depth(x, stride),
        kernel,
        (1, 1),
        block_padding,
        **options,
    )


def space_to_depth(x: jax.Array, side: int) -> jax.Array:
    """[N, h, w, C] -> [N, h / side, w / side, side * side * C]."""
    n, h, w, c = x.shape
    rows = h // side
    columns = w // side
    x = x.reshape(n, rows, side, columns, side, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, rows, columns, side * side * c)


def depth_to_space(x: jax.Array, side: int) -> jax.Array:
    """The inverse of `space_to_depth`: [N, h, w, side * side * C] -> [N, h * side, w * side, C]."""
    n, h, w, c = x.shape
    channels = c // side**2
    x = x.reshape(n, h, w, side, side, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * side, w * side, channels)


def max_pool(x: jax.Array, axis: int) -> jax.Array:
    """The maxima of 3 neighbors along an axis, at every second place, from the first one on.

    Along two axes it is `nn.max_pool(x, (3, 3), (2, 2), padding=[(1, 1)] * 2)`, but its gradient is
    made of selections alone, where XLA looks for the places of the maxima: on a CPU that takes ten
    times as long. Equal maxima share the gradient.
    """
    # Places 2i and 2i + 1 of the axis become pair i.
    missing = x.shape[axis] % 2
    x = _pad_axis(x, axis, before=0, after=missing)
    before = x.shape[:axis]
    behind = x.shape[axis + 1 :]
    pairs = x.reshape(*before, -1, 2, *behind)

    pair_axis = axis + 1
    even = jax.lax.index_in_dim(pairs, 0, pair_axis, keepdims=False)
    odd = jax.lax.index_in_dim(pairs, 1, pair_axis, keepdims=False)

    # Maximum i is over 2i - 1, 2i and 2i + 1.
    odd_before = _pad_axis(odd, axis, before=1, after=0)
    odd_before = jax.lax.slice_in_dim(odd_before, 0, -1, axis=axis)
    maxima = jnp.maximum(even, odd)
    return jnp.maximum(maxima, odd_before)


def _pad_axis(
    x: jax.Array,
    axis: int,
    before: int,
    after: int,
) -> jax.Array:
    """Adds places of -inf, which no maximum takes, to both ends of an axis."""
    padding = [(0, 0)] * x.ndim
    padding[axis] = (before, after)
    return jnp.pad(x, padding, constant_values=-jnp.inf)
