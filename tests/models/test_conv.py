from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.devices.compiler import compiler_options
from lens_jax.models.conv import convolve_folded, max_pool

LAYOUT = ("NHWC", "HWIO", "NHWC")


def gradients(function: Callable, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
    """The outputs, and the gradients of a sum of them with changing signs to both arguments."""
    outputs, pull = jax.vjp(function, x, kernel)
    weights = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
    return outputs, *pull(weights)


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (16, 10)])
@pytest.mark.parametrize(
    ("side", "stride", "padding"),
    [(7, 2, (3, 3)), (7, 1, (3, 3)), (3, 2, (0, 1)), (5, 4, (2, 2)), (4, 3, (0, 0))],
)
def test_a_folded_convolution_is_the_same_convolution(side, stride, padding, size, x64):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, 3)))
    kernel = jnp.asarray(rng.normal(size=(side, side, 3, 5)))

    def apply(convolve: Callable) -> Callable:
        strides, paddings = (stride, stride), (padding, padding)
        return lambda x, kernel: convolve(x, kernel, strides, paddings, dimension_numbers=LAYOUT)

    folded = gradients(apply(convolve_folded), x, kernel)
    plain = gradients(apply(jax.lax.conv_general_dilated), x, kernel)
    for one, other in zip(folded, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_on_a_cpu_convolutions_are_left_to_eigen():
    layer, x = nn.Conv(64, (3, 3)), jnp.zeros((2, 8, 8, 64))
    jitted = jax.jit(layer.apply, compiler_options=compiler_options())
    program = jitted.lower(layer.init(jax.random.key(0), x), x).compile().as_text()
    assert " convolution(" in program
    assert "ynn" not in program


def pool(x: jax.Array) -> jax.Array:
    return max_pool(max_pool(x, axis=1), axis=2)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 2)])
def test_maxima_and_their_gradient_are_those_of_windows_of_3_by_3(size: tuple[int, int], x64):
    rng = np.random.default_rng(0)
    padded = np.full((2, size[0] + 2, size[1] + 2, 3), -np.inf)
    padded[:, 1:-1, 1:-1] = rng.normal(size=(2, *size, 3))
    outputs, pull = jax.vjp(pool, jnp.asarray(padded[:, 1:-1, 1:-1]))
    weights = rng.normal(size=outputs.shape)
    expected = np.zeros_like(padded)
    for n, i, j, c in np.ndindex(*outputs.shape):
        window = padded[n, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, c]
        assert outputs[n, i, j, c] == window.max()
        row, column = np.unravel_index(window.argmax(), window.shape)
        expected[n, 2 * i + row, 2 * j + column, c] += weights[n, i, j, c]
    np.testing.assert_allclose(pull(jnp.asarray(weights))[0], expected[:, 1:-1, 1:-1], rtol=1e-12)


def test_equal_maxima_share_the_gradient():
    x = jnp.zeros((1, 4, 4, 1))
    gradient = jax.grad(lambda x: pool(x).sum())(x)
    np.testing.assert_allclose(gradient.sum(), 4)
    assert (gradient >= 0).all()
