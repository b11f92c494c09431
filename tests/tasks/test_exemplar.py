import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.losses import triplet
from lens_jax.ops import color
from lens_jax.tasks.base import Augment, Loss, Views
from lens_jax.tasks.exemplar import Exemplar

SHARDED = """
import json, jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_disable_most_optimizations", True)
from lens_jax.ops import color
from lens_jax.tasks.exemplar import Exemplar
from lens_jax.devices import mesh

task = Exemplar(copies=4, embedding=16)
images = np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32)
weights = np.random.default_rng(1).normal(size=(192, 16)).astype(np.float32)

def value(weights, images):
    augment = lambda x: color.random_flip(jax.random.key(1), x)
    views = task.views(jax.random.key(0), {"image": images}, augment)
    found = task.loss(views.inputs.reshape(-1, 192) @ weights, views.targets, None)
    return found.value, (found.metrics, views.inputs)

step = jax.jit(jax.value_and_grad(value, has_aux=True))
one = step(weights, images)
devices = mesh.make_mesh()
many = step(jax.device_put(weights, mesh.replicated(devices)), mesh.put_batch(devices, {"i": images})["i"])
apart = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), one, many)
views = many[0][1][1]
found = {"devices": len(views.sharding.device_set), "share": views.sharding.shard_shape(views.shape)[0]}
print(json.dumps(found | {"loss": float(one[0][0]), "apart": jax.tree.leaves(apart)}))
"""


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def triplets_by_definition(z: np.ndarray, labels: list[int]) -> list[tuple[int, int, int]]:
    """(anchor, positive, negative) of every pair of one label, the negative as it is defined."""
    found = []
    for a in range(len(z)):
        negatives = [n for n in range(len(z)) if labels[n] != labels[a]]
        for p in range(len(z)):
            if p == a or labels[p] != labels[a]:
                continue
            farther = [n for n in negatives if distance(z[a], z[n]) > distance(z[a], z[p])]
            pick = min if farther else max
            found.append((a, p, pick(farther or negatives, key=lambda n: distance(z[a], z[n]))))
    return found


def losses_by_definition(z: np.ndarray, labels: list[int], margin: float) -> list[float]:
    return [
        max(0.0, margin + distance(z[a], z[p]) - distance(z[a], z[n]))
        for a, p, n in triplets_by_definition(z, labels)
    ]


def accuracy_by_definition(z: np.ndarray, labels: list[int]) -> float:
    hits = 0
    for a in range(len(z)):
        nearest = min((b for b in range(len(z)) if b != a), key=lambda b: distance(z[a], z[b]))
        hits += labels[nearest] == labels[a]
    return hits / len(z)


