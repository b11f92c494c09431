import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.lens.unet import UNet
from lens_jax.models.conv import depth_to_space, space_to_depth

LENS = UNet((8, 8), patch=2)


def random_images(count: int, side: int = 8) -> jax.Array:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(-1, 1, (count, side, side, 3)), jnp.float32)


def random_variables(lens: UNet, images: jax.Array) -> dict:
    """Parameters away from the identity at the start."""
    rng = np.random.default_rng(1)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        values = rng.normal(scale=0.3, size=leaf.shape)
        is_scale = path[-1].key == "scale"
        return jnp.asarray(values + is_scale, leaf.dtype)

    shapes = jax.eval_shape(lens.init, jax.random.key(1), images)
    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(LENS.apply)


@pytest.fixture(scope="module")
def variables() -> dict:
    return random_variables(LENS, random_images(3))


@pytest.mark.parametrize(
    ("widths", "blocks", "patch"), [((8, 16), 1, 4), ((8,), 2, 1), ((8, 8, 8), 1, 2)]
)
def test_a_new_lens_is_exactly_the_identity(widths: tuple[int, ...], blocks: int, patch: int):
    images = random_images(2)
    lens = UNet(widths, blocks, patch)
    variables = jax.jit(lens.init)(jax.random.key(1), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    for dtype in (jnp.float32, jnp.bfloat16):
        lensed = jax.jit(lens.clone(dtype=dtype).apply)(variables, images)
        np.testing.assert_array_equal(lensed, images)
        assert lensed.dtype == jnp.float32


def test_under_bfloat16_parameters_are_the_same_float32():
    images = random_images(1)
    exact = jax.eval_shape(LENS.init, jax.random.key(1), images)
    rounded = jax.eval_shape(LENS.clone(dtype=jnp.bfloat16).init, jax.random.key(1), images)
    assert rounded == exact


def test_a_lens_whose_parameters_moved_changes_images(apply, variables):
    images = random_images(3)
    assert abs(apply(variables, images) - images).mean() > 0.01


def test_under_bfloat16_the_change_and_the_lensed_image_are_float32(apply, variables):
    images = random_images(3)
    lensed = jax.jit(LENS.clone(dtype=jnp.bfloat16).apply)(variables, images)
    assert lensed.dtype == jnp.float32
    expected = apply(variables, images)
    assert 0 < abs(lensed - expected).max() < 0.1 * abs(expected - images).max()


def test_the_same_parameters_work_at_another_size(apply, variables):
    larger = random_images(1, 16)
    lensed = apply(variables, larger)
    assert lensed.shape == larger.shape
    assert abs(lensed - larger).mean() > 0.01
    wide = larger[:, :8]
    assert jax.eval_shape(LENS.apply, variables, wide).shape == wide.shape
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(LENS.init, jax.random.key(1), larger))
    assert shapes == jax.tree.map(jnp.shape, variables)


def test_a_lens_does_not_look_at_the_rest_of_the_batch(apply, variables):
    images = random_images(3)
    together = apply(variables, images)
    for i in range(3):
        # One program for all: the image with two others in place of its own.
        others = images.at[jnp.arange(3) != i].set(0.5)
        np.testing.assert_allclose(apply(variables, others)[i], together[i], rtol=0, atol=1e-5)


def test_an_image_alone_is_lensed_as_in_a_batch(apply, variables):
    images = random_images(3)
    alone = apply(variables, images[1:2])
    np.testing.assert_allclose(alone[0], apply(variables, images)[1], rtol=0, atol=1e-5)


def test_every_level_of_the_lens_reaches_the_image():
    lens, images = UNet((8, 8, 8)), random_images(1)
    variables = random_variables(lens, images)
    gradients = jax.jit(jax.grad(lambda v: jnp.sum(lens.apply(v, images) ** 2)))(variables)
    assert all((abs(gradient) > 0).any() for gradient in jax.tree.leaves(gradients))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_blocks_of_pixels_become_channels(side: int):
    x = np.random.default_rng(0).normal(size=(2, 6, 12, 5))
    folded = np.asarray(space_to_depth(jnp.asarray(x, jnp.float32), side))
    expected = np.zeros((2, 6 // side, 12 // side, side * side * 5), np.float32)
    for row in range(6):
        for column in range(12):
            place = (row % side) * side + column % side
            channels = slice(5 * place, 5 * (place + 1))
            expected[:, row // side, column // side, channels] = x[:, row, column]
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


def test_with_remat_less_is_kept_for_the_backward_pass():
    images = random_images(4)
    everything, less = (UNet((8, 8), blocks=3, remat=remat) for remat in (False, True))
    assert kept_numbers(less, images) < kept_numbers(everything, images) / 2


def kept_numbers(lens: UNet, images: jax.Array) -> int:
    """How many numbers the backward pass needs."""
    shapes = jax.eval_shape(lens.init, jax.random.key(1), images)
    pull = jax.eval_shape(lambda v, x: jax.vjp(partial(lens.apply, v), x)[1], shapes, images)
    return sum(leaf.size for leaf in jax.tree.leaves(pull))


def test_with_remat_the_parameters_start_the_same():
    images = random_images(1)
    init, init_remat = (
        jax.jit(UNet((8,), blocks=2, patch=2, remat=remat).init) for remat in (False, True)
    )
    key = jax.random.key(1)
    jax.tree.map(np.testing.assert_array_equal, init_remat(key, images), init(key, images))
