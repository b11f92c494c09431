import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.base import Augment, Batch, Loss, Outputs, Views
from lens_jax.tasks.exemplar import Exemplar
from tests.losses import references
from tests.tasks.samples import random_batch, unchanged

ROOT = math.sqrt(3)

compute_loss = jax.jit(Exemplar.loss, static_argnames="self")
make_views = jax.jit(Exemplar.views, static_argnames=("self", "augment"))


def random_case(
    images: int, copies: int, length: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around a center for each image, in random order; the images' labels start at 5."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(images) + 5, copies))
    centers = rng.normal(size=(images, length))
    noise = rng.normal(size=(images * copies, length))
    return centers[labels - 5] + spread * noise, labels


def loss_of(task: Exemplar, rows: np.ndarray, labels: np.ndarray) -> Loss:
    return compute_loss(task, Outputs(rows), labels, {"kept": 1})


def views_of(task: Exemplar, batch: Batch, augment: Augment) -> Views:
    return make_views(task, jax.random.key(0), batch, augment)


@pytest.mark.parametrize(
    ("images", "copies", "length", "spread", "margin"),
    [
        (2, 2, 3, 1.0, 0.5),
        (5, 3, 4, 0.5, 0.5),
        (4, 8, 6, 0.3, 0.2),
        (9, 2, 2, 3.0, 1.5),
        (3, 4, 2, 1.0, 0.5),
    ],
)
def test_the_loss_is_that_of_its_definition(x64, images, copies, length, spread, margin):
    rows, labels = random_case(images, copies, length, spread)
    units = references.unit_rows(rows)
    losses = references.triplet_losses(units, labels, margin)
    hits = references.nearest_neighbor_hits(units, labels)
    assert len(losses) == images * copies * (copies - 1)

    found = loss_of(Exemplar(copies, margin=margin), rows, labels)
    np.testing.assert_allclose(found.value, np.mean(losses), rtol=1e-9)
    np.testing.assert_allclose(found.metrics["active"], np.mean(np.array(losses) > 0), rtol=1e-12)
    np.testing.assert_allclose(found.metrics["accuracy"], np.mean(hits), rtol=1e-12)
    assert found.memory == {"kept": 1}


@pytest.mark.parametrize(
    ("margin", "expected", "active"),
    [(0.5, 0, 0), (0.9, (1.9 - ROOT) / 2, 0.5), (1.5, (3 - ROOT) / 2, 1)],
)
def test_four_crops_by_hand(margin: float, expected: float, active: float):
    """Of one image at 0 and 60 degrees, of another at 150 and 270.

    Squared distances are 2 - 2 cos: 1 at 60 degrees, 2 at 90, 3 at 120 and 2 + sqrt(3) at 150. The
    first pair is 1 apart, and the closest negative of either is 2 off: margin - 1. The second pair
    is 3 apart; one negative of either is closer, at 2, so it is the other one, at 2 + sqrt(3):
    margin + 1 - sqrt(3).
    """
    angles = np.deg2rad([0, 60, 150, 270])
    lengths = np.array([3, 0.1, 7, 1])
    rows = np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=-1)
    labels = np.array([0, 0, 1, 1])
    found = loss_of(Exemplar(2, margin=margin), rows.astype(np.float32), labels)
    np.testing.assert_allclose(found.value, expected, atol=1e-5)
    np.testing.assert_allclose(found.metrics["active"], active, rtol=1e-6)
    # The crop at 150 degrees is nearest to that at 60, that at 270 to that at 0.
    np.testing.assert_allclose(found.metrics["accuracy"], 0.5, rtol=1e-6)


def test_the_gradient_is_that_of_the_written_out_loss(x64):
    rows, labels = random_case(4, 3, 5, 0.7)
    triplets = references.semi_hard_triplets(references.unit_rows(rows), labels)
    anchors, positives, negatives = np.array(triplets).T

    def written_out(rows: jax.Array) -> jax.Array:
        units = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
        to_positives = jnp.sum((units[anchors] - units[positives]) ** 2, axis=1)
        to_negatives = jnp.sum((units[anchors] - units[negatives]) ** 2, axis=1)
        return jnp.mean(jnp.maximum(0, 0.5 + to_positives - to_negatives))

    def value(rows: jax.Array) -> jax.Array:
        return Exemplar(3).loss(Outputs(rows), jnp.asarray(labels), None).value

    expected = jax.jit(jax.grad(written_out))(rows)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(rows), expected, atol=1e-12)
    assert np.abs(expected).max() > 1e-3


def test_gradients_are_finite_where_all_embeddings_are_equal():
    @jax.jit
    @jax.value_and_grad
    def value(rows: jax.Array) -> jax.Array:
        return Exemplar(2).loss(Outputs(rows), jnp.array([0, 0, 1, 1]), None).value

    for scale in (0, 1, 1e-20, 1e15):
        found, gradient = value(np.full((4, 3), scale, np.float32))
        np.testing.assert_allclose(found, 0.5, rtol=1e-5)
        assert np.isfinite(gradient).all()


