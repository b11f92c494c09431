import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.lens.unet import UNet
from lens_jax.models.conv import depth_to_space, space_to_depth


def random_images(count: int, side: int = 16) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (count, side, side, 3)), jnp.float32)


def init(lens: UNet, images: jax.Array) -> dict:
    return jax.jit(lens.init)(jax.random.key(1), images)


def awake(lens: UNet, images: jax.Array) -> dict:
    """Parameters away from the identity at the start."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda p: p + rng.normal(scale=0.3, size=p.shape).astype(np.float32), init(lens, images)
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("widths", "blocks", "patch"), [((8, 16), 1, 4), ((8,), 2, 1), ((8, 8, 8), 1, 2)]
)
def test_a_new_lens_is_exactly_the_identity(
    dtype, widths: tuple[int, ...], blocks: int, patch: int
):
    images = random_images(2)
    lens = UNet(widths, blocks, patch, dtype)
    variables = init(lens, images)
    lensed = jax.jit(lens.apply)(variables, images)
    np.testing.assert_array_equal(lensed, images)
    assert lensed.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_a_lens_whose_parameters_moved_changes_images():
    lens, images = UNet((8, 8), patch=2), random_images(2)
    assert abs(jax.jit(lens.apply)(awake(lens, images), images) - images).mean() > 0.01


def test_under_bfloat16_the_change_and_the_lensed_image_are_float32():
    lens = UNet((8, 8), patch=2, dtype=jnp.bfloat16)
    images = random_images(2)
    variables = awake(lens, images)
    lensed = jax.jit(lens.apply)(variables, images)
    assert lensed.dtype == jnp.float32
    exact = UNet((8, 8), patch=2)
    expected = jax.jit(exact.apply)(variables, images)
    assert 0 < abs(lensed - expected).max() < 0.1 * abs(expected - images).max()


def test_the_same_parameters_work_at_another_size():
    lens, images = UNet((8, 8), patch=2), random_images(2)
    variables, larger = awake(lens, images), random_images(1, 32)
    lensed = jax.jit(lens.apply)(variables, larger)
    assert lensed.shape == larger.shape
    assert abs(lensed - larger).mean() > 0.01
    wide = larger[:, :16]
    assert jax.eval_shape(lens.apply, variables, wide).shape == wide.shape
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(lens.init, jax.random.key(1), larger))
    assert shapes == jax.tree.map(jnp.shape, variables)


def test_a_lens_does_not_look_at_the_rest_of_the_batch():
    lens, images = UNet((8, 8), patch=2), random_images(3)
    variables = awake(lens, images)
    apply = jax.jit(lens.apply)
    together = apply(variables, images)
    for i in range(3):
        np.testing.assert_allclose(
            apply(variables, images[i : i + 1])[0], together[i], rtol=0, atol=1e-5
        )


def test_every_level_of_the_lens_reaches_the_image():
    lens, images = UNet((8, 8, 8)), random_images(1)
    variables = awake(lens, images)
    grads = jax.jit(jax.grad(lambda v: jnp.sum(lens.apply(v, images) ** 2)))(variables)
    assert all((abs(grad) > 0).any() for grad in jax.tree.leaves(grads))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_blocks_of_pixels_become_channels(side: int):
    x = np.random.default_rng(0).normal(size=(2, 6, 12, 5))
    folded = np.asarray(space_to_depth(jnp.asarray(x, jnp.float32), side))
    expected = np.zeros((2, 6 // side, 12 // side, side * side * 5), np.float32)
    for row in range(6):
        for column in range(12):
            place = (row % side) * side + column % side
            expected[:, row // side, column // side, 5 * place : 5 * (place + 1)] = x[
                :, row, column
            ]
    np.testing.assert_array_equal(folded, expected)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_folding_pixels_into_channels_and_back_changes_nothing(side: int):
    x, y = np.random.default_rng(0).normal(size=(2, 2, 6, 12, 18 * side**2)).astype(np.float32)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, side), side), x)
    np.testing.assert_array_equal(space_to_depth(depth_to_space(y, side), side), y)


@pytest.mark.parametrize(
    ("widths", "patch", "size", "multiple"),
    [((8, 8), 4, (16, 20), 8), ((8, 8, 8), 1, (30, 32), 4), ((8,), 4, (18, 16), 4)],
)
def test_a_size_that_cannot_be_halved_is_refused_with_the_multiple(
    widths, patch, size, multiple: int
):
    images = jnp.zeros((1, *size, 3))
    with pytest.raises(UserError, match=f"multiples of {multiple}, not {size[0]}x{size[1]}"):
        UNet(widths, patch=patch).init(jax.random.key(0), images)


@pytest.mark.parametrize("widths", [(8, 12), (0, 8), ()])
def test_widths_that_the_normalization_cannot_group_are_refused(widths):
    with pytest.raises(UserError, match=f"{re.escape(str(widths))}.*multiples of 8"):
        UNet(widths).init(jax.random.key(0), random_images(1))


def test_with_remat_less_is_kept_for_the_backward_pass_and_the_parameters_are_the_same():
    images = random_images(4)

    def kept(remat: bool) -> tuple[int, dict]:
        lens = UNet((8, 8), blocks=3, remat=remat)
        variables = init(lens, images)
        pull = jax.eval_shape(lambda x: jax.vjp(lens.apply, variables, x)[1], images)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)), variables

    (everything, variables), (less, same) = kept(False), kept(True)
    assert less < everything / 2
    jax.tree.map(np.testing.assert_array_equal, same, variables)
