import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.patches import central_patches, random_patches
from lens_jax.tasks.relative_patch_location import RelativePatchLocation

TASK = RelativePatchLocation(cell=4, patch=2, embedding=6, hidden=8)


def same(images: jax.Array) -> jax.Array:
    return images


def mirrored(images: jax.Array) -> jax.Array:
    return images[:, :, ::-1]


def located_batch(count: int, height: int = 12, width: int = 12) -> dict[str, jax.Array]:
    """Images whose pixels say (row, column, image)."""
    grid = np.meshgrid(range(count), range(height), range(width), indexing="ij")
    return {"image": jnp.asarray(np.stack([grid[1], grid[2], grid[0]], axis=-1), jnp.float32)}


@pytest.mark.parametrize("augment", [same, None])
def test_one_who_knows_the_places_of_the_patches_solves_the_task(augment):
    views = jax.device_get(TASK.views(jax.random.key(0), located_batch(5), augment))
    corners = views.inputs[:, 0, 0, :].astype(int)
    assert len(views.inputs) == 45
    assert len(views.targets) == 40
    directions = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    logits = np.zeros((40, 8), np.float32)
    for image, pairs in enumerate(views.arrangement):
        for n, (first, second) in enumerate(pairs):
            center, neighbor = corners[9 * image + first], corners[9 * image + second]
            assert center[2] == neighbor[2] == image
            step = neighbor[:2] // 4 - center[:2] // 4
            assert (center[:2] // 4).tolist() == [1, 1]
            logits[8 * image + n, directions.index(tuple(step.tolist()))] = 100
    loss = TASK.loss(jnp.asarray(logits), views.targets, None)
    assert loss.metrics["accuracy"] == 1
    assert loss.value < 1e-6
    np.testing.assert_array_equal(TASK.logits(logits), logits)


def test_every_image_is_asked_about_each_neighbor_once():
    views = TASK.views(jax.random.key(0), located_batch(3), same)
    assert views.targets.tolist() == [0, 1, 2, 3, 4, 5, 6, 7] * 3
    assert views.arrangement[2].tolist() == [[4, n] for n in (0, 1, 2, 3, 5, 6, 7, 8)]


def test_patches_are_drawn_in_training_with_jitter_and_central_otherwise():
    batch, key, calm = (
        located_batch(3, 15, 14),
        jax.random.key(7),
        RelativePatchLocation(4, 2, jitter=False),
    )
    central = central_patches(batch["image"], 4, 2)
    for task, augment in [(TASK, None), (calm, None), (calm, same)]:
        np.testing.assert_array_equal(task.views(key, batch, augment).inputs, central)
    drawn = TASK.views(key, batch, same).inputs
    np.testing.assert_array_equal(drawn, random_patches(key, batch["image"], 4, 2))


def test_whole_images_are_augmented_before_they_are_cut():
    batch = located_batch(2, 13, 15)
    views = RelativePatchLocation(4, 2, jitter=False).views(jax.random.key(0), batch, mirrored)
    np.testing.assert_array_equal(views.inputs, central_patches(mirrored(batch["image"]), 4, 2))


def test_some_of_the_images_are_a_slice_of_everything():
    batch = located_batch(4)
    views = TASK.views(jax.random.key(0), batch, None)
    fewer = TASK.views(jax.random.key(0), {"image": batch["image"][:3]}, None)
    for one, whole in zip(fewer, views, strict=True):
        np.testing.assert_array_equal(one, whole[: 3 * len(whole) // 4])


def test_downstream_an_image_is_nine_adjacent_patches_of_its_middle():
    task, images = RelativePatchLocation(), jnp.zeros((2, 196, 200, 3)).at[:, 2:194, 4:196].set(1)
    crops = jax.jit(task.crops)(images)
    assert crops.shape == (18, 64, 64, 3)
    assert crops.min() == 1
    with pytest.raises(UserError, match=r"191x196 px .* 192 px or more"):
        task.crops(images[:, :191, :196])


def test_the_head_tells_the_eight_neighbors_of_every_image():
    views = TASK.views(jax.random.key(0), located_batch(3), same)
    features = views.inputs.reshape(27, -1)
    head = TASK.head(jnp.float32)
    logits, variables = head.init_with_output(
        jax.random.key(0), features, views.arrangement, train=False
    )
    assert logits.shape == (24, 8)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["Dense_0"]["kernel"] == (12, 6)
    assert shapes["ArrangedDense_0"]["kernel"] == (2, 6, 8)
    assert shapes["Dense_1"]["kernel"] == (8, 8)
    assert head.dropout == 0.5


def test_the_defaults_are_the_published_sizes():
    assert RelativePatchLocation() == RelativePatchLocation(85, 64, True, 1000, 4096, 0.5)
    assert RelativePatchLocation().has_classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 60}, "patch of 64 px .* cell of 60 px"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden": 0}, "hidden"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        RelativePatchLocation(**options)
