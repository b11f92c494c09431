import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.base import Outputs, join_views, split_views
from lens_jax.tasks.byol import BYOL
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.simclr import SimCLR
from lens_jax.tasks.two_views import TwoViews
from tests.tasks.samples import located_batch, random_batch, unchanged


def brighter(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Adds 100 times the view to all pixels."""
    augmented = unchanged(images, view, size)
    return augmented._replace(images=augmented.images + 100 * view)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_views_are_split_and_joined_again(count: int, shape: tuple[int, ...]):
    rows = np.random.default_rng(0).normal(size=(5 * count, *shape))
    views = split_views(rows, count)
    assert [view.shape for view in views] == [(5, *shape)] * count
    for view, found in enumerate(views):
        np.testing.assert_array_equal(found, rows[view::count])
    np.testing.assert_array_equal(join_views(*views), rows.astype(np.float32))


@pytest.mark.parametrize("task", [TwoViews(), SimCLR(), MoCo(), BYOL()])
def test_the_two_views_of_an_image_lie_side_by_side(task: TwoViews):
    images = located_batch(3)["image"]
    views = jax.jit(lambda x: task.views(jax.random.key(0), {"image": x}, brighter))(images)
    assert views.inputs.shape == (6, 12, 12, 3)
    np.testing.assert_array_equal(views.inputs[0::2], images)
    np.testing.assert_array_equal(views.inputs[1::2], images + 100)
    assert views.labels is None


@pytest.mark.parametrize("task", [TwoViews(), SimCLR(), MoCo(), BYOL()])
def test_each_of_a_pair_of_images_gives_one_view(task: TwoViews):
    images = located_batch(3)["image"]
    batch = {"image": images, "partner": -images}
    views = task.views(jax.random.key(0), batch, brighter)
    np.testing.assert_array_equal(views.inputs[0::2], images)
    np.testing.assert_array_equal(views.inputs[1::2], 100 - images)
    # In evaluation there are no pairs.
    whole = task.views(jax.random.key(0), batch, None)
    np.testing.assert_array_equal(whole.inputs[0::2], whole.inputs[1::2])


def test_the_context_is_what_was_drawn_for_each_view():
    views = TwoViews().views(jax.random.key(0), located_batch(3), brighter)
    np.testing.assert_array_equal(views.context, [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]])


@pytest.mark.parametrize("size", [0, 5])
def test_each_view_is_drawn_by_its_own_number_and_in_its_size(size: int):
    calls = []

    def record(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        calls.append((view, size))
        return unchanged(images, view, size)

    views = TwoViews(size=size).views(jax.random.key(0), random_batch(2), record)
    assert calls == [(0, size), (1, size)]
    side = size or 6
    assert views.inputs.shape == (4, side, side, 3)


@pytest.mark.parametrize(("size", "side"), [(0, 6), (6, 6), (5, 5)])
def test_in_evaluation_the_whole_image_is_seen_twice(size: int, side: int):
    task, batch = TwoViews(size=size), random_batch(3)
    views = task.views(jax.random.key(0), batch, None)
    again = task.views(jax.random.key(1), batch, None)
    whole = task.crops(batch["image"])
    assert whole.shape == (3, side, side, 3)
    np.testing.assert_array_equal(views.inputs, jnp.repeat(whole, 2, axis=0))
    np.testing.assert_array_equal(views.inputs, again.inputs)
    assert views.labels is views.context is None
    if side == 6:
        np.testing.assert_array_equal(whole, batch["image"])


@pytest.mark.parametrize("task", [TwoViews, SimCLR, MoCo, BYOL])
def test_a_negative_size_is_refused(task: type[TwoViews]):
    with pytest.raises(UserError, match=r"task.size is -8: .* pixels, or 0"):
        task(size=-8)


@pytest.mark.parametrize("task", [SimCLR(), MoCo(), BYOL()])
def test_evaluation_has_nothing_to_count(task: TwoViews):
    assert task.hits(Outputs(jnp.ones((4, 3))), None) is None
