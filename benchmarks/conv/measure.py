"""Times the forms of a layer, forward and for the gradient to each of its arguments."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.conv.layers import Form

Milliseconds = dict[str, float]


def measure(
    forms: Mapping[str, Form], arguments: Mapping[str, jax.Array], rounds: int
) -> dict[str, Milliseconds]:
    """Median milliseconds of each form: forward, and for the gradient to each of the arguments."""
    found: dict[str, Milliseconds] = {}
    for name, form in forms.items():
        found[name] = {}
        seconds = timing.interleave(passes(form, arguments), rounds)
        for each, times in seconds.items():
            found[name][each] = 1e3 / timing.speed(1, times).median
    return found


def passes(form: Form, arguments: Mapping[str, jax.Array]) -> dict[str, Iterator[Any]]:
    """What computes the outputs, and the gradient to each of the arguments, at each `next`."""
    arrays = tuple(arguments.values())
    # A gradient is linear in the cotangent, whose values do not change the time.
    cotangent = jnp.ones_like(form.function(*arrays))
    runs = {"forward": repeat(form, *arrays)}
    for index, name in enumerate(arguments):
        runs[f"to {name}"] = repeat(gradient(form, index), cotangent, *arrays)
    return runs


def gradient(form: Form, index: int) -> Form:
    """The form's gradient to one of its arguments: (cotangent, *arguments) -> gradient."""

    def pull_back(cotangent: jax.Array, *arrays: jax.Array) -> jax.Array:
        _, vjp = jax.vjp(form.function, *arrays)
        return vjp(cotangent)[index]

    return Form(pull_back, form.options)


def repeat(form: Form, *arguments: jax.Array) -> Iterator[Any]:
    """Calls the compiled function at each `next`, and waits for its end."""
    jitted = jax.jit(form.function, compiler_options=dict(form.options))
    while True:
        yield jax.block_until_ready(jitted(*arguments))


def describe(name: str, found: Mapping[str, Milliseconds]) -> str:
    """A line of what was measured of a layer, XLA's own first."""
    cells = []
    for each, ours in found["ours"].items():
        xla = found["XLA"][each]
        cells.append(f"{each} {xla:.1f} -> {ours:.1f}")
    row = "   ".join(cells)
    return f"{name:24}{row}"
