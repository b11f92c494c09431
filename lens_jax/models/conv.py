"""Convolutions on pixels that are folded into channels, which keep a matrix unit busy."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


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