def random_case(images: int, copies: int, length: int, spread: float, seed: int = 0):
    """Embeddings around one center an image in shuffled order; the numbers of the images start at 5."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(images) + 5, copies))
    centers = rng.normal(size=(images, length))
    return centers[labels - 5] + spread * rng.normal(size=(images * copies, length)), labels


def loss_of(task: Exemplar, outputs: np.ndarray, labels: np.ndarray) -> Loss:
    return jax.jit(task.loss)(jnp.asarray(outputs), jnp.asarray(labels), {"kept": 1})


def views_of(task: Exemplar, batch: dict, augment: Augment) -> Views:
    return jax.jit(lambda batch: task.views(jax.random.key(0), batch, augment))(batch)


def random_batch(count: int, side: int = 8) -> dict[str, jax.Array]:
    images = np.random.default_rng(0).uniform(-1, 1, (count, side, side, 3))
    return {"image": jnp.asarray(images, jnp.float32), "label": jnp.zeros(count, jnp.int32)}


@pytest.mark.parametrize(
    ("images", "copies", "length", "spread", "margin"),
    [
        (2, 2, 3, 1.0, 0.5),
        (5, 3, 4, 0.5, 0.5),
        (4, 8, 6, 0.3, 0.2),
        (9, 2, 2, 3.0, 1.5),
        (3, 4, 1, 1.0, 0.5),
    ],
)
def test_the_loss_is_that_of_its_definition(x64, images, copies, length, spread, margin):
    outputs, labels = random_case(images, copies, length, spread)
    z = outputs / np.sqrt((outputs**2).sum(axis=1, keepdims=True))
    expected = losses_by_definition(z, labels, margin)
    found = loss_of(Exemplar(copies, margin=margin), outputs, labels)
    assert len(expected) == images * copies * (copies - 1)
    np.testing.assert_allclose(found.value, np.mean(expected), rtol=1e-9)
    np.testing.assert_allclose(found.metrics["active"], np.mean(np.array(expected) > 0), rtol=1e-12)
    assert found.memory == {"kept": 1}
    if (
        length > 1
    ):  # in one dimension all of them are 1 or -1, and which is the nearest is anybody's guess
        np.testing.assert_allclose(
            found.metrics["accuracy"], accuracy_by_definition(z, labels), rtol=1e-12
        )


@pytest.mark.parametrize("seed", range(4))
def test_negatives_are_those_of_the_definition_among_many_ties(seed: int):
    """On a grid most distances are shared by several points, and are exact."""
    rng = np.random.default_rng(seed)
    z, labels = rng.integers(-2, 3, (15, 2)), rng.permutation(np.repeat(np.arange(5), 3))
    distances = triplet.squared_distances(jnp.asarray(z, jnp.float32))
    found = jax.jit(triplet.semi_hard_triplets, static_argnums=2)(distances, jnp.asarray(labels), 3)
    every = {
        (a, int(found.positives[a, k]), int(found.negatives[a, k]))
        for a in range(15)
        for k in range(3)
        if found.valid[a, k]
    }
    assert every == set(triplets_by_definition(z, labels))
    hinges = triplet.triplet_hinges(jnp.asarray(z, jnp.float32), found, 1.5)
    np.testing.assert_allclose(
        jnp.sum(hinges), sum(losses_by_definition(z, labels, 1.5)), rtol=1e-6
    )
    assert not np.asarray(hinges)[~np.asarray(found.valid)].any()


def test_pairs_may_lack_a_semi_hard_negative_or_have_one():
    """Points on a line: 0 and 3 are of one label, 1 and -2 of the other.

    From 0, the positive is 9 off and the negatives 1 and 4: the farthest, 4. From 3: 9, and 4 and
    25: 25. From 1: 9, and 1 and 4: 4. From -2: 9, and 4 and 25: 25.
    """
    z, labels = jnp.array([[0.0], [3], [1], [-2]]), jnp.array([0, 0, 1, 1])
    distances = triplet.squared_distances(z)
    found = jax.jit(triplet.semi_hard_triplets, static_argnums=2)(distances, labels, 2)
    hinges = triplet.triplet_hinges(z, found, 0.5)
    np.testing.assert_allclose(jnp.sum(hinges, axis=1), [5.5, 0, 5.5, 0])
    np.testing.assert_allclose(
        jnp.sum(triplet.triplet_hinges(z, found, 20), axis=1), [25, 4, 25, 4]
    )


def test_four_unit_vectors_by_hand():
    """At 0, 90, 180 and 270 degrees; neighbors are 2 apart in squared distance, opposites 4.

    The pairs (0, 90) and (180, 270) are 2 apart. Each one's other negative is 4 off, the only one
    that is farther than 2: max(0, margin + 2 - 4).
    """
    outputs = jnp.array([[3.0, 0], [0, 0.1], [-7, 0], [0, -1]])
    for margin, expected in ((0.5, 0), (2.5, 0.5), (3, 1)):
        found = loss_of(Exemplar(2, margin=margin), outputs, np.array([0, 0, 1, 1]))
        np.testing.assert_allclose(found.value, expected, atol=1e-6)
        assert found.metrics["active"] == (expected > 0)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 0, 0, 1, 1, 2], 5 / 6), ([0, 1, 0, 1, 0, 1], 0), ([0, 1, 1, 0, 1, 0], 2 / 6)],
)
def test_accuracy_counts_crops_whose_nearest_other_one_is_of_their_image(labels, expected: float):
    """The nearest others of 0, 10, 15, 50, 52 and 90 are 10, 15, 10, 52, 50 and 52."""
    distances = triplet.squared_distances(jnp.array([[0.0], [10], [15], [50], [52], [90]]))
    found = jax.jit(triplet.nearest_neighbor_accuracy)(distances, jnp.array(labels))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_gradient_is_that_of_the_written_out_loss(x64):
    outputs, labels = random_case(4, 3, 5, 0.7)
    z = outputs / np.sqrt((outputs**2).sum(axis=1, keepdims=True))
    chosen = triplets_by_definition(z, labels)

    def written_out(x: jax.Array) -> jax.Array:
        unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        a, p, n = unit[jnp.array(chosen).T]
        return jnp.mean(jnp.maximum(0, 0.5 + jnp.sum((a - p) ** 2, 1) - jnp.sum((a - n) ** 2, 1)))

    found = jax.jit(jax.grad(lambda x: Exemplar(3).loss(x, jnp.asarray(labels), None).value))(
        outputs
    )
    np.testing.assert_allclose(found, jax.jit(jax.grad(written_out))(outputs), atol=1e-12)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e-20, 1e15])
def test_gradients_are_finite_where_all_embeddings_are_alike(scale: float):
    def value(x: jax.Array) -> jax.Array:
        return Exemplar(2).loss(x, jnp.array([0, 0, 1, 1]), None).value

    found, gradient = jax.jit(jax.value_and_grad(value))(jnp.full((4, 3), scale))
    np.testing.assert_allclose(found, 0.5, rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_neither_the_order_nor_the_names_of_the_images_nor_the_lengths_matter(x64):
    outputs, labels = random_case(5, 4, 6, 0.6)
    order = np.random.default_rng(3).permutation(len(labels))
    lengths = np.random.default_rng(4).uniform(0.1, 10, (len(labels), 1))
    expected = loss_of(Exemplar(4), outputs, labels)
    found = loss_of(Exemplar(4), (outputs * lengths)[order], 90 - labels[order])
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)
    assert jax.tree.map(float, found.metrics) == pytest.approx(
        jax.tree.map(float, expected.metrics)
    )


def test_labels_that_occur_less_often_have_fewer_pairs(x64):
    outputs, labels = random_case(4, 4, 3, 0.8)
    outputs, labels = outputs[:11], labels[:11]
    z = outputs / np.sqrt((outputs**2).sum(axis=1, keepdims=True))
    found = loss_of(Exemplar(4), outputs, labels)
    np.testing.assert_allclose(
        found.value, np.mean(losses_by_definition(z, labels, 0.5)), rtol=1e-9
    )


def test_every_image_gets_its_own_crops_side_by_side():
    batch, task = random_batch(3), Exemplar(copies=4, size=6)
    views = views_of(task, batch, lambda x: x)
    assert views.inputs.shape == (12, 6, 6, 3)
    assert views.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(np.unique(np.asarray(views.inputs).round(4), axis=0)) == 12
    flat = {"image": jnp.broadcast_to(jnp.arange(3.0)[:, None, None, None], (3, 8, 8, 3))}
    flat_views = views_of(task, flat, lambda x: x)
    np.testing.assert_allclose(flat_views.inputs[:, 2, 3, 1], views.targets, atol=1e-5)


def test_crops_are_augmented_one_by_one():
    batch, task = random_batch(2), Exemplar(copies=8)
    plain = views_of(task, batch, lambda x: x)
    found = views_of(task, batch, lambda x: color.random_flip(jax.random.key(3), x))
    np.testing.assert_array_equal(found.inputs, color.random_flip(jax.random.key(3), plain.inputs))
    flipped = (
        (np.asarray(found.inputs) != np.asarray(plain.inputs)).any(axis=(1, 2, 3)).reshape(2, 8)
    )
    assert (flipped.any(axis=1) & ~flipped.all(axis=1)).all()
    np.testing.assert_array_equal(found.targets, plain.targets)


@pytest.mark.parametrize(("size", "side"), [(0, 8), (8, 8), (5, 5)])
def test_in_evaluation_an_image_is_seen_whole(size: int, side: int):
    batch, task = random_batch(3), Exemplar(size=size)
    views = task.views(jax.random.key(0), batch, augment=None)
    assert views.inputs.shape == (3, side, side, 3)
    assert views.targets.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(views.inputs, task.crops(batch["image"]))
    if side == 8:
        np.testing.assert_array_equal(views.inputs, batch["image"])


def test_the_head_is_a_linear_embedding_without_classes():
    task, features = Exemplar(embedding=7), np.random.default_rng(0).normal(size=(3, 5))
    head = task.head(jnp.bfloat16)
    outputs, variables = head.init_with_output(jax.random.key(0), features, None, train=True)
    assert (outputs.shape, outputs.dtype) == ((3, 7), jnp.float32)
    np.testing.assert_allclose(
        outputs, features @ variables["params"]["Dense_0"]["kernel"], rtol=1e-4
    )
    assert not task.has_classes
    assert task.logits(outputs) is None


@pytest.mark.parametrize("images", [0, 1])
def test_a_batch_without_another_image_is_refused(images: int):
    def value(x: jax.Array) -> jax.Array:
        return Exemplar(4).loss(x, jnp.zeros(len(x), jnp.int32), None).value

    with pytest.raises(
        UserError, match=f"got {images}: use at least 2.*data.batch_size or lens.raw_fraction"
    ):
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
def test_options_that_cannot_be_meant_are_refused(options: dict, message: str):
    with pytest.raises(UserError, match=message):
        Exemplar(**options)


def test_eight_devices_compute_what_one_does():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", SHARDED]
    output = subprocess.run(
        command, env=os.environ | flags, capture_output=True, text=True, check=True
    )
    found = json.loads(output.stdout.splitlines()[-1])
    assert (found["devices"], found["share"]) == (8, 8)
    assert found["loss"] > 0.1
    assert max(found["apart"]) < 1e-5
