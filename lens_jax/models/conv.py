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
    """`jax.lax.conv_general_dilated` of [N, h, w, C] with a square kernel [k, k, C, D], not
    dilated.

    As a convolution of stride 1 over blocks of pixels that are folded into channels. It is for few
    channels, which leave most of a matrix unit idle, as at the root of a ResNet: MLPerf's for TPUs
    do it. Zeros make the kernel one of whole blocks; an image that is none is convolved as it is.
    """
    stride, side, (before, after) = strides[0], kernel.shape[0], padding[0]
    if x.shape[1] % stride or x.shape[2] % stride:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
    front = -before % stride
    blocks = -(-(front + side) // stride)
    kernel = jnp.pad(kernel, [(front, blocks * stride - front - side)] * 2 + [(0, 0)] * 2)
    folded = space_to_depth(kernel.transpose(3, 0, 1, 2), stride).transpose(1, 2, 3, 0)
    first = (before + front) // stride
    outputs = [(n + before + after - side) // stride + 1 for n in x.shape[1:3]]
    pads = [
        (first, out - 1 + blocks - n // stride - first)
        for out, n in zip(outputs, x.shape[1:3], strict=True)
    ]
    return jax.lax.conv_general_dilated(space_to_depth(x, stride), folded, (1, 1), pads, **options)


def space_to_depth(x: jax.Array, side: int) -> jax.Array:
    """[N, h, w, C] -> [N, h / side, w / side, side * side * C]."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // side, side, w // side, side, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // side, w // side, side * side * c)


def depth_to_space(x: jax.Array, side: int) -> jax.Array:
    """The inverse of `space_to_depth`: [N, h, w, side * side * C] -> [N, h * side, w * side, C]."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, side, side, c // side**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * side, w * side, c // side**2)
