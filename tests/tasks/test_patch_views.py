from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.patches import central_patches, random_patches
from lens_jax.tasks.base import Augment, Batch, Views
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.patch_views import PatchTask
from lens_jax.tasks.relative_patch_location import RelativePatchLocation
from tests.tasks.samples import located_batch, mirrored, unchanged

both_tasks = pytest.mark.parametrize("task", [Jigsaw, RelativePatchLocation])


@partial(jax.jit, static_argnames=("task", "augment"))
def make_views(task: PatchTask, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
    return task.views(key, batch, augment)


@both_tasks
def test_patches_are_drawn_in_training_with_jitter_and_central_otherwise(task: type[PatchTask]):
    batch, key = located_batch(3, 15, 14), jax.random.key(7)
    drawn, calm = task(4, 2), task(4, 2, jitter=False)
    central = np.asarray(central_patches(batch["image"], 4, 2))
    for views in (
        make_views(drawn, key, batch, None),
        make_views(calm, key, batch, None),
        make_views(calm, key, batch, unchanged),
    ):
        np.testing.assert_array_equal(views.inputs, central)
    assert (make_views(drawn, key, batch, unchanged).inputs != central).any()


def test_the_key_of_relative_patch_location_is_that_of_its_patches():
    batch, key = located_batch(3, 15, 14), jax.random.key(7)
    views = make_views(RelativePatchLocation(4, 2), key, batch, unchanged)
    np.testing.assert_array_equal(views.inputs, random_patches(key, batch["image"], 4, 2))


@both_tasks
def test_whole_images_are_augmented_before_they_are_cut(task: type[PatchTask]):
    batch = located_batch(2, 13, 15)
    views = make_views(task(4, 2, jitter=False), jax.random.key(0), batch, mirrored)
    expected = central_patches(batch["image"][:, :, ::-1], 4, 2)
    np.testing.assert_array_equal(views.inputs, expected)


@both_tasks
def test_some_of_the_images_are_a_slice_of_everything(task: type[PatchTask]):
    images = located_batch(4)["image"]
    every = make_views(task(4, 2), jax.random.key(0), {"image": images}, None)
    fewer = make_views(task(4, 2), jax.random.key(0), {"image": images[:3]}, None)
    for some, array in zip(fewer, every, strict=True):
        np.testing.assert_array_equal(some, array[: 3 * len(array) // 4])


@both_tasks
def test_downstream_an_image_is_nine_adjacent_patches_of_its_middle(task: type[PatchTask]):
    images = jnp.zeros((2, 9, 8, 3)).at[:, 1:7, 1:7].set(1)
    crops = task(4, 2).crops(images)
    assert crops.shape == (18, 2, 2, 3)
    assert (crops == 1).all()
    with pytest.raises(UserError, match=r"5x8 px .* 6 px or more"):
        task(4, 2).crops(images[:, :5])


@both_tasks
def test_patches_of_the_published_size_are_cut_from_192_pixels(task: type[PatchTask]):
    images = jax.ShapeDtypeStruct((2, 196, 200, 3), jnp.float32)
    assert jax.eval_shape(task().crops, images).shape == (18, 64, 64, 3)
    with pytest.raises(UserError, match=r"191x196 px .* 192 px or more"):
        task().crops(np.zeros((2, 191, 196, 3)))


@both_tasks
@pytest.mark.parametrize("arrays", [np, jnp])
def test_tiled_patches_lie_where_they_were_cut(task: type[PatchTask], arrays):
    images = located_batch(2, 6, 6)["image"]
    patches = arrays.asarray(task(2, 2).crops(images))
    tiled = task(2, 2).tile(patches)
    assert type(tiled) is type(patches)
    np.testing.assert_array_equal(tiled, images)
    # Likewise what has one number for each pixel, such as a change.
    np.testing.assert_array_equal(task(2, 2).tile(patches[..., 0]), images[..., 0])


@both_tasks
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 60}, "patch of 64 px .* cell of 60 px"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.5}, "dropout"),
        ({"hidden": 0}, "hidden"),
        ({"embedding": 0}, "embedding"),
    ],
)
def test_impossible_options_are_refused(task: type[PatchTask], options: dict, message: str):
    with pytest.raises(UserError, match=message) as caught:
        task(**options)
    assert "\n" not in str(caught.value)
