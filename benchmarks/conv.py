"""Times convolutions as `lens_jax.models.conv` has them beside XLA's own, forward and for both gradients.

    python -m benchmarks.conv
    python -m benchmarks.conv --images=64 --dtype=bfloat16

XLA's own are compiled as it would by itself; ours with `compiler_options`, and the root of ResNets is folded.
The shapes are those of ResNet-50 at 224 px and of the lens. It needs jax, flax and numpy alone.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.step import describe_machine
from lens_jax.models.conv import compiler_options, convolve_folded


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
    "3x3, first stage": Layer(56, 64, 64, 3, 1),
    "1x1, third stage": Layer(14, 1024, 256, 1, 1),
    "3x3, third stage": Layer(14, 256, 256, 3, 1),
    "projection": Layer(56, 256, 512, 1, 2),
    "lens, 3x3": Layer(112, 32, 32, 3, 1),
    "lens, 2x2 of stride 2": Layer(112, 32, 64, 2, 2),
}
LAYOUT = ("NHWC", "HWIO", "NHWC")
PASSES = ("forward", "to kernel", "to inputs")


class Form(NamedTuple):
    """A way to compute a layer: (inputs, kernel) -> outputs, and what it is compiled with."""

    function: Callable[[jax.Array, jax.Array], jax.Array]
    options: Mapping[str, str]


def forms(layer: Layer) -> dict[str, Form]:
    """XLA's own way, and ours."""
    root, strides = layer.kernel == 7, (layer.stride, layer.stride)
    pads = [((layer.kernel - 1) // 2,) * 2] * 2 if root else "SAME"

    def form(convolve: Callable, options: Mapping[str, str]) -> Form:
        return Form(lambda x, kernel: convolve(x, kernel, strides, pads, dimension_numbers=LAYOUT), options)

    plain = jax.lax.conv_general_dilated
    return {"XLA": form(plain, {}), "ours": form(convolve_folded if root else plain, compiler_options())}


def passes(form: Form, x: jax.Array, kernel: jax.Array) -> dict[str, Iterator[Any]]:
    """What computes the outputs, and the gradients to the kernel and to the inputs, at each `next`."""
    function, slope = form.function, jnp.ones_like(form.function(x, kernel))

    def to_kernel(x, kernel, slope):
        return jax.vjp(partial(function, x), kernel)[1](slope)

    def to_inputs(x, kernel, slope):
        return jax.vjp(lambda x: function(x, kernel), x)[1](slope)

    return {
        "forward": repeat(Form(function, form.options), x, kernel),
        "to kernel": repeat(Form(to_kernel, form.options), x, kernel, slope),
        "to inputs": repeat(Form(to_inputs, form.options), x, kernel, slope),
    }


def repeat(form: Form, *arguments: jax.Array) -> Iterator[Any]:
    """Calls the compiled function at each `next`, and waits for its end."""
    jitted = jax.jit(form.function, compiler_options=dict(form.options))
    while True:
        yield jax.block_until_ready(jitted(*arguments))


def measure(layer: Layer, images: int, dtype: str, rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each pass in each form."""
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (images, layer.side, layer.side, layer.channels), dtype)
    kernel = jax.random.normal(keys[1], (layer.kernel, layer.kernel, layer.channels, layer.width), dtype)
    found: dict[str, dict[str, float]] = {}
    for name, form in forms(layer).items():
        seconds = timing.interleave(passes(form, x, kernel), rounds)
        found[name] = {each: 1e3 / timing.speed(1, times).median for each, times in seconds.items()}
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