def test_neither_the_order_nor_the_labels_of_the_images_nor_the_lengths_matter(x64):
    rows, labels = random_case(5, 4, 6, 0.6)
    order = np.random.default_rng(3).permutation(len(labels))
    lengths = np.random.default_rng(4).uniform(0.1, 10, (len(labels), 1))
    expected = loss_of(Exemplar(4), rows, labels)
    found = loss_of(Exemplar(4), (rows * lengths)[order], 90 - labels[order])
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)
    for name, metric in expected.metrics.items():
        np.testing.assert_allclose(found.metrics[name], metric, rtol=1e-12)


def test_labels_that_occur_less_often_have_fewer_pairs(x64):
    rows, labels = random_case(4, 4, 3, 0.8)
    rows, labels = rows[:11], labels[:11]
    expected = references.triplet_losses(references.unit_rows(rows), labels, 0.5)
    found = loss_of(Exemplar(4), rows, labels)
    np.testing.assert_allclose(found.value, np.mean(expected), rtol=1e-9)


def test_every_image_gets_its_own_crops_side_by_side():
    task = Exemplar(copies=4, size=6)
    views = views_of(task, {"image": random_batch(3, side=8)["image"]}, unchanged)
    assert views.inputs.shape == (12, 6, 6, 3)
    assert views.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(np.unique(np.asarray(views.inputs).round(4), axis=0)) == 12

    flat = jnp.broadcast_to(jnp.arange(3.0)[:, None, None, None], (3, 8, 8, 3))
    flat_views = views_of(task, {"image": flat}, unchanged)
    np.testing.assert_allclose(flat_views.inputs[:, 2, 3, 1], views.labels, atol=1e-5)


def test_crops_are_augmented_one_by_one():
    def mirror_odd(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
        odd = jnp.arange(len(images)) % 2 == 1
        images = jnp.where(odd[:, None, None, None], images[:, :, ::-1], images)
        return unchanged(images, view, size)

    batch, task = random_batch(2, side=8), Exemplar(copies=8)
    plain = views_of(task, batch, unchanged)
    found = views_of(task, batch, mirror_odd)
    np.testing.assert_allclose(found.inputs[0::2], plain.inputs[0::2], atol=1e-5)
    np.testing.assert_allclose(found.inputs[1::2], plain.inputs[1::2, :, ::-1], atol=1e-5)
    np.testing.assert_array_equal(found.labels, plain.labels)


@pytest.mark.parametrize(("size", "side"), [(0, 8), (8, 8), (5, 5)])
def test_in_evaluation_an_image_is_seen_whole(size: int, side: int):
    batch, task = random_batch(3, side=8), Exemplar(size=size)
    views = task.views(jax.random.key(0), batch, augment=None)
    assert views.inputs.shape == (3, side, side, 3)
    assert views.labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(views.inputs, task.crops(batch["image"]), atol=1e-6)
    if side == 8:
        np.testing.assert_array_equal(views.inputs, batch["image"])


def test_the_head_is_a_linear_embedding_without_classes():
    task, features = Exemplar(embedding=7), np.random.default_rng(0).normal(size=(3, 5))
    head = task.head(jnp.bfloat16)
    outputs, variables = head.init_with_output(jax.random.key(0), features, None, train=True)
    assert (outputs.shape, outputs.dtype) == ((3, 7), jnp.float32)
    kernel = variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(outputs, features @ kernel, rtol=1e-4, atol=1e-5)
    assert not task.has_logits
    assert task.hits(Outputs(outputs), jnp.arange(3)) is None


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    def value(rows: jax.Array) -> jax.Array:
        labels = jnp.zeros(len(rows), jnp.int32)
        return Exemplar(4).loss(Outputs(rows), labels, None).value

    message = f"'exemplar' .* got {images}: use at least 2 .* data.batch_size, .* lens.raw_fraction"
    with pytest.raises(UserError, match=message):
        jax.eval_shape(value, jnp.zeros((4 * images, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 1}, "task.copies is 1: it must be at least 2"),
        ({"size": -8}, "task.size is -8: "),
        ({"embedding": 0}, "task.embedding is 0: "),
        ({"margin": 0.0}, r"task.margin is 0.0: it must be greater than 0"),
        ({"margin": float("nan")}, "task.margin is nan: "),
        ({"area": (0.0, 1.0)}, r"task.area is \(0.0, 1.0\): "),
        ({"area": (0.5, 0.2)}, r"task.area is \(0.5, 0.2\): "),
        ({"area": (0.5, 1.2)}, r"task.area is \(0.5, 1.2\): "),
        ({"area": (0.5,)}, r"task.area is \(0.5,\): "),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        Exemplar(**options)
