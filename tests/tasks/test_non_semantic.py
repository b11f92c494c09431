import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.base import Loss, Outputs, join_views, split_views
from lens_jax.tasks.byol import BYOL, SOFTNESS
from lens_jax.tasks.moco import MoCo
from lens_jax.tasks.non_semantic import NonSemantic, reads_textures
from tests.losses import references
from tests.tasks.samples import mirrored, random_batch, unchanged

SMALL = {"hidden": 8, "embedding": 5}


def loss_of(task: NonSemantic, online: np.ndarray, target: np.ndarray, memory=None) -> Loss:
    return jax.jit(task.loss)(Outputs(online, target), None, memory)


def random_rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 4))


def by_loops(
    queries: np.ndarray,
    keys: np.ndarray,
    own: np.ndarray,
    queue: np.ndarray,
    alpha: float,
    temperature: float,
) -> float:
    """The published loss: each query has a row of logits, and the last one is its own negative."""
    losses = []
    for query, key, negative in zip(queries, keys, own, strict=True):
        total = math.exp(np.dot(query, key) / temperature)
        for other in queue:
            total += math.exp(np.dot(query, other) / temperature)
        total += math.exp(alpha * np.dot(query, negative) / temperature)
        losses.append(math.log(total) - np.dot(query, key) / temperature)
    return float(np.mean(losses))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, 3.5])
def test_moco_each_query_is_repelled_from_its_own_negative_by_alpha(x64, alpha: float):
    queries, keys, own = references.unit_rows(random_rows(18)).reshape(3, 6, 4)
    queue = references.unit_rows(np.random.default_rng(1).normal(size=(7, 4)))
    task = MoCo(queue=7, temperature=0.3, non_semantic="patch", alpha=alpha)
    target = join_views(keys, own)
    found = loss_of(task, queries, target, queue)
    expected = by_loops(queries, keys, own, queue, alpha, 0.3)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)

    cosines = np.sum(queries * own, axis=1)
    np.testing.assert_allclose(found.metrics["negative_cosine"], cosines.mean(), rtol=1e-12)
    hits = []
    for query, key, negative in zip(queries, keys, own, strict=True):
        others = [*(queue @ query), alpha * np.dot(query, negative)]
        hits.append(np.dot(query, key) > max(others))
    np.testing.assert_allclose(found.metrics["accuracy"], np.mean(hits), rtol=1e-12)


def test_moco_negatives_never_enter_the_queue():
    keys, own = references.unit_rows(random_rows(10)).reshape(2, 5, 4)
    queue = np.zeros((8, 4))
    task = MoCo(queue=8, non_semantic="patch")
    memory = loss_of(task, keys, join_views(keys, own), queue).memory
    np.testing.assert_allclose(memory, np.concatenate([keys, queue])[:8], atol=1e-6)


def test_moco_alpha_0_is_one_more_in_the_sum_and_not_the_loss_without(x64):
    queries, keys, own = references.unit_rows(random_rows(9)).reshape(3, 3, 4)
    queue = np.zeros((5, 4))
    plain = loss_of(MoCo(queue=5), queries, keys, queue).value
    found = loss_of(
        MoCo(queue=5, non_semantic="patch", alpha=0.0), queries, join_views(keys, own), queue
    )
    one_longer = loss_of(MoCo(queue=6), queries, keys, np.zeros((6, 4))).value
    np.testing.assert_allclose(found.value, one_longer, rtol=1e-12)
    assert found.value > plain


