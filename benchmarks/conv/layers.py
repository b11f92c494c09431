"""The layers that are timed, in XLA's own form and in ours."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax

from lens_jax.devices.compiler import compiler_options
from lens_jax.models.conv import convolve_folded
from lens_jax.models.resnet import max_pool


class Layer(NamedTuple):
    """A convolution: side and channels of its inputs, its width, its kernel's side, its stride."""

    side: int
    channels: int
    width: int
    kernel: int
    stride: int


LAYERS = {
    "root of ResNet-50": Layer(224, 3, 64, 7, 2),
    "1x1, first stage": Layer(56, 256, 64, 1, 1),
    "3x3, first stage": Layer(56, 64, 64, 3, 1),
    "1x1, third stage": Layer(14, 1024, 256, 1, 1),
    "3x3, third stage": Layer(14, 256, 256, 3, 1),
    "projection": Layer(56, 256, 512, 1, 2),
    "lens, 3x3": Layer(112, 32, 32, 3, 1),
    "lens, 2x2 of stride 2": Layer(112, 32, 64, 2, 2),
}
LAYOUT = ("NHWC", "HWIO", "NHWC")
POOLED = (112, 112, 64)


class Form(NamedTuple):
    """A way to compute a layer, and what it is compiled with."""

    function: Callable[..., jax.Array]
    options: Mapping[str, str]


def convolutions(layer: Layer) -> dict[str, Form]:
    """XLA's own way from inputs and kernel to outputs, and ours."""
    is_root = layer.kernel == 7
    strides = (layer.stride, layer.stride)
    padding = [(3, 3), (3, 3)] if is_root else "SAME"

    def convolve(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            inputs, kernel, strides, padding, dimension_numbers=LAYOUT
        )

    def folded(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve_folded(inputs, kernel, strides, padding, dimension_numbers=LAYOUT)

    ours = folded if is_root else convolve
    return {"XLA": Form(convolve, {}), "ours": Form(ours, compiler_options())}


def poolings() -> dict[str, Form]:
    """XLA's own way from inputs to maxima, and ours."""

    def pool(inputs: jax.Array) -> jax.Array:
        return nn.max_pool(inputs, (3, 3), (2, 2), padding=[(1, 1), (1, 1)])

    def select(inputs: jax.Array) -> jax.Array:
        return max_pool(max_pool(inputs, axis=1), axis=2)

    return {"XLA": Form(pool, {}), "ours": Form(select, compiler_options())}


def random_arrays(layer: Layer, images: int, dtype: str) -> dict[str, jax.Array]:
    """Inputs and kernel of a convolution."""
    side, channels, width, kernel, _ = layer
    return {
        "inputs": _normal((images, side, side, channels), dtype),
        "kernel": _normal((kernel, kernel, channels, width), dtype),
    }


def random_maps(images: int, dtype: str) -> dict[str, jax.Array]:
    """Inputs of the pooling."""
    return {"inputs": _normal((images, *POOLED), dtype)}


def _normal(shape: tuple[int, ...], dtype: str) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape, dtype)
