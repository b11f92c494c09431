"""Times the convolutions of `lens_jax.models.conv` beside XLA's own, forward and for both gradients.

    python -m benchmarks.conv
    python -m benchmarks.conv --images=64 --dtype=bfloat16

The shapes are those of ResNet-50 at 224 px and of the lens. It needs jax, flax and numpy alone.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.step import describe_machine
from lens_jax.models.conv import convolve, convolve_folded


class Layer(NamedTuple):
    """A convolution: side and channels of its inputs, its own channels, its kernel's side and its stride."""

    side: int
    channels: int
    width: int
    kernel: int
    stride: int


LAYERS = {
    "root of ResNet-50": Layer(224, 3, 64, 7, 2),
    "1x1, first stage": Layer(56, 256, 64, 1, 1),
    "1x1, third stage": Layer(14, 1024, 256, 1, 1),
    "projection": Layer(56, 256, 512, 1, 2),
    "lens, 2x2 of stride 2": Layer(224, 32, 64, 2, 2),
}
PASSES = ("forward", "to kernel", "to inputs")


def forms(layer: Layer) -> dict[str, Callable]:
    """The two ways to compute a layer, (inputs, kernel) -> outputs."""
    pads = [((layer.kernel - 1) // 2,) * 2] * 2 if layer.kernel == 7 else "SAME"
    own = convolve_folded if layer.kernel == 7 else convolve
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    strides = (layer.stride, layer.stride)
    plain = jax.lax.conv_general_dilated
    return {
        "XLA": lambda x, kernel: plain(x, kernel, strides, pads, **options),
        "ours": lambda x, kernel: own(x, kernel, strides, pads, **options),
    }


def passes(function: Callable, x: jax.Array, kernel: jax.Array) -> dict[str, Iterator[Any]]:
    """What computes the outputs, and the gradients to the kernel and to the inputs, at each `next`."""
    slope = jnp.ones_like(function(x, kernel))
    return {
        "forward": repeat(function, x, kernel),
        "to kernel": repeat(lambda k, s: jax.vjp(partial(function, x), k)[1](s), kernel, slope),
        "to inputs": repeat(lambda x, s: jax.vjp(lambda x: function(x, kernel), x)[1](s), x, slope),
    }


def repeat(function: Callable, *arguments: jax.Array) -> Iterator[Any]:
    """Calls the jitted function at each `next`, and waits for its end."""
    jitted = jax.jit(function)
    while True:
        yield jax.block_until_ready(jitted(*arguments))


def measure(layer: Layer, images: int, dtype: str, rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each pass in each form."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (images, layer.side, layer.side, layer.channels), dtype)
    kernel = jax.random.normal(keys[1], (layer.kernel, layer.kernel, layer.channels, layer.width), dtype)
    found: dict[str, dict[str, float]] = {}
    for form, function in forms(layer).items():
        seconds = timing.interleave(passes(function, x, kernel), rounds)
        found[form] = {name: 1e3 / timing.speed(1, each).median for name, each in seconds.items()}
    return found


def main() -> None:
    """Measures as the command line says, and prints a line for each layer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(f"milliseconds for {options.images} images, {options.dtype}, XLA -> ours; {describe_machine()}")
    for name, layer in LAYERS.items():
        found = measure(layer, options.images, options.dtype, options.rounds)
        cells = (f"{each} {found['XLA'][each]:.1f} -> {found['ours'][each]:.1f}" for each in PASSES)
        print(f"{name:24}{'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