def test_moco_symmetric_each_view_has_a_negative_of_its_own(x64):
    first, second, of_first, of_second = references.unit_rows(random_rows(12)).reshape(4, 3, 4)
    key_1, key_2 = references.unit_rows(np.random.default_rng(2).normal(size=(6, 4))).reshape(
        2, 3, 4
    )
    queue = references.unit_rows(np.random.default_rng(1).normal(size=(5, 4)))
    task = MoCo(queue=5, temperature=0.3, symmetric=True, non_semantic="patch", alpha=2.0)
    online = join_views(first, second)
    found = loss_of(task, online, join_views(key_1, key_2, of_first, of_second), queue)
    forward = by_loops(first, key_2, of_first, queue, 2.0, 0.3)
    backward = by_loops(second, key_1, of_second, queue, 2.0, 0.3)
    np.testing.assert_allclose(found.value, (forward + backward) / 2, rtol=1e-12)
    entered = np.asarray(join_views(key_1, key_2))[:5]
    np.testing.assert_allclose(found.memory, entered, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_byol_the_loss_is_that_without_and_a_soft_excess(x64, alpha: float):
    predictions = random_rows(4, 2)
    keys, own = np.random.default_rng(1).normal(size=(2, 4, 2, 4))
    losses, attractions = [], []
    for image in range(4):
        for view in range(2):
            p = predictions[image, view]
            attract = references.cosine(p, keys[image, 1 - view])
            repel = alpha * references.cosine(p, own[image, view])
            excess = SOFTNESS * math.log(1 + math.exp((repel - attract) / SOFTNESS))
            attractions.append(2 - 2 * attract)
            losses.append(2 - 2 * attract + 2 * excess)

    target = join_views(keys[:, 0], keys[:, 1], own[:, 0], own[:, 1])
    task = BYOL(non_semantic="patch", alpha=alpha)
    found = loss_of(task, predictions.reshape(8, 4), target)
    # Over both directions it is a sum.
    np.testing.assert_allclose(found.value, 2 * np.mean(losses), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["cosine"], 1 - np.mean(attractions) / 2, rtol=1e-10)
    plain = loss_of(BYOL(), predictions.reshape(8, 4), keys.reshape(8, 4))
    np.testing.assert_allclose(found.metrics["cosine"], plain.metrics["cosine"], rtol=1e-10)


def test_byol_pulls_with_1_plus_w_and_pushes_with_alpha_w(x64):
    """With w = 1 / (1 + exp((cos(p, k) - alpha cos(p, t)) / s)): it is 0 far from the negative."""
    predictions, keys, own = np.random.default_rng(3).normal(size=(3, 10, 4))
    # The last image's predictions are at their targets, and away from their negatives.
    keys[8:], own[8:] = [[1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]]
    predictions[8:] = keys[[9, 8]]
    task = BYOL(non_semantic="patch", alpha=1.5)
    target = join_views(*split_views(keys, 2), *split_views(own, 2))

    def value(predictions: jax.Array) -> jax.Array:
        return task.loss(Outputs(predictions, target), None, None).value

    found = np.asarray(jax.grad(value)(predictions))
    for row, (p, t) in enumerate(zip(predictions, own, strict=True)):
        k = keys[row ^ 1]
        exponent = (references.cosine(p, k) - 1.5 * references.cosine(p, t)) / SOFTNESS
        w = 1 / (1 + math.exp(exponent))
        if row >= 8:
            assert w < 0.01
        push = 1.5 * w * slope_of_cosine(p, t)
        pull = (1 + w) * slope_of_cosine(p, k)
        # A sum over two directions, the mean over five images.
        np.testing.assert_allclose(found[row], 2 * (push - pull) / 5, atol=1e-12)


def slope_of_cosine(p: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The gradient of cos(p, other) with respect to p."""
    length = math.sqrt(np.dot(p, p))
    unit = other / math.sqrt(np.dot(other, other))
    return (unit - np.dot(unit, p) * p / length**2) / length


@pytest.mark.parametrize("kind", ["patch", "quilting", "texture"])
@pytest.mark.parametrize(
    ("task_class", "options", "online", "target"),
    [
        (MoCo, {"queue": 9}, (0,), (1, 2)),
        (MoCo, {"queue": 9, "symmetric": True}, (0, 1), (0, 1, 2, 3)),
        (BYOL, {}, (0, 1), (0, 1, 2, 3)),
    ],
)
def test_negatives_are_views_that_the_target_network_alone_sees(
    task_class, options: dict, online: tuple, target: tuple, kind: str
):
    task = task_class(**SMALL, **options, non_semantic=kind)
    assert task.online_views == online
    assert task.target(10).views == target
    batch = random_batch(3, side=8)
    batch["texture"] = batch["image"][::-1]
    views = task.views(jax.random.key(0), batch, unchanged)
    count = 2 + len(online)
    inputs = split_views(views.inputs, count)
    parameters = split_views(views.context, count)
    for view, query in enumerate(online):
        assert inputs[2 + view].shape == batch["image"].shape
        np.testing.assert_array_equal(parameters[2 + view], parameters[query])
        if kind == "texture":
            np.testing.assert_array_equal(inputs[2 + view], batch["texture"])
        else:
            assert np.mean(inputs[2 + view] != inputs[query]) > 0.5

    # In evaluation there are none.
    assert len(task.views(jax.random.key(0), batch, None).inputs) == 6


def test_patches_are_those_of_the_augmented_query():
    task = BYOL(**SMALL, non_semantic="patch", patch_sides=(0.25, 0.5))
    batch = random_batch(4, side=8)

    def fade(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        return unchanged(images * 10.0**-view, view, size)

    inputs = split_views(task.views(jax.random.key(0), batch, fade).inputs, 4)
    again = split_views(task.views(jax.random.key(0), batch, fade).inputs, 4)
    other = split_views(task.views(jax.random.key(1), batch, fade).inputs, 4)
    for view in (0, 1):
        for query, negative in zip(inputs[view], inputs[2 + view], strict=True):
            assert set(np.ravel(negative).tolist()) <= set(np.ravel(query).tolist())
        np.testing.assert_array_equal(inputs[2 + view], again[2 + view])
        assert (inputs[2 + view] != other[2 + view]).any()
    # The two views draw patches of their own.
    assert (inputs[2] != 10 * inputs[3]).any()


def test_the_texture_gets_the_augmentation_of_its_query_and_the_key_another():
    task = MoCo(**SMALL, non_semantic="texture")
    batch = random_batch(3)
    batch["texture"] = batch["image"][::-1]
    views = []

    def record(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        views.append(view)
        return mirrored(images, view, size)

    inputs = split_views(task.views(jax.random.key(0), batch, record).inputs, 3)
    assert views == [0, 1, 0]
    np.testing.assert_array_equal(inputs[2], batch["texture"][:, :, ::-1])


def test_a_batch_without_textures_is_refused():
    task = MoCo(**SMALL, non_semantic="texture")
    with pytest.raises(UserError, match=r"batch has no textures: set data.textures"):
        task.views(jax.random.key(0), random_batch(3), unchanged)


def test_patches_have_the_published_sides_at_the_published_size():
    task = MoCo()
    assert [round(224 * side) for side in task.patch_sides] == [16, 72]
    assert (task.non_semantic, task.alpha) == ("none", 2.0)


def test_only_textures_are_read():
    assert reads_textures({"name": "moco", "non_semantic": "texture"})
    for options in ({"name": "rotation"}, {"name": "moco", "non_semantic": "patch"}):
        assert not reads_textures(options)


@pytest.mark.parametrize("task_class", [MoCo, BYOL])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"non_semantic": "patches"},
            "'patches': it must be one of none, patch, quilting, texture",
        ),
        ({"alpha": -1.0}, "task.alpha is -1.0: it must be at least 0"),
        ({"alpha": float("nan")}, "task.alpha is nan: "),
        ({"alpha": float("inf")}, "task.alpha is inf: "),
        (
            {"patch_sides": (0.1, 1.5)},
            r"patch_sides is \(0.1, 1.5\): .* fractions of the image in \(0, 1\]",
        ),
        ({"patch_sides": (0.5, 0.2)}, "the smaller one first"),
        ({"patch_sides": (0.0, 0.2)}, "two fractions"),
        ({"patch_sides": (0.2,)}, "two fractions"),
    ],
)
def test_impossible_options_are_refused(task_class, options: dict, message: str):
    with pytest.raises(UserError, match=message):
        task_class(**options)


def test_similarities_are_computed_for_rows_of_any_length_and_in_float32():
    queries, keys, own = random_rows(9).reshape(3, 3, 4).astype(np.float32)
    task = MoCo(queue=5, non_semantic="patch")
    queue = np.zeros((5, 4), np.float32)
    found = loss_of(task, queries, join_views(keys, own), queue)
    longer = loss_of(task, 7 * queries, join_views(3 * keys, 5 * own), queue)
    assert found.value.dtype == jnp.float32
    np.testing.assert_allclose(longer.value, found.value, rtol=1e-5)
