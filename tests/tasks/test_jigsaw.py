from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks.base import Augment, Outputs, Views
from lens_jax.tasks.jigsaw import Jigsaw
from lens_jax.tasks.permutations import spread_permutations
from tests.tasks.samples import located_batch, unchanged

TASK = Jigsaw(cell=4, patch=2, embedding=6, hidden=16, permutations=20, drawn=8)

make_views = jax.jit(Jigsaw.views, static_argnames=("self", "augment"))


def views_of(task: Jigsaw, images: int, augment: Augment | None, seed: int = 0) -> Views:
    return make_views(task, jax.random.key(seed), located_batch(images), augment)


@pytest.mark.parametrize(("augment", "shown"), [(unchanged, 8), (None, 20)])
def test_whoever_knows_the_positions_of_the_patches_solves_the_task(augment, shown: int):
    views = jax.device_get(views_of(TASK, 5, augment))
    known = spread_permutations(20).tolist()
    assert len(views.inputs) == 45
    assert views.context.shape == (5, shown, 9)

    logits = []
    for image, orders in enumerate(views.context):
        for order in orders:
            row, column, of_image = views.inputs[9 * image + order, 0, 0].astype(int).T
            assert set(of_image) == {image}
            cells = 3 * (row // 4) + column // 4
            answer = known.index(cells.tolist())
            logits.append(100 * np.eye(20)[answer])

    outputs = Outputs(jnp.asarray(logits, jnp.float32))
    loss = TASK.loss(outputs, views.labels, None)
    assert loss.metrics["accuracy"] == 1
    assert loss.value < 1e-6
    assert TASK.hits(outputs, views.labels).all()
    assert TASK.loss(outputs, views.labels, ()).logits is outputs.online


def test_a_training_step_shows_all_images_the_same_distinct_orders():
    views = views_of(TASK, 4, unchanged, seed=3)
    labels = np.asarray(views.labels).reshape(4, 8)
    np.testing.assert_array_equal(labels, np.tile(labels[0], (4, 1)))
    assert len(set(labels[0].tolist())) == 8
    for orders in np.asarray(views.context):
        np.testing.assert_array_equal(orders, spread_permutations(20)[labels[0]])


def test_each_order_is_drawn_as_often_as_any_other():
    draw = jax.jit(jax.vmap(lambda key: TASK.views(key, located_batch(1), unchanged).labels))
    labels = np.asarray(draw(jax.random.split(jax.random.key(0), 600)))
    counts = np.bincount(labels.ravel(), minlength=20)
    assert len(counts) == 20
    assert abs(counts / 600 - 8 / 20).max() < 0.08  # four standard deviations


def test_evaluation_shows_all_orders_whatever_the_key():
    task = Jigsaw(4, 2)
    views, again = (views_of(task, 2, None, seed) for seed in (0, 1))
    assert views.labels.tolist() == list(range(100)) * 2
    np.testing.assert_array_equal(views.context, np.stack([spread_permutations(100)] * 2))
    for array, other in zip(views, again, strict=True):
        np.testing.assert_array_equal(array, other)


def test_the_head_has_a_logit_for_each_order_whether_it_is_shown_or_not():
    views = views_of(TASK, 4, unchanged)
    head, features = TASK.head(jnp.float32), views.inputs.reshape(36, -1)
    start = jax.jit(partial(head.init_with_output, train=False))
    logits, variables = start(jax.random.key(0), features, views.context)
    assert logits.shape == (32, 20)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["Dense_0"]["kernel"] == (12, 6)
    assert shapes["ArrangedDense_0"]["kernel"] == (9, 6, 16)
    assert shapes["Dense_1"]["kernel"] == (16, 20)
    assert head.dropout == 0.5


def test_the_defaults_are_the_published_sizes():
    assert Jigsaw() == Jigsaw(85, 64, True, 1000, 4096, 0.5, 100, 8)
    assert Jigsaw().has_logits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"permutations": 1, "drawn": 1}, "task.permutations is 1: it must be 2 to 362880"),
        ({"permutations": 362881}, "task.permutations is 362881: it must be 2 to 362880"),
        ({"permutations": 7}, "task.drawn is 8: it must be 1 to 7, the permutations"),
        ({"drawn": 0}, "task.drawn is 0: it must be 1 to 100, the permutations"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message) as caught:
        Jigsaw(**options)
    assert "\n" not in str(caught.value)
