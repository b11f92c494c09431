"""Times convolutions and max pooling as our nets have them beside XLA's own, forward and for each
gradient.

    python -m benchmarks.conv
    python -m benchmarks.conv --images=64 --dtype=bfloat16

XLA's own are compiled with its defaults; ours with `lens_jax.devices.compiler.compiler_options`, the
root of ResNets folded, and maxima found by selections. The shapes are those of ResNet-50 at 224 px
and of the lens. It needs jax, flax and numpy alone.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.step import describe_machine
from lens_jax.devices.compiler import compiler_options
from lens_jax.models.conv import convolve_folded
from lens_jax.models.resnet import max_pool


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
POOLED = (112, 112, 64)


class Form(NamedTuple):
    """A way to compute a layer, and what it is compiled with."""

    function: Callable[..., jax.Array]
    options: Mapping[str, str]


def convolutions(layer: Layer) -> dict[str, Form]:
    """XLA's own way from inputs and kernel to outputs, and ours."""
    root, strides = layer.kernel == 7, (layer.stride, layer.stride)
    pads = [((layer.kernel - 1) // 2,) * 2] * 2 if root else "SAME"

    def form(convolve: Callable, options: Mapping[str, str]) -> Form:
        return Form(
            lambda x, kernel: convolve(x, kernel, strides, pads, dimension_numbers=LAYOUT), options
        )

    plain = jax.lax.conv_general_dilated
    return {
        "XLA": form(plain, {}),
        "ours": form(convolve_folded if root else plain, compiler_options()),
    }


def poolings() -> dict[str, Form]:
    """XLA's own way from inputs to maxima, and ours."""
    return {
        "XLA": Form(lambda x: nn.max_pool(x, (3, 3), (2, 2), padding=[(1, 1)] * 2), {}),
        "ours": Form(lambda x: max_pool(max_pool(x, axis=1), axis=2), compiler_options()),
    }


def measure(
    forms: Mapping[str, Form], arguments: Mapping[str, jax.Array], rounds: int
) -> dict[str, dict[str, float]]:
    """Median milliseconds of each form: forward, and for the gradient to each of the arguments."""
    found: dict[str, dict[str, float]] = {}
    for name, form in forms.items():
        seconds = timing.interleave(passes(form, arguments), rounds)
        found[name] = {each: 1e3 / timing.speed(1, times).median for each, times in seconds.items()}
    return found


def passes(form: Form, arguments: Mapping[str, jax.Array]) -> dict[str, Iterator[Any]]:
    """What computes the outputs, and the gradient to each of the arguments, at each `next`."""
    given = tuple(arguments.values())
    slope = jnp.ones_like(form.function(*given))

    def gradient(index: int) -> Form:
        return form._replace(
            function=lambda slope, *given: jax.vjp(form.function, *given)[1](slope)[index]
        )

    gradients = {
        f"to {name}": repeat(gradient(i), slope, *given) for i, name in enumerate(arguments)
    }
    return {"forward": repeat(form, *given)} | gradients


def repeat(form: Form, *arguments: jax.Array) -> Iterator[Any]:
    """Calls the compiled function at each `next`, and waits for its end."""
    jitted = jax.jit(form.function, compiler_options=dict(form.options))
    while True:
        yield jax.block_until_ready(jitted(*arguments))


def show(name: str, found: Mapping[str, Mapping[str, float]]) -> None:
    """Prints a line of what was measured, XLA's own first."""
    cells = (
        f"{each} {found['XLA'][each]:.1f} -> {ours:.1f}" for each, ours in found["ours"].items()
    )
    print(f"{name:24}{'   '.join(cells)}", flush=True)


def main() -> None:
    """Measures as the command line says, and prints a line for each layer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(
        f"milliseconds for {options.images} images, {options.dtype}, XLA -> ours; {describe_machine()}"
    )
    draw = partial(jax.random.normal, jax.random.key(0), dtype=options.dtype)
    for name, layer in LAYERS.items():
        inputs = draw((options.images, layer.side, layer.side, layer.channels))
        kernel = draw((layer.kernel, layer.kernel, layer.channels, layer.width))
        show(
            name, measure(convolutions(layer), {"inputs": inputs, "kernel": kernel}, options.rounds)
        )
    inputs = draw((options.images, *POOLED))
    show("max pooling of ResNets", measure(poolings(), {"inputs": inputs}, options.rounds))


if __name__ == "__main__":
    main()
