import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.models.conv import Conv, convolve, convolve_folded

LAYOUT = ("NHWC", "HWIO", "NHWC")


def gradients(function, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
    """The outputs, and the gradients of a sum of them with changing signs to both arguments."""
    outputs, pull = jax.vjp(function, x, kernel)
    return outputs, *pull(jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape))


def check_same(own, side: int, stride: int, padding, size: tuple[int, int], x64) -> None:
    rng = np.random.default_rng(0)
    x, kernel = jnp.asarray(rng.normal(size=(2, *size, 3))), jnp.asarray(rng.normal(size=(side, side, 3, 5)))

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)

    def ours(x, kernel):
        return own(x, kernel, (stride, stride), padding, dimension_numbers=LAYOUT)

    for a, b in zip(gradients(ours, x, kernel), gradients(plain, x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", [(1, 2)] * 2])
@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (1, 2), (2, 2), (4, 4), (3, 1), (3, 2), (2, 3)])
def test_every_form_is_the_same_convolution(side, stride, padding, size, x64):
    check_same(convolve, side, stride, padding, size, x64)


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (16, 10)])
@pytest.mark.parametrize(
    ("side", "stride", "padding"),
    [(7, 2, (3, 3)), (7, 1, (3, 3)), (3, 2, (0, 1)), (5, 4, (2, 2)), (4, 3, (0, 0))],
)
def test_a_folded_one_too(side, stride, padding, size, x64):
    check_same(convolve_folded, side, stride, [padding] * 2, size, x64)


def test_products_take_the_place_of_convolutions_where_windows_do_not_overlap():
    def operations(side: int, stride: int) -> str:
        layer, x = Conv(4, (side, side), stride), jnp.zeros((1, 8, 8, 3))
        return jax.jit(layer.apply).lower(layer.init(jax.random.key(0), x), x).as_text()

    for side, stride, is_product in [(1, 1, True), (1, 2, True), (2, 2, True), (3, 1, False), (3, 2, False)]:
        text = operations(side, stride)
        assert ("stablehlo.dot_general" in text) == is_product
        assert ("stablehlo.convolution" in text) != is_product
