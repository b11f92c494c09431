import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.patches import central_patches
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.permutations import spread_permutations

TASK = Jigsaw(cell=4, patch=2, embedding=6, hidden=16, permutations=20, drawn=8)


def same(images: jax.Array) -> jax.Array:
    return images


def mirrored(images: jax.Array) -> jax.Array:
    return images[:, :, ::-1]


def located_batch(count: int, height: int = 12, width: int = 12) -> dict[str, jax.Array]:
    """Images whose pixels say (row, column, image)."""
    grid = np.meshgrid(range(count), range(height), range(width), indexing="ij")
    return {"image": jnp.asarray(np.stack([grid[1], grid[2], grid[0]], axis=-1), jnp.float32)}


@pytest.mark.parametrize(("augment", "shown"), [(same, 8), (None, 20)])
def test_one_who_knows_the_places_of_the_patches_solves_the_task(augment, shown: int):
    views = jax.device_get(TASK.views(jax.random.key(0), located_batch(5), augment))
    known = spread_permutations(20).tolist()
    assert len(views.inputs) == 45
    assert views.arrangement.shape == (5, shown, 9)
    logits = np.zeros((5 * shown, 20), np.float32)
    for image, orders in enumerate(views.arrangement):
        for n, order in enumerate(orders):
            corners = views.inputs[9 * image + order, 0, 0].astype(int)
            assert set(corners[:, 2]) == {image}
            places = 3 * (corners[:, 0] // 4) + corners[:, 1] // 4
            logits[shown * image + n, known.index(places.tolist())] = 100
    loss = TASK.loss(jnp.asarray(logits), views.targets, None)
    assert loss.metrics["accuracy"] == 1
    assert loss.value < 1e-6
    np.testing.assert_array_equal(TASK.logits(logits), logits)


def test_a_training_step_shows_all_images_the_same_distinct_orders():
    views = jax.jit(lambda key: TASK.views(key, located_batch(4), same))(jax.random.key(3))
    targets = np.asarray(views.targets).reshape(4, 8)
    np.testing.assert_array_equal(targets, np.tile(targets[0], (4, 1)))
    assert len(set(targets[0].tolist())) == 8
    for orders in np.asarray(views.arrangement):
        np.testing.assert_array_equal(orders, spread_permutations(20)[targets[0]])


def test_each_order_is_drawn_as_often_as_any_other():
    draw = jax.jit(jax.vmap(lambda key: TASK.views(key, located_batch(1), same).targets))
    targets = np.asarray(draw(jax.random.split(jax.random.key(0), 600)))
    counts = np.bincount(targets.ravel(), minlength=20)
    assert len(counts) == 20
    assert abs(counts / 600 - 8 / 20).max() < 0.08  # four standard deviations


def test_evaluation_asks_for_all_orders_whatever_the_key():
    one, other = (Jigsaw(4, 2).views(jax.random.key(k), located_batch(2), None) for k in (0, 1))
    assert one.targets.tolist() == list(range(100)) * 2
    np.testing.assert_array_equal(one.arrangement, np.stack([spread_permutations(100)] * 2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_patches_are_drawn_in_training_with_jitter_and_central_otherwise():
    batch, key, calm = located_batch(3, 15, 14), jax.random.key(7), Jigsaw(4, 2, jitter=False)
    central = np.asarray(central_patches(batch["image"], 4, 2))
    for task, augment in [(TASK, None), (calm, None), (calm, same)]:
        np.testing.assert_array_equal(task.views(key, batch, augment).inputs, central)
    assert (TASK.views(key, batch, same).inputs != central).any()
    turned = calm.views(key, batch, mirrored).inputs
    np.testing.assert_array_equal(turned, central_patches(mirrored(batch["image"]), 4, 2))


def test_some_of_the_images_are_a_slice_of_everything():
    batch = located_batch(4)
    views = TASK.views(jax.random.key(0), batch, None)
    fewer = TASK.views(jax.random.key(0), {"image": batch["image"][:3]}, None)
    for one, whole in zip(fewer, views, strict=True):
        np.testing.assert_array_equal(one, whole[: 3 * len(whole) // 4])


def test_downstream_an_image_is_nine_adjacent_patches_of_its_middle():
    images = jnp.zeros((2, 9, 8, 3)).at[:, 1:7, 1:7].set(1)
    assert (TASK.crops(images) == 1).all()
    assert TASK.crops(images).shape == (18, 2, 2, 3)
    with pytest.raises(UserError, match=r"5x8 px .* 6 px or more"):
        TASK.crops(images[:, :5])


def test_the_head_has_a_logit_for_each_order_whether_it_is_shown_or_not():
    views = TASK.views(jax.random.key(0), located_batch(3), same)
    head, features = TASK.head(jnp.float32), views.inputs.reshape(27, -1)
    logits, variables = head.init_with_output(
        jax.random.key(0), features, views.arrangement, train=False
    )
    assert logits.shape == (24, 20)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["Dense_0"]["kernel"] == (12, 6)
    assert shapes["ArrangedDense_0"]["kernel"] == (9, 6, 16)
    assert shapes["Dense_1"]["kernel"] == (16, 20)
    assert head.dropout == 0.5


def test_the_defaults_are_the_published_sizes():
    assert Jigsaw() == Jigsaw(85, 64, True, 1000, 4096, 0.5, 100, 8)
    assert Jigsaw().has_classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 60}, "patch of 64 px .* cell of 60 px"),
        ({"dropout": -0.5}, "dropout"),
        ({"embedding": 0}, "embedding"),
        ({"permutations": 1, "drawn": 1}, "1 permutations as classes: use 2 to 362880"),
        ({"permutations": 362881}, "362881 permutations as classes"),
        ({"permutations": 7}, "draws 8 of 7 permutations: use 1 to 7"),
        ({"drawn": 0}, "draws 0 of 100"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message) as caught:
        Jigsaw(**options)
    assert "\n" not in str(caught.value)
